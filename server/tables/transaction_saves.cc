#include "server/tables/transaction_saves.h"

#include <utility>

#include "server/core/snapshot_validation.h"
#include "server/core/transaction.h"
#include "server/core/validation.h"
#include "server/tables/checkpoint_row.h"

namespace eventstore::tables {
namespace {

// Every daemon and every request locks in this order, so that none waits for another in a ring.
constexpr pg::Statement kLockCheckpoints{"transaction_lock_checkpoints",
                                         "SELECT " EVENTSTORE_CHECKPOINT_COLUMNS
                                         "FROM projection_checkpoints"
                                         " WHERE projection_name = ANY ($1::text[])"
                                         " ORDER BY projection_name FOR UPDATE"};

constexpr pg::Statement kReadEpochs{"transaction_read_epochs",
                                    "SELECT epoch, first_position FROM log_epochs ORDER BY epoch"};

constexpr pg::Statement kReadSnapshotVersions{
    "transaction_read_snapshots",
    "SELECT (n.i - 1)::int4, s.version FROM unnest($1::uuid[], $2::text[], $3::text[])"
    " WITH ORDINALITY AS n(tenant_id, aggregate_type, aggregate_id, i)"
    " CROSS JOIN LATERAL (SELECT version FROM snapshots"
    " WHERE snapshots.tenant_id = n.tenant_id AND snapshots.aggregate_type = n.aggregate_type"
    " AND snapshots.aggregate_id = n.aggregate_id ORDER BY version DESC LIMIT $4) s"};

// A row that was locked is there; one that was not there may be there by now.
constexpr pg::Statement kWriteCheckpoint{
    "transaction_write_checkpoint",
    "WITH saved AS (INSERT INTO projection_checkpoints (projection_name, global_position, epoch,"
    " last_event_id, last_event_type, events_processed, filter, last_processed_at, created_at,"
    " updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    " ON CONFLICT (projection_name) DO UPDATE SET global_position = excluded.global_position,"
    " epoch = excluded.epoch, last_event_id = excluded.last_event_id,"
    " last_event_type = excluded.last_event_type, events_processed = excluded.events_processed,"
    " filter = excluded.filter, last_processed_at = excluded.last_processed_at,"
    " updated_at = excluded.updated_at WHERE $11::bool RETURNING 1)"
    " SELECT CASE WHEN count(*) = 1 THEN 0 ELSE"
    " ('checkpoint guard: ' || count(*) || ' rows are as they were locked')::int END FROM saved"};

}  // namespace

void AddLockCheckpoints(pg::Pipeline* pipeline, const std::vector<std::string>& projections) {
  pipeline->Add(kLockCheckpoints, pg::Params().TextArray(projections));
}

std::vector<v1::Checkpoint> ParseLockCheckpoints(const pg::Result& result) {
  std::vector<v1::Checkpoint> checkpoints;
  for (int row = 0; row < result.rows(); ++row) {
    checkpoints.push_back(ParseCheckpoint(result, row));
  }
  return checkpoints;
}

void AddReadEpochs(pg::Pipeline* pipeline) { pipeline->Add(kReadEpochs, pg::Params()); }

std::vector<Epoch> ParseReadEpochs(const pg::Result& result) {
  std::vector<Epoch> epochs;
  for (int row = 0; row < result.rows(); ++row) {
    epochs.push_back({result.Int64(row, 0), result.Int64(row, 1)});
  }
  return epochs;
}

void AddReadSnapshotVersions(pg::Pipeline* pipeline, const std::vector<StreamName>& streams) {
  pg::ArrayWriter tenants(pg::kUuid), types(pg::kText), ids(pg::kText);
  for (const StreamName& stream : streams) {
    tenants.Uuid(stream.tenant);
    types.Text(stream.aggregate_type);
    ids.Text(stream.aggregate_id);
  }
  pg::Params params;
  params.Array(&tenants).Array(&types).Array(&ids).Int64(kSnapshotsKeptMax);
  pipeline->Add(kReadSnapshotVersions, std::move(params));
}

std::vector<std::vector<std::int64_t>> ParseReadSnapshotVersions(const pg::Result& result,
                                                                 std::size_t streams) {
  std::vector<std::vector<std::int64_t>> versions(streams);
  for (int row = 0; row < result.rows(); ++row) {
    versions[static_cast<std::size_t>(result.Int32(row, 0))].push_back(result.Int64(row, 1));
  }
  return versions;
}

absl::Status AddWriteCheckpoint(pg::Pipeline* pipeline, const CheckpointWrite& checkpoint) {
  const v1::Checkpoint& row = checkpoint.checkpoint;
  const auto micros = [](const google::protobuf::Timestamp& time) {
    std::int64_t value = 0;
    (void)ToUnixMicros(time, &value);  // our own
    return value;
  };
  pg::Params params;
  params.Text(row.projection_name()).Int64(row.position()).Int64(row.epoch());
  row.last_event_id().empty() ? params.Null(pg::kUuid)
                              : params.Uuid(ParseUuid(row.last_event_id()).value_or(kNilUuid));
  row.last_event_type().empty() ? params.Null(pg::kText) : params.Text(row.last_event_type());
  params.Int64(row.events_processed());
  if (absl::Status added = AddFilterParam(row.filter(), &params); !added.ok()) return added;
  params.Timestamp(micros(row.last_processed_at()))
      .Timestamp(micros(row.created_at()))
      .Timestamp(micros(row.updated_at()))
      .Bool(checkpoint.existed);
  pipeline->Add(kWriteCheckpoint, std::move(params));
  return absl::OkStatus();
}

}  // namespace eventstore::tables
