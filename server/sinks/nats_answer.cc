#include "server/sinks/nats_answer.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

namespace eventstore::sinks {
namespace {

// JSStreamStoreFailedF: the stream cannot store it, such as for its limits with discard "new".
constexpr int kStreamStoreFailed = 10077;

NatsAnswer Away(std::string reason) { return {NatsAnswer::Kind::kAway, 0, std::move(reason)}; }

int NumberOf(const rapidjson::Value& object, const char* name) {
  const auto member = object.FindMember(name);
  return member != object.MemberEnd() && member->value.IsInt() ? member->value.GetInt() : 0;
}

NatsAnswer ReadError(const rapidjson::Value& error) {
  const auto description = error.FindMember("description");
  const bool has_text = description != error.MemberEnd() && description->value.IsString();
  const std::string text = has_text ? description->value.GetString() : "no reason given";
  const int code = NumberOf(error, "code");
  if ((code >= 400 && code < 500) || NumberOf(error, "err_code") == kStreamStoreFailed) {
    return {NatsAnswer::Kind::kRefused, 0, "JetStream refuses the message: " + text};
  }
  return Away("JetStream stores nothing: " + text);
}

}  // namespace

NatsAnswer ReadPublishAnswer(std::string_view json) {
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return Away("an answer that is no JSON");
  const auto error = document.FindMember("error");
  if (error != document.MemberEnd() && error->value.IsObject()) return ReadError(error->value);
  // Somebody else listens on the subject and answered.
  if (!document.HasMember("stream")) return Away("an answer that is not JetStream's");
  return {NatsAnswer::Kind::kStored, 0, ""};
}

std::string StreamQuestion(std::string_view subject) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  writer.Key("subject");
  writer.String(subject.data(), static_cast<rapidjson::SizeType>(subject.size()));
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

NatsAnswer ReadStreamAnswer(std::string_view json) {
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) return Away("an answer that is no JSON");
  const auto streams = document.FindMember("streams");
  const bool has_stream =
      streams != document.MemberEnd() && streams->value.IsArray() && !streams->value.Empty();
  if (has_stream || document.HasMember("error")) {
    return Away("the subject's stream does not answer; it may have no leader now");
  }
  return {NatsAnswer::Kind::kRefused, 0, "no JetStream stream takes the subject"};
}

}  // namespace eventstore::sinks
