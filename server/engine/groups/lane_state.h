// One lane of a consumer group, as its owner keeps it in memory.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_STATE_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_STATE_H_

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/engine/groups/lane_rules.h"

namespace eventstore::engine {

// An event of the lane, from the feed.
struct LaneEvent {
  std::int64_t position = 0;
  std::uint64_t stream = 0;  // StreamHash
  std::int64_t created_at_micros = 0;
  std::string bytes;  // as EventBlock::bytes has it
};

// What the tables know of an event that is not below the checkpoint.
struct KnownAttempts {
  std::int32_t attempts = 0;  // that failed
  std::chrono::milliseconds due_in{0};
  bool is_settled = false;       // parked already
  bool has_dead_letter = false;  // its ack resolves that
};

// What a lane starts from.
struct LaneStart {
  std::int64_t checkpoint = 0;
  // The owner before did not hand the lane over: its deliveries may have arrived.
  bool may_repeat = false;
  std::map<std::int64_t, KnownAttempts> known;
  std::set<std::uint64_t> parked_streams;
  std::int64_t stopped_at = 0;  // the event that the lane waits for; 0: none
};

// The rules of one lane, without I/O and without a clock of its own. Events go in by position, go
// out in order, and are settled per stream in order:
//
// - A stream's events may be in flight together, for one member has them all and gets them in
//   order. An ack counts once everything before it in its stream is settled; if an earlier one
//   fails, later ones are delivered again after it, and acks of the old deliveries are ignored.
// - An event that failed waits (backoff) and then goes alone, ahead of the rest of its stream.
// Other
//   streams pass it by.
// - After `attempts_max` failures it is given up: the owner takes it from TakeParks, sets it aside
//   in the tables, and says Parked. Only then is it settled.
// - `checkpoint` is the last position up to which everything is settled. The lane takes no more
//   than `unsettled_span_max` events beyond what the tables have (`OnDurable`).
// - Retries of dead letters (`AddRetry`) lie below the checkpoint and do not move it; the rest of
//   their stream waits for them.
//
// Not thread-safe. The caller brings the time.
class LaneState {
 public:
  using Time = std::chrono::steady_clock::time_point;

  LaneState(const LaneRules& rules, LaneStart start);

  void SetRules(const LaneRules& rules) { rules_ = rules; }

  // --- From the feed, in the order of positions ---
  // Whether Offer may be called.
  [[nodiscard]] bool HasRoom() const;
  // Whether there is plenty of room, so that reading for this lane alone is worth it.
  [[nodiscard]] bool IsHalfEmpty() const;
  // Takes an event beyond read_position().
  void Offer(LaneEvent event, Time now);
  // Nothing up to `position` is left to offer.
  void PassOver(std::int64_t position);
  [[nodiscard]] std::int64_t read_position() const { return read_position_; }

  // --- To the member ---
  struct Delivery {
    std::int64_t position = 0;
    std::int32_t attempt = 1;
    bool is_redelivered = false;
    const std::string* bytes = nullptr;  // until the next call
  };
  // Whether Next has something, and whether that should be its member's only event in flight: one
  // that was in flight when members died, before its last attempt, so that the blame is its own.
  [[nodiscard]] bool HasNext() const;
  [[nodiscard]] bool NextIsSuspect() const;
  // Delivers the next event under this id. Only if HasNext().
  Delivery Next(std::int64_t delivery_id, Time now);

  // --- From the member: false if the id is not in flight (acked twice, timed out, unknown) ---
  bool Ack(std::int64_t delivery_id);
  // `delay`: instead of the backoff.
  bool Retry(std::int64_t delivery_id, std::string_view error,
             std::optional<std::chrono::milliseconds> delay, Time now);
  // Gives the event up at once.
  bool Park(std::int64_t delivery_id, std::string_view error);
  // The member is gone; what it had is delivered again. `failed`: and counts as an attempt.
  void ReturnAll(bool failed, std::string_view error, Time now);
  // Lets time pass: ack time-outs and the ends of backoffs. Returns how many timed out.
  std::int64_t Advance(Time now);
  // When Advance has something to do next; Time::max(): not before something else happens.
  [[nodiscard]] Time NextDeadline() const;

  // --- What must be written ---
  // An event to set aside. It stays unsettled until Parked.
  struct Parking {
    std::int64_t position = 0;
    std::uint64_t stream = 0;
    std::string bytes;
    std::string error;
    std::int32_t attempts = 0;
    bool is_retry = false;   // of a dead letter
    bool is_behind = false;  // only because its stream is parked
  };
  [[nodiscard]] std::vector<Parking> TakeParks();
  void Parked(std::int64_t position);
  void ParkFailed(std::int64_t position);  // could not be written: will be taken again
  // Attempts that the tables do not know yet.
  struct Attempts {
    std::int64_t position = 0;
    std::int32_t attempts = 0;
    Time due;
    std::string error;
  };
  [[nodiscard]] std::vector<Attempts> UnsavedAttempts() const;
  void AttemptsSaved(const std::vector<Attempts>& saved);
  // The checkpoint in the tables is this one now.
  void OnDurable(std::int64_t checkpoint);

