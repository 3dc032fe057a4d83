#include "server/tables/dead_letter_row.h"

#include <string>

#include "server/core/ids.h"
#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

void SetText(const pg::Result& result, int row, int column, std::string* field) {
  if (!result.IsNull(row, column)) *field = result.Text(row, column);
}

v1::DeadLetterStatus ParseStatus(std::string_view text) {
  if (text == "retrying") return v1::DEAD_LETTER_STATUS_RETRYING;
  if (text == "resolved") return v1::DEAD_LETTER_STATUS_RESOLVED;
  return v1::DEAD_LETTER_STATUS_FAILED;
}

}  // namespace

v1::DeadLetter ParseDeadLetter(const pg::Result& result, int row, int column) {
  v1::DeadLetter entry;
  entry.set_id(result.Int64(row, column));
  entry.set_event_id(FormatUuid(result.Uuid(row, column + 1)));
  SetText(result, row, column + 2, entry.mutable_projection_name());
  SetText(result, row, column + 3, entry.mutable_event_type());
  if (!result.IsNull(row, column + 4)) {
    entry.set_event_data(std::string(result.Jsonb(row, column + 4)));
  }
  SetText(result, row, column + 5, entry.mutable_error_message());
  SetText(result, row, column + 6, entry.mutable_error_stacktrace());
  entry.set_retry_count(result.Int32(row, column + 7));
  FromUnixMicros(result.Timestamp(row, column + 8), entry.mutable_first_failed_at());
  FromUnixMicros(result.Timestamp(row, column + 9), entry.mutable_last_failed_at());
  entry.set_status(ParseStatus(result.Text(row, column + 10)));
  if (!result.IsNull(row, column + 11)) {
    FromUnixMicros(result.Timestamp(row, column + 11), entry.mutable_resolved_at());
  }
  SetText(result, row, column + 12, entry.mutable_resolved_by());
  SetText(result, row, column + 13, entry.mutable_resolution_note());
  entry.set_global_position(result.Int64(row, column + 14));
  if (result.IsNull(row, column + 15)) return entry;
  v1::StreamId* stream = entry.mutable_stream();
  const Uuid tenant = result.Uuid(row, column + 15);
  if (tenant != kNilUuid) stream->set_tenant_id(FormatUuid(tenant));
  SetText(result, row, column + 16, stream->mutable_aggregate_type());
  SetText(result, row, column + 17, stream->mutable_aggregate_id());
  return entry;
}

std::string_view StatusText(v1::DeadLetterStatus status) {
  switch (status) {
    case v1::DEAD_LETTER_STATUS_FAILED:
      return "failed";
    case v1::DEAD_LETTER_STATUS_RETRYING:
      return "retrying";
    case v1::DEAD_LETTER_STATUS_RESOLVED:
      return "resolved";
    default:
      return "";
  }
}

}  // namespace eventstore::tables
