// A gRPC client for tests of the daemon, with a deadline on every wait. It speaks by method name
// and bytes, so that a test can send what no generated client would; the templates below do the
// typed rest. gRPC's headers stay out of the tests.
#ifndef EVENTSTORE_TESTS_SUPPORT_DAEMON_CLIENT_H_
#define EVENTSTORE_TESTS_SUPPORT_DAEMON_CLIENT_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eventstore/v1/errors.pb.h"

namespace eventstore::testing {

inline constexpr std::chrono::milliseconds kCallTimeout{60'000};

// How a call ended. gRPC's codes are Abseil's.
struct CallStatus {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;
  // What grpc-status-details-bin held.
  std::vector<v1::ErrorInfo> details;
  std::size_t details_bytes = 0;

  [[nodiscard]] bool ok() const { return code == absl::StatusCode::kOk; }
  // Of the first detail; UNSPECIFIED without any.
  [[nodiscard]] v1::ErrorReason reason() const;
  // The first detail; an empty one without any.
  [[nodiscard]] const v1::ErrorInfo& info() const;
  // For people: code, message and details.
  [[nodiscard]] std::string Text() const;
};

// One call of any kind. One thread at a time.
class Call {
 public:
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Whether gRPC took the message in time. It takes none beyond what flow control lets through.
  bool Write(const std::string& message, std::chrono::milliseconds timeout = kCallTimeout);
  void WritesDone();
  // The next message; nothing if the call ended (`ended`), or if none came in time: the next Read
  // goes on waiting for the same one.
  std::optional<std::string> Read(std::chrono::milliseconds timeout = kCallTimeout);
  [[nodiscard]] bool ended() const;
  // Reads whatever is left, and tells how the call ended.
  CallStatus Finish();
  void Cancel();

 private:
  friend class Client;
  struct State;
  explicit Call(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One connection to a daemon (not shared with other clients in this process). Thread-safe.
class Client {
 public:
  explicit Client(int port);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // `method` is one of EventStoreService, or a full path such as "/grpc.health.v1.Health/Check".
  [[nodiscard]] std::unique_ptr<Call> Start(const std::string& method,
                                            std::chrono::milliseconds timeout = kCallTimeout);
  // A call with one message there and at most one back.
  CallStatus Raw(const std::string& method, const std::string& request, std::string* response,
                 std::chrono::milliseconds timeout = kCallTimeout);

  template <typename Request, typename Response>
  CallStatus Unary(const std::string& method, const Request& request, Response* response,
                   std::chrono::milliseconds timeout = kCallTimeout) {
    std::string bytes;
    CallStatus status = Raw(method, request.SerializeAsString(), &bytes, timeout);
    if (status.ok() && !response->ParseFromString(bytes)) {
      status.code = absl::StatusCode::kDataLoss;
    }
    return status;
  }

  template <typename Request>
  [[nodiscard]] std::unique_ptr<Call> Stream(const std::string& method, const Request& request,
                                             std::chrono::milliseconds timeout = kCallTimeout) {
    std::unique_ptr<Call> call = Start(method, timeout);
    if (call->Write(request.SerializeAsString())) call->WritesDone();
    return call;
  }

  // "SERVING", "NOT_SERVING" or what else the health service answers; empty if it does not.
  std::string Health(const std::string& service = "");

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The next message of a call as a proto.
template <typename Message>
std::optional<Message> ReadMessage(Call& call, std::chrono::milliseconds timeout = kCallTimeout) {
  const std::optional<std::string> bytes = call.Read(timeout);
  Message message;
  if (!bytes.has_value() || !message.ParseFromString(*bytes)) return std::nullopt;
  return message;
}

// The details of a google.rpc.Status as an AppendEventsStream answer has it.
CallStatus StatusOf(int code, const std::string& message, const std::string& rpc_status);

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_DAEMON_CLIENT_H_
