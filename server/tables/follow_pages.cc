// Pages of one stream for a reader that follows it by way of a filter.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>

#include "server/tables/events_table.h"
#include "server/tables/page_sql.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

constexpr pg::Statement kFollowedStream{
    "follow_stream",
    "SELECT stream_key, version, first_version, first_position, last_position FROM streams"
    " WHERE tenant_id = $1 AND aggregate_type = $2 AND aggregate_id = $3"};
// The bounds of its positions choose the partitions.
constexpr pg::Statement kPositionOfVersion{
    "follow_position",
    "SELECT global_position FROM events WHERE stream_key = $1 AND version = $2"
    " AND global_position >= $3 AND global_position <= $4"};

pg::Params StreamParams(const v1::StreamId& stream) {
  pg::Params params;
  params.Uuid(TenantOf(stream.tenant_id()))
      .Text(stream.aggregate_type())
      .Text(stream.aggregate_id());
  return params;
}

// The first version after a position. Versions grow with positions: a binary search.
absl::StatusOr<std::int64_t> FindVersionAfter(pg::Connection& connection,
                                              const v1::StreamId& stream, std::int64_t position,
                                              Deadline deadline) {
  auto row = connection.Query(kFollowedStream, StreamParams(stream), deadline);
  if (!row.ok()) return row.status();
  if (row->rows() == 0) return 1;
  const std::int64_t first_position = row->Int64(0, 3);
  const std::int64_t last_position = row->Int64(0, 4);
  std::int64_t before = row->Int64(0, 2) - 1;  // known to be at or before the position
  std::int64_t after = row->Int64(0, 1) + 1;   // known to be after it
  if (position < first_position) return before + 1;
  if (position >= last_position) return after;
  while (after - before > 1) {
    const std::int64_t middle = before + (after - before) / 2;
    auto found = connection.Query(kPositionOfVersion,
                                  pg::Params()
                                      .Int64(row->Int64(0, 0))
                                      .Int64(middle)
                                      .Int64(first_position)
                                      .Int64(last_position),
                                  deadline);
    if (!found.ok()) return found.status();
    // A version that is not here any more was archived, from the oldest on.
    const bool later = found->rows() > 0 && found->Int64(0, 0) > position;
    (later ? after : before) = middle;
  }
  return after;
}

// The inner OFFSET 0 keeps the planner at the stream's own index, whatever its statistics make it
// believe of the filter; the rows of one stream are few, and no value beyond the filter's columns
// is fetched of those that do not match.
absl::StatusOr<pg::Result> Query(pg::Connection& connection, const FollowWindow& window,
                                 std::int64_t low_version, Deadline deadline) {
  pg::Params params = StreamParams(*window.stream);
  params.Int64(low_version)
      .Int64(low_version + window.versions_max - 1)
      .Int64(window.after_position + 1)
      .Int64(window.limit)
      .Int64(window.bytes_max);
  std::string conditions = FilterSql(window.filter, &params);
  if (window.filter != nullptr && !window.filter->proto().tags().empty()) {
    const auto& tags = window.filter->proto().tags();
    params.TextArray({tags.begin(), tags.end()});
    absl::StrAppend(&conditions, " AND tags @> $", params.size());
  }
  return connection.QueryOnce(
      absl::StrCat(
          "WITH s AS MATERIALIZED (SELECT * FROM streams WHERE tenant_id = $1"
          " AND aggregate_type = $2 AND aggregate_id = $3) SELECT " EVENTSTORE_PAGE_HEAD
          ", s.first_version, s.tombstoned,"
          " CASE WHEN s.deleted_at IS NULL AND NOT s.tombstoned THEN s.version END,"
          " w.position, e.* FROM log_head h LEFT JOIN s ON true"
          " LEFT JOIN LATERAL (SELECT global_position AS position FROM events"
          " WHERE stream_key = s.stream_key AND version = $5"
          " AND global_position >= s.first_position AND global_position <= s.last_position) w"
          " ON true LEFT JOIN LATERAL (" EVENTSTORE_CUT(
              "version") "SELECT * FROM (SELECT " EVENTSTORE_EVENT_COLUMNS
                         ", size_bytes FROM events WHERE stream_key = s.stream_key"
                         " AND version >= greatest($4, s.first_version) AND version <= $5"
                         " AND global_position >= greatest($6, s.first_position)"
                         " AND global_position <= s.last_position AND s.deleted_at IS NULL"
                         " AND NOT s.tombstoned ORDER BY version OFFSET 0) f "
                         "WHERE true",
          conditions, " ORDER BY version LIMIT $7" EVENTSTORE_END_CUT("$8") ") e ON true"),
      params, deadline);
}

// The columns before those of the events.
constexpr int kColumnFirstVersion = kHeadColumns;
constexpr int kColumnTombstoned = kHeadColumns + 1;
constexpr int kColumnVersion = kHeadColumns + 2;
constexpr int kColumnWindowEnd = kHeadColumns + 3;
constexpr int kColumnEvents = kHeadColumns + 4;

}  // namespace

absl::StatusOr<FollowRows> ReadFollowWindow(pg::Connection& connection, const FollowWindow& window,
                                            Deadline deadline) {
  std::int64_t low = window.low_version;
  if (low <= 0) {
    auto found = FindVersionAfter(connection, *window.stream, window.after_position, deadline);
    if (!found.ok()) return found.status();
    low = *found;
  }
  auto result = Query(connection, window, low, deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return absl::FailedPreconditionError("log_head has no row");
  FollowRows rows;
  rows.head = ParsePageHead(*result);
  rows.position = rows.head.position;
  rows.next_version = low;
  if (!result->IsNull(0, kColumnFirstVersion)) {
    rows.first_version = result->Int64(0, kColumnFirstVersion);
    rows.tombstoned = result->Bool(0, kColumnTombstoned);
  }
  if (result->IsNull(0, kColumnVersion)) {  // no such stream, or deleted: nothing up to the head
    rows.next_version = std::max(low, rows.first_version);
    return rows;
  }
  const std::int64_t last_version = result->Int64(0, kColumnVersion);
  const std::int64_t high = low + window.versions_max - 1;
  if (last_version > high) {
    rows.next_version = high + 1;
    rows.position = result->IsNull(0, kColumnWindowEnd) ? window.after_position
                                                        : result->Int64(0, kColumnWindowEnd);
  } else {
    rows.next_version = std::max(low, last_version + 1);
  }
  if (result->IsNull(0, kColumnEvents)) return rows;
  const int last = result->rows() - 1;
  for (int row = 0; row <= last; ++row) {
    v1::Event event;
    ParseEvent(*result, row, kColumnEvents, &event);
    const bool matches =
        window.filter == nullptr || window.filter->MatchesRegex(event.event_type());
    if (row == last && (last + 1 >= window.limit ||
                        result->Int64(row, kColumnEvents + kEventColumns) >= window.bytes_max)) {
      rows.position = event.global_position();
      rows.next_version = event.version() + 1;
    }
    if (matches) rows.events.push_back(std::move(event));
  }
  return rows;
}

}  // namespace eventstore::tables
