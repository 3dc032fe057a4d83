#include "server/tables/outbox_row.h"

#include <string>
#include <utility>

#include "server/core/ids.h"
#include "server/core/validation.h"
#include "server/tables/outbox_entry.h"

namespace eventstore::tables {
namespace {

v1::OutboxStatus ParseStatus(std::string_view text) {
  if (text == "claimed") return v1::OUTBOX_STATUS_CLAIMED;
  if (text == "published") return v1::OUTBOX_STATUS_PUBLISHED;
  if (text == "failed") return v1::OUTBOX_STATUS_FAILED;
  return v1::OUTBOX_STATUS_PENDING;
}

void SetText(const pg::Result& result, int row, int column, std::string* field) {
  if (!result.IsNull(row, column)) *field = result.Text(row, column);
}

v1::Event ForeignEvent(const pg::Result& result, int row, int data, int names) {
  v1::Event event;
  *event.mutable_payload() = result.Jsonb(row, data);
  event.set_content_type(kJsonContentType.data(), kJsonContentType.size());
  event.set_event_id(FormatUuid(result.Uuid(row, names)));
  SetText(result, row, names + 1, event.mutable_event_type());
  v1::StreamId* stream = event.mutable_stream();
  SetText(result, row, names + 2, stream->mutable_aggregate_type());
  SetText(result, row, names + 3, stream->mutable_aggregate_id());
  if (!result.IsNull(row, names + 4)) {
    stream->set_tenant_id(FormatUuid(result.Uuid(row, names + 4)));
  }
  event.set_global_position(result.Int64(row, names + 5));
  return event;
}

}  // namespace

v1::OutboxEntry ParseOutboxRow(const pg::Result& result, int row, int column) {
  v1::OutboxEntry entry;
  entry.set_id(FormatUuid(result.Uuid(row, column)));
  SetText(result, row, column + 1, entry.mutable_sink());
  entry.set_status(ParseStatus(result.Text(row, column + 2)));
  auto event = ParseOutboxEvent(result.Jsonb(row, column + 3));
  *entry.mutable_event() =
      event.ok() ? *std::move(event) : ForeignEvent(result, row, column + 3, column + 11);
  entry.set_retry_count(result.Int32(row, column + 4));
  SetText(result, row, column + 5, entry.mutable_last_error());
  const auto set_time = [&](int at, google::protobuf::Timestamp* (v1::OutboxEntry::*field)()) {
    if (!result.IsNull(row, at)) FromUnixMicros(result.Timestamp(row, at), (entry.*field)());
  };
  set_time(column + 6, &v1::OutboxEntry::mutable_created_at);
  set_time(column + 7, &v1::OutboxEntry::mutable_published_at);
  set_time(column + 8, &v1::OutboxEntry::mutable_next_attempt_at);
  SetText(result, row, column + 9, entry.mutable_claimed_by());
  set_time(column + 10, &v1::OutboxEntry::mutable_claimed_until);
  return entry;
}

std::string_view StatusText(v1::OutboxStatus status) {
  switch (status) {
    case v1::OUTBOX_STATUS_PENDING:
      return "pending";
    case v1::OUTBOX_STATUS_CLAIMED:
      return "claimed";
    case v1::OUTBOX_STATUS_PUBLISHED:
      return "published";
    case v1::OUTBOX_STATUS_FAILED:
      return "failed";
    default:
      return "";
  }
}

}  // namespace eventstore::tables
