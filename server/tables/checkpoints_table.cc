#include "server/tables/checkpoints_table.h"

#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/tables/checkpoint_row.h"

namespace eventstore::tables {
namespace {

// Locks the row before it is looked at, so that what is decided and what is answered agree.
constexpr pg::Statement kLock{
    "checkpoints_lock",
    "SELECT 1::int4 FROM projection_checkpoints WHERE projection_name = $1 FOR UPDATE"};

// A position of a lost history counts as where that history ended. With an expected position other
// than 0 there must be a row. The clock is the statement's own, taken after the lock.
constexpr pg::Statement kSave{
    "checkpoints_save",
    "INSERT INTO projection_checkpoints AS c (projection_name, global_position, epoch,"
    " last_event_id, last_event_type, events_processed, filter, last_processed_at, created_at,"
    " updated_at) SELECT $1, $2, $3, $4, $5, $6, $7, n.now, n.now, n.now"
    " FROM (SELECT clock_timestamp() AS now OFFSET 0) n"
    " WHERE coalesce($9::bigint, 0) = 0"
    " OR EXISTS (SELECT FROM projection_checkpoints x WHERE x.projection_name = $1)"
    " ON CONFLICT (projection_name) DO UPDATE SET global_position = excluded.global_position,"
    " epoch = excluded.epoch,"
    " last_event_id = CASE WHEN excluded.last_event_id IS NULL AND excluded.last_event_type IS NULL"
    " THEN c.last_event_id ELSE excluded.last_event_id END,"
    " last_event_type = CASE WHEN excluded.last_event_id IS NULL AND excluded.last_event_type"
    " IS NULL THEN c.last_event_type ELSE excluded.last_event_type END,"
    " events_processed = c.events_processed + excluded.events_processed,"
    " filter = CASE WHEN $8 THEN excluded.filter ELSE c.filter END,"
    " last_processed_at = greatest(c.last_processed_at, excluded.last_processed_at),"
    " updated_at = greatest(c.updated_at, excluded.updated_at)"
    " WHERE ($9::bigint IS NULL OR c.global_position = $9) AND ($10"
    " OR excluded.global_position > least(c.global_position,"
    " (SELECT min(first_position) - 1 FROM log_epochs WHERE log_epochs.epoch > c.epoch)))"};

constexpr pg::Statement kRead{"checkpoints_read",
                              "SELECT " EVENTSTORE_CHECKPOINT_COLUMNS
                              "FROM projection_checkpoints WHERE projection_name = $1"};

constexpr pg::Statement kReadPage{
    "checkpoints_read_page",
    "SELECT " EVENTSTORE_CHECKPOINT_COLUMNS
    "FROM projection_checkpoints WHERE projection_name > $1 ORDER BY projection_name LIMIT $2"};

constexpr pg::Statement kReadFurthest{"checkpoints_read_furthest",
                                      "SELECT " EVENTSTORE_CHECKPOINT_COLUMNS
                                      ", (count(*) OVER ())::bigint FROM projection_checkpoints"
                                      " ORDER BY global_position, projection_name LIMIT $1"};

constexpr pg::Statement kReset{
    "checkpoints_reset",
    "UPDATE projection_checkpoints SET global_position = $2, epoch = $3, last_event_id = NULL,"
    " last_event_type = NULL, last_processed_at = NULL, events_processed = 0,"
    " updated_at = greatest(updated_at, clock_timestamp())"
    " WHERE projection_name = $1 RETURNING " EVENTSTORE_CHECKPOINT_COLUMNS};

constexpr pg::Statement kDelete{"checkpoints_delete",
                                "DELETE FROM projection_checkpoints WHERE projection_name = $1"};

std::vector<v1::Checkpoint> ParseCheckpoints(const pg::Result& result) {
  std::vector<v1::Checkpoint> checkpoints;
  checkpoints.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    checkpoints.push_back(ParseCheckpoint(result, row));
  }
  return checkpoints;
}

// The current epoch, to which a position that is checked belongs.
absl::StatusOr<std::int64_t> CheckedEpoch(pg::Connection& connection, std::int64_t position,
                                          std::int64_t epoch, Deadline deadline) {
  auto head = ReadHead(connection, deadline);
  if (!head.ok()) return head.status();
  absl::Status checked = CheckPosition(connection, *head, position, epoch, deadline);
  if (!checked.ok()) return checked;
  return head->epoch;
}

absl::StatusOr<pg::Params> SaveParams(const v1::SaveCheckpointRequest& request,
                                      std::int64_t epoch) {
  pg::Params params;
  params.Text(request.projection_name()).Int64(request.position()).Int64(epoch);
  if (request.last_event_id().empty()) {
    params.Null(pg::kUuid);
  } else {
    params.Uuid(ParseUuid(request.last_event_id()).value_or(kNilUuid));
  }
  if (request.last_event_type().empty()) {
    params.Null(pg::kText);
  } else {
    params.Text(request.last_event_type());
  }
  params.Int64(request.events_processed());
  if (absl::Status added = AddFilterParam(request.filter(), &params); !added.ok()) return added;
  params.Bool(request.has_filter());
  if (request.has_expected_position()) {
    params.Int64(request.expected_position());
  } else {
    params.Null(pg::kInt8);
  }
  params.Bool(request.allow_rewind());
  return params;
}

}  // namespace

