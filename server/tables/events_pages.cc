// Pages of the events table: the reading half of events_table.h.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <string>

#include "server/tables/event_row.h"
#include "server/tables/events_table.h"
#include "server/tables/page_sql.h"
#include "server/tables/stream_info.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

#define EVENTSTORE_ALL_PAGE(ORDER)                                                            \
  "SELECT " EVENTSTORE_PAGE_HEAD ", e.* FROM log_head h LEFT JOIN LATERAL (" EVENTSTORE_CUT(  \
      ORDER) "SELECT " EVENTSTORE_EVENT_COLUMNS                                               \
             ", size_bytes FROM events WHERE global_position >= $1 AND global_position <= $2" \
             " ORDER BY " ORDER " LIMIT $3" EVENTSTORE_END_CUT("$4") ") e ON true"

constexpr pg::Statement kAllForwards{"events_page_forwards",
                                     EVENTSTORE_ALL_PAGE("global_position")};
constexpr pg::Statement kAllBackwards{"events_page_backwards",
                                      EVENTSTORE_ALL_PAGE("global_position DESC")};

// The streams row bounds the positions, so that only the partitions that hold this stream are
// probed.
#define EVENTSTORE_STREAM_PAGE(ORDER, TIMES)                                                     \
  "WITH s AS MATERIALIZED (SELECT * FROM streams WHERE tenant_id = $1 AND aggregate_type = $2"   \
  " AND aggregate_id = $3) SELECT " EVENTSTORE_PAGE_HEAD                                         \
  ", s.stream_key, " EVENTSTORE_STREAM_INFO_COLUMNS                                              \
  ", e.* FROM log_head h LEFT JOIN s ON true LEFT JOIN LATERAL (" EVENTSTORE_CUT(                \
      ORDER) "SELECT " EVENTSTORE_EVENT_COLUMNS                                                  \
             ", size_bytes FROM events WHERE stream_key = s.stream_key"                          \
             " AND version >= greatest($4, s.first_version) AND version <= least($5, s.version)" \
             " AND global_position >= greatest($9, s.first_position)"                            \
             " AND global_position <= least($6, s.last_position)"                                \
             " AND s.deleted_at IS NULL AND NOT s.tombstoned" TIMES " ORDER BY " ORDER           \
             " LIMIT $7" EVENTSTORE_END_CUT("$8") ") e ON true"
#define EVENTSTORE_STREAM_TIMES " AND timestamp >= $10 AND timestamp < $11"

constexpr pg::Statement kStreamForwards{"stream_page_forwards",
                                        EVENTSTORE_STREAM_PAGE("version", "")};
constexpr pg::Statement kStreamBackwards{"stream_page_backwards",
                                         EVENTSTORE_STREAM_PAGE("version DESC", "")};
constexpr pg::Statement kStreamForwardsTimes{
    "stream_page_forwards_times", EVENTSTORE_STREAM_PAGE("version", EVENTSTORE_STREAM_TIMES)};
constexpr pg::Statement kStreamBackwardsTimes{
    "stream_page_backwards_times", EVENTSTORE_STREAM_PAGE("version DESC", EVENTSTORE_STREAM_TIMES)};

// Most streams that are read are short and their events small. Such a page needs no running sum of
// sizes, which takes PostgreSQL as long as all the rest: no row is larger than its share of the
// bytes.
#define EVENTSTORE_SMALL_PAGE(ORDER)                                                              \
  "WITH s AS MATERIALIZED (SELECT * FROM streams WHERE tenant_id = $1 AND aggregate_type = $2"    \
  " AND aggregate_id = $3) SELECT " EVENTSTORE_PAGE_HEAD                                          \
  ", s.stream_key, " EVENTSTORE_STREAM_INFO_COLUMNS                                               \
  ", e.* FROM log_head h LEFT JOIN s ON true LEFT JOIN LATERAL (SELECT " EVENTSTORE_EVENT_COLUMNS \
  " FROM events WHERE stream_key = s.stream_key"                                                  \
  " AND version >= greatest($4, s.first_version) AND version <= least($5, s.version)"             \
  " AND global_position >= s.first_position AND global_position <= s.last_position"               \
  " AND s.deleted_at IS NULL AND NOT s.tombstoned AND size_bytes <= $7 ORDER BY " ORDER           \
  " LIMIT $6) e ON true"

