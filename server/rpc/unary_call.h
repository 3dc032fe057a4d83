// The life of every unary call: parse, hand over to its handler, send the answer.
#ifndef EVENTSTORE_SERVER_RPC_UNARY_CALL_H_
#define EVENTSTORE_SERVER_RPC_UNARY_CALL_H_

#include <absl/status/statusor.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

// Deletes itself when gRPC is done. Answer is called exactly once, by any thread; gRPC deletes
// nothing before the handler has returned and the call was answered, so the handler and whoever
// owes the answer may keep a plain pointer until then.
template <typename Request, typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // Validates the request and starts the work, which ends in Answer; an error returned is the
  // answer itself. Runs on a thread of gRPC: must not block.
  using Handler = absl::Status (*)(Request request, UnaryCall* call);

  [[nodiscard]] static grpc::ServerUnaryReactor* Start(
      CallEnvironment* environment, grpc::CallbackServerContext* context, const Method* method,
      const grpc::ByteBuffer* request, grpc::ByteBuffer* response, Handler handler) {
    auto* call = new UnaryCall(environment, context, method, response);
    if (absl::Status status = call->Run(*request, handler); !status.ok()) {
      call->Answer(std::move(status));
    }
    return call;
  }

  [[nodiscard]] const Limits& limits() const { return environment_->limits; }
  [[nodiscard]] Deadline deadline() const { return caller_.deadline(); }

  // The tenant's backend; held until gRPC is done with the call.
  [[nodiscard]] absl::StatusOr<Backend*> FindBackendOf(std::string_view tenant_id) {
    absl::StatusOr<std::shared_ptr<Backend>> found = environment_->find_backend(tenant_id);
    if (!found.ok()) return found.status();
    backend_ = *std::move(found);
    return backend_.get();
  }

  // What to do when gRPC cancels the call. Only for the handler.
  void SetOnCancel(std::function<void()> on_cancel) { on_cancel_ = std::move(on_cancel); }

  void Answer(absl::StatusOr<Response> answer) {
    if (answer.ok()) *response_ = SerializeMessage(*answer);
    Finish(caller_.Finish(answer.status()));
  }

  void OnCancel() override {
    if (on_cancel_) on_cancel_();
  }
  void OnDone() override { delete this; }

 private:
  UnaryCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
            const Method* method, grpc::ByteBuffer* response)
      : environment_(environment), response_(response), caller_(context, method) {}

  absl::Status Run(const grpc::ByteBuffer& buffer, Handler handler) {
    if (absl::Status status = environment_->open_calls.CheckOpen(); !status.ok()) return status;
    if (absl::Status status = caller_.CheckDeadline(); !status.ok()) return status;
    Request request;
    if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
    return handler(std::move(request), this);
  }

  CallEnvironment* const environment_;
  grpc::ByteBuffer* const response_;
  const Caller caller_;
  std::shared_ptr<Backend> backend_;
  std::function<void()> on_cancel_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_UNARY_CALL_H_
