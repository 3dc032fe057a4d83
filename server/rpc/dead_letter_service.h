// The gRPC service eventstore.v1.DeadLetterService.
#ifndef EVENTSTORE_SERVER_RPC_DEAD_LETTER_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_DEAD_LETTER_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/dead_letter_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Every method taken as raw bytes; see event_store_service.h for why.
using RawDeadLetterService = v1::DeadLetterService::WithRawCallbackMethod_AddDeadLetter<
    v1::DeadLetterService::WithRawCallbackMethod_ListDeadLetters<
        v1::DeadLetterService::WithRawCallbackMethod_GetDeadLetter<
            v1::DeadLetterService::WithRawCallbackMethod_RetryDeadLetters<
                v1::DeadLetterService::WithRawCallbackMethod_ResolveDeadLetters<
                    v1::DeadLetterService::WithRawCallbackMethod_GetDeadLetterStats<
                        v1::DeadLetterService::WithRawCallbackMethod_PurgeDeadLetters<
                            v1::DeadLetterService::Service>>>>>>>;

// Holds no threads and no server. Its methods are called by gRPC's threads and never block. Must
// outlive the server.
class DeadLetterService final : public RawDeadLetterService {
 public:
  // `metrics` must outlive this object.
  DeadLetterService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                    telemetry::Metrics* metrics);

  // From now on new calls end with STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* AddDeadLetter(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListDeadLetters(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetDeadLetter(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RetryDeadLetters(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ResolveDeadLetters(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetDeadLetterStats(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* PurgeDeadLetters(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method add_dead_letter;
    Method list_dead_letters;
    Method get_dead_letter;
    Method retry_dead_letters;
    Method resolve_dead_letters;
    Method get_dead_letter_stats;
    Method purge_dead_letters;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_DEAD_LETTER_SERVICE_H_