constexpr pg::Statement kSmallForwards{"stream_small_page_forwards",
                                       EVENTSTORE_SMALL_PAGE("version")};
constexpr pg::Statement kSmallBackwards{"stream_small_page_backwards",
                                        EVENTSTORE_SMALL_PAGE("version DESC")};
constexpr std::int64_t kSmallPageEvents = 64;

// The years that a timestamp can have on the wire, as open ends of a time window.
constexpr std::int64_t kTimeMin = -62'135'596'800'000'000;
constexpr std::int64_t kTimeMax = 253'402'300'800'000'000;

// A filtered page is planned for its very values: with a generic plan a rare type takes far longer.
absl::StatusOr<pg::Result> QueryAll(pg::Connection& connection, const AllWindow& window,
                                    Deadline deadline) {
  pg::Params params;
  params.Int64(window.low).Int64(window.high).Int64(window.limit).Int64(window.bytes_max);
  const std::string conditions = ConditionsSql(window, &params);
  if (conditions.empty()) {
    return connection.Query(window.backwards ? kAllBackwards : kAllForwards, params, deadline);
  }
  const std::string order = window.backwards ? "global_position DESC" : "global_position";
  return connection.QueryOnce(
      absl::StrCat("SELECT " EVENTSTORE_PAGE_HEAD
                   ", e.* FROM log_head h LEFT JOIN LATERAL (SELECT " EVENTSTORE_EVENT_COLUMNS
                   ", running FROM (SELECT *, sum(size_bytes) OVER (ORDER BY ",
                   order,
                   ") AS running FROM (SELECT " EVENTSTORE_EVENT_COLUMNS
                   ", size_bytes FROM events WHERE global_position >= $1"
                   " AND global_position <= $2",
                   conditions, " ORDER BY ", order, " LIMIT $3",
                   EVENTSTORE_END_CUT("$4") ") e ON true"),
      params, deadline);
}

}  // namespace

// A tag's rows are named by the table of tags within the window's bounds, which is a short range of
// its index; the planner does not see by itself that the bounds hold there too.
std::string ConditionsSql(const AllWindow& window, pg::Params* params) {
  std::string sql = FilterSql(window.filter, params);
  if (window.filter != nullptr) {
    for (const std::string& tag : window.filter->proto().tags()) {
      params->Text(tag);
      absl::StrAppend(&sql,
                      " AND global_position IN (SELECT global_position FROM event_tags"
                      " WHERE tag = $",
                      params->size(), " AND global_position >= $1 AND global_position <= $2)");
    }
  }
  if (window.from_timestamp_micros.has_value()) {
    params->Timestamp(*window.from_timestamp_micros);
    absl::StrAppend(&sql, " AND timestamp >= $", params->size());
  }
  if (window.to_timestamp_micros.has_value()) {
    params->Timestamp(*window.to_timestamp_micros);
    absl::StrAppend(&sql, " AND timestamp < $", params->size());
  }
  return sql;
}

absl::StatusOr<EventRows> ParseEventRows(const pg::Result& result, const AllWindow& window) {
  if (result.rows() == 0) return absl::FailedPreconditionError("log_head has no row");
  EventRows rows;
  rows.head = ParsePageHead(result);
  if (result.IsNull(0, kHeadColumns)) return rows;
  const int last = result.rows() - 1;
  rows.last_row_position = result.Int64(last, kHeadColumns);
  rows.cut = result.rows() >= window.limit;
  std::int64_t bytes = 0;
  rows.events.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row <= last; ++row) {
    bytes = result.Int64(row, kHeadColumns + kEventColumns);
    if (window.filter != nullptr &&
        !window.filter->MatchesRegex(result.Text(row, kHeadColumns + 4))) {
      continue;
    }
    ParseEvent(result, row, kHeadColumns, &rows.events.emplace_back());
  }
  rows.cut = rows.cut || bytes >= window.bytes_max;
  return rows;
}

absl::StatusOr<EventRows> ReadAllWindow(pg::Connection& connection, const AllWindow& window,
                                        Deadline deadline) {
  auto result = QueryAll(connection, window, deadline);
  if (!result.ok()) return result.status();
  return ParseEventRows(*result, window);
}

