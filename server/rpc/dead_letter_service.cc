#include "server/rpc/dead_letter_service.h"

#include <utility>

#include "server/core/projection_validation.h"
#include "server/rpc/unary_call.h"

namespace eventstore::rpc {
namespace {

// Validates the request and hands it to the store of its tenant.
template <typename Request, typename Response,
          void (engine::DeadLetters::*kMethod)(Request, Deadline, engine::Done<Response>)>
absl::Status Handle(Request request, UnaryCall<Request, Response>* call) {
  if (absl::Status status = Validate(call->limits(), &request); !status.ok()) return status;
  auto backend = call->FindBackendOf(request.tenant_id());
  if (!backend.ok()) return backend.status();
  ((*backend)->dead_letters().*kMethod)(
      std::move(request), call->deadline(),
      [call](absl::StatusOr<Response> answer) { call->Answer(std::move(answer)); });
  return absl::OkStatus();
}

}  // namespace

DeadLetterService::Methods::Methods(telemetry::Metrics* metrics)
    : add_dead_letter{"AddDeadLetter", metrics->Rpc("AddDeadLetter")},
      list_dead_letters{"ListDeadLetters", metrics->Rpc("ListDeadLetters")},
      get_dead_letter{"GetDeadLetter", metrics->Rpc("GetDeadLetter")},
      retry_dead_letters{"RetryDeadLetters", metrics->Rpc("RetryDeadLetters")},
      resolve_dead_letters{"ResolveDeadLetters", metrics->Rpc("ResolveDeadLetters")},
      get_dead_letter_stats{"GetDeadLetterStats", metrics->Rpc("GetDeadLetterStats")},
      purge_dead_letters{"PurgeDeadLetters", metrics->Rpc("PurgeDeadLetters")} {}

DeadLetterService::DeadLetterService(FindBackend find_backend, const Limits& limits,
                                     const RpcOptions& options, telemetry::Metrics* metrics)
    : environment_{std::move(find_backend), limits, options, {}}, methods_(metrics) {}

void DeadLetterService::BeginDrain() { environment_.open_calls.Drain(); }

grpc::ServerUnaryReactor* DeadLetterService::AddDeadLetter(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::AddDeadLetterRequest, v1::AddDeadLetterResponse>;
  return Call::Start(&environment_, context, &methods_.add_dead_letter, request, response,
                     &Handle<v1::AddDeadLetterRequest, v1::AddDeadLetterResponse,
                             &engine::DeadLetters::AddDeadLetter>);
}

grpc::ServerUnaryReactor* DeadLetterService::ListDeadLetters(grpc::CallbackServerContext* context,
                                                             const grpc::ByteBuffer* request,
                                                             grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ListDeadLettersRequest, v1::ListDeadLettersResponse>;
  return Call::Start(&environment_, context, &methods_.list_dead_letters, request, response,
                     &Handle<v1::ListDeadLettersRequest, v1::ListDeadLettersResponse,
                             &engine::DeadLetters::ListDeadLetters>);
}

grpc::ServerUnaryReactor* DeadLetterService::GetDeadLetter(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* request,
                                                           grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetDeadLetterRequest, v1::GetDeadLetterResponse>;
  return Call::Start(&environment_, context, &methods_.get_dead_letter, request, response,
                     &Handle<v1::GetDeadLetterRequest, v1::GetDeadLetterResponse,
                             &engine::DeadLetters::GetDeadLetter>);
}

grpc::ServerUnaryReactor* DeadLetterService::RetryDeadLetters(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request,
                                                              grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::RetryDeadLettersRequest, v1::RetryDeadLettersResponse>;
  return Call::Start(&environment_, context, &methods_.retry_dead_letters, request, response,
                     &Handle<v1::RetryDeadLettersRequest, v1::RetryDeadLettersResponse,
                             &engine::DeadLetters::RetryDeadLetters>);
}

grpc::ServerUnaryReactor* DeadLetterService::ResolveDeadLetters(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::ResolveDeadLettersRequest, v1::ResolveDeadLettersResponse>;
  return Call::Start(&environment_, context, &methods_.resolve_dead_letters, request, response,
                     &Handle<v1::ResolveDeadLettersRequest, v1::ResolveDeadLettersResponse,
                             &engine::DeadLetters::ResolveDeadLetters>);
}

grpc::ServerUnaryReactor* DeadLetterService::GetDeadLetterStats(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::GetDeadLetterStatsRequest, v1::GetDeadLetterStatsResponse>;
  return Call::Start(&environment_, context, &methods_.get_dead_letter_stats, request, response,
                     &Handle<v1::GetDeadLetterStatsRequest, v1::GetDeadLetterStatsResponse,
                             &engine::DeadLetters::GetDeadLetterStats>);
}

grpc::ServerUnaryReactor* DeadLetterService::PurgeDeadLetters(grpc::CallbackServerContext* context,
                                                              const grpc::ByteBuffer* request,
                                                              grpc::ByteBuffer* response) {
  using Call = UnaryCall<v1::PurgeDeadLettersRequest, v1::PurgeDeadLettersResponse>;
  return Call::Start(&environment_, context, &methods_.purge_dead_letters, request, response,
                     &Handle<v1::PurgeDeadLettersRequest, v1::PurgeDeadLettersResponse,
                             &engine::DeadLetters::PurgeDeadLetters>);
}

}  // namespace eventstore::rpc
