#include "server/rpc/outbox_service.h"

#include <utility>

#include "server/core/validate_outbox.h"
#include "server/rpc/unary_call.h"

namespace eventstore::rpc {
namespace {

// Validates the request and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::Outbox::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status Handle(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  ((*backend)->outbox().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

OutboxService::Methods::Methods(telemetry::Metrics* metrics)
    : claim_outbox{"ClaimOutbox", metrics->Rpc("ClaimOutbox")},
      complete_outbox{"CompleteOutbox", metrics->Rpc("CompleteOutbox")},
      fail_outbox{"FailOutbox", metrics->Rpc("FailOutbox")},
      list_outbox{"ListOutbox", metrics->Rpc("ListOutbox")},
      retry_outbox{"RetryOutbox", metrics->Rpc("RetryOutbox")},
      get_outbox_stats{"GetOutboxStats", metrics->Rpc("GetOutboxStats")},
      pause_outbox{"PauseOutbox", metrics->Rpc("PauseOutbox")},
      purge_outbox{"PurgeOutbox", metrics->Rpc("PurgeOutbox")} {}

OutboxService::OutboxService(FindBackend find_backend, const Limits& limits,
                             const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {}

void OutboxService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* OutboxService::ClaimOutbox(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ClaimOutboxRequest, v1::ClaimOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.claim_outbox, request, response,
      &Handle<v1::ClaimOutboxRequest, v1::ClaimOutboxResponse, &engine::Outbox::ClaimOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::CompleteOutbox(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::CompleteOutboxRequest, v1::CompleteOutboxResponse>;
  return Call::Start(&environment_, context, &methods_.complete_outbox, request, response,
                     &Handle<v1::CompleteOutboxRequest, v1::CompleteOutboxResponse,
                             &engine::Outbox::CompleteOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::FailOutbox(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::FailOutboxRequest, v1::FailOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.fail_outbox, request, response,
      &Handle<v1::FailOutboxRequest, v1::FailOutboxResponse, &engine::Outbox::FailOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::ListOutbox(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListOutboxRequest, v1::ListOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.list_outbox, request, response,
      &Handle<v1::ListOutboxRequest, v1::ListOutboxResponse, &engine::Outbox::ListOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::RetryOutbox(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::RetryOutboxRequest, v1::RetryOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.retry_outbox, request, response,
      &Handle<v1::RetryOutboxRequest, v1::RetryOutboxResponse, &engine::Outbox::RetryOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::GetOutboxStats(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetOutboxStatsRequest, v1::GetOutboxStatsResponse>;
  return Call::Start(&environment_, context, &methods_.get_outbox_stats, request, response,
                     &Handle<v1::GetOutboxStatsRequest, v1::GetOutboxStatsResponse,
                             &engine::Outbox::GetOutboxStats>);
}

grpc::ServerUnaryReactor* OutboxService::PauseOutbox(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::PauseOutboxRequest, v1::PauseOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.pause_outbox, request, response,
      &Handle<v1::PauseOutboxRequest, v1::PauseOutboxResponse, &engine::Outbox::PauseOutbox>);
}

grpc::ServerUnaryReactor* OutboxService::PurgeOutbox(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::PurgeOutboxRequest, v1::PurgeOutboxResponse>;
  return Call::Start(
      &environment_, context, &methods_.purge_outbox, request, response,
      &Handle<v1::PurgeOutboxRequest, v1::PurgeOutboxResponse, &engine::Outbox::PurgeOutbox>);
}

}  // namespace eventstore::rpc
