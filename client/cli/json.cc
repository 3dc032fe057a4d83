#include "client/cli/json.h"

#include <absl/status/statusor.h>
#include <absl/strings/escaping.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <iterator>

#include "client/cli/text.h"
#include "server/core/json_check.h"
#include "server/core/validation.h"

namespace eventstore::cli {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The offset behind the JSON string that starts at `start`.
std::size_t EndOfString(std::string_view json, std::size_t start) {
  std::size_t i = start + 1;
  while (i < json.size() && json[i] != '"') i += json[i] == '\\' ? 2 : 1;
  return std::min(i + 1, json.size());
}

// The offset behind the JSON value that starts at `start`.
std::size_t EndOfValue(std::string_view json, std::size_t start) {
  int depth = 0;
  std::size_t i = start;
  while (i < json.size()) {
    const char c = json[i];
    if (c == '"') {
      i = EndOfString(json, i);
      if (depth == 0) return i;
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}' || c == ']' || IsSpace(c))) return i;
    if (c == '{' || c == '[') ++depth;
    ++i;
    if ((c == '}' || c == ']') && --depth == 0) return i;
  }
  return i;
}

std::size_t SkipSpace(std::string_view json, std::size_t i) {
  while (i < json.size() && IsSpace(json[i])) ++i;
  return i;
}

// What the server took may have been under wider limits than the defaults.
Limits WideLimits() {
  Limits limits;
  limits.json_depth_max = 1 << 20;
  limits.json_number_digits_max = 1 << 20;
  return limits;
}

}  // namespace

JsonLine::JsonLine() : writer_(buffer_) { writer_.StartObject(); }

void JsonLine::Name(std::string_view name) {
  if (!name.empty()) {
    writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  }
}

