// What the lane itself committed lately, as far as conditions ask for it.
#ifndef EVENTSTORE_SERVER_ENGINE_RECENT_EVENTS_H_
#define EVENTSTORE_SERVER_ENGINE_RECENT_EVENTS_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "server/core/append_condition.h"
#include "server/tables/events_table.h"

namespace eventstore::engine {

// The types and tags of the newest commits, without gaps, bounded in bytes. The hub's ring has the
// same events and more, but gets them a moment later, and most conditions are decided within that
// moment. Nothing is kept while no transaction has conditions, so that plain appends pay nothing.
// Used by the lane's thread only.
class RecentEvents {
 public:
  // A transaction with conditions is here: what is committed from now on is kept, for a while.
  void Want() { batches_wanted_ = kBatchesKept; }
  // Forgets everything: an event's tags may have been erased.
  void Clear();
  // The lane committed these rows in this epoch.
  void Add(std::int64_t epoch, const std::vector<tables::NewEventRow>& rows);

  struct Event {
    std::int64_t position = 0;
    std::string event_type;
    std::string tenant_id;
    google::protobuf::RepeatedPtrField<std::string> tags;

    [[nodiscard]] EventTraits traits() const { return {event_type, tenant_id, &tags}; }
  };
  // In order, without gaps; they end at end_position() of epoch(), if there are any.
  [[nodiscard]] const std::deque<Event>& events() const { return events_; }
  [[nodiscard]] std::int64_t end_position() const {
    return events_.empty() ? 0 : events_.back().position;
  }
  [[nodiscard]] std::int64_t epoch() const { return epoch_; }

 private:
  static constexpr int kBatchesKept = 256;
  static constexpr std::int64_t kBytesMax = 4 << 20;

  int batches_wanted_ = 0;
  std::int64_t epoch_ = 0;
  std::deque<Event> events_;
  std::int64_t bytes_ = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RECENT_EVENTS_H_