absl::StatusOr<v1::SaveCheckpointResponse> SaveCheckpoint(pg::Connection& connection,
                                                          const v1::SaveCheckpointRequest& request,
                                                          Deadline deadline) {
  auto epoch = CheckedEpoch(connection, request.position(), request.epoch(), deadline);
  if (!epoch.ok()) return epoch.status();
  auto params = SaveParams(request, *epoch);
  if (!params.ok()) return params.status();
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kLock, pg::Params().Text(request.projection_name()));
  pipeline.Add(kSave, *std::move(params));
  pipeline.Add(kRead, pg::Params().Text(request.projection_name()));
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  const pg::Result& row = outcome.results[2];
  v1::SaveCheckpointResponse response;
  response.set_saved(outcome.results[1].affected() == 1);
  if (row.rows() == 1) {
    *response.mutable_checkpoint() = ParseCheckpoint(row, 0);
  } else {
    response.mutable_checkpoint()->set_epoch(*epoch);
  }
  if (!response.saved() && request.has_expected_position() &&
      response.checkpoint().position() != request.expected_position()) {
    return CheckpointMoved(request.projection_name(), request.expected_position(),
                           response.checkpoint().position(), response.checkpoint().epoch());
  }
  return response;
}

absl::StatusOr<v1::Checkpoint> ResetCheckpoint(pg::Connection& connection,
                                               const v1::ResetCheckpointRequest& request,
                                               Deadline deadline) {
  auto epoch = CheckedEpoch(connection, request.position(), request.epoch(), deadline);
  if (!epoch.ok()) return epoch.status();
  auto result = connection.Query(
      kReset, pg::Params().Text(request.projection_name()).Int64(request.position()).Int64(*epoch),
      deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return NotFound("checkpoint", request.projection_name());
  return ParseCheckpoint(*result, 0);
}

absl::StatusOr<bool> DeleteCheckpoint(pg::Connection& connection, std::string_view projection,
                                      Deadline deadline) {
  auto result = connection.Query(kDelete, pg::Params().Text(projection), deadline);
  if (!result.ok()) return result.status();
  return result->affected() == 1;
}

absl::StatusOr<std::optional<v1::Checkpoint>> ReadCheckpoint(pg::Connection& connection,
                                                             std::string_view projection,
                                                             Deadline deadline) {
  auto result = connection.Query(kRead, pg::Params().Text(projection), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return std::optional<v1::Checkpoint>();
  return std::optional<v1::Checkpoint>(ParseCheckpoint(*result, 0));
}

absl::StatusOr<std::vector<v1::Checkpoint>> ReadCheckpoints(pg::Connection& connection,
                                                            std::string_view after,
                                                            std::int64_t limit, Deadline deadline) {
  auto result = connection.Query(kReadPage, pg::Params().Text(after).Int64(limit), deadline);
  if (!result.ok()) return result.status();
  return ParseCheckpoints(*result);
}

absl::StatusOr<FurthestBehind> ReadFurthestBehind(pg::Connection& connection, std::int64_t limit,
                                                  Deadline deadline) {
  auto result = connection.Query(kReadFurthest, pg::Params().Int64(limit), deadline);
  if (!result.ok()) return result.status();
  FurthestBehind furthest;
  furthest.checkpoints = ParseCheckpoints(*result);
  if (result->rows() > 0) furthest.total = result->Int64(0, kCheckpointColumns);
  return furthest;
}

}  // namespace eventstore::tables
