#include "server/rpc/status.h"

#include <absl/strings/str_cat.h>

#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/errors.pb.h"

#include "server/core/errors.h"
#include "server/pg/errors.h"

namespace eventstore::rpc {
namespace {

// The message travels a second time outside of the details, with up to three bytes for one; both
// must stay below the 8 KiB at which gRPC replaces the answer.
constexpr std::size_t kMessageBytesMax = 512;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// Cuts a text to `bytes_max` without splitting a character.
std::string Cut(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text;
}

// Packs the first `count` details; what is left out is told of on the first.
void Pack(const std::vector<v1::ErrorInfo>& details, std::size_t count,
          google::rpc::Status* status) {
  status->clear_details();
  for (std::size_t i = 0; i < count; ++i) status->add_details()->PackFrom(details[i]);
}

}  // namespace

grpc::StatusCode ToGrpcCode(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return grpc::StatusCode::OK;
    case absl::StatusCode::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case absl::StatusCode::kInvalidArgument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case absl::StatusCode::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case absl::StatusCode::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case absl::StatusCode::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case absl::StatusCode::kPermissionDenied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case absl::StatusCode::kUnauthenticated:
      return grpc::StatusCode::UNAUTHENTICATED;
    case absl::StatusCode::kResourceExhausted:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case absl::StatusCode::kFailedPrecondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case absl::StatusCode::kAborted:
      return grpc::StatusCode::ABORTED;
    case absl::StatusCode::kOutOfRange:
      return grpc::StatusCode::OUT_OF_RANGE;
    case absl::StatusCode::kUnimplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case absl::StatusCode::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case absl::StatusCode::kDataLoss:
      return grpc::StatusCode::DATA_LOSS;
    case absl::StatusCode::kInternal:
      return grpc::StatusCode::INTERNAL;
    default:
      return grpc::StatusCode::UNKNOWN;
  }
}

bool IsForClients(const absl::Status& status) {
  if (status.ok() || !DetailsOf(status).empty()) return true;
  // These two are told by whoever gave up waiting; only PostgreSQL's own texts are kept back.
  return (absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) &&
         !pg::ErrorOf(status).has_value();
}

absl::Status ForClients(const absl::Status& status, std::string_view request_id) {
  if (IsForClients(status)) return status;
  const std::string request = absl::StrCat(" (request ", Absl(request_id), ")");
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return absl::CancelledError(absl::StrCat("the call was cancelled", request));
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError(absl::StrCat("the deadline passed", request));
    case absl::StatusCode::kUnavailable:
      return StoreUnavailable(absl::StrCat("the store is unavailable; retry", request));
    default:
      return absl::InternalError(absl::StrCat("internal error", request));
  }
}

google::rpc::Status ToRpcStatus(const absl::Status& status, std::string_view request_id) {
  const absl::Status told = ForClients(status, request_id);
  google::rpc::Status result;
  result.set_code(static_cast<int>(ToGrpcCode(told.code())));
  result.set_message(Cut(std::string(told.message()), kMessageBytesMax));
  std::vector<v1::ErrorInfo> details = DetailsOf(told);
  std::size_t count = details.size();
  Pack(details, count, &result);
  // MakeError keeps to the limit already; an error made otherwise is cut here.
  while (count > 0 && result.ByteSizeLong() > kErrorDetailsBytesMax) {
    details[0].set_total(static_cast<int>(details.size()));
    details[0].set_truncated(true);
    Pack(details, --count, &result);
  }
  return result;
}

grpc::Status ToGrpcStatus(const absl::Status& status, std::string_view request_id) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rich = ToRpcStatus(status, request_id);
  return grpc::Status(static_cast<grpc::StatusCode>(rich.code()), rich.message(),
                      rich.SerializeAsString());
}

}  // namespace eventstore::rpc
