#include "server/rpc/projection_service.h"

#include <utility>

#include "server/core/projection_validation.h"
#include "server/rpc/unary_call.h"

namespace eventstore::rpc {
namespace {

// Validates the request and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::Projections::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status Handle(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  ((*backend)->projections().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

ProjectionService::Methods::Methods(telemetry::Metrics* metrics)
    : save_checkpoint{"SaveCheckpoint", metrics->Rpc("SaveCheckpoint")},
      get_checkpoint{"GetCheckpoint", metrics->Rpc("GetCheckpoint")},
      list_checkpoints{"ListCheckpoints", metrics->Rpc("ListCheckpoints")},
      reset_checkpoint{"ResetCheckpoint", metrics->Rpc("ResetCheckpoint")},
      delete_checkpoint{"DeleteCheckpoint", metrics->Rpc("DeleteCheckpoint")} {}

ProjectionService::ProjectionService(FindBackend find_backend, const Limits& limits,
                                     const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {}

void ProjectionService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* ProjectionService::SaveCheckpoint(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* request,
                                                            grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::SaveCheckpointRequest, v1::SaveCheckpointResponse>;
  return Call::Start(&environment_, context, &methods_.save_checkpoint, request, response,
                     &Handle<v1::SaveCheckpointRequest, v1::SaveCheckpointResponse,
                             &engine::Projections::SaveCheckpoint>);
}

grpc::ServerUnaryReactor* ProjectionService::GetCheckpoint(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetCheckpointRequest, v1::GetCheckpointResponse>;
  return Call::Start(&environment_, context, &methods_.get_checkpoint, request, response,
                     &Handle<v1::GetCheckpointRequest, v1::GetCheckpointResponse,
                             &engine::Projections::GetCheckpoint>);
}

grpc::ServerUnaryReactor* ProjectionService::ListCheckpoints(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request,
                                                             grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListCheckpointsRequest, v1::ListCheckpointsResponse>;
  return Call::Start(&environment_, context, &methods_.list_checkpoints, request, response,
                     &Handle<v1::ListCheckpointsRequest, v1::ListCheckpointsResponse,
                             &engine::Projections::ListCheckpoints>);
}

grpc::ServerUnaryReactor* ProjectionService::ResetCheckpoint(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request,
                                                             grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ResetCheckpointRequest, v1::ResetCheckpointResponse>;
  return Call::Start(&environment_, context, &methods_.reset_checkpoint, request, response,
                     &Handle<v1::ResetCheckpointRequest, v1::ResetCheckpointResponse,
                             &engine::Projections::ResetCheckpoint>);
}

grpc::ServerUnaryReactor* ProjectionService::DeleteCheckpoint(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request,
                                                              grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::DeleteCheckpointRequest, v1::DeleteCheckpointResponse>;
  return Call::Start(&environment_, context, &methods_.delete_checkpoint, request, response,
                     &Handle<v1::DeleteCheckpointRequest, v1::DeleteCheckpointResponse,
                             &engine::Projections::DeleteCheckpoint>);
}

}  // namespace eventstore::rpc
