// The only place that turns an `absl::Status` into what gRPC sends.
//
// An error that carries `ErrorInfo` was made for the client and goes out as it is. Anything else
// was made for us: its text may hold SQL or another tenant's data, so the client learns the kind
// and the request id, under which the log has the rest. Any thread may call these functions.
#ifndef EVENTSTORE_SERVER_RPC_STATUS_H_
#define EVENTSTORE_SERVER_RPC_STATUS_H_

#include <absl/status/status.h>
#include <grpcpp/support/status.h>

#include <string_view>

#include "google/rpc/status.pb.h"

namespace eventstore::rpc {

// The gRPC code of the same name.
[[nodiscard]] grpc::StatusCode ToGrpcCode(absl::StatusCode code);

// Whether the client may see this error's text.
[[nodiscard]] bool IsForClients(const absl::Status& status);

// What the client is told: the status itself if it is for clients, otherwise one that tells no more
// than `request_id`.
[[nodiscard]] absl::Status ForClients(const absl::Status& status, std::string_view request_id);

// The rich form, for answers inside a stream. At most `kErrorDetailsBytesMax` bytes.
[[nodiscard]] google::rpc::Status ToRpcStatus(const absl::Status& status,
                                              std::string_view request_id);

// The form that ends a call; an error has the rich form in `error_details`.
[[nodiscard]] grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id);

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_STATUS_H_
