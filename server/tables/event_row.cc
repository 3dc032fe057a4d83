#include "server/tables/event_row.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <map>
#include <string_view>

#include "server/core/ids.h"
#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

void SetText(const pg::Result& result, int row, int column, std::string* field) {
  if (!result.IsNull(row, column)) *field = result.Text(row, column);
}

void ParseMetadata(std::string_view json, v1::Event* event) {
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return;
  auto& metadata = *event->mutable_metadata();
  for (const auto& member : document.GetObject()) {
    // Strings are all that the daemon writes; another writer's value is shown as no text.
    if (!member.value.IsString()) continue;
    metadata[std::string(member.name.GetString(), member.name.GetStringLength())] =
        std::string(member.value.GetString(), member.value.GetStringLength());
  }
}

}  // namespace

void ParseEvent(const pg::Result& result, int row, int column, v1::Event* event) {
  event->set_global_position(result.Int64(row, column));
  event->set_event_id(FormatUuid(result.Uuid(row, column + 1)));
  v1::StreamId* stream = event->mutable_stream();
  SetText(result, row, column + 2, stream->mutable_aggregate_id());
  SetText(result, row, column + 3, stream->mutable_aggregate_type());
  SetText(result, row, column + 4, event->mutable_event_type());
  if (!result.IsNull(row, column + 5)) {
    stream->set_tenant_id(FormatUuid(result.Uuid(row, column + 5)));
  }
  SetText(result, row, column + 6, event->mutable_actor_id());
  event->set_version(result.Int64(row, column + 7));
  FromUnixMicros(result.Timestamp(row, column + 8), event->mutable_timestamp());
  if (!result.IsNull(row, column + 9)) *event->mutable_payload() = result.Jsonb(row, column + 9);
  FromUnixMicros(result.Timestamp(row, column + 10), event->mutable_created_at());
  if (!result.IsNull(row, column + 11)) *event->mutable_payload() = result.Bytea(row, column + 11);
  if (result.IsNull(row, column + 12)) {
    event->set_content_type(kJsonContentType.data(), kJsonContentType.size());
  } else {
    SetText(result, row, column + 12, event->mutable_content_type());
  }
  SetText(result, row, column + 13, event->mutable_correlation_id());
  SetText(result, row, column + 14, event->mutable_causation_id());
  if (!result.IsNull(row, column + 15)) ParseMetadata(result.Jsonb(row, column + 15), event);
  event->set_schema_version(result.Int32(row, column + 16));
  if (!result.IsNull(row, column + 17)) {
    for (std::string& tag : result.TextArray(row, column + 17)) event->add_tags(std::move(tag));
  }
  event->set_erased(!result.IsNull(row, column + 18));
}

std::int64_t TimestampOf(const v1::NewEvent& event, std::int64_t created_at_micros) {
  std::int64_t micros = created_at_micros;
  if (event.has_timestamp()) (void)ToUnixMicros(event.timestamp(), &micros);  // validated
  return micros;
}

std::string_view StoredContentType(const v1::NewEvent& event) {
  return event.content_type() == kJsonContentType ? std::string_view() : event.content_type();
}

std::string MetadataJson(const google::protobuf::Map<std::string, std::string>& metadata) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  for (const auto& [key, value] : metadata) {
    writer.Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  }
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

std::string TagsLiteral(const google::protobuf::RepeatedPtrField<std::string>& tags) {
  std::string literal = "{";
  for (const std::string& tag : tags) {
    if (literal.size() > 1) literal += ',';
    literal += '"';
    for (const char c : tag) {
      if (c == '"' || c == '\\') literal += '\\';
      literal += c;
    }
    literal += '"';
  }
  literal += '}';
  return literal;
}

}  // namespace eventstore::tables
