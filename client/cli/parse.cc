#include "client/cli/parse.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <system_error>

#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

// Before a projection's name.
constexpr std::string_view kCheckpointPrefix = "checkpoint:";

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  return absl::InvalidArgumentError(std::string(message));
}

std::string MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

absl::StatusOr<v1::ExpectedVersion> ParseExpected(std::string_view text) {
  v1::ExpectedVersion expected;
  if (text == "any") {
    expected.mutable_any();
  } else if (text == "no-stream") {
    expected.mutable_no_stream();
  } else if (text == "exists") {
    expected.mutable_stream_exists();
  } else {
    const auto version = ParseNumber(text);
    if (!version.has_value() || *version < 1) {
      return UsageError(fmt::format(
          "--expected {}: give any, no-stream, exists, or the stream's version, a number from 1",
          text));
    }
    expected.set_exact(*version);
  }
  return expected;
}

absl::StatusOr<std::pair<std::string, std::string>> ParseKeyValue(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return UsageError(fmt::format("--metadata {}: give key=value", text));
  }
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

absl::StatusOr<v1::StreamId> ParseStream(std::string_view text, std::string_view tenant) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) {
    return UsageError(fmt::format("--stream {}: give TYPE/ID, such as Order/order-1", text));
  }
  v1::StreamId stream;
  stream.set_aggregate_type(std::string(text.substr(0, slash)));
  stream.set_aggregate_id(std::string(text.substr(slash + 1)));
  stream.set_tenant_id(std::string(tenant));
  return stream;
}

absl::Status ParseStart(std::string_view text, v1::SubscribeRequest* request) {
  if (text == "beginning") {
    request->mutable_beginning();
  } else if (text == "end") {
    request->mutable_end();
  } else if (text.substr(0, kCheckpointPrefix.size()) == kCheckpointPrefix) {
    request->set_checkpoint(std::string(text.substr(kCheckpointPrefix.size())));
  } else if (const auto position = ParseNumber(text); position.has_value() && *position >= 0) {
    request->set_after_position(*position);
  } else if (const auto time = ParseTime(text); time.has_value()) {
    *request->mutable_from_timestamp() = *time;
  } else {
    return UsageError(
        fmt::format("--from {}: give beginning, end, a position to start after (a "
                    "number from 0), checkpoint:NAME, or a time such as 2024-05-01T12:00:00Z",
                    text));
  }
  return absl::OkStatus();
}

absl::StatusOr<google::protobuf::Timestamp> ParseTimeOption(std::string_view option,
                                                            std::string_view text) {
  const auto time = ParseTime(text);
  if (!time.has_value()) {
    return UsageError(
        fmt::format("{} {}: give a time such as 2024-05-01T12:00:00Z or a date such as 2024-05-01",
                    option, text));
  }
  return *time;
}

}  // namespace eventstore::cli
