#include "server/tables/dead_letter_scan.h"

#include <absl/strings/str_cat.h>

#include "server/core/validation.h"
#include "server/tables/dead_letter_row.h"

namespace eventstore::tables {

std::string DeadLetterFilterSql(const v1::DeadLetterFilter& filter, pg::Params* params) {
  std::string sql;
  if (const std::string_view status = StatusText(filter.status()); !status.empty()) {
    params->Text(status);
    absl::StrAppend(&sql, " AND q.status = $", params->size());
  }
  if (!filter.event_types().empty()) {
    params->TextArray({filter.event_types().begin(), filter.event_types().end()});
    absl::StrAppend(&sql, " AND q.event_type = ANY($", params->size(), ")");
  }
  std::int64_t micros = 0;
  if (filter.has_from_timestamp() && ToUnixMicros(filter.from_timestamp(), &micros)) {
    params->Timestamp(micros);
    absl::StrAppend(&sql, " AND q.last_failed_at >= $", params->size());
  }
  if (filter.has_to_timestamp() && ToUnixMicros(filter.to_timestamp(), &micros)) {
    params->Timestamp(micros);
    absl::StrAppend(&sql, " AND q.last_failed_at < $", params->size());
  }
  return sql;
}

std::string NextDeadLettersSql(std::string_view columns, std::string_view projection,
                               std::int64_t after_id, std::int64_t rows_max, pg::Params* params) {
  params->Int64(after_id).Int64(rows_max);
  const int after = params->size() - 1;
  const std::string select =
      absl::StrCat("SELECT ", absl::string_view(columns.data(), columns.size()),
                   " FROM dead_letter_queue WHERE ");
  if (projection.empty()) {
    return absl::StrCat(select, "id > $", after, " ORDER BY id LIMIT $", after + 1);
  }
  params->Text(projection);
  const int name = params->size();
  return absl::StrCat(select, "(projection_name, id) > ($", name, ", $", after,
                      ") AND (projection_name, id) <= ($", name,
                      ", 9223372036854775807) ORDER BY projection_name, id LIMIT $", after + 1);
}

}  // namespace eventstore::tables