void JsonLine::Text(std::string_view name, std::string_view value) {
  Name(name);
  // An empty view may have no data, which the writer does not take.
  writer_.String(value.empty() ? "" : value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void JsonLine::TextUnlessEmpty(std::string_view name, std::string_view value) {
  if (!value.empty()) Text(name, value);
}

void JsonLine::Number(std::string_view name, std::int64_t value) {
  Name(name);
  writer_.Int64(value);
}

void JsonLine::Real(std::string_view name, double value) {
  Name(name);
  writer_.Double(value);
}

void JsonLine::Bool(std::string_view name, bool value) {
  Name(name);
  writer_.Bool(value);
}

void JsonLine::Time(std::string_view name, const google::protobuf::Timestamp& value) {
  Text(name, FormatTime(value));
}

void JsonLine::Texts(std::string_view name,
                     const google::protobuf::RepeatedPtrField<std::string>& values) {
  OpenArray(name);
  for (const std::string& value : values) Text("", value);
  CloseArray();
}

void JsonLine::Raw(std::string_view name, std::string_view json) {
  Name(name);
  writer_.RawValue(json.data(), json.size(), rapidjson::kObjectType);
}

void JsonLine::OpenObject(std::string_view name) {
  Name(name);
  writer_.StartObject();
}

void JsonLine::CloseObject() { writer_.EndObject(); }

void JsonLine::OpenArray(std::string_view name) {
  Name(name);
  writer_.StartArray();
}

void JsonLine::CloseArray() { writer_.EndArray(); }

void JsonLine::Stream(const v1::StreamId& stream) {
  OpenObject("stream");
  Text("aggregate_type", stream.aggregate_type());
  Text("aggregate_id", stream.aggregate_id());
  TextUnlessEmpty("tenant_id", stream.tenant_id());
  CloseObject();
}

void JsonLine::StreamInfo(const v1::StreamInfo& info) {
  Stream(info.stream());
  Bool("exists", info.exists());
  Number("version", info.version());
  Number("first_version", info.first_version());
  if (info.has_created_at()) Time("created_at", info.created_at());
  if (info.has_updated_at()) Time("updated_at", info.updated_at());
  Bool("deleted", info.deleted());
  Bool("permanently_deleted", info.permanently_deleted());
}

void JsonLine::Event(const v1::Event& event) {
  Number("global_position", event.global_position());
  Stream(event.stream());
  Number("version", event.version());
  Text("event_id", event.event_id());
  Text("event_type", event.event_type());
  std::optional<std::string> json;
  if (IsJsonContentType(event.content_type())) json = CompactJson(event.payload());
  if (json.has_value()) {
    Raw("payload", *json);
  } else {
    Text("payload_base64", absl::Base64Escape(event.payload()));
  }
  Text("content_type", event.content_type());
  Time("timestamp", event.timestamp());
  TextUnlessEmpty("actor_id", event.actor_id());
  TextUnlessEmpty("correlation_id", event.correlation_id());
  TextUnlessEmpty("causation_id", event.causation_id());
  if (!event.metadata().empty()) {
    // A protobuf map has no order; sorted, the same event gives the same line.
    std::vector<std::pair<std::string_view, std::string_view>> entries(event.metadata().begin(),
                                                                       event.metadata().end());
    std::sort(entries.begin(), entries.end());
    OpenObject("metadata");
    for (const auto& [key, value] : entries) {
      // Name() takes "" for an array's element, but here an empty key is a key.
      writer_.Key(key.empty() ? "" : key.data(), static_cast<rapidjson::SizeType>(key.size()));
      Text("", value);
    }
    CloseObject();
  }
  Number("schema_version", event.schema_version());
  if (!event.tags().empty()) Texts("tags", event.tags());
  Time("created_at", event.created_at());
  if (event.erased()) Bool("erased", true);
}

std::string JsonLine::Finish() {
  writer_.EndObject();
  std::string line(buffer_.GetString(), buffer_.GetSize());
  line += '\n';
  return line;
}

std::optional<std::string> CompactJson(std::string_view json) {
  static const Limits limits = WideLimits();
  if (!CheckJson(json, limits).ok()) return std::nullopt;
  std::string out;
  out.reserve(json.size());
  for (std::size_t i = 0; i < json.size();) {
    if (json[i] == '"') {
      const std::size_t end = EndOfString(json, i);
      out.append(json.substr(i, end - i));
      i = end;
    } else {
      if (!IsSpace(json[i])) out += json[i];
      ++i;
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string_view>> SplitJsonObject(std::string_view json) {
  std::vector<std::pair<std::string, std::string_view>> members;
  std::size_t i = SkipSpace(json, 0) + 1;  // Behind the brace.
  for (;;) {
    i = SkipSpace(json, i);
    if (i < json.size() && json[i] == ',') i = SkipSpace(json, i + 1);
    if (i >= json.size() || json[i] != '"') return members;
    const std::size_t name_end = EndOfString(json, i);
    std::string name = DecodeJsonString(json.substr(i, name_end - i)).value_or("");
    const std::size_t colon = SkipSpace(json, name_end);
    const std::size_t value = SkipSpace(json, colon + 1);
    i = EndOfValue(json, value);
    members.emplace_back(std::move(name), json.substr(value, i - value));
  }
}

std::vector<std::string_view> SplitJsonArray(std::string_view json) {
  std::vector<std::string_view> elements;
  std::size_t i = SkipSpace(json, 0) + 1;  // Behind the bracket.
  for (;;) {
    i = SkipSpace(json, i);
    if (i < json.size() && json[i] == ',') i = SkipSpace(json, i + 1);
    if (i >= json.size() || json[i] == ']') return elements;
    const std::size_t end = EndOfValue(json, i);
    elements.push_back(json.substr(i, end - i));
    i = end;
  }
}

std::optional<std::string> DecodeJsonString(std::string_view json) {
  if (json.empty() || json[0] != '"') return std::nullopt;
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsString()) return std::nullopt;
  return std::string(document.GetString(), document.GetStringLength());
}

bool IsJson(std::string_view text, std::string* why) {
  // The limits are the server's to enforce; what is wrong by JSON's own rules is told at once.
  const absl::StatusOr<std::int64_t> checked = CheckJson(text, WideLimits());
  if (checked.ok()) return true;
  why->assign(checked.status().message().data(), checked.status().message().size());
  return false;
}

}  // namespace eventstore::cli
