#include "client/cli/failure.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "client/cli/json.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

std::string_view CodeName(grpc::StatusCode code) {
  constexpr std::string_view kNames[] = {"OK",
                                         "CANCELLED",
                                         "UNKNOWN",
                                         "INVALID_ARGUMENT",
                                         "DEADLINE_EXCEEDED",
                                         "NOT_FOUND",
                                         "ALREADY_EXISTS",
                                         "PERMISSION_DENIED",
                                         "RESOURCE_EXHAUSTED",
                                         "FAILED_PRECONDITION",
                                         "ABORTED",
                                         "OUT_OF_RANGE",
                                         "UNIMPLEMENTED",
                                         "INTERNAL",
                                         "UNAVAILABLE",
                                         "DATA_LOSS",
                                         "UNAUTHENTICATED"};
  const auto index = static_cast<std::size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "UNKNOWN";
}

std::string NameOf(v1::ErrorReason reason) {
  constexpr std::string_view kPrefix = "ERROR_REASON_";
  std::string name = v1::ErrorReason_Name(reason);
  if (name.empty()) return fmt::format("REASON_{}", static_cast<int>(reason));
  return name.substr(kPrefix.size());
}

// What the user should do about an error of the server.
std::string_view AdviceOf(v1::ErrorReason reason) {
  switch (reason) {
    case v1::ERROR_REASON_CONDITION_FAILED:
      return "look at what is there now, then decide again";
    case v1::ERROR_REASON_VERSION_CONFLICT:
      return "read the stream again, decide again, append again";
    case v1::ERROR_REASON_DUPLICATE_EVENT_ID:
      return "give new events ids of their own; nothing was written";
    case v1::ERROR_REASON_STREAM_DELETED:
      return "use another stream: this one was deleted for good";
    case v1::ERROR_REASON_INVALID_EVENT:
    case v1::ERROR_REASON_INVALID_REQUEST:
      return "correct the request";
    case v1::ERROR_REASON_TOO_LARGE:
      return "split the request or make it smaller";
    case v1::ERROR_REASON_OVERLOADED:
      return "wait and try again; --retries does so by itself";
    case v1::ERROR_REASON_STORE_UNAVAILABLE:
      return "try again when the database is back; with the same event ids that is safe";
    case v1::ERROR_REASON_POSITION_AHEAD:
      return "the store was rewound: go on from the position named here, with the epoch named here";
    case v1::ERROR_REASON_ARCHIVED:
      return "start at the position named here or later, or restore the archive";
    case v1::ERROR_REASON_SLOW_CONSUMER:
      return "subscribe again after the position named here";
    case v1::ERROR_REASON_UNAUTHENTICATED:
      return "prove who you are";
    case v1::ERROR_REASON_PERMISSION_DENIED:
      return "ask the operator of the store for the right to do this";
    default:
      return "";
  }
}

// What the user should do about an error of gRPC itself.
std::string AdviceOf(const Failure& failure, const GlobalOptions& options) {
  switch (failure.code) {
    case grpc::StatusCode::UNAVAILABLE:
      return fmt::format(
          "is eventstored running at {}? --address or EVENTSTORECTL_ADDRESS name another server",
          options.address);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return fmt::format("allow more than {} s with --timeout", options.timeout_s);
    case grpc::StatusCode::UNIMPLEMENTED:
      return "the server is older than this client, or no eventstored";
    default:
      return "";
  }
}

std::string FormatExpected(const v1::ExpectedVersion& expected) {
  switch (expected.kind_case()) {
    case v1::ExpectedVersion::kAny:
      return "any";
    case v1::ExpectedVersion::kNoStream:
      return "no-stream";
    case v1::ExpectedVersion::kStreamExists:
      return "exists";
    case v1::ExpectedVersion::kExact:
      return std::to_string(expected.exact());
    case v1::ExpectedVersion::KIND_NOT_SET:
      break;
  }
  return "";
}

// The fields of a problem that are set, in the order in which they are shown. `actual` is meant
// even where it is 0, beside `expected`.
std::vector<std::pair<std::string_view, std::string>> FieldsOf(const v1::ErrorInfo& problem) {
  std::vector<std::pair<std::string_view, std::string>> fields;
  const auto number = [&fields](std::string_view name, std::int64_t value) {
    if (value != 0) fields.emplace_back(name, std::to_string(value));
  };
  const auto text = [&fields](std::string_view name, const std::string& value) {
    if (!value.empty()) fields.emplace_back(name, value);
  };
  if (problem.has_stream()) {
    const v1::StreamId& stream = problem.stream();
    std::string name = stream.aggregate_type() + "/" + stream.aggregate_id();
    if (!stream.tenant_id().empty()) name += " [" + stream.tenant_id() + "]";
    fields.emplace_back("stream", std::move(name));
  }
  if (problem.has_expected()) {
    fields.emplace_back("expected", FormatExpected(problem.expected()));
    fields.emplace_back("actual", std::to_string(problem.actual()));
  }
  text("event_id", problem.event_id());
  number("position", problem.position());
  number("epoch", problem.epoch());
  text("field", problem.field());
  if (problem.has_index()) fields.emplace_back("index", std::to_string(problem.index()));
  text("limit_name", problem.limit_name());
  number("limit", problem.limit());
  number("value", problem.value());
  if (problem.has_retry_delay()) {
    const double seconds = static_cast<double>(problem.retry_delay().seconds()) +
                           static_cast<double>(problem.retry_delay().nanos()) / 1e9;
    fields.emplace_back("retry_delay", fmt::format("{} s", seconds));
  }
  number("total", problem.truncated() ? problem.total() : 0);
  return fields;
}

