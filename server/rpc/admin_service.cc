#include "server/rpc/admin_service.h"

#include <utility>

#include "server/core/payload_conditions.h"
#include "server/rpc/unary_call.h"

namespace eventstore::rpc {
namespace {

// Validates the request and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::PayloadIndexes::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status Handle(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  ((*backend)->payload_indexes().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

AdminService::Methods::Methods(telemetry::Metrics* metrics)
    : create_payload_index{"CreatePayloadIndex", metrics->Rpc("CreatePayloadIndex")},
      drop_payload_index{"DropPayloadIndex", metrics->Rpc("DropPayloadIndex")},
      list_payload_indexes{"ListPayloadIndexes", metrics->Rpc("ListPayloadIndexes")} {}

AdminService::AdminService(FindBackend find_backend, const Limits& limits,
                           const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {}

void AdminService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* AdminService::CreatePayloadIndex(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::CreatePayloadIndexRequest, v1::CreatePayloadIndexResponse>;
  return Call::Start(&environment_, context, &methods_.create_payload_index, request, response,
                     &Handle<v1::CreatePayloadIndexRequest, v1::CreatePayloadIndexResponse,
                             &engine::PayloadIndexes::CreatePayloadIndex>);
}

grpc::ServerUnaryReactor* AdminService::DropPayloadIndex(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::DropPayloadIndexRequest, v1::DropPayloadIndexResponse>;
  return Call::Start(&environment_, context, &methods_.drop_payload_index, request, response,
                     &Handle<v1::DropPayloadIndexRequest, v1::DropPayloadIndexResponse,
                             &engine::PayloadIndexes::DropPayloadIndex>);
}

grpc::ServerUnaryReactor* AdminService::ListPayloadIndexes(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListPayloadIndexesRequest, v1::ListPayloadIndexesResponse>;
  return Call::Start(&environment_, context, &methods_.list_payload_indexes, request, response,
                     &Handle<v1::ListPayloadIndexesRequest, v1::ListPayloadIndexesResponse,
                             &engine::PayloadIndexes::ListPayloadIndexes>);
}

}  // namespace eventstore::rpc