namespace {

constexpr int kStreamEventColumn = kHeadColumns + 1 + kStreamInfoColumns;

pg::Params StreamParams(const StreamWindow& window) {
  pg::Params params;
  params.Uuid(TenantOf(window.stream->tenant_id()))
      .Text(window.stream->aggregate_type())
      .Text(window.stream->aggregate_id())
      .Int64(window.low_version)
      .Int64(window.high_version);
  return params;
}

// Everything of a page of a stream but its events.
StreamRows ParseStreamHead(const pg::Result& result, const StreamWindow& window) {
  StreamRows rows;
  rows.head = ParsePageHead(result);
  *rows.info.mutable_stream() = *window.stream;
  if (!result.IsNull(0, kHeadColumns)) ParseStreamInfo(result, 0, kHeadColumns + 1, &rows.info);
  return rows;
}

bool HasEvents(const pg::Result& result) { return !result.IsNull(0, kStreamEventColumn); }

// The page up to the first event that is not small, if it begins with one that is: versions have no
// gaps, so one that is missing tells. Nothing where the page begins with another.
absl::StatusOr<std::optional<StreamRows>> ReadSmallPage(pg::Connection& connection,
                                                        const StreamWindow& window,
                                                        Deadline deadline) {
  const std::int64_t limit = std::min(window.limit, kSmallPageEvents);
  pg::Params params = StreamParams(window);
  params.Int64(limit).Int32(static_cast<std::int32_t>(
      std::min<std::int64_t>(window.bytes_max / kSmallPageEvents, INT32_MAX)));
  auto result =
      connection.Query(window.backwards ? kSmallBackwards : kSmallForwards, params, deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return absl::FailedPreconditionError("log_head has no row");
  StreamRows rows = ParseStreamHead(*result, window);
  const std::int64_t low = std::max(window.low_version, rows.info.first_version());
  const std::int64_t high = std::min(window.high_version, rows.info.version());
  if (!rows.info.exists() || low > high) return rows;
  const std::int64_t step = window.backwards ? -1 : 1;
  std::int64_t next = window.backwards ? high : low;
  if (HasEvents(*result)) {
    rows.events.reserve(static_cast<std::size_t>(result->rows()));
    for (int row = 0; row < result->rows(); ++row) {
      v1::Event event;
      ParseEvent(*result, row, kStreamEventColumn, &event);
      if (event.version() != next) break;
      rows.events.push_back(std::move(event));
      next += step;
    }
  }
  if (rows.events.empty()) return std::nullopt;
  rows.cut = window.backwards ? next >= low : next <= high;
  return rows;
}

}  // namespace

StreamRows ParseStreamRows(const pg::Result& result, const StreamWindow& window) {
  StreamRows rows = ParseStreamHead(result, window);
  if (!HasEvents(result)) return rows;
  rows.events.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    ParseEvent(result, row, kStreamEventColumn, &rows.events.emplace_back());
  }
  const std::int64_t bytes = result.Int64(result.rows() - 1, kStreamEventColumn + kEventColumns);
  rows.cut = result.rows() >= window.limit || bytes >= window.bytes_max;
  return rows;
}

absl::StatusOr<StreamRows> ReadStreamWindow(pg::Connection& connection, const StreamWindow& window,
                                            Deadline deadline) {
  const bool times =
      window.from_timestamp_micros.has_value() || window.to_timestamp_micros.has_value();
  // A page that goes on where another ended belongs to a long read, which large pages serve better.
  if (!times && window.low_position <= 1 && window.end_position == INT64_MAX) {
    auto small = ReadSmallPage(connection, window, deadline);
    if (!small.ok()) return small.status();
    if (small->has_value()) return **std::move(small);
  }
  pg::Params params = StreamParams(window);
  params.Int64(window.end_position)
      .Int64(window.limit)
      .Int64(window.bytes_max)
      .Int64(window.low_position);
  if (times) {
    params.Timestamp(window.from_timestamp_micros.value_or(kTimeMin))
        .Timestamp(window.to_timestamp_micros.value_or(kTimeMax));
  }
  const pg::Statement& statement = window.backwards
                                       ? (times ? kStreamBackwardsTimes : kStreamBackwards)
                                       : (times ? kStreamForwardsTimes : kStreamForwards);
  auto result = connection.Query(statement, params, deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return absl::FailedPreconditionError("log_head has no row");
  return ParseStreamRows(*result, window);
}

}  // namespace eventstore::tables
