#include "server/rpc/snapshot_service.h"

#include <string>
#include <utility>

#include "server/core/snapshot_validation.h"
#include "server/rpc/unary_call.h"

namespace eventstore::rpc {
namespace {

const std::string& TenantOf(const v1::SaveSnapshotRequest& request) {
  return request.stream().tenant_id();
}
const std::string& TenantOf(const v1::GetSnapshotRequest& request) {
  return request.stream().tenant_id();
}
const std::string& TenantOf(const v1::ListSnapshotsRequest& request) { return request.tenant_id(); }
const std::string& TenantOf(const v1::DeleteSnapshotsRequest& request) {
  return request.has_stream() ? request.stream().tenant_id() : request.tenant_id();
}

// Validates the request and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::Snapshots::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status Handle(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(TenantOf(request));
  if (!backend.ok()) return backend.status();
  ((*backend)->snapshots().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

SnapshotService::Methods::Methods(telemetry::Metrics* metrics)
    : save_snapshot{"SaveSnapshot", metrics->Rpc("SaveSnapshot")},
      get_snapshot{"GetSnapshot", metrics->Rpc("GetSnapshot")},
      list_snapshots{"ListSnapshots", metrics->Rpc("ListSnapshots")},
      delete_snapshots{"DeleteSnapshots", metrics->Rpc("DeleteSnapshots")} {}

SnapshotService::SnapshotService(FindBackend find_backend, const Limits& limits,
                                 const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {}

void SnapshotService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* SnapshotService::SaveSnapshot(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::SaveSnapshotRequest, v1::SaveSnapshotResponse>;
  return Call::Start(
      &environment_, context, &methods_.save_snapshot, request, response,
      &Handle<v1::SaveSnapshotRequest, v1::SaveSnapshotResponse, &engine::Snapshots::SaveSnapshot>);
}

grpc::ServerUnaryReactor* SnapshotService::GetSnapshot(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request,
                                                       grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetSnapshotRequest, v1::GetSnapshotResponse>;
  return Call::Start(
      &environment_, context, &methods_.get_snapshot, request, response,
      &Handle<v1::GetSnapshotRequest, v1::GetSnapshotResponse, &engine::Snapshots::GetSnapshot>);
}

grpc::ServerUnaryReactor* SnapshotService::ListSnapshots(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListSnapshotsRequest, v1::ListSnapshotsResponse>;
  return Call::Start(&environment_, context, &methods_.list_snapshots, request, response,
                     &Handle<v1::ListSnapshotsRequest, v1::ListSnapshotsResponse,
                             &engine::Snapshots::ListSnapshots>);
}

grpc::ServerUnaryReactor* SnapshotService::DeleteSnapshots(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::DeleteSnapshotsRequest, v1::DeleteSnapshotsResponse>;
  return Call::Start(&environment_, context, &methods_.delete_snapshots, request, response,
                     &Handle<v1::DeleteSnapshotsRequest, v1::DeleteSnapshotsResponse,
                             &engine::Snapshots::DeleteSnapshots>);
}

}  // namespace eventstore::rpc
