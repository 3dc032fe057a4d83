// The table of projection checkpoints.
#ifndef EVENTSTORE_SERVER_TABLES_CHECKPOINTS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_CHECKPOINTS_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "eventstore/v1/projection_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {

// Requests are validated. Each call says in projection_service.proto what it promises.

// Errors: CONDITION_FAILED, POSITION_AHEAD.
[[nodiscard]] absl::StatusOr<v1::SaveCheckpointResponse> SaveCheckpoint(
    pg::Connection& connection, const v1::SaveCheckpointRequest& request, Deadline deadline);
// Errors: NOT_FOUND, POSITION_AHEAD.
[[nodiscard]] absl::StatusOr<v1::Checkpoint> ResetCheckpoint(
    pg::Connection& connection, const v1::ResetCheckpointRequest& request, Deadline deadline);
// Whether there was one.
[[nodiscard]] absl::StatusOr<bool> DeleteCheckpoint(pg::Connection& connection,
                                                    std::string_view projection, Deadline deadline);

[[nodiscard]] absl::StatusOr<std::optional<v1::Checkpoint>> ReadCheckpoint(
    pg::Connection& connection, std::string_view projection, Deadline deadline);
// The checkpoints whose names follow `after`, in the order of their names.
[[nodiscard]] absl::StatusOr<std::vector<v1::Checkpoint>> ReadCheckpoints(
    pg::Connection& connection, std::string_view after, std::int64_t limit, Deadline deadline);
// The checkpoints that are furthest behind, by their positions alone, and how many there are in
// all.
struct FurthestBehind {
  std::vector<v1::Checkpoint> checkpoints;
  std::int64_t total = 0;
};
[[nodiscard]] absl::StatusOr<FurthestBehind> ReadFurthestBehind(pg::Connection& connection,
                                                                std::int64_t limit,
                                                                Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CHECKPOINTS_TABLE_H_
