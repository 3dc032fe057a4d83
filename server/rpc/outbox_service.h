// The gRPC service eventstore.v1.OutboxService.
#ifndef EVENTSTORE_SERVER_RPC_OUTBOX_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_OUTBOX_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/outbox_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Every method taken as raw bytes; see event_store_service.h for why.
using RawOutboxService = v1::OutboxService::WithRawCallbackMethod_ClaimOutbox<
    v1::OutboxService::WithRawCallbackMethod_CompleteOutbox<
        v1::OutboxService::WithRawCallbackMethod_FailOutbox<
            v1::OutboxService::WithRawCallbackMethod_ListOutbox<
                v1::OutboxService::WithRawCallbackMethod_RetryOutbox<
                    v1::OutboxService::WithRawCallbackMethod_GetOutboxStats<
                        v1::OutboxService::WithRawCallbackMethod_PauseOutbox<
                            v1::OutboxService::WithRawCallbackMethod_PurgeOutbox<
                                v1::OutboxService::Service>>>>>>>>;

// Holds no threads and no server. Its methods are called by gRPC's threads and never block. Must
// outlive the server.
class OutboxService final : public RawOutboxService {
 public:
  // `metrics` must outlive this object.
  OutboxService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                telemetry::Metrics* metrics);

  // From now on new calls end with STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* ClaimOutbox(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CompleteOutbox(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* FailOutbox(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListOutbox(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* RetryOutbox(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetOutboxStats(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* PauseOutbox(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* PurgeOutbox(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method claim_outbox;
    Method complete_outbox;
    Method fail_outbox;
    Method list_outbox;
    Method retry_outbox;
    Method get_outbox_stats;
    Method pause_outbox;
    Method purge_outbox;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_OUTBOX_SERVICE_H_
