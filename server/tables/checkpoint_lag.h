// How far checkpoints are behind what they want.
#ifndef EVENTSTORE_SERVER_TABLES_CHECKPOINT_LAG_H_
#define EVENTSTORE_SERVER_TABLES_CHECKPOINT_LAG_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "eventstore/v1/projection_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {

// How much work the lag of filtered checkpoints may be; see CheckpointStatus.lag_is_lower_bound.
struct LagBudget {
  // Most positions that are searched for one of them, and for all of them together. One that comes
  // when the latter are used up is searched in a single window.
  std::int64_t row_positions_max = 200'000;
  std::int64_t page_positions_max = 1'000'000;
  // Most positions that one statement looks at.
  std::int64_t window_positions = 50'000;
};

struct Lags {
  Head head;  // read after the checkpoints were
  std::vector<v1::CheckpointStatus> statuses;
};
// Adds to each checkpoint what is left after it. One statement for all that have no filter; for
// each of the others one a window. `stale_after` as in ListCheckpointsRequest.
[[nodiscard]] absl::StatusOr<Lags> MeasureLag(pg::Connection& connection,
                                              std::vector<v1::Checkpoint> checkpoints,
                                              std::chrono::microseconds stale_after,
                                              const LagBudget& budget, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CHECKPOINT_LAG_H_
