#include "server/tables/dead_letters_admin.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validation.h"
#include "server/tables/dead_letter_row.h"
#include "server/tables/dead_letter_scan.h"
#include "server/tables/dead_letters_table.h"
#include "server/tables/page_tokens.h"

namespace eventstore::tables {
namespace {

constexpr char kListToken = 'd';

constexpr pg::Statement kFindEvent{"dead_letters_find_event",
                                   "SELECT i.global_position, h.first_position FROM log_head h"
                                   " LEFT JOIN event_ids i ON i.event_id = $1"};

constexpr pg::Statement kReadByKey{"dead_letters_read_by_key",
                                   "SELECT " EVENTSTORE_DEAD_LETTER_COLUMNS
                                   "FROM dead_letter_queue q" EVENTSTORE_DEAD_LETTER_STREAM
                                   "WHERE q.event_id = $1 AND q.projection_name = $2"};

constexpr pg::Statement kReadById{"dead_letters_read_by_id",
                                  "SELECT " EVENTSTORE_DEAD_LETTER_COLUMNS
                                  "FROM dead_letter_queue q" EVENTSTORE_DEAD_LETTER_STREAM
                                  "WHERE q.id = $1"};

constexpr char kStatsSql[] =
    "SELECT projection_name, count(*) FILTER (WHERE status = 'failed'),"
    " count(*) FILTER (WHERE status = 'retrying'), count(*) FILTER (WHERE status = 'resolved'),"
    " min(first_failed_at) FILTER (WHERE status <> 'resolved'),"
    " max(last_failed_at) FILTER (WHERE status <> 'resolved'), (sum(count(*)) OVER ())::bigint"
    " FROM (SELECT projection_name, status, first_failed_at, last_failed_at FROM dead_letter_queue"
    " WHERE ($1 = '' OR projection_name = $1) ORDER BY projection_name, id LIMIT $2) q"
    " GROUP BY projection_name ORDER BY projection_name LIMIT $3";

constexpr pg::Statement kCountOpen{
    "dead_letters_count_open",
    "SELECT projection_name, count(*) FILTER (WHERE status = 'failed'),"
    " count(*) FILTER (WHERE status = 'retrying')"
    " FROM (SELECT projection_name, status FROM dead_letter_queue WHERE status <> 'resolved'"
    " LIMIT $1) q GROUP BY projection_name ORDER BY count(*) DESC, projection_name LIMIT $2"};

}  // namespace

absl::StatusOr<v1::AddDeadLetterResponse> AddDeadLetter(pg::Connection& connection,
                                                        const v1::AddDeadLetterRequest& request,
                                                        Deadline deadline) {
  const Uuid event_id = ParseUuid(request.event_id()).value_or(kNilUuid);
  auto known = connection.Query(kFindEvent, pg::Params().Uuid(event_id), deadline);
  if (!known.ok()) return known.status();
  if (known->rows() == 0 || known->IsNull(0, 0)) return NotFound("event", request.event_id());
  if (known->Int64(0, 0) < known->Int64(0, 1)) {
    return Archived(known->Int64(0, 1), "the event was archived; restore it to set it aside");
  }
  v1::DeadLetter entry;
  entry.set_event_id(request.event_id());
  entry.set_projection_name(request.projection_name());
  entry.set_error_message(request.error_message());
  entry.set_error_stacktrace(request.error_stacktrace());
  pg::Pipeline pipeline(&connection);
  AddUpsertDeadLetters(&pipeline, {entry});
  pipeline.Add(kReadByKey, pg::Params().Uuid(event_id).Text(request.projection_name()));
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  if (outcome.results[1].rows() == 0) return NotFound("event", request.event_id());
  v1::AddDeadLetterResponse response;
  *response.mutable_dead_letter() = ParseDeadLetter(outcome.results[1], 0, 0);
  response.mutable_dead_letter()->clear_event_data();
  response.set_created(response.dead_letter().retry_count() == 0);
  return response;
}

absl::StatusOr<v1::ListDeadLettersResponse> ListDeadLetters(
    pg::Connection& connection, const v1::ListDeadLettersRequest& request, Deadline deadline) {
  std::int64_t after_id = 0;
  if (!request.page_token().empty()) {
    const auto key = DecodeKeyToken(kListToken, request.page_token());
    if (!key.has_value() || !absl::SimpleAtoi(*key, &after_id)) {
      return InvalidRequest("page_token",
                            "page_token: is not one that this server gave; start with an empty "
                            "one");
    }
  }
  pg::Params params;
  const std::string looked = NextDeadLettersSql("*", request.filter().projection_name(), after_id,
                                                kDeadLetterScanRowsMax, &params);
  const std::string matches = DeadLetterFilterSql(request.filter(), &params);
  params.Int64(request.page_size()).Int64(kDeadLetterPageBytesMax);
  const int bytes = params.size();
  // The page is cut where its sizes add up to its bytes; the first entry always comes.
  auto result = connection.QueryOnce(
      absl::StrCat(
          "WITH looked AS MATERIALIZED (", looked,
          "), hits AS MATERIALIZED (SELECT q.* FROM looked q WHERE true", matches,
          " ORDER BY q.id LIMIT $", bytes - 1,
          "), sized AS (SELECT h.*, octet_length(event_data::text) + octet_length(error_message)"
          " + coalesce(octet_length(error_stacktrace), 0) + 1024 AS size FROM hits h),"
          " cut AS (SELECT z.*, sum(size) OVER (ORDER BY id) AS running FROM sized z)"
          " SELECT l.last_id, l.looked, (SELECT count(*) FROM "
          "hits), " EVENTSTORE_DEAD_LETTER_COLUMNS
          "FROM (SELECT coalesce(max(id), 0) AS last_id, count(*) AS looked FROM looked) l"
          " LEFT JOIN cut q ON q.running = q.size OR q.running <= $",
          bytes, EVENTSTORE_DEAD_LETTER_STREAM "ORDER BY q.id"),
      params, deadline);
  if (!result.ok()) return result.status();
  v1::ListDeadLettersResponse response;
  for (int row = 0; row < result->rows(); ++row) {
    if (!result->IsNull(row, 3)) {
      *response.add_dead_letters() = ParseDeadLetter(*result, row, 3);
    }
  }
  const std::int64_t hits = result->Int64(0, 2);
  if (hits >= request.page_size() || response.dead_letters_size() < hits) {
    const auto& last = response.dead_letters(response.dead_letters_size() - 1);
    response.set_next_page_token(EncodeKeyToken(kListToken, absl::StrCat(last.id())));
  } else if (result->Int64(0, 1) >= kDeadLetterScanRowsMax) {
    response.set_next_page_token(EncodeKeyToken(kListToken, absl::StrCat(result->Int64(0, 0))));
  }
  return response;
}

absl::StatusOr<v1::GetDeadLetterResponse> GetDeadLetter(pg::Connection& connection,
                                                        const v1::GetDeadLetterRequest& request,
                                                        Deadline deadline) {
  const bool by_key = request.has_key();
  auto result =
      by_key ? connection.Query(kReadByKey,
                                pg::Params()
                                    .Uuid(ParseUuid(request.key().event_id()).value_or(kNilUuid))
                                    .Text(request.key().projection_name()),
                                deadline)
             : connection.Query(kReadById, pg::Params().Int64(request.id()), deadline);
  if (!result.ok()) return result.status();
  if (result->rows() == 0) {
    return NotFound("dead letter",
                    by_key ? absl::StrCat("of event ", request.key().event_id(), " and projection ",
                                          request.key().projection_name())
                           : absl::StrCat(request.id()));
  }
  v1::GetDeadLetterResponse response;
  *response.mutable_dead_letter() = ParseDeadLetter(*result, 0, 0);
  return response;
}

absl::StatusOr<v1::GetDeadLetterStatsResponse> ReadDeadLetterStats(
    pg::Connection& connection, const v1::GetDeadLetterStatsRequest& request, Deadline deadline) {
  // Planned for its very projection: with a generic plan it would count all of them.
  auto result = connection.QueryOnce(kStatsSql,
                                     pg::Params()
                                         .Text(request.projection_name())
                                         .Int64(kDeadLetterStatsRowsMax)
                                         .Int64(kDeadLetterStatsProjectionsMax + 1),
                                     deadline);
  if (!result.ok()) return result.status();
  v1::GetDeadLetterStatsResponse response;
  const bool rows_cut = result->rows() > 0 && result->Int64(0, 6) >= kDeadLetterStatsRowsMax;
  response.set_truncated(rows_cut || result->rows() > kDeadLetterStatsProjectionsMax);
  for (int row = 0; row < result->rows() && row < kDeadLetterStatsProjectionsMax; ++row) {
    v1::DeadLetterStats* stats = response.add_stats();
    stats->set_projection_name(std::string(result->Text(row, 0)));
    stats->set_failed(result->Int64(row, 1));
    stats->set_retrying(result->Int64(row, 2));
    stats->set_resolved(result->Int64(row, 3));
    if (result->IsNull(row, 4)) continue;
    FromUnixMicros(result->Timestamp(row, 4), stats->mutable_oldest_failed_at());
    FromUnixMicros(result->Timestamp(row, 5), stats->mutable_newest_failed_at());
  }
  return response;
}

absl::StatusOr<std::vector<OpenDeadLetters>> CountOpenDeadLetters(pg::Connection& connection,
                                                                  std::int64_t rows_max,
                                                                  std::int64_t projections_max,
                                                                  Deadline deadline) {
  auto result =
      connection.Query(kCountOpen, pg::Params().Int64(rows_max).Int64(projections_max), deadline);
  if (!result.ok()) return result.status();
  std::vector<OpenDeadLetters> open(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    open[static_cast<std::size_t>(row)] = {std::string(result->Text(row, 0)), result->Int64(row, 1),
                                           result->Int64(row, 2)};
  }
  return open;
}

}  // namespace eventstore::tables
