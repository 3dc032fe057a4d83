#include "server/sinks/cloud_event.h"

#include <absl/strings/escaping.h>
#include <google/protobuf/util/time_util.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <utility>

#include "server/core/validation.h"

namespace eventstore::sinks {
namespace {

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

bool IsPrintable(char c) { return c >= 0x20 && c <= 0x7e; }

void AppendPercent(char c, std::string* text) {
  const auto byte = static_cast<unsigned char>(c);
  *text += '%';
  *text += kHexDigits[byte >> 4];
  *text += kHexDigits[byte & 15];
}

void WriteKey(std::string_view key, JsonWriter* writer) {
  writer->Key(key.data(), static_cast<rapidjson::SizeType>(key.size()));
}

void WriteString(std::string_view text, JsonWriter* writer) {
  writer->String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void WriteAttribute(const Attribute& attribute, JsonWriter* writer) {
  WriteKey(attribute.name, writer);
  if (attribute.kind == Attribute::Kind::kString) {
    WriteString(attribute.value, writer);
  } else {
    writer->RawValue(attribute.value.data(), attribute.value.size(), rapidjson::kNumberType);
  }
}

void WriteData(const v1::Event& event, JsonWriter* writer) {
  if (event.payload().empty()) return;
  if (IsJsonContentType(event.content_type())) {
    WriteKey("data", writer);
    writer->RawValue(event.payload().data(), event.payload().size(), rapidjson::kObjectType);
  } else {
    WriteKey("data_base64", writer);
    WriteString(absl::Base64Escape(event.payload()), writer);
  }
}

}  // namespace

std::string SubjectOf(const v1::StreamId& stream) {
  std::string subject;
  for (const char c : stream.aggregate_type()) {
    if (c == '/' || c == '%') {
      AppendPercent(c, &subject);
    } else {
      subject += c;
    }
  }
  return subject + "/" + stream.aggregate_id();
}

std::string DataContentType(const v1::Event& event) {
  const std::string& type = event.content_type();
  if (std::all_of(type.begin(), type.end(), IsPrintable)) return type;
  return "application/octet-stream";
}

std::vector<Attribute> AttributesOf(const v1::Event& event, std::string_view source) {
  using google::protobuf::util::TimeUtil;
  std::vector<Attribute> attributes;
  const auto add = [&attributes](std::string name, std::string value,
                                 Attribute::Kind kind = Attribute::Kind::kString) {
    if (!value.empty()) attributes.push_back({std::move(name), std::move(value), kind});
  };
  add("specversion", "1.0");
  add("id", event.event_id());
  add("source", std::string(source));
  add("type", event.event_type());
  add("subject", SubjectOf(event.stream()));
  add("time", TimeUtil::ToString(event.timestamp()));
  add("aggregatetype", event.stream().aggregate_type());
  add("aggregateid", event.stream().aggregate_id());
  add("tenantid", event.stream().tenant_id());
  add("streamversion", std::to_string(event.version()));
  add("globalposition", std::to_string(event.global_position()));
  add("schemaversion", std::to_string(event.schema_version()), Attribute::Kind::kInteger);
  add("correlationid", event.correlation_id());
  add("causationid", event.causation_id());
  add("actorid", event.actor_id());
  add("recordedtime", TimeUtil::ToString(event.created_at()));
  add("erased", event.erased() ? "true" : "", Attribute::Kind::kBoolean);
  return attributes;
}

std::string PercentEncoded(std::string_view value) {
  std::string encoded;
  for (const char c : value) {
    if (!IsPrintable(c) || c == ' ' || c == '"' || c == '%') {
      AppendPercent(c, &encoded);
    } else {
      encoded += c;
    }
  }
  return encoded;
}

std::string StructuredJson(const v1::Event& event, std::string_view source) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  for (const Attribute& attribute : AttributesOf(event, source)) {
    WriteAttribute(attribute, &writer);
  }
  WriteAttribute({"datacontenttype", DataContentType(event)}, &writer);
  WriteData(event, &writer);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

CloudEvent::CloudEvent(const v1::Event& event, std::string_view source, bool structured)
    : content_type_(structured ? kStructuredContentType : DataContentType(event)),
      payload_(event.payload()) {
  if (structured) {
    json_ = StructuredJson(event, source);
  } else {
    attributes_ = AttributesOf(event, source);
  }
}

}  // namespace eventstore::sinks
