#include "server/rpc/caller.h"

#include <algorithm>

#include "server/core/ids.h"
#include "server/rpc/status.h"
#include "server/telemetry/logging.h"

namespace eventstore::rpc {

Deadline ToSteady(std::chrono::system_clock::time_point deadline) {
  // Beyond this it makes no difference, and the sum could overflow.
  constexpr std::chrono::hours kFarAway{24 * 365};
  const auto left = deadline - std::chrono::system_clock::now();
  if (deadline == std::chrono::system_clock::time_point::max() || left > kFarAway) {
    return Deadline::max();
  }
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(left);
}

std::string ChooseRequestId(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  if (const auto found = metadata.find(kRequestIdKey); found != metadata.end()) {
    std::string id(found->second.data(), found->second.size());
    const bool printable =
        std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (!id.empty() && id.size() <= kRequestIdBytesMax && printable) return id;
  }
  return FormatUuid(MakeUuidV7());
}

Caller::Caller(grpc::CallbackServerContext* context, const Method* method)
    : method_(method),
      request_id_(ChooseRequestId(*context)),
      deadline_(ToSteady(context->deadline())),
      started_at_(std::chrono::steady_clock::now()) {
  context->AddInitialMetadata(kRequestIdKey, request_id_);
  method_->metrics.in_flight->Increment();
}

Caller::~Caller() { method_->metrics.in_flight->Decrement(); }

absl::Status Caller::CheckDeadline() const {
  if (deadline_ > std::chrono::steady_clock::now()) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline of the call passed before it was begun");
}

absl::Status Caller::CancelReason() const {
  if (deadline_ <= std::chrono::steady_clock::now()) {
    return absl::DeadlineExceededError("the deadline of the call passed");
  }
  return absl::CancelledError("the client cancelled the call or went away");
}

grpc::Status Caller::Finish(const absl::Status& status) const {
  LogIfInternal(status);
  grpc::Status result = ToGrpcStatus(status, request_id_);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started_at_;
  method_->metrics.requests_by_code.at(static_cast<std::size_t>(result.error_code()))->Increment();
  method_->metrics.seconds->Observe(seconds.count());
  if (spdlog::should_log(spdlog::level::debug)) {
    const telemetry::ScopedRequestId scope(request_id_);
    spdlog::debug("{} ended with code {} after {:.3f} ms{}{}", method_->name,
                  static_cast<int>(result.error_code()), seconds.count() * 1e3,
                  status.ok() ? "" : ": ", telemetry::MessageOf(status));
  }
  return result;
}

void Caller::LogIfInternal(const absl::Status& status) const {
  if (IsForClients(status)) return;
  const telemetry::ScopedRequestId scope(request_id_);
  spdlog::warn("{} failed: {}: {}", method_->name, static_cast<int>(ToGrpcCode(status.code())),
               telemetry::MessageOf(status));
}

}  // namespace eventstore::rpc
