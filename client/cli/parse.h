// Reads what people type into request fields. Pure; any thread.
#ifndef EVENTSTORE_CLIENT_CLI_PARSE_H_
#define EVENTSTORE_CLIENT_CLI_PARSE_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <utility>

#include "eventstore/v1/event_store_service.pb.h"

namespace eventstore::cli {

// Errors of all of these are INVALID_ARGUMENT and say what was wrong and what would be right.

// "any", "no-stream", "exists", or a version of at least 1.
[[nodiscard]] absl::StatusOr<v1::ExpectedVersion> ParseExpected(std::string_view text);

// "k=v"; the value may have further "=" and may be empty, the key may not be empty.
[[nodiscard]] absl::StatusOr<std::pair<std::string, std::string>> ParseKeyValue(
    std::string_view text);

// "TYPE/ID", cut at the first slash.
[[nodiscard]] absl::StatusOr<v1::StreamId> ParseStream(std::string_view text,
                                                       std::string_view tenant);

// "beginning", "end", "checkpoint:NAME", a position from 0, or a time; sets the oneof `start`.
[[nodiscard]] absl::Status ParseStart(std::string_view text, v1::SubscribeRequest* request);

// The time that the option `option` gives.
[[nodiscard]] absl::StatusOr<google::protobuf::Timestamp> ParseTimeOption(std::string_view option,
                                                                          std::string_view text);

// What a status says.
[[nodiscard]] std::string MessageOf(const absl::Status& status);

// An INVALID_ARGUMENT.
[[nodiscard]] absl::Status UsageError(std::string_view message);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_PARSE_H_
