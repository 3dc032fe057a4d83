// One call as the handlers see it: who called, until when, and the books kept about it.
#ifndef EVENTSTORE_SERVER_RPC_CALLER_H_
#define EVENTSTORE_SERVER_RPC_CALLER_H_

#include <absl/status/status.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <string>
#include <string_view>

#include "server/core/mutex.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// The metadata key that names a request in the logs of client and server.
inline constexpr char kRequestIdKey[] = "x-request-id";

// The longest request id that is taken from a client.
inline constexpr std::size_t kRequestIdBytesMax = 128;

// One RPC method and its metrics. Lives as long as its service.
struct Method {
  std::string name;
  telemetry::RpcMetrics metrics;
};

// The steady clock's deadline of a call; `Deadline::max()` where the client gave none.
[[nodiscard]] Deadline ToSteady(std::chrono::system_clock::time_point deadline);

// The client's request id if it is 1 to 128 printable ASCII characters, otherwise a new UUIDv7.
[[nodiscard]] std::string ChooseRequestId(const grpc::CallbackServerContext& context);

// Made when a call begins and destroyed with its reactor. Counts it as in flight meanwhile.
// `request_id` and `deadline` may be read by any thread; Finish is called once.
class Caller {
 public:
  // Puts the request id into the initial metadata. `method` must outlive this object.
  Caller(grpc::CallbackServerContext* context, const Method* method);
  ~Caller();
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  [[nodiscard]] const std::string& request_id() const { return request_id_; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }
  [[nodiscard]] std::string_view method() const { return method_->name; }

  // DEADLINE_EXCEEDED once the call's deadline has passed.
  [[nodiscard]] absl::Status CheckDeadline() const;
  // Why gRPC cancelled the call: its deadline passed, or the client gave up or went away.
  [[nodiscard]] absl::Status CancelReason() const;

  // Counts and logs how the call ended, and gives what to end it with.
  [[nodiscard]] grpc::Status Finish(const absl::Status& status) const;
  // Logs an error whose text the client is not told. Others are no news to the operator.
  void LogIfInternal(const absl::Status& status) const;

 private:
  const Method* const method_;
  const std::string request_id_;
  const Deadline deadline_;
  const std::chrono::steady_clock::time_point started_at_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_CALLER_H_
