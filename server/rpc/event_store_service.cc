#include "server/rpc/event_store_service.h"

#include <absl/strings/str_cat.h>

#include <memory>
#include <optional>
#include <utility>

#include "server/core/errors.h"
#include "server/core/ids.h"
#include "server/core/validate_lifecycle.h"
#include "server/core/validation.h"
#include "server/rpc/append_stream.h"
#include "server/rpc/query_events.h"
#include "server/rpc/read_all.h"
#include "server/rpc/read_stream.h"
#include "server/rpc/subscribe.h"
#include "server/rpc/transact.h"
#include "server/rpc/unary_call.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {
namespace {

Method MakeMethod(const char* name, telemetry::Metrics* metrics) {
  return Method{name, metrics->Rpc(name)};
}

using AppendCall = UnaryCall<v1::AppendEventsRequest, v1::AppendEventsResponse>;

absl::Status HandleAppendEvents(v1::AppendEventsRequest request, AppendCall* call) {
  auto append = ValidateAppend(std::move(request), call->limits());
  if (!append.ok()) return append.status();
  auto backend = call->FindBackendOf(append->request.stream().tenant_id());
  if (!backend.ok()) return backend.status();
  call->SetOnCancel((*backend)->Submit(*std::move(append), call->deadline(),
                                       [call](absl::StatusOr<v1::AppendEventsResponse> answer) {
                                         call->Answer(std::move(answer));
                                       }));
  return absl::OkStatus();
}

using GetStreamInfoCall = UnaryCall<v1::GetStreamInfoRequest, v1::GetStreamInfoResponse>;

absl::Status HandleGetStreamInfo(v1::GetStreamInfoRequest request, GetStreamInfoCall* call) {
  absl::Status status = ValidateStreamId("stream", call->limits(), request.mutable_stream());
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.stream().tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->GetStreamInfo(std::move(*request.mutable_stream()), call->deadline(),
                            [call](absl::StatusOr<v1::StreamInfo> info) {
                              if (!info.ok()) return call->Answer(info.status());
                              v1::GetStreamInfoResponse response;
                              *response.mutable_info() = *std::move(info);
                              call->Answer(std::move(response));
                            });
  return absl::OkStatus();
}

using ListStreamsCall = UnaryCall<v1::ListStreamsRequest, v1::ListStreamsResponse>;

absl::Status HandleListStreams(v1::ListStreamsRequest request, ListStreamsCall* call) {
  absl::Status status = ValidateListStreams(call->limits(), &request);
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->ListStreams(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<v1::ListStreamsResponse> page) { call->Answer(std::move(page)); });
  return absl::OkStatus();
}

using GetEventCall = UnaryCall<v1::GetEventRequest, v1::GetEventResponse>;

absl::Status HandleGetEvent(v1::GetEventRequest request, GetEventCall* call) {
  const std::optional<Uuid> event_id = ParseUuid(request.event_id());
  if (!event_id.has_value()) {
    return InvalidRequest("event_id", request.event_id().empty()
                                          ? "event_id is missing; name the event by its UUID"
                                          : "event_id is not a UUID; it must have the form "
                                            "01234567-89ab-cdef-0123-456789abcdef");
  }
  request.set_event_id(FormatUuid(*event_id));
  absl::Status status = ValidateTenantId("tenant_id", request.mutable_tenant_id());
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->GetEvent(std::move(request), call->deadline(),
                       [call](absl::StatusOr<v1::Event> event) {
                         if (!event.ok()) return call->Answer(event.status());
                         v1::GetEventResponse response;
                         *response.mutable_event() = *std::move(event);
                         call->Answer(std::move(response));
                       });
  return absl::OkStatus();
}

using GetHeadCall = UnaryCall<v1::GetHeadRequest, v1::GetHeadResponse>;

