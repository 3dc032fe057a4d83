#include "server/tables/page_sql.h"

#include <absl/strings/str_cat.h>

#include <vector>

#include "server/tables/streams_table.h"

namespace eventstore::tables {

std::string FilterSql(const EventFilter* filter, pg::Params* params) {
  if (filter == nullptr) return "";
  std::string sql;
  const auto list = [&](const google::protobuf::RepeatedPtrField<std::string>& values) {
    params->TextArray({values.begin(), values.end()});
    return params->size();
  };
  // starts_with and not LIKE: a prefix is text, not a pattern, in every collation.
  const auto prefixes = [&](const char* column,
                            const google::protobuf::RepeatedPtrField<std::string>& values) {
    if (values.empty()) return;
    std::string any;
    for (const std::string& value : values) {
      params->Text(value);
      absl::StrAppend(&any, any.empty() ? "" : " OR ", "starts_with(", column, ", $",
                      params->size(), ")");
    }
    absl::StrAppend(&sql, " AND (", any, ")");
  };
  const v1::Filter& proto = filter->proto();
  if (!proto.aggregate_types().empty()) {
    absl::StrAppend(&sql, " AND aggregate_type = ANY($", list(proto.aggregate_types()), ")");
  }
  if (!proto.event_types().empty()) {
    absl::StrAppend(&sql, " AND event_type = ANY($", list(proto.event_types()), ")");
  }
  prefixes("event_type", proto.event_type_prefixes());
  prefixes("aggregate_id", proto.aggregate_id_prefixes());
  if (!proto.tenant_id().empty()) {
    params->Uuid(TenantOf(proto.tenant_id()));
    absl::StrAppend(&sql, " AND tenant_id = $", params->size());
  }
  return sql;
}

}  // namespace eventstore::tables
