// How far the relay of a sink has come, and which streams it has to come back to.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_PROGRESS_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_PROGRESS_H_

#include <absl/container/flat_hash_map.h>

#include <chrono>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/tables/outbox_relay.h"

namespace eventstore::engine {

// What ends the part of a stream that a batch publishes, and when its next part is due.
enum class StreamEnd {
  kDone,     // all that was seen of it is published
  kMore,     // there is more: come back at once
  kTimed,    // come back after `wait`
  kForeign,  // somebody else has it locked or claimed: come back soon, then less and less often
  kStuck,    // failed for good: somebody will act, and the sweep sees it
};

// A stream in one batch.
struct BatchStream {
  std::int64_t key = 0;
  // Most of its entries, and the last position at which one was seen.
  std::int64_t limit = 0;
  std::int64_t last_seen = 0;
  // Its first entries, as far as nothing is in the way.
  std::vector<Uuid> taken;
  StreamEnd end = StreamEnd::kDone;
  std::chrono::milliseconds wait{0};
  // Whether the broker refused an entry of it in this batch: that is its end then.
  bool refused = false;
};

// What a batch consists of, and what becomes of its streams.
struct RelayBatch {
  std::vector<BatchStream> streams;
  // How far the scan has come with this batch.
  std::int64_t cursor = 0;
  // Whether the scan saw more than the batch has room for.
  bool has_more = false;

  [[nodiscard]] std::vector<tables::OutboxStreamLimit> Limits() const;
  // Takes of each stream what can be published: its first entries up to one with a hindrance, so
  // that an entry is never taken without every earlier one of its stream. At most about
  // `bytes_max`, but at least one. `candidates`: those of LookAtOutboxStreams for Limits().
  void Take(const std::vector<tables::OutboxCandidate>& candidates, std::int64_t bytes_max);
  [[nodiscard]] std::vector<Uuid> TakenIds() const;
  // Leaves out of each stream the rows behind the first taken one that was not locked.
  void KeepLocked(std::vector<tables::OutboxRow>* rows);
  // Null if there is none.
  [[nodiscard]] BatchStream* Find(std::int64_t key);

 private:
  friend class RelayProgress;
  absl::flat_hash_map<std::int64_t, std::size_t> index_;  // of `streams` by key
};

// The scan goes over pending entries in order of position and passes what it cannot publish; those
// streams are held: remembered, and looked at by their key when it is time. At most `kHeldMax`
// streams are held; beyond that the ones that wait longest are forgotten until a sweep finds them.
// Only a hint of where to look: what may be published is decided from the tables each time. Not
// thread-safe.
class RelayProgress {
 public:
  static constexpr std::size_t kHeldMax = 10'000;

  // `wait_max`: the longest time between two looks at a stream that somebody else has.
  explicit RelayProgress(std::chrono::milliseconds wait_max) : wait_max_(wait_max) {}

  // After which position the scan goes on.
  [[nodiscard]] std::int64_t cursor() const { return cursor_; }
  // When a held stream is due next; Deadline::max(): none.
  [[nodiscard]] Deadline NextDue() const;

  // A batch of at most about `entries_max` entries: held streams that are due for up to the half
  // of it, and then what the scan saw. `seen_all`: the scan saw the end.
  [[nodiscard]] RelayBatch Plan(std::span<const tables::OutboxSighting> seen, bool seen_all,
                                std::int64_t entries_max, Deadline now) const;
  // The batch is settled in the database: its streams are held or not as it says.
  void Apply(const RelayBatch& batch, Deadline now);
  // A sweep found these: looks at those that the scan has passed.
  void NoteHeads(const std::vector<tables::OutboxStreamHead>& heads, Deadline now);

  [[nodiscard]] bool IsHeld(std::int64_t stream_key) const { return held_.contains(stream_key); }

 private:
  struct Held {
    Deadline due;
    std::chrono::milliseconds wait;  // the last one, where somebody else has it
  };

  void Hold(std::int64_t stream_key, Deadline due, std::chrono::milliseconds wait);
  void Release(std::int64_t stream_key);

  std::chrono::milliseconds wait_max_;
  std::int64_t cursor_ = 0;
  absl::flat_hash_map<std::int64_t, Held> held_;
  std::set<std::pair<Deadline, std::int64_t>> by_due_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_PROGRESS_H_