void PrintText(const Failure& failure, Session* session) {
  if (failure.problems.empty()) {
    session->Notice(fmt::format("error: {}: {}", CodeName(failure.code), Escape(failure.message)));
    const std::string advice = AdviceOf(failure, session->options);
    if (!advice.empty()) session->Notice("  what to do: " + advice);
    return;
  }
  for (const v1::ErrorInfo& problem : failure.problems) {
    const std::string& message = problem.message().empty() ? failure.message : problem.message();
    session->Notice(fmt::format("error: {}: {}", NameOf(problem.reason()), Escape(message)));
    for (const auto& [name, value] : FieldsOf(problem)) {
      session->Notice(fmt::format("  {:<12}{}", name, Escape(value)));
    }
  }
  const std::string_view advice = AdviceOf(failure.problems.front().reason());
  if (!advice.empty()) session->Notice(fmt::format("  what to do: {}", advice));
}

void PrintJson(const Failure& failure, Session* session) {
  JsonLine line;
  line.OpenObject("error");
  line.Text("reason", ReasonOf(failure));
  line.Text("code", CodeName(failure.code));
  line.Text("message", failure.message);
  line.OpenArray("problems");
  for (const v1::ErrorInfo& problem : failure.problems) {
    line.OpenObject("");
    line.Text("reason", NameOf(problem.reason()));
    line.Text("message", problem.message());
    for (const auto& [name, value] : FieldsOf(problem)) line.Text(name, value);
    line.CloseObject();
  }
  line.CloseArray();
  line.CloseObject();
  std::string text = line.Finish();
  text.pop_back();  // Notice ends the line.
  session->Notice(text);
}

}  // namespace

bool Failure::Is(v1::ErrorReason reason) const {
  return !problems.empty() && problems.front().reason() == reason;
}

Failure FailureOf(const google::rpc::Status& status) {
  Failure failure;
  failure.code = static_cast<grpc::StatusCode>(status.code());
  failure.message = status.message();
  for (const google::protobuf::Any& detail : status.details()) {
    v1::ErrorInfo problem;
    if (detail.UnpackTo(&problem)) failure.problems.push_back(std::move(problem));
  }
  return failure;
}

Failure FailureOf(const grpc::Status& status) {
  google::rpc::Status details;
  // Details that are no google.rpc.Status are somebody else's; the code and message remain.
  if (!details.ParseFromString(status.error_details())) details.Clear();
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  return FailureOf(details);
}

std::string ReasonOf(const Failure& failure) {
  if (failure.problems.empty()) return std::string(CodeName(failure.code));
  return NameOf(failure.problems.front().reason());
}

bool IsRetryable(const Failure& failure) {
  return failure.code == grpc::StatusCode::UNAVAILABLE ||
         failure.code == grpc::StatusCode::RESOURCE_EXHAUSTED ||
         failure.code == grpc::StatusCode::CANCELLED;
}

std::chrono::milliseconds RetryDelayOf(const Failure& failure) {
  std::chrono::milliseconds longest{0};
  for (const v1::ErrorInfo& problem : failure.problems) {
    const std::chrono::milliseconds delay =
        std::chrono::seconds(problem.retry_delay().seconds()) +
        std::chrono::milliseconds((problem.retry_delay().nanos() + 999'999) / 1'000'000);
    longest = std::max(longest, delay);
  }
  return longest;
}

int ReportFailure(const Failure& failure, Session* session) {
  session->console().out->flush();
  session->json() ? PrintJson(failure, session) : PrintText(failure, session);
  // The server answered if there are problems: then it can be reached, its database may not.
  const bool unreachable =
      failure.code == grpc::StatusCode::UNAVAILABLE && failure.problems.empty();
  return unreachable ? kExitUnreachable : kExitFailed;
}

int ReportUsage(std::string_view message, Session* session) {
  session->console().out->flush();
  if (session->json()) {
    JsonLine line;
    line.OpenObject("error");
    line.Text("reason", "USAGE");
    line.Text("message", message);
    line.CloseObject();
    *session->console().err << line.Finish() << std::flush;
  } else {
    session->Notice("error: " + Escape(message));
  }
  return kExitUsage;
}

}  // namespace eventstore::cli
