// A failed RPC as people and programs are told of it.
#ifndef EVENTSTORE_CLIENT_CLI_FAILURE_H_
#define EVENTSTORE_CLIENT_CLI_FAILURE_H_

#include <grpcpp/support/status.h>

#include <chrono>
#include <string>
#include <vector>

#include "eventstore/v1/errors.pb.h"
#include "google/rpc/status.pb.h"

#include "client/cli/session.h"

namespace eventstore::cli {

// What a gRPC status says, with the `ErrorInfo`s that the server put into its details. A value.
struct Failure {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  // Empty if the error came from gRPC itself: no connection, a deadline, a cancellation.
  std::vector<v1::ErrorInfo> problems;

  [[nodiscard]] bool Is(v1::ErrorReason reason) const;
};

[[nodiscard]] Failure FailureOf(const grpc::Status& status);
[[nodiscard]] Failure FailureOf(const google::rpc::Status& status);

// The first problem's reason without its prefix, such as "VERSION_CONFLICT"; without problems the
// name of the gRPC code, such as "DEADLINE_EXCEEDED".
[[nodiscard]] std::string ReasonOf(const Failure& failure);

// Whether the same request may succeed later: UNAVAILABLE, RESOURCE_EXHAUSTED, and CANCELLED, with
// which a server that stops ends calls. Whoever asks has made sure that the user did not cancel.
[[nodiscard]] bool IsRetryable(const Failure& failure);

// How long the server asked to wait; zero if it did not.
[[nodiscard]] std::chrono::milliseconds RetryDelayOf(const Failure& failure);

// Tells of the failure on stderr ("error: REASON: message", then the fields of each problem and
// what to do; one JSON object with --output json) and returns the exit code that goes with it.
int ReportFailure(const Failure& failure, Session* session);

// Tells of a mistake in what the user typed or fed, and returns kExitUsage.
int ReportUsage(std::string_view message, Session* session);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_FAILURE_H_