  // --- Dead letters ---
  // A dead letter of this lane is to be processed again. False if it is here already.
  bool AddRetry(LaneEvent event, std::int32_t attempts);
  // Retries that were acked since the last call: to be resolved.
  [[nodiscard]] std::vector<std::int64_t> TakeResolved();
  // `on_failure` park_stream: the event of this stream that was parked, and all behind it, are
  // settled; the stream goes on. Not while a park of TakeParks has no answer.
  void UnparkStream(std::uint64_t stream);
  [[nodiscard]] bool IsStreamParked(std::uint64_t stream) const;
  [[nodiscard]] std::set<std::uint64_t> parked_streams() const {
    return {parked_streams_.begin(), parked_streams_.end()};
  }
  // `on_failure` stop: the position of the event that the lane waits for; 0: it does not.
  [[nodiscard]] std::int64_t stopped_at() const { return stopped_at_; }
  // Its dead letter was resolved (`settled`), or is to be tried once more. False where the event
  // was not offered yet.
  bool Resume(bool settled);

  // The content of the events at these positions was erased: `erase` makes of an event's bytes what
  // is left of them. What a member said about them is forgotten as well. They stay where they are.
  void Erase(const std::vector<std::int64_t>& positions,
             const std::function<std::string(const std::string&)>& erase);

  // --- What is seen from outside ---
  [[nodiscard]] std::int64_t checkpoint() const { return checkpoint_; }
  [[nodiscard]] std::int64_t in_flight() const {
    return static_cast<std::int64_t>(in_flight_.size());
  }
  [[nodiscard]] std::int64_t unsettled() const { return unsettled_; }
  [[nodiscard]] std::int64_t retrying() const { return retrying_; }
  // `created_at` of the oldest unsettled event; 0: none.
  [[nodiscard]] std::int64_t oldest_created_at_micros() const;
  // When the oldest delivery that is not acked was made.
  [[nodiscard]] std::optional<Time> oldest_in_flight() const;
  // Nothing beyond the checkpoint was delivered.
  [[nodiscard]] bool is_clean() const;
  // Whether events were settled that the checkpoint in the tables has not passed.
  [[nodiscard]] bool has_unsaved_settled() const {
    return !entries_.empty() && entries_.begin()->first <= checkpoint_;
  }

 private:
  enum class State {
    kPending,   // waits for its delivery
    kInFlight,  // delivered
    kAcked,     // acked, but not everything before it in its stream is settled
    kWaiting,   // failed, waits for its backoff
    kGivenUp,   // to be parked, or the lane waits for its dead letter
    kSettled,
  };
  struct Entry {
    std::uint64_t stream = 0;
    std::int64_t created_at_micros = 0;
    std::string bytes;
    State state = State::kPending;
    std::int32_t attempts = 0;  // that failed
    bool is_retry = false;
    bool was_delivered = false;
    bool was_with_the_dead = false;  // in flight when a member died
    bool is_behind = false;
    bool is_park_taken = false;
    bool attempts_unsaved = false;
    bool is_counted = false;       // in retrying_
    bool has_dead_letter = false;  // to be resolved by its ack
    std::int64_t delivery_id = 0;
    Time time;  // in flight: delivered at; waiting: due
    std::string error;
  };
  using Entries = std::map<std::int64_t, Entry>;
  struct Stream {
    std::deque<std::int64_t> chain;  // unsettled positions, in order
    bool is_careful = false;         // an entry of the chain holds the later ones back
  };

  [[nodiscard]] const Entry& At(std::int64_t position) const;
  [[nodiscard]] Entry& At(std::int64_t position);
  void CountRetry(Entry* entry);
  [[nodiscard]] bool HoldsBack(const Entry& entry) const;
  void Refresh(std::uint64_t stream);
  void LeaveFlight(Entry* entry);
  void Fail(std::int64_t position, std::string_view error,
            std::optional<std::chrono::milliseconds> delay, Time now);
  void GiveUp(std::int64_t position, bool is_behind);
  void TakeBackLater(std::uint64_t stream, std::int64_t position);
  void SettleFront(std::uint64_t stream);
  void Settle(std::int64_t position);
  void MoveCheckpoint();
  std::optional<std::int64_t> InFlight(std::int64_t delivery_id) const;

  LaneRules rules_;
  const std::map<std::int64_t, KnownAttempts> known_;
  absl::flat_hash_set<std::uint64_t> parked_streams_;
  Entries entries_;  // beyond the checkpoint in the tables
  Entries retries_;  // of dead letters
  absl::flat_hash_map<std::uint64_t, Stream> streams_;
  std::set<std::int64_t> ready_;
  std::map<std::int64_t, std::int64_t> in_flight_;  // delivery id -> position
  std::set<std::pair<Time, std::int64_t>> waiting_;
  std::set<std::int64_t> parks_;  // to be taken
  std::vector<std::int64_t> resolved_;
  std::int64_t checkpoint_ = 0;
  std::int64_t durable_ = 0;
  std::int64_t read_position_ = 0;
  std::int64_t bytes_ = 0;
  std::int64_t unsettled_ = 0;
  std::int64_t retrying_ = 0;
  std::int64_t stopped_at_ = 0;
  bool is_stopping_ = false;      // `on_failure` stop: an event is on its way to the dead letters
  std::int64_t repeat_left_ = 0;  // so many more events may be repeats
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_STATE_H_
