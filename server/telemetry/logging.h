// Logging by spdlog, as text for people or as JSON lines for machines.
#ifndef EVENTSTORE_SERVER_TELEMETRY_LOGGING_H_
#define EVENTSTORE_SERVER_TELEMETRY_LOGGING_H_

#include <absl/status/status.h>
#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace eventstore::telemetry {

struct LoggingOptions {
  std::string level = "info";   // trace, debug, info, warn, error, off
  std::string format = "text";  // text or json
};

// Sets spdlog's default logger, on stderr. Call once, before other threads start. In the json
// format a line is one object: `time`, `level`, `message`, `thread` and, where there is one,
// `request_id`.
[[nodiscard]] absl::Status SetUpLogging(const LoggingOptions& options);

// While it lives, this thread's log lines carry a request id. Not nested.
class ScopedRequestId {
 public:
  explicit ScopedRequestId(std::string_view request_id);
  ~ScopedRequestId();
  ScopedRequestId(const ScopedRequestId&) = delete;
  ScopedRequestId& operator=(const ScopedRequestId&) = delete;
};

// A status' message as a type that fmt can print (in Debian's build absl::string_view is not
// std::string_view).
[[nodiscard]] inline std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace eventstore::telemetry

#endif  // EVENTSTORE_SERVER_TELEMETRY_LOGGING_H_
