// JSON lines for programs: one object per line, numbers as numbers, JSON payloads nested.
#ifndef EVENTSTORE_CLIENT_CLI_JSON_H_
#define EVENTSTORE_CLIENT_CLI_JSON_H_

#include <google/protobuf/timestamp.pb.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

namespace eventstore::cli {

// Writes one JSON object as a line. One thread.
//
// Example: JsonLine line; line.Number("position", 7); Print(line.Finish());
class JsonLine {
 public:
  JsonLine();

  // Members of the object that is open; objects and arrays nest.
  void Text(std::string_view name, std::string_view value);
  void TextUnlessEmpty(std::string_view name, std::string_view value);
  void Number(std::string_view name, std::int64_t value);
  void Real(std::string_view name, double value);
  void Bool(std::string_view name, bool value);
  void Time(std::string_view name, const google::protobuf::Timestamp& value);
  void Texts(std::string_view name, const google::protobuf::RepeatedPtrField<std::string>& values);
  // A value that is JSON already.
  void Raw(std::string_view name, std::string_view json);
  // `name` is "" in an array.
  void OpenObject(std::string_view name);
  void CloseObject();
  void OpenArray(std::string_view name);
  void CloseArray();

  // The members that describe these messages, in the object that is open.
  void Event(const v1::Event& event);
  void StreamInfo(const v1::StreamInfo& info);
  void Stream(const v1::StreamId& stream);

  // The line, with its end. Nothing may follow.
  [[nodiscard]] std::string Finish();

 private:
  void Name(std::string_view name);

  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_;
};

// The JSON value without the white space between its tokens; its numbers keep their spelling.
// Nothing if it is no JSON.
[[nodiscard]] std::optional<std::string> CompactJson(std::string_view json);

// The members of a JSON object, in order, each value as JSON text. `json` must be a valid JSON
// object. Names are decoded.
[[nodiscard]] std::vector<std::pair<std::string, std::string_view>> SplitJsonObject(
    std::string_view json);

// The elements of a JSON array as JSON text. `json` must be a valid JSON array.
[[nodiscard]] std::vector<std::string_view> SplitJsonArray(std::string_view json);

// The text that a JSON string literal stands for; nothing if `json` is none.
[[nodiscard]] std::optional<std::string> DecodeJsonString(std::string_view json);

// Whether the text is one JSON value; else `why` says what is wrong.
[[nodiscard]] bool IsJson(std::string_view text, std::string* why);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_JSON_H_
