// What was committed between the evaluation of conditions and the lane.
#ifndef EVENTSTORE_SERVER_ENGINE_CONDITION_WINDOW_H_
#define EVENTSTORE_SERVER_ENGINE_CONDITION_WINDOW_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "server/core/append_condition.h"
#include "server/engine/lane_host.h"
#include "server/engine/options.h"
#include "server/engine/pending_write.h"
#include "server/engine/recent_events.h"
#include "server/tables/condition_query.h"
#include "server/tables/log_table.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Decides for every transaction of a batch whether an event in (evaluated position, head] matches
// one of its conditions: from memory where that has the whole range (the hub's ring, and what the
// lane committed itself since), otherwise by one query for the whole batch. What lies past the
// bounds is stale. Made anew for each attempt to write a batch; used by the lane's thread.
class ConditionWindow {
 public:
  using Batch = std::vector<std::shared_ptr<PendingWrite>>;

  // `head` is the state that the batch is decided on. Everything named must outlive this object.
  ConditionWindow(const WriterOptions& options, const tables::Head& head, const Batch& batch);

  // Looks in memory.
  void Search(const RecentEvents& own, const LaneCallbacks& callbacks);
  // What memory did not have: to be sought by FindMatches on the lane's connection.
  [[nodiscard]] const std::vector<tables::ConditionProbe>& probes() const { return probes_; }
  void SetMatches(const std::vector<std::int64_t>& positions);
  void Count(const telemetry::LaneMetrics& metrics) const;

  // What was found for a write of the batch, by its index.
  [[nodiscard]] bool is_stale(std::size_t index) const { return ranges_[index].stale; }
  [[nodiscard]] const std::vector<std::int64_t>& matches(std::size_t index) const {
    return ranges_[index].matches;
  }

 private:
  struct Range {
    const Transaction* transaction = nullptr;  // null: it has no conditions
    bool stale = false;
    bool by_memory = false;
    bool by_query = false;
    std::vector<std::int64_t> matches;  // one a condition, as evaluated and since
  };
  struct Seen {
    std::int64_t position = 0;
    EventTraits traits;
  };

  // The events after `after_position` that memory has, without gaps up to the head. Returns the
  // position from which on nothing is missing.
  std::int64_t Gather(const RecentEvents& own, const LaneCallbacks& callbacks,
                      std::int64_t after_position);
  void SearchSeen(Range* range) const;

  const tables::Head& head_;
  std::vector<Range> ranges_;  // one a write
  std::int64_t lowest_ = 0;    // the first position that anyone asks for is after it
  bool any_ = false;
  std::vector<std::shared_ptr<const EventBlock>> blocks_;  // what `seen_` looks into
  std::vector<Seen> seen_;
  std::vector<tables::ConditionProbe> probes_;
  std::vector<std::int64_t*> probed_;  // the match that each probe is for
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_CONDITION_WINDOW_H_
