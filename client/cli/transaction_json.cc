#include "client/cli/transaction_json.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <google/protobuf/util/json_util.h>

#include <string>
#include <utility>
#include <vector>

#include "client/cli/event_lines.h"
#include "client/cli/json.h"

namespace eventstore::cli {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status Wrong(std::string_view place, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(Absl(place), ": ", Absl(what)));
}

bool IsObject(std::string_view json) { return !json.empty() && json.front() == '{'; }
bool IsArray(std::string_view json) { return !json.empty() && json.front() == '['; }

// What is left of a JSON object without some of its members.
class Rest {
 public:
  void Add(const std::string& name, std::string_view value) {
    absl::StrAppend(&json_, json_.empty() ? "{" : ",", Quoted(name), ":", Absl(value));
  }
  [[nodiscard]] absl::Status Into(std::string_view place, google::protobuf::Message* message) {
    const auto status = google::protobuf::util::JsonStringToMessage(
        json_.empty() ? "{}" : json_ + "}", message, google::protobuf::util::JsonParseOptions());
    if (status.ok()) return absl::OkStatus();
    const auto text = status.message();
    return Wrong(place, std::string(text.data(), text.size()));
  }

 private:
  static std::string Quoted(const std::string& name) {
    JsonLine line;  // {"name":""}
    line.Text(name, "");
    const std::string text = line.Finish();
    return text.substr(1, text.rfind(':') - 1);
  }

  std::string json_;
};

absl::Status ParseAppend(const std::string& place, std::string_view json,
                         v1::AppendEventsRequest* append) {
  if (!IsObject(json)) return Wrong(place, "is not an object");
  Rest rest;
  for (const auto& [name, value] : SplitJsonObject(json)) {
    if (name != "events") {
      rest.Add(name, value);
      continue;
    }
    if (!IsArray(value)) return Wrong(place + ".events", "is not an array");
    for (const std::string_view line : SplitJsonArray(value)) {
      auto event = ParseEventLine(line, v1::NewEvent());
      if (!event.ok()) {
        const auto why = event.status().message();
        return Wrong(absl::StrCat(place, ".events[", append->events_size(), "]"),
                     std::string_view(why.data(), why.size()));
      }
      *append->add_events() = *std::move(event);
    }
  }
  v1::AppendEventsRequest others;
  if (absl::Status status = rest.Into(place, &others); !status.ok()) return status;
  append->MergeFrom(others);
  return absl::OkStatus();
}

absl::Status ParseSnapshot(const std::string& place, std::string_view json,
                           v1::SaveSnapshotRequest* snapshot) {
  if (!IsObject(json)) return Wrong(place, "is not an object");
  Rest rest;
  for (const auto& [name, value] : SplitJsonObject(json)) {
    if (name == "state") {
      snapshot->set_state(std::string(value));
    } else if (name == "state_base64") {
      const auto text = DecodeJsonString(value);
      std::string state;
      if (!text.has_value() || !absl::Base64Unescape(*text, &state)) {
        return Wrong(place + ".state_base64", "is not base64");
      }
      snapshot->set_state(state);
    } else {
      rest.Add(name, value);
    }
  }
  v1::SaveSnapshotRequest others;
  if (absl::Status status = rest.Into(place, &others); !status.ok()) return status;
  snapshot->MergeFrom(others);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::TransactRequest> ParseTransaction(std::string_view json) {
  std::string why;
  if (!IsJson(json, &why)) return Wrong("the transaction", why);
  const auto compact = CompactJson(json);
  if (!compact.has_value() || !IsObject(*compact)) {
    return Wrong("the transaction", "is not a JSON object");
  }
  v1::TransactRequest request;
  Rest rest;
  for (const auto& [name, value] : SplitJsonObject(*compact)) {
    if (name != "appends" && name != "snapshots") {
      rest.Add(name, value);
      continue;
    }
    if (!IsArray(value)) return Wrong(name, "is not an array");
    int index = 0;
    for (const std::string_view element : SplitJsonArray(value)) {
      const std::string place = absl::StrCat(name, "[", index++, "]");
      absl::Status status = name == "appends"
                                ? ParseAppend(place, element, request.add_appends())
                                : ParseSnapshot(place, element, request.add_snapshots());
      if (!status.ok()) return status;
    }
  }
  v1::TransactRequest others;
  if (absl::Status status = rest.Into("the transaction", &others); !status.ok()) return status;
  request.MergeFrom(others);
  return request;
}

}  // namespace eventstore::cli
