#include "tests/support/daemon_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdint>
#include <utility>

#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.pb.h"

namespace eventstore::testing {
namespace {

enum Step : std::uint8_t { kStart, kWrite, kWritesDone, kRead, kFinish, kSteps };

void* Tag(Step step) { return reinterpret_cast<void*>(static_cast<std::intptr_t>(step)); }

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace

v1::ErrorReason CallStatus::reason() const { return info().reason(); }

const v1::ErrorInfo& CallStatus::info() const {
  static const v1::ErrorInfo none;
  return details.empty() ? none : details.front();
}

std::string CallStatus::Text() const {
  std::string text = absl::StatusCodeToString(code) + ": " + message;
  for (const v1::ErrorInfo& detail : details) text += "\n  {" + detail.ShortDebugString() + "}";
  return text;
}

CallStatus StatusOf(int code, const std::string& message, const std::string& rpc_status) {
  CallStatus result;
  result.code = static_cast<absl::StatusCode>(code);
  result.message = message;
  result.details_bytes = rpc_status.size();
  google::rpc::Status rich;
  if (!rpc_status.empty() && rich.ParseFromString(rpc_status)) {
    for (const auto& any : rich.details()) {
      v1::ErrorInfo info;
      if (any.UnpackTo(&info)) result.details.push_back(std::move(info));
    }
  }
  return result;
}

struct Call::State {
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
  grpc::ByteBuffer reading;
  grpc::Status status;
  bool pending[kSteps] = {};
  bool result[kSteps] = {};
  bool read_over = false;
  bool finished = false;

  // Waits for a step that was begun; false if it is not done in time.
  bool Await(Step step, std::chrono::milliseconds timeout) {
    const auto deadline = std::chrono::system_clock::now() + timeout;
    while (pending[step]) {
      void* tag = nullptr;
      bool ok = false;
      if (queue.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return false;
      const auto done = static_cast<std::size_t>(reinterpret_cast<std::intptr_t>(tag));
      pending[done] = false;
      result[done] = ok;
    }
    return true;
  }

  void AwaitAll() {
    for (int step = 0; step < kSteps; ++step) Await(static_cast<Step>(step), kCallTimeout);
  }
};

Call::Call(std::unique_ptr<State> state) : state_(std::move(state)) {}

Call::~Call() {
  state_->context.TryCancel();
  Finish();
  state_->AwaitAll();
  state_->queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (state_->queue.Next(&tag, &ok)) {
  }
}

bool Call::Write(const std::string& message, std::chrono::milliseconds timeout) {
  if (!state_->Await(kWrite, timeout)) return false;
  state_->pending[kWrite] = true;
  state_->stream->Write(ToBuffer(message), Tag(kWrite));
  return state_->Await(kWrite, timeout) && state_->result[kWrite];
}

void Call::WritesDone() {
  if (!state_->Await(kWrite, kCallTimeout)) return;
  state_->pending[kWritesDone] = true;
  state_->stream->WritesDone(Tag(kWritesDone));
  state_->Await(kWritesDone, kCallTimeout);
}

std::optional<std::string> Call::Read(std::chrono::milliseconds timeout) {
  State& state = *state_;
  if (state.read_over) return std::nullopt;
  if (!state.pending[kRead]) {
    state.pending[kRead] = true;
    state.stream->Read(&state.reading, Tag(kRead));
  }
  if (!state.Await(kRead, timeout)) return std::nullopt;
  if (!state.result[kRead]) {
    state.read_over = true;
    return std::nullopt;
  }
  return ToString(state.reading);
}

bool Call::ended() const { return state_->read_over; }

CallStatus Call::Finish() {
  State& state = *state_;
  while (!state.read_over && (Read().has_value() || state.pending[kRead])) {
    if (state.pending[kRead]) state.context.TryCancel();  // It does not end by itself.
  }
  if (!state.finished) {
    state.finished = true;
    state.pending[kFinish] = true;
    state.stream->Finish(&state.status, Tag(kFinish));
    state.Await(kFinish, kCallTimeout);
  }
  return StatusOf(static_cast<int>(state.status.error_code()), state.status.error_message(),
                  state.status.error_details());
}

void Call::Cancel() { state_->context.TryCancel(); }

struct Client::State {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc::GenericStub> stub;
};

Client::Client(int port) : state_(std::make_unique<State>()) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetMaxReceiveMessageSize(-1);
  state_->channel = grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port),
                                              grpc::InsecureChannelCredentials(), arguments);
  state_->stub = std::make_unique<grpc::GenericStub>(state_->channel);
}

Client::~Client() = default;

std::unique_ptr<Call> Client::Start(const std::string& method, std::chrono::milliseconds timeout) {
  auto state = std::make_unique<Call::State>();
  state->context.set_deadline(std::chrono::system_clock::now() + timeout);
  const std::string path =
      method.front() == '/' ? method : "/eventstore.v1.EventStoreService/" + method;
  state->stream = state_->stub->PrepareCall(&state->context, path, &state->queue);
  state->pending[kStart] = true;
  state->stream->StartCall(Tag(kStart));
  state->Await(kStart, kCallTimeout);
  return std::unique_ptr<Call>(new Call(std::move(state)));
}

CallStatus Client::Raw(const std::string& method, const std::string& request, std::string* response,
                       std::chrono::milliseconds timeout) {
  const std::unique_ptr<Call> call = Start(method, timeout);
  if (call->Write(request)) call->WritesDone();
  if (std::optional<std::string> bytes = call->Read()) *response = *std::move(bytes);
  return call->Finish();
}

std::string Client::Health(const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const CallStatus status = Unary("/grpc.health.v1.Health/Check", request, &response);
  if (!status.ok()) return "";
  return grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
}

}  // namespace eventstore::testing
