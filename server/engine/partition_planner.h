// Keeps partitions of the events table ready ahead of the head.
#ifndef EVENTSTORE_SERVER_ENGINE_PARTITION_PLANNER_H_
#define EVENTSTORE_SERVER_ENGINE_PARTITION_PLANNER_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// Size and lead follow the rate of writing: at tens of thousands of events a second a partition of
// the default size is full in minutes. One thread at a time.
class PartitionPlanner {
 public:
  explicit PartitionPlanner(const PartitionOptions& options) : options_(options) {}

  // Makes what is missing, and returns the position after the last one that has a partition. A lock
  // that could not be had in time is no error while there is room left: the next call tries again.
  [[nodiscard]] absl::StatusOr<std::int64_t> Ensure(pg::Connection& connection,
                                                    std::int64_t head_position, Deadline deadline);

  // The size of a new partition, and how many positions must lie ready, at `rate` events a second.
  [[nodiscard]] std::int64_t SizeAt(double rate) const;
  [[nodiscard]] std::int64_t LeadAt(double rate) const;

 private:
  void MeasureRate(std::int64_t head_position);

  const PartitionOptions options_;
  double rate_ = 0;  // events a second, smoothed
  std::int64_t last_head_ = -1;
  Deadline last_time_{};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PARTITION_PLANNER_H_
