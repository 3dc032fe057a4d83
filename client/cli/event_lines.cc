#include "client/cli/event_lines.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "client/cli/json.h"
#include "client/cli/parse.h"
#include "client/cli/text.h"
#include "server/core/ids.h"
#include "server/core/validation.h"

namespace eventstore::cli {
namespace {

constexpr std::string_view kKnownMembers =
    "event_type, payload, payload_base64, content_type, event_id, timestamp, actor_id, "
    "correlation_id, causation_id, metadata, tags, schema_version";

// One line while its members are gathered.
struct Draft {
  v1::NewEvent event;
  std::optional<std::string_view> payload;  // JSON text
  std::optional<std::string> payload_bytes;
};

absl::Status SetText(std::string_view name, std::string_view json, std::string* field) {
  const auto text = DecodeJsonString(json);
  if (!text.has_value()) return UsageError(fmt::format("{} must be a string", name));
  *field = *text;
  return absl::OkStatus();
}

absl::Status SetMetadata(std::string_view json, v1::NewEvent* event) {
  if (json[0] != '{') return UsageError("metadata must be an object of strings");
  for (const auto& [key, value] : SplitJsonObject(json)) {
    const auto status = SetText("metadata." + key, value, &(*event->mutable_metadata())[key]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SetTags(std::string_view json, v1::NewEvent* event) {
  if (json[0] != '[') return UsageError("tags must be an array of strings");
  for (const std::string_view tag : SplitJsonArray(json)) {
    const auto status = SetText("an element of tags", tag, event->add_tags());
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SetTimestamp(std::string_view json, v1::NewEvent* event) {
  std::string text;
  if (auto status = SetText("timestamp", json, &text); !status.ok()) return status;
  const auto time = ParseTimeOption("timestamp", text);
  if (!time.ok()) return time.status();
  *event->mutable_timestamp() = *time;
  return absl::OkStatus();
}

absl::Status SetSchemaVersion(std::string_view json, v1::NewEvent* event) {
  std::int32_t version = 0;
  const char* const end = json.data() + json.size();
  const auto [stop, error] = std::from_chars(json.data(), end, version);
  if (error != std::errc() || stop != end || version < 0) {
    return UsageError("schema_version must be a whole number from 0 to 2147483647");
  }
  event->set_schema_version(version);
  return absl::OkStatus();
}

absl::Status SetPayloadBytes(std::string_view json, Draft* draft) {
  std::string base64;
  if (auto status = SetText("payload_base64", json, &base64); !status.ok()) return status;
  if (!absl::Base64Unescape(base64, &draft->payload_bytes.emplace())) {
    return UsageError("payload_base64 is no base64");
  }
  return absl::OkStatus();
}

absl::Status SetMember(const std::string& name, std::string_view json, Draft* draft) {
  v1::NewEvent* const event = &draft->event;
  if (name == "event_type") return SetText(name, json, event->mutable_event_type());
  if (name == "event_id") return SetText(name, json, event->mutable_event_id());
  if (name == "content_type") return SetText(name, json, event->mutable_content_type());
  if (name == "actor_id") return SetText(name, json, event->mutable_actor_id());
  if (name == "correlation_id") return SetText(name, json, event->mutable_correlation_id());
  if (name == "causation_id") return SetText(name, json, event->mutable_causation_id());
  if (name == "metadata") return SetMetadata(json, event);
  if (name == "tags") return SetTags(json, event);
  if (name == "timestamp") return SetTimestamp(json, event);
  if (name == "schema_version") return SetSchemaVersion(json, event);
  if (name == "payload_base64") return SetPayloadBytes(json, draft);
  static const std::set<std::string, std::less<>> set_by_store = {
      "global_position", "stream", "version", "created_at", "erased"};
  if (set_by_store.contains(name)) return absl::OkStatus();
  return UsageError(fmt::format("unknown member \"{}\"; known are {}", name, kKnownMembers));
}

void ApplyDefaults(const v1::NewEvent& defaults, v1::NewEvent* event) {
  const auto text = [](const std::string& from, std::string* to) {
    if (to->empty()) *to = from;
  };
  text(defaults.content_type(), event->mutable_content_type());
  text(defaults.actor_id(), event->mutable_actor_id());
  text(defaults.correlation_id(), event->mutable_correlation_id());
  text(defaults.causation_id(), event->mutable_causation_id());
  // Insert leaves a key alone that the line has.
  for (const auto& entry : defaults.metadata()) event->mutable_metadata()->insert(entry);
  event->mutable_tags()->MergeFrom(defaults.tags());
  if (event->schema_version() == 0) event->set_schema_version(defaults.schema_version());
  if (defaults.has_timestamp() && !event->has_timestamp()) {
    *event->mutable_timestamp() = defaults.timestamp();
  }
}

absl::Status SetPayload(Draft* draft) {
  if (draft->payload.has_value() && draft->payload_bytes.has_value()) {
    return UsageError("payload and payload_base64 exclude each other");
  }
  if (draft->payload_bytes.has_value()) {
    draft->event.set_payload(std::move(*draft->payload_bytes));
  } else if (draft->payload.has_value()) {
    if (IsJsonContentType(draft->event.content_type())) {
      draft->event.set_payload(std::string(*draft->payload));
    } else if (!SetText("", *draft->payload, draft->event.mutable_payload()).ok()) {
      return UsageError(
          fmt::format("content_type {} is no JSON: give payload as a string, or payload_base64",
                      draft->event.content_type()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::NewEvent> ParseEventLine(std::string_view line, const v1::NewEvent& defaults) {
  std::string why;
  if (!IsJson(line, &why)) return UsageError("no valid JSON: " + why);
  if (line.find_first_of('{') != line.find_first_not_of(" \t\r")) {
    return UsageError(
        "not a JSON object; give one event per line, such as "
        R"({"event_type":"OrderPlaced","payload":{"total":10}})");
  }
  Draft draft;
  std::set<std::string> seen;
  for (const auto& [name, json] : SplitJsonObject(line)) {
    if (!seen.insert(name).second) return UsageError(fmt::format("\"{}\" stands twice", name));
    if (name == "payload") {
      // Here null is a value: it is valid JSON, and a writer may mean it.
      draft.payload = json;
    } else if (json != "null") {
      if (auto status = SetMember(name, json, &draft); !status.ok()) return status;
    }
  }
  if (draft.event.event_type().empty()) return UsageError("event_type is missing");
  ApplyDefaults(defaults, &draft.event);
  if (draft.event.content_type().empty()) {
    draft.event.set_content_type(std::string(kJsonContentType));
  }
  if (auto status = SetPayload(&draft); !status.ok()) return status;
  CompleteEvent(&draft.event);
  return std::move(draft.event);
}

void CompleteEvent(v1::NewEvent* event) {
  if (event->event_id().empty()) event->set_event_id(FormatUuid(MakeUuidV7()));
  const bool json = event->content_type().empty() || IsJsonContentType(event->content_type());
  if (json && event->payload().empty()) event->set_payload("{}");
}

EventLines::EventLines(std::string name, std::istream* in, v1::NewEvent defaults)
    : name_(std::move(name)), in_(in), defaults_(std::move(defaults)) {}

absl::Status EventLines::ErrorHere(std::string_view message) const {
  return UsageError(fmt::format("{}, line {}: {}", name_, line_number_, message));
}

absl::StatusOr<bool> EventLines::NextLine() {
  line_.clear();
  ++line_number_;
  std::streambuf* const buffer = in_->rdbuf();
  for (;;) {
    const int c = buffer->sbumpc();
    if (c == std::char_traits<char>::eof()) return !line_.empty();
    if (c == '\n') return true;
    if (line_.size() == kLineBytesMax) {
      return ErrorHere(fmt::format("longer than {} bytes, the most that a line may have",
                                   Grouped(kLineBytesMax)));
    }
    line_ += static_cast<char>(c);
  }
}

absl::StatusOr<bool> EventLines::Next(v1::NewEvent* event) {
  for (;;) {
    const auto more = NextLine();
    if (!more.ok() || !*more) return more;
    if (line_.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto parsed = ParseEventLine(line_, defaults_);
    if (!parsed.ok()) return ErrorHere(MessageOf(parsed.status()));
    *event = *std::move(parsed);
    return true;
  }
}

}  // namespace eventstore::cli
