// ReadStreamFromSnapshot of snapshots_table.h: a snapshot and the events after it.
#include <utility>

#include "server/tables/event_row.h"
#include "server/tables/page_sql.h"
#include "server/tables/snapshot_row.h"
#include "server/tables/snapshots_table.h"
#include "server/tables/stream_info.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

// As a page of a stream (see events_pages.cc), but it starts after the snapshot `n`. The snapshot
// comes with the first event after it, or with the one row that there is without events: its state
// must not travel with every event.
constexpr pg::Statement kFromSnapshot{
    "stream_page_from_snapshot",
    "WITH s AS MATERIALIZED (SELECT * FROM streams WHERE tenant_id = $1 AND aggregate_type = $2"
    " AND aggregate_id = $3), n AS MATERIALIZED (SELECT " EVENTSTORE_SNAPSHOT_STATE_COLUMNS
    " FROM (SELECT p.* FROM s JOIN snapshots p ON true"
    " WHERE p.tenant_id = $1 AND p.aggregate_type = $2 AND p.aggregate_id = $3"
    " AND " EVENTSTORE_SNAPSHOT_FITS
    " AND p.version <= $4 AND ($7::int4 = 0 OR p.schema_version = $7)"
    " ORDER BY p.version DESC LIMIT 1) newest) SELECT " EVENTSTORE_PAGE_HEAD
    ", s.stream_key, " EVENTSTORE_STREAM_INFO_COLUMNS
    ", e.*, n.* FROM log_head h LEFT JOIN s ON true LEFT JOIN LATERAL (" EVENTSTORE_CUT(
        "version") "SELECT " EVENTSTORE_EVENT_COLUMNS
                   ", size_bytes FROM events WHERE stream_key = s.stream_key AND version >="
                   " greatest(coalesce((SELECT version FROM n), 0) + 1, s.first_version)"
                   " AND version <= least($4, s.version) AND global_position >= s.first_position"
                   " AND global_position <= s.last_position AND s.deleted_at IS NULL"
                   " AND NOT s.tombstoned ORDER BY version LIMIT $5" EVENTSTORE_END_CUT(
                       "$6") ") e ON true LEFT JOIN n ON e.global_position IS NULL"
                             " OR e.version = n.version + 1"};

}  // namespace

absl::StatusOr<SnapshotRows> ReadStreamFromSnapshot(pg::Connection& connection,
                                                    const StreamWindow& window,
                                                    std::int32_t schema_version,
                                                    Deadline deadline) {
  auto result = connection.Query(kFromSnapshot,
                                 pg::Params()
                                     .Uuid(TenantOf(window.stream->tenant_id()))
                                     .Text(window.stream->aggregate_type())
                                     .Text(window.stream->aggregate_id())
                                     .Int64(window.high_version)
                                     .Int64(window.limit)
                                     .Int64(window.bytes_max)
                                     .Int32(schema_version),
                                 deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return absl::FailedPreconditionError("log_head has no row");
  SnapshotRows page;
  page.rows = ParseStreamRows(*result, window);
  const int column = kHeadColumns + 1 + kStreamInfoColumns + kEventColumns + 1;
  if (result->IsNull(0, column)) return page;
  page.snapshot.emplace();
  *page.snapshot->mutable_stream() = *window.stream;
  ParseSnapshot(*result, 0, column, /*with_state=*/true, &*page.snapshot);
  return page;
}

}  // namespace eventstore::tables
