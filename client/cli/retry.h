// Trying again what may succeed later.
#ifndef EVENTSTORE_CLIENT_CLI_RETRY_H_
#define EVENTSTORE_CLIENT_CLI_RETRY_H_

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <functional>

#include "client/cli/failure.h"
#include "client/cli/session.h"

namespace eventstore::cli {

// How long to wait before each of a row of tries: what the server asked for, else twice as long as
// before with some randomness so that many clients do not return together. One thread.
class Backoff {
 public:
  // Never longer than this, whatever the server asks.
  static constexpr std::chrono::milliseconds kDelayMax{30'000};

  [[nodiscard]] std::chrono::milliseconds Next(const Failure& failure);
  // Starts over after a success.
  void Reset() { tries_ = 0; }

 private:
  int tries_ = 0;
};

// Calls `rpc` with a fresh context that carries the deadline, and again after retryable errors, at
// most `retries` times more; says so on stderr. Ends early when interrupted. Returns the last
// status.
[[nodiscard]] grpc::Status CallWithRetries(
    int retries, Session* session, const std::function<grpc::Status(grpc::ClientContext*)>& rpc);

// Calls `rpc` once, with the deadline; an interrupt cancels it.
[[nodiscard]] inline grpc::Status Call(
    Session* session, const std::function<grpc::Status(grpc::ClientContext*)>& rpc) {
  return CallWithRetries(0, session, rpc);
}

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_RETRY_H_