absl::Status HandleGetHead(v1::GetHeadRequest request, GetHeadCall* call) {
  absl::Status status = ValidateTenantId("tenant_id", request.mutable_tenant_id());
  if (!status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  (*backend)->GetHead(call->deadline(), [call](absl::StatusOr<tables::Head> head) {
    if (!head.ok()) return call->Answer(head.status());
    v1::GetHeadResponse response;
    response.set_position(head->position);
    response.set_epoch(head->epoch);
    response.set_store_id(FormatUuid(head->store_id));
    if (head->created_at_micros != 0) {
      FromUnixMicros(head->created_at_micros, response.mutable_created_at());
    }
    call->Answer(std::move(response));
  });
  return absl::OkStatus();
}

const std::string& TenantOf(const v1::TruncateStreamRequest& request) {
  return request.stream().tenant_id();
}
const std::string& TenantOf(const v1::DeleteStreamRequest& request) {
  return request.stream().tenant_id();
}
const std::string& TenantOf(const v1::EraseEventsRequest& request) { return request.tenant_id(); }

// Validates a change and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::Lifecycle::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status HandleChange(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(TenantOf(request));
  if (!backend.ok()) return backend.status();
  ((*backend)->lifecycle().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

EventStoreService::Methods::Methods(telemetry::Metrics* metrics)
    : append_events(MakeMethod("AppendEvents", metrics)),
      append_events_stream(MakeMethod("AppendEventsStream", metrics)),
      transact(MakeMethod("Transact", metrics)),
      read_stream(MakeMethod("ReadStream", metrics)),
      read_all(MakeMethod("ReadAll", metrics)),
      query_events(MakeMethod("QueryEvents", metrics)),
      subscribe(MakeMethod("Subscribe", metrics)),
      get_stream_info(MakeMethod("GetStreamInfo", metrics)),
      list_streams(MakeMethod("ListStreams", metrics)),
      get_event(MakeMethod("GetEvent", metrics)),
      get_head(MakeMethod("GetHead", metrics)),
      truncate_stream(MakeMethod("TruncateStream", metrics)),
      delete_stream(MakeMethod("DeleteStream", metrics)),
      erase_events(MakeMethod("EraseEvents", metrics)) {}

EventStoreService::EventStoreService(FindBackend find_backend, const Limits& limits,
                                     const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {
  RouteProtobufLog();
}

void EventStoreService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* EventStoreService::AppendEvents(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request,
                                                          grpc::ByteBuffer* response) {
  return AppendCall::Start(&environment_, context, &methods_.append_events, request, response,
                           HandleAppendEvents);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* EventStoreService::AppendEventsStream(
    grpc::CallbackServerContext* context) {
  return std::make_shared<AppendStreamCall>(&environment_, context, &methods_.append_events_stream)
      ->Start();
}

grpc::ServerUnaryReactor* EventStoreService::Transact(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* response) {
  return TransactCall::Start(&environment_, context, &methods_.transact, request, response,
                             HandleTransact);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* EventStoreService::ReadStream(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return std::make_shared<ReadStreamCall>(&environment_, context, &methods_.read_stream)
      ->Start(*request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* EventStoreService::ReadAll(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return std::make_shared<ReadAllCall>(&environment_, context, &methods_.read_all)->Start(*request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* EventStoreService::QueryEvents(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return std::make_shared<QueryEventsCall>(&environment_, context, &methods_.query_events)
      ->Start(*request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* EventStoreService::Subscribe(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return std::make_shared<SubscribeCall>(&environment_, context, &methods_.subscribe)
      ->Start(*request);
}

grpc::ServerUnaryReactor* EventStoreService::GetStreamInfo(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  return GetStreamInfoCall::Start(&environment_, context, &methods_.get_stream_info, request,
                                  response, HandleGetStreamInfo);
}

grpc::ServerUnaryReactor* EventStoreService::ListStreams(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  return ListStreamsCall::Start(&environment_, context, &methods_.list_streams, request, response,
                                HandleListStreams);
}

grpc::ServerUnaryReactor* EventStoreService::GetEvent(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* response) {
  return GetEventCall::Start(&environment_, context, &methods_.get_event, request, response,
                             HandleGetEvent);
}

grpc::ServerUnaryReactor* EventStoreService::GetHead(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return GetHeadCall::Start(&environment_, context, &methods_.get_head, request, response,
                            HandleGetHead);
}

grpc::ServerUnaryReactor* EventStoreService::TruncateStream(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* request,
                                                            grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::TruncateStreamRequest, v1::TruncateStreamResponse>;
  return Call::Start(&environment_, context, &methods_.truncate_stream, request, response,
                     &HandleChange<v1::TruncateStreamRequest, v1::TruncateStreamResponse,
                                   &engine::Lifecycle::TruncateStream>);
}

grpc::ServerUnaryReactor* EventStoreService::DeleteStream(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request,
                                                          grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::DeleteStreamRequest, v1::DeleteStreamResponse>;
  return Call::Start(&environment_, context, &methods_.delete_stream, request, response,
                     &HandleChange<v1::DeleteStreamRequest, v1::DeleteStreamResponse,
                                   &engine::Lifecycle::DeleteStream>);
}

grpc::ServerUnaryReactor* EventStoreService::EraseEvents(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::EraseEventsRequest, v1::EraseEventsResponse>;
  return Call::Start(&environment_, context, &methods_.erase_events, request, response,
                     &HandleChange<v1::EraseEventsRequest, v1::EraseEventsResponse,
                                   &engine::Lifecycle::EraseEvents>);
}

}  // namespace eventstore::rpc
