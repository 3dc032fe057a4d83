#include "server/tables/outbox_admin.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validation.h"
#include "server/tables/outbox_row.h"
#include "server/tables/outbox_table.h"
#include "server/tables/page_tokens.h"

namespace eventstore::tables {
namespace {

constexpr char kListToken = 'o';
constexpr char kRetryToken = 'r';

constexpr pg::Statement kPause{
    "outbox_pause",
    "INSERT INTO outbox_sinks AS s (sink, paused) SELECT $1, $2 WHERE $2 OR EXISTS"
    " (SELECT FROM outbox_sinks WHERE sink = $1) ON CONFLICT (sink) DO UPDATE"
    " SET paused = excluded.paused, updated_at = clock_timestamp() WHERE s.paused <> $2"};

constexpr char kCountSql[] =
    "SELECT sink, count(*) FILTER (WHERE status = 'pending'),"
    " count(*) FILTER (WHERE status = 'claimed'), count(*) FILTER (WHERE status = 'failed'),"
    " min(created_at) FILTER (WHERE status <> 'failed'), (sum(count(*)) OVER ())::bigint"
    " FROM (SELECT sink, status, created_at FROM event_outbox WHERE status <> 'published'"
    " AND ($1 = '' OR sink = $1) ORDER BY sink, stream_key, global_position LIMIT $2) q"
    " GROUP BY sink";

constexpr pg::Statement kReadSinks{
    "outbox_read_sinks",
    "SELECT sink, paused, daemon, coalesce(lease_until > clock_timestamp(), false)"
    " AND daemon IS NOT NULL, state, last_error FROM outbox_sinks"};

// Where a walk through the entries stands: after this position and id.
struct Place {
  std::int64_t position = 0;
  Uuid id = kNilUuid;
};

std::string EncodePlace(char kind, std::int64_t position, const Uuid& id) {
  return EncodeKeyToken(kind, absl::StrCat(position, "/", FormatUuid(id)));
}

std::optional<Place> DecodePlace(char kind, std::string_view token) {
  if (token.empty()) return Place();
  const auto key = DecodeKeyToken(kind, token);
  const std::size_t slash = key.has_value() ? key->find('/') : std::string::npos;
  if (slash == std::string::npos) return std::nullopt;
  Place place;
  const auto id = ParseUuid(std::string_view(*key).substr(slash + 1));
  if (!id.has_value() || !absl::SimpleAtoi(key->substr(0, slash), &place.position)) {
    return std::nullopt;
  }
  place.id = *id;
  return place;
}

absl::Status NotOurs(std::string_view field) {
  return InvalidRequest(field, absl::StrCat(absl::string_view(field.data(), field.size()),
                                            ": is not one that this server gave for this request;"
                                            " start with an empty one"));
}

// What a filter says, over the columns of `q`: " AND ..." for each condition.
std::string FilterSql(const v1::OutboxFilter& filter, pg::Params* params) {
  std::string sql;
  const auto add = [&](const char* condition) {
    absl::StrAppend(&sql, " AND q.", condition, "$", params->size());
  };
  if (!filter.sink().empty()) {
    params->Text(filter.sink());
    add("sink = ");
  }
  if (const std::string_view status = StatusText(filter.status()); !status.empty()) {
    params->Text(status);
    add("status = ");
  }
  if (!filter.event_types().empty()) {
    params->TextArray({filter.event_types().begin(), filter.event_types().end()});
    add("event_type = ANY(");
    sql += ')';
  }
  if (!filter.has_stream()) return sql;
  params->Text(filter.stream().aggregate_type());
  add("aggregate_type = ");
  params->Text(filter.stream().aggregate_id());
  add("aggregate_id = ");
  const auto tenant = ParseUuid(filter.stream().tenant_id());
  tenant.has_value() ? params->Uuid(*tenant) : params->Null(pg::kUuid);
  add("tenant_id IS NOT DISTINCT FROM ");
  return sql;
}

// The next entries in the order of their positions, of those whose status can match: what is
// published and what is not have an index each.
std::string NextSql(std::string_view columns, v1::OutboxStatus status, const Place& after,
                    std::int64_t rows_max, pg::Params* params) {
  params->Int64(after.position).Uuid(after.id).Int64(rows_max);
  const int first = params->size() - 2;
  const auto walk = [&](const char* condition) {
    return absl::StrCat("(SELECT ", absl::string_view(columns.data(), columns.size()),
                        " FROM event_outbox WHERE ", condition, " AND (global_position, id) > ($",
                        first, ", $", first + 1, ") ORDER BY global_position, id LIMIT $",
                        first + 2, ")");
  };
  if (status == v1::OUTBOX_STATUS_PUBLISHED) return walk("status = 'published'");
  if (status != v1::OUTBOX_STATUS_UNSPECIFIED) return walk("status <> 'published'");
  return absl::StrCat("SELECT * FROM (", walk("status = 'published'"), " UNION ALL ",
                      walk("status <> 'published'"), ") a ORDER BY global_position, id LIMIT $",
                      first + 2);
}

// What Retry does to an entry that it may change.
#define EVENTSTORE_OUTBOX_RETRY                                                             \
  "status = 'pending', next_attempt_at = NULL, retry_count = CASE WHEN o.status = 'failed'" \
  " THEN 0 ELSE o.retry_count END"
#define EVENTSTORE_OUTBOX_RETRYABLE \
  "(q.status = 'failed' OR (q.status = 'pending' AND q.next_attempt_at > clock_timestamp()))"

absl::StatusOr<v1::RetryOutboxResponse> RetryIds(pg::Connection& connection,
                                                 const v1::OutboxIds& ids, Deadline deadline) {
  pg::ArrayWriter array(pg::kUuid);
  for (const std::string& id : ids.ids()) array.Uuid(ParseUuid(id).value_or(kNilUuid));
  pg::Params params;
  params.Array(&array);
  auto result = connection.QueryOnce(
      "WITH missing AS MATERIALIZED (SELECT n.id FROM unnest($1::uuid[]) AS n(id)"
      " WHERE NOT EXISTS (SELECT FROM event_outbox x WHERE x.id = n.id) LIMIT 1),"
      " locked AS MATERIALIZED (SELECT q.id FROM event_outbox q WHERE q.id = ANY($1)"
      " AND NOT EXISTS (SELECT FROM missing) AND " EVENTSTORE_OUTBOX_RETRYABLE
      " FOR UPDATE SKIP LOCKED), changed AS (UPDATE event_outbox o SET " EVENTSTORE_OUTBOX_RETRY
      " FROM locked l WHERE o.id = l.id RETURNING o.id)"
      " SELECT (SELECT count(*) FROM changed), (SELECT id FROM missing)",
      params, deadline);
  if (!result.ok()) return result.status();
  if (!result->IsNull(0, 1)) return NotFound("outbox entry", FormatUuid(result->Uuid(0, 1)));
  v1::RetryOutboxResponse response;
  response.set_retried(result->Int64(0, 0));
  return response;
}

v1::RelayState StateOf(const v1::OutboxStats& stats, bool paused, bool is_owned,
                       std::string_view state) {
  if (stats.type() == "worker") return v1::RELAY_STATE_NONE;
  if (paused) return v1::RELAY_STATE_PAUSED;
  if (!is_owned) return v1::RELAY_STATE_UNOWNED;
  return state == "unavailable" ? v1::RELAY_STATE_UNAVAILABLE : v1::RELAY_STATE_RUNNING;
}

void ReadRelays(const pg::Result& sinks, std::map<std::string, v1::OutboxStats>* by_sink) {
  for (auto& [name, stats] : *by_sink) stats.set_relay(StateOf(stats, false, false, ""));
  for (int row = 0; row < sinks.rows(); ++row) {
    const auto found = by_sink->find(std::string(sinks.Text(row, 0)));
    if (found == by_sink->end()) continue;
    v1::OutboxStats& stats = found->second;
    const bool is_owned = sinks.Bool(row, 3);
    stats.set_relay(StateOf(stats, sinks.Bool(row, 1), is_owned, sinks.Text(row, 4)));
    if (is_owned) stats.set_daemon(FormatUuid(sinks.Uuid(row, 2)));
    if (stats.relay() == v1::RELAY_STATE_UNAVAILABLE && !sinks.IsNull(row, 5)) {
      stats.set_last_error(std::string(sinks.Text(row, 5)));
    }
  }
}

}  // namespace

absl::StatusOr<v1::ListOutboxResponse> ListOutbox(pg::Connection& connection,
                                                  const v1::ListOutboxRequest& request,
                                                  Deadline deadline) {
  const auto after = DecodePlace(kListToken, request.page_token());
  if (!after.has_value()) return NotOurs("page_token");
  pg::Params params;
  const std::string looked =
      NextSql("*", request.filter().status(), *after, kOutboxScanRowsMax, &params);
  const std::string matches = FilterSql(request.filter(), &params);
  params.Int64(request.page_size()).Int64(kOutboxPageBytesMax);
  const int bytes = params.size();
  // The page is cut where its sizes add up to its bytes; the first entry always comes.
  auto result = connection.QueryOnce(
      absl::StrCat(
          "WITH looked AS MATERIALIZED (", looked,
          "), hits AS MATERIALIZED (SELECT q.* FROM looked q WHERE true", matches,
          " ORDER BY q.global_position, q.id LIMIT $", bytes - 1,
          "), cut AS (SELECT h.*, sum(octet_length(event_data::text)) OVER"
          " (ORDER BY global_position, id) - octet_length(event_data::text) AS before FROM hits h)"
          " SELECT l.looked, n.hits, l.position, l.id, " EVENTSTORE_OUTBOX_COLUMNS
          "FROM (SELECT global_position AS position, id, count(*) OVER () AS looked FROM looked"
          " ORDER BY global_position DESC, id DESC LIMIT 1) l"
          " CROSS JOIN (SELECT count(*) AS hits FROM hits) n"
          " LEFT JOIN cut q ON q.before < $",
          bytes, " ORDER BY q.global_position, q.id"),
      params, deadline);
  if (!result.ok()) return result.status();
  v1::ListOutboxResponse response;
  constexpr int kFirstColumn = 4;
  for (int row = 0; row < result->rows(); ++row) {
    if (result->IsNull(row, kFirstColumn)) continue;
    *response.add_entries() = ParseOutboxRow(*result, row, kFirstColumn);
  }
  if (result->rows() == 0) return response;
  const int last = result->rows() - 1;
  const std::int64_t hits = result->Int64(0, 1);
  if (hits >= request.page_size() || response.entries_size() < hits) {
    response.set_next_page_token(
        EncodePlace(kListToken, result->Int64(last, kFirstColumn + kOutboxPositionColumn),
                    result->Uuid(last, kFirstColumn)));
  } else if (result->Int64(0, 0) >= kOutboxScanRowsMax) {
    response.set_next_page_token(EncodePlace(kListToken, result->Int64(0, 2), result->Uuid(0, 3)));
  }
  return response;
}

absl::StatusOr<v1::RetryOutboxResponse> RetryOutbox(pg::Connection& connection,
                                                    const v1::RetryOutboxRequest& request,
                                                    Deadline deadline) {
  if (request.has_ids()) return RetryIds(connection, request.ids(), deadline);
  const auto after = DecodePlace(kRetryToken, request.after_id());
  if (!after.has_value()) return NotOurs("after_id");
  pg::Params params;
  const std::string looked = NextSql("global_position, id", v1::OUTBOX_STATUS_PENDING, *after,
                                     kOutboxChangeRowsMax, &params);
  const std::string matches = FilterSql(request.filter(), &params);
  auto result = connection.QueryOnce(
      absl::StrCat("WITH looked AS MATERIALIZED (", looked,
                   "), locked AS MATERIALIZED (SELECT q.id FROM event_outbox q WHERE q.id = ANY"
                   " (ARRAY(SELECT id FROM looked)) AND " EVENTSTORE_OUTBOX_RETRYABLE,
                   matches,
                   " FOR UPDATE SKIP LOCKED), changed AS (UPDATE event_outbox o"
                   " SET " EVENTSTORE_OUTBOX_RETRY
                   " FROM locked l WHERE o.id = l.id RETURNING o.id) SELECT"
                   " (SELECT count(*) FROM changed), (SELECT count(*) FROM looked),"
                   " l.global_position, l.id FROM (SELECT * FROM looked"
                   " ORDER BY global_position DESC, id DESC LIMIT 1) l"),
      params, deadline);
  if (!result.ok()) return result.status();
  v1::RetryOutboxResponse response;
  if (result->rows() == 0) return response;
  response.set_retried(result->Int64(0, 0));
  if (result->Int64(0, 1) >= kOutboxChangeRowsMax) {
    response.set_next_after_id(EncodePlace(kRetryToken, result->Int64(0, 2), result->Uuid(0, 3)));
  }
  return response;
}

absl::StatusOr<v1::GetOutboxStatsResponse> ReadOutboxStats(
    pg::Connection& connection, const v1::GetOutboxStatsRequest& request,
    const std::vector<OutboxSinkType>& configured, Deadline deadline) {
  // Planned for its very sink: with a generic plan it would count all of them.
  auto counts = connection.QueryOnce(
      kCountSql, pg::Params().Text(request.sink()).Int64(kOutboxStatsRowsMax), deadline);
  if (!counts.ok()) return counts.status();
  auto sinks = connection.Query(kReadSinks, pg::Params(), deadline);
  if (!sinks.ok()) return sinks.status();
  std::map<std::string, v1::OutboxStats> by_sink;
  for (const OutboxSinkType& known : configured) {
    if (request.sink().empty() || known.sink == request.sink()) {
      by_sink[known.sink].set_type(known.type);
    }
  }
  v1::GetOutboxStatsResponse response;
  for (int row = 0; row < counts->rows(); ++row) {
    v1::OutboxStats& stats = by_sink[std::string(counts->Text(row, 0))];
    stats.set_pending(counts->Int64(row, 1));
    stats.set_claimed(counts->Int64(row, 2));
    stats.set_failed(counts->Int64(row, 3));
    if (!counts->IsNull(row, 4)) {
      FromUnixMicros(counts->Timestamp(row, 4), stats.mutable_oldest_pending_at());
    }
    response.set_truncated(counts->Int64(row, 5) >= kOutboxStatsRowsMax);
  }
  ReadRelays(*sinks, &by_sink);
  for (auto& [name, stats] : by_sink) {
    stats.set_sink(name);
    *response.add_stats() = std::move(stats);
  }
  return response;
}

absl::StatusOr<v1::PauseOutboxResponse> PauseOutbox(pg::Connection& connection,
                                                    const v1::PauseOutboxRequest& request,
                                                    Deadline deadline) {
  auto result =
      connection.Query(kPause, pg::Params().Text(request.sink()).Bool(request.paused()), deadline);
  if (!result.ok()) return result.status();
  v1::PauseOutboxResponse response;
  response.set_changed(result->affected() > 0);
  return response;
}

absl::StatusOr<v1::PurgeOutboxResponse> PurgeOutbox(pg::Connection& connection,
                                                    const v1::PurgeOutboxRequest& request,
                                                    Deadline deadline) {
  std::int64_t before = 0;
  (void)ToUnixMicros(request.published_before(), &before);  // validated
  pg::Params params;
  params.Timestamp(before).Int64(kOutboxPurgeRowsMax);
  std::string of_sink;
  if (!request.sink().empty()) {
    params.Text(request.sink());
    of_sink = " AND sink = $3";
  }
  auto result = connection.QueryOnce(
      absl::StrCat("DELETE FROM event_outbox WHERE status = 'published' AND id = ANY (ARRAY("
                   "SELECT id FROM event_outbox WHERE status = 'published' AND published_at < $1",
                   of_sink, " ORDER BY published_at LIMIT $2 FOR UPDATE SKIP LOCKED))"),
      params, deadline);
  if (!result.ok()) return result.status();
  v1::PurgeOutboxResponse response;
  response.set_purged(result->affected());
  response.set_has_more(result->affected() >= kOutboxPurgeRowsMax);
  return response;
}

}  // namespace eventstore::tables
