#include "server/rpc/consumer_group_service.h"

#include <memory>
#include <utility>

#include "server/core/validate_groups.h"
#include "server/core/validation.h"
#include "server/rpc/consume.h"
#include "server/rpc/unary_call.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {
namespace {

Method MakeMethod(const char* name, telemetry::Metrics* metrics) {
  return Method{name, metrics->Rpc(name)};
}

// Answers with a group.
template <typename Response, typename Call>
engine::Done<v1::ConsumerGroup> AnswerGroup(Call* call) {
  return [call](absl::StatusOr<v1::ConsumerGroup> group) {
    if (!group.ok()) return call->Answer(group.status());
    Response response;
    *response.mutable_group() = *std::move(group);
    call->Answer(std::move(response));
  };
}

using CreateCall = UnaryCall<v1::CreateConsumerGroupRequest, v1::CreateConsumerGroupResponse>;

absl::Status HandleCreate(v1::CreateConsumerGroupRequest request, CreateCall* call) {
  absl::Status status = ValidateCreateGroup(call->limits(), &request);
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->groups().Create(std::move(request), call->deadline(),
                              AnswerGroup<v1::CreateConsumerGroupResponse>(call));
  return absl::OkStatus();
}

using UpdateCall = UnaryCall<v1::UpdateConsumerGroupRequest, v1::UpdateConsumerGroupResponse>;

absl::Status HandleUpdate(v1::UpdateConsumerGroupRequest request, UpdateCall* call) {
  absl::Status status = ValidateUpdateGroup(call->limits(), &request);
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->groups().Update(std::move(request), call->deadline(),
                              AnswerGroup<v1::UpdateConsumerGroupResponse>(call));
  return absl::OkStatus();
}

using DeleteCall = UnaryCall<v1::DeleteConsumerGroupRequest, v1::DeleteConsumerGroupResponse>;

absl::Status HandleDelete(v1::DeleteConsumerGroupRequest request, DeleteCall* call) {
  absl::Status status =
      ValidateGroupName(call->limits(), request.name(), request.mutable_tenant_id());
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->groups().Delete(request.name(), call->deadline(),
                              [call](absl::StatusOr<v1::DeleteConsumerGroupResponse> response) {
                                call->Answer(std::move(response));
                              });
  return absl::OkStatus();
}

using GetCall = UnaryCall<v1::GetConsumerGroupRequest, v1::GetConsumerGroupResponse>;

absl::Status HandleGet(v1::GetConsumerGroupRequest request, GetCall* call) {
  absl::Status status =
      ValidateGroupName(call->limits(), request.name(), request.mutable_tenant_id());
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->groups().Get(request.name(), call->deadline(),
                           AnswerGroup<v1::GetConsumerGroupResponse>(call));
  return absl::OkStatus();
}

using ListCall = UnaryCall<v1::ListConsumerGroupsRequest, v1::ListConsumerGroupsResponse>;

absl::Status HandleList(v1::ListConsumerGroupsRequest request, ListCall* call) {
  absl::Status status = ValidateListGroups(call->limits(), &request);
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->groups().List(std::move(request), call->deadline(),
                            [call](absl::StatusOr<v1::ListConsumerGroupsResponse> page) {
                              call->Answer(std::move(page));
                            });
  return absl::OkStatus();
}

}  // namespace

ConsumerGroupService::Methods::Methods(telemetry::Metrics* metrics)
    : create(MakeMethod("CreateConsumerGroup", metrics)),
      update(MakeMethod("UpdateConsumerGroup", metrics)),
      remove(MakeMethod("DeleteConsumerGroup", metrics)),
      get(MakeMethod("GetConsumerGroup", metrics)),
      list(MakeMethod("ListConsumerGroups", metrics)),
      consume(MakeMethod("Consume", metrics)) {}

ConsumerGroupService::ConsumerGroupService(FindBackend find_backend, const Limits& limits,
                                           const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {
  RouteProtobufLog();
}

void ConsumerGroupService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* ConsumerGroupService::CreateConsumerGroup(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return CreateCall::Start(&environment_, context, &methods_.create, request, response,
                           HandleCreate);
}

grpc::ServerUnaryReactor* ConsumerGroupService::UpdateConsumerGroup(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return UpdateCall::Start(&environment_, context, &methods_.update, request, response,
                           HandleUpdate);
}

grpc::ServerUnaryReactor* ConsumerGroupService::DeleteConsumerGroup(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return DeleteCall::Start(&environment_, context, &methods_.remove, request, response,
                           HandleDelete);
}

grpc::ServerUnaryReactor* ConsumerGroupService::GetConsumerGroup(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return GetCall::Start(&environment_, context, &methods_.get, request, response, HandleGet);
}

grpc::ServerUnaryReactor* ConsumerGroupService::ListConsumerGroups(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return ListCall::Start(&environment_, context, &methods_.list, request, response, HandleList);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ConsumerGroupService::Consume(
    grpc::CallbackServerContext* context) {
  return std::make_shared<ConsumeCall>(&environment_, context, &methods_.consume)->Start();
}

}  // namespace eventstore::rpc
