// Changes to many dead letters: the changing half of dead_letters_admin.h.
#include <absl/strings/str_cat.h>

#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/core/validation.h"
#include "server/tables/dead_letter_scan.h"
#include "server/tables/dead_letters_admin.h"

namespace eventstore::tables {
namespace {

struct Changed {
  std::int64_t count = 0;
  std::int64_t next_after_id = 0;
};

// Changes entries one by one; all of them must exist.
absl::StatusOr<Changed> ChangeIds(pg::Connection& connection, const v1::DeadLetterIds& ids,
                                  const std::string& change, const std::string& changeable,
                                  pg::Params params, Deadline deadline) {
  pg::ArrayWriter array(pg::kInt8);
  for (const std::int64_t id : ids.ids()) array.Int64(id);
  params.Array(&array);
  const int list = params.size();
  const std::string sql = absl::StrCat(
      "WITH missing AS MATERIALIZED (SELECT n.id FROM unnest($", list,
      "::bigint[]) AS n(id) WHERE NOT EXISTS (SELECT FROM dead_letter_queue x WHERE x.id = n.id)),"
      " changed AS (UPDATE dead_letter_queue q SET ",
      change, " WHERE q.id = ANY($", list, ") AND ", changeable,
      " AND NOT EXISTS (SELECT FROM missing) RETURNING q.id)"
      " SELECT (SELECT count(*) FROM changed), (SELECT min(id) FROM missing)");
  auto result = connection.QueryOnce(sql, params, deadline);
  if (!result.ok()) return result.status();
  if (!result->IsNull(0, 1)) return NotFound("dead letter", absl::StrCat(result->Int64(0, 1)));
  return Changed{result->Int64(0, 0), 0};
}

// Changes what matches among the next entries.
absl::StatusOr<Changed> ChangeMatching(pg::Connection& connection,
                                       const v1::DeadLetterFilter& filter, std::int64_t after_id,
                                       const std::string& change, const std::string& changeable,
                                       pg::Params params, Deadline deadline) {
  const std::string looked = NextDeadLettersSql("id", filter.projection_name(), after_id,
                                                kDeadLetterChangeRowsMax, &params);
  const std::string sql = absl::StrCat(
      "WITH looked AS MATERIALIZED (", looked, "), changed AS (UPDATE dead_letter_queue q SET ",
      change, " FROM looked l WHERE q.id = l.id AND ", changeable,
      DeadLetterFilterSql(filter, &params),
      " RETURNING q.id) SELECT (SELECT count(*) FROM changed),"
      " (SELECT coalesce(max(id), 0) FROM looked), (SELECT count(*) FROM looked)");
  auto result = connection.QueryOnce(sql, params, deadline);
  if (!result.ok()) return result.status();
  const bool more = result->Int64(0, 2) >= kDeadLetterChangeRowsMax;
  return Changed{result->Int64(0, 0), more ? result->Int64(0, 1) : 0};
}

// `change` and `changeable` are SQL over `q`, with what `params` holds already.
absl::StatusOr<Changed> Change(pg::Connection& connection, const v1::DeadLetterSelection& selection,
                               std::int64_t after_id, const std::string& change,
                               const std::string& changeable, pg::Params params,
                               Deadline deadline) {
  if (selection.has_ids()) {
    return ChangeIds(connection, selection.ids(), change, changeable, std::move(params), deadline);
  }
  v1::DeadLetterFilter filter = selection.filter();
  if (selection.kind_case() == v1::DeadLetterSelection::kAllOfProjection) {
    filter.set_projection_name(selection.all_of_projection());
  }
  return ChangeMatching(connection, filter, after_id, change, changeable, std::move(params),
                        deadline);
}

}  // namespace

absl::StatusOr<v1::RetryDeadLettersResponse> RetryDeadLetters(
    pg::Connection& connection, const v1::RetryDeadLettersRequest& request, Deadline deadline) {
  auto changed = Change(connection, request.selection(), request.after_id(), "status = 'retrying'",
                        "q.status = 'failed'", pg::Params(), deadline);
  if (!changed.ok()) return changed.status();
  v1::RetryDeadLettersResponse response;
  response.set_retried(changed->count);
  response.set_next_after_id(changed->next_after_id);
  return response;
}

absl::StatusOr<v1::ResolveDeadLettersResponse> ResolveDeadLetters(
    pg::Connection& connection, const v1::ResolveDeadLettersRequest& request, Deadline deadline) {
  auto changed = Change(connection, request.selection(), request.after_id(),
                        "status = 'resolved', resolved_at = clock_timestamp(), resolved_by = $1,"
                        " resolution_note = nullif($2, '')",
                        "q.status <> 'resolved'",
                        pg::Params().Text(request.resolved_by()).Text(request.note()), deadline);
  if (!changed.ok()) return changed.status();
  v1::ResolveDeadLettersResponse response;
  response.set_resolved(changed->count);
  response.set_next_after_id(changed->next_after_id);
  return response;
}

absl::StatusOr<v1::PurgeDeadLettersResponse> PurgeDeadLetters(
    pg::Connection& connection, const v1::PurgeDeadLettersRequest& request, Deadline deadline) {
  std::int64_t before = 0;
  (void)ToUnixMicros(request.resolved_before(), &before);
  pg::Params params;
  params.Timestamp(before).Int64(kDeadLetterChangeRowsMax);
  std::string projection;
  if (!request.projection_name().empty()) {
    params.Text(request.projection_name());
    projection = " AND projection_name = $3";
  }
  auto result = connection.QueryOnce(
      absl::StrCat("DELETE FROM dead_letter_queue WHERE status = 'resolved' AND id IN (SELECT id"
                   " FROM dead_letter_queue WHERE status = 'resolved' AND resolved_at < $1",
                   projection, " ORDER BY resolved_at, id LIMIT $2)"),
      params, deadline);
  if (!result.ok()) return result.status();
  v1::PurgeDeadLettersResponse response;
  response.set_purged(result->affected());
  response.set_has_more(result->affected() >= kDeadLetterChangeRowsMax);
  return response;
}

}  // namespace eventstore::tables
