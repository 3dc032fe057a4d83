// The table of snapshots.
#ifndef EVENTSTORE_SERVER_TABLES_SNAPSHOTS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_SNAPSHOTS_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/tables/events_table.h"

namespace eventstore::tables {

// Most snapshots of a type that one statement deletes: more are deleted by several, so that no lock
// and no transaction grows with the store.
inline constexpr std::int64_t kSnapshotDeleteRowsMax = 1'000;

// Requests are validated. Each call says in snapshot_service.proto what it promises. No call takes
// a lock that the write lane waits for.

// Errors: NOT_FOUND, INVALID_REQUEST, STREAM_DELETED.
[[nodiscard]] absl::StatusOr<v1::SaveSnapshotResponse> SaveSnapshot(
    pg::Connection& connection, const v1::SaveSnapshotRequest& request, Deadline deadline);
// Saves as part of the write lane's transaction, which has decided that it may be, and leaves the
// newest `keep_versions` of the stream.
void AddWriteSnapshot(pg::Pipeline* pipeline, const v1::SaveSnapshotRequest& request,
                      std::int64_t created_at_micros);
// Errors: NOT_FOUND.
[[nodiscard]] absl::StatusOr<v1::GetSnapshotResponse> GetSnapshot(
    pg::Connection& connection, const v1::GetSnapshotRequest& request, Deadline deadline);
// Errors: INVALID_REQUEST for a page token of somebody else.
[[nodiscard]] absl::StatusOr<v1::ListSnapshotsResponse> ListSnapshots(
    pg::Connection& connection, const v1::ListSnapshotsRequest& request, Deadline deadline);
// What was deleted stays deleted where the deadline ends it.
[[nodiscard]] absl::StatusOr<v1::DeleteSnapshotsResponse> DeleteSnapshots(
    pg::Connection& connection, const v1::DeleteSnapshotsRequest& request, Deadline deadline);

// The newest snapshot of a stream that is not beyond `window.high_version`, and the first page of
// the events after it: one statement, so that they fit whatever is written meanwhile. Without a
// snapshot, the page starts at the stream's beginning.
struct SnapshotRows {
  std::optional<v1::Snapshot> snapshot;
  StreamRows rows;
};
// `window` is forwards, with no bounds but `high_version`, `limit` and `bytes_max`.
// `schema_version` 0: of any.
[[nodiscard]] absl::StatusOr<SnapshotRows> ReadStreamFromSnapshot(pg::Connection& connection,
                                                                  const StreamWindow& window,
                                                                  std::int32_t schema_version,
                                                                  Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_SNAPSHOTS_TABLE_H_
