// Which waiting subscribers a new event concerns.
#ifndef EVENTSTORE_SERVER_ENGINE_WAKE_INDEX_H_
#define EVENTSTORE_SERVER_ENGINE_WAKE_INDEX_H_

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/core/filter.h"
#include "server/engine/event_block.h"

namespace eventstore::engine {

// Finds by a few look-ups an event, whatever the number of subscribers, who may want it. A
// subscriber that has seen everything parks here under what it follows: its stream, or one field of
// its filter (a tag, its event types, its aggregate types or its tenant, the first of these that it
// has). It is woken by the first event with such a key, which is all that the index promises: the
// rest of the filter is the subscriber's to evaluate, outside of every lock of the hub. Who has
// none of these fields is woken by every event.
//
// While it is parked its cursor does not move; what it may skip is known here and told by Unpark.
// Not thread-safe; the hub guards it.
class WakeIndex {
 public:
  using Subscriber = std::uint64_t;  // a number that the hub gave it

  // The keys of `stream`, or where that is null of `filter` (null: everything).
  [[nodiscard]] static std::vector<std::string> KeysOf(const v1::StreamId* stream,
                                                       const EventFilter* filter);

  // It has seen everything up to the newest event, and waits for one with a key of `keys`, or for
  // the position `due`, whichever comes first. It must not be parked already; `keys` must live
  // until Unpark.
  void Park(Subscriber subscriber, const std::vector<std::string>* keys, std::int64_t due);

  // `block` follows what was there. Whom it wakes; each is told once.
  [[nodiscard]] std::vector<Subscriber> Advance(const EventBlock& block);

  // Wakes everybody: what follows `end_position` is not what comes next here.
  void WakeAll(std::int64_t end_position);

  // Forgets a parked or woken subscriber. The position up to which nothing concerned it since it
  // parked, where the newest event is at `end_position`; nothing if it is not here.
  std::optional<std::int64_t> Unpark(Subscriber subscriber, std::int64_t end_position);

  // How many are parked and were not woken.
  [[nodiscard]] std::size_t parked() const { return due_.size(); }

 private:
  static constexpr std::size_t kKinds = 6;

  struct Entry {
    const std::vector<std::string>* keys = nullptr;
    std::int64_t due = 0;
    std::optional<std::int64_t> resume_position;  // set when it is woken
  };

  void WakeKey(const std::string& key, std::int64_t position, std::vector<Subscriber>* woken);
  // Takes it out of the look-ups; its entry stays until Unpark.
  void Wake(Subscriber subscriber, Entry* entry, std::int64_t resume_position);
  void WakeByEvent(const v1::Event& event, std::vector<Subscriber>* woken);
  [[nodiscard]] bool Uses(char kind) const;

  absl::flat_hash_map<Subscriber, Entry> entries_;
  absl::flat_hash_map<std::string, absl::flat_hash_set<Subscriber>> by_key_;
  std::array<std::int64_t, kKinds> keys_of_kind_{};  // so that unused kinds cost no look-up
  absl::btree_set<std::pair<std::int64_t, Subscriber>> due_;
  std::string scratch_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_WAKE_INDEX_H_
