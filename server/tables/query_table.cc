#include "server/tables/query_table.h"

#include <absl/strings/str_cat.h>

#include <utility>

#include "server/tables/event_row.h"
#include "server/tables/page_sql.h"
#include "server/tables/payload_indexes_table.h"

namespace eventstore::tables {
namespace {

// A payload that is not JSON is NULL here, and so never matches.
std::string PayloadSql(const PayloadConditions& conditions, pg::Params* params) {
  std::string sql;
  if (!conditions.contains.empty()) {
    params->Jsonb(conditions.contains);
    absl::StrAppend(&sql, " AND payload @> $", params->size());
  }
  for (const PayloadConditions::Equal& equal : conditions.equals) {
    params->TextArray(equal.path).Text(equal.text);
    const std::string value = absl::StrCat("(payload #>> $", params->size() - 1, ")");
    const std::string text = absl::StrCat("$", params->size());
    absl::StrAppend(&sql, " AND left(", value, ", 255) = left(", text, ", 255) AND ", value, " = ",
                    text);
  }
  return sql;
}

}  // namespace

std::string QueryWindowSql(const AllWindow& window, const PayloadConditions& conditions,
                           bool indexed, pg::Params* params) {
  params->Int64(window.low).Int64(window.high).Int64(window.limit).Int64(window.bytes_max);
  std::string matches =
      absl::StrCat("SELECT " EVENTSTORE_EVENT_COLUMNS
                   ", size_bytes FROM events WHERE global_position >= $1 AND global_position <= $2",
                   ConditionsSql(window, params), PayloadSql(conditions, params));
  // OFFSET 0 keeps the limit out of the plan of what is inside.
  if (indexed) matches = absl::StrCat("SELECT * FROM (", matches, " OFFSET 0) m");
  return absl::StrCat("SELECT " EVENTSTORE_PAGE_HEAD
                      ", e.* FROM log_head h LEFT JOIN LATERAL (" EVENTSTORE_CUT("global_position"),
                      matches, " ORDER BY global_position LIMIT $3" EVENTSTORE_END_CUT("$4"),
                      ") e ON true");
}

absl::StatusOr<EventRows> ReadQueryWindow(pg::Connection& connection, const AllWindow& window,
                                          const PayloadConditions& conditions, bool indexed,
                                          std::chrono::milliseconds statement_timeout,
                                          Deadline deadline) {
  pg::Params params;
  const std::string sql = QueryWindowSql(window, conditions, indexed, &params);
  // The time-out is this statement's alone: it ends with the transaction, however that ends.
  absl::Status status = connection.RunScript(
      absl::StrCat("BEGIN; SET LOCAL statement_timeout = ", statement_timeout.count()), deadline);
  if (!status.ok()) return status;
  auto result = connection.QueryOnce(sql, params, deadline);
  if (connection.usable()) {
    status = connection.RunScript(result.ok() ? "COMMIT" : "ROLLBACK", deadline);
  }
  if (!result.ok()) return result.status();
  if (!status.ok()) return status;
  return ParseEventRows(*result, window);
}

}  // namespace eventstore::tables
