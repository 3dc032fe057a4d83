#include "server/tables/outbox_entry.h"

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <string>

#include "server/core/erased_event.h"
#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

constexpr unsigned kParseFlags = rapidjson::kParseIterativeFlag |
                                 rapidjson::kParseNumbersAsStringsFlag |
                                 rapidjson::kParseValidateEncodingFlag;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// Fills an event while the parser reads its object. The payload is not taken apart: it is the bytes
// from behind its key to where its value ends, so that every number stays as PostgreSQL prints it.
class EventHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, EventHandler> {
 public:
  EventHandler(std::string_view json, const rapidjson::MemoryStream* stream, v1::Event* event)
      : json_(json), stream_(stream), event_(event) {}

  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool Null() {
    if (depth_ == 0) return NotAnObject();
    return depth_ > 1 || Ended(0);
  }
  bool Bool(bool value) {
    if (depth_ == 0) return NotAnObject();
    if (depth_ == 1 && key_ == "erased") event_->set_erased(value);
    return depth_ > 1 || Ended(0);
  }
  bool RawNumber(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    if (depth_ == 0) return NotAnObject();
    return depth_ > 1 || (TakeNumber({text, length}) && Ended(0));
  }
  bool String(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    const std::string_view value(text, length);
    if (depth_ == 0) return NotAnObject();
    if (depth_ == 2 && key_ == "tags") event_->add_tags(text, length);
    if (depth_ == 2 && key_ == "metadata") {
      (*event_->mutable_metadata())[member_].assign(text, length);
    }
    return depth_ > 1 || (TakeText(value) && Ended(0));
  }
  bool Key(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    if (depth_ == 1) {
      key_.assign(text, length);
      behind_key_ = stream_->Tell();
    } else if (depth_ == 2) {
      member_.assign(text, length);
    }
    return true;
  }
  bool StartObject() {
    ++depth_;
    return true;
  }
  bool StartArray() { return depth_ == 0 ? NotAnObject() : ++depth_ > 0; }
  // The parser calls these two before it takes the bracket.
  bool EndObject(rapidjson::SizeType /*members*/) { return --depth_ != 1 || Ended(1); }
  bool EndArray(rapidjson::SizeType /*elements*/) { return --depth_ != 1 || Ended(1); }

 private:
  bool NotAnObject() {
    problem_ = "is not a JSON object";
    return false;
  }

  bool Wrong(const char* expected) {
    problem_ = absl::StrCat("its key \"", key_, "\" is not ", expected);
    return false;
  }

  // A value of the event's own keys ended, `more` bytes from here.
  bool Ended(std::size_t more) {
    if (key_ != "payload") return true;
    std::string_view value = json_.substr(behind_key_, stream_->Tell() + more - behind_key_);
    value.remove_prefix(value.find_first_not_of(" \t\r\n", value.find(':') + 1));
    event_->mutable_payload()->assign(value);
    return true;
  }

  bool TakeNumber(std::string_view text) {
    std::int64_t value = 0;
    if (key_ != "version" && key_ != "global_position" && key_ != "schema_version") return true;
    if (!absl::SimpleAtoi(View(text), &value)) return Wrong("an integer");
    if (key_ == "version") event_->set_version(value);
    if (key_ == "global_position") event_->set_global_position(value);
    if (key_ == "schema_version") event_->set_schema_version(static_cast<std::int32_t>(value));
    return true;
  }

  bool TakeText(std::string_view text) {
    if (key_ == "timestamp") return TakeTime(text, event_->mutable_timestamp());
    if (key_ == "created_at") return TakeTime(text, event_->mutable_created_at());
    if (key_ == "payload_base64") {
      return absl::Base64Unescape(View(text), event_->mutable_payload()) || Wrong("base64");
    }
    if (std::string* field = FieldOfKey(); field != nullptr) field->assign(text);
    return true;
  }

  bool TakeTime(std::string_view text, google::protobuf::Timestamp* time) {
    absl::Time parsed;
    if (!absl::ParseTime(absl::RFC3339_full, View(text), &parsed, nullptr)) {
      return Wrong("a time of RFC 3339");
    }
    FromUnixMicros(absl::ToUnixMicros(parsed), time);
    return true;
  }

  std::string* FieldOfKey() {
    if (key_ == "event_id") return event_->mutable_event_id();
    if (key_ == "event_type") return event_->mutable_event_type();
    if (key_ == "aggregate_type") return event_->mutable_stream()->mutable_aggregate_type();
    if (key_ == "aggregate_id") return event_->mutable_stream()->mutable_aggregate_id();
    if (key_ == "tenant_id") return event_->mutable_stream()->mutable_tenant_id();
    if (key_ == "actor_id") return event_->mutable_actor_id();
    if (key_ == "correlation_id") return event_->mutable_correlation_id();
    if (key_ == "causation_id") return event_->mutable_causation_id();
    if (key_ == "content_type") return event_->mutable_content_type();
    return nullptr;
  }

  const std::string_view json_;
  const rapidjson::MemoryStream* const stream_;
  v1::Event* const event_;
  int depth_ = 0;
  std::string key_;     // of the object itself
  std::string member_;  // of an object in it
  std::size_t behind_key_ = 0;
  std::string problem_;
};

absl::Status Problem(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("event_data: ", View(what)));
}

}  // namespace

absl::StatusOr<v1::Event> ParseOutboxEvent(std::string_view json) {
  v1::Event event;
  rapidjson::MemoryStream stream(json.data(), json.size());
  EventHandler handler(json, &stream, &event);
  rapidjson::Reader reader;
  const rapidjson::ParseResult parsed = reader.Parse<kParseFlags>(stream, handler);
  if (!handler.problem().empty()) return Problem(handler.problem());
  if (parsed.IsError()) {
    return Problem(absl::StrCat("is no JSON: ", rapidjson::GetParseError_En(parsed.Code()),
                                " at byte ", parsed.Offset()));
  }
  for (const auto& [key, value] : {std::pair{"event_id", &event.event_id()},
                                   {"event_type", &event.event_type()},
                                   {"aggregate_type", &event.stream().aggregate_type()},
                                   {"aggregate_id", &event.stream().aggregate_id()}}) {
    if (value->empty()) return Problem(absl::StrCat("its key \"", key, "\" is missing"));
  }
  if (event.erased()) EraseContent(&event);
  return event;
}

}  // namespace eventstore::tables
