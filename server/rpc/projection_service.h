// The gRPC service eventstore.v1.ProjectionService.
#ifndef EVENTSTORE_SERVER_RPC_PROJECTION_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_PROJECTION_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/projection_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Every method taken as raw bytes; see event_store_service.h for why.
using RawProjectionService = v1::ProjectionService::WithRawCallbackMethod_SaveCheckpoint<
    v1::ProjectionService::WithRawCallbackMethod_GetCheckpoint<
        v1::ProjectionService::WithRawCallbackMethod_ListCheckpoints<
            v1::ProjectionService::WithRawCallbackMethod_ResetCheckpoint<
                v1::ProjectionService::WithRawCallbackMethod_DeleteCheckpoint<
                    v1::ProjectionService::Service>>>>>;

// Holds no threads and no server. Its methods are called by gRPC's threads and never block. Must
// outlive the server.
class ProjectionService final : public RawProjectionService {
 public:
  // `metrics` must outlive this object.
  ProjectionService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                    telemetry::Metrics* metrics);

  // From now on new calls end with STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* SaveCheckpoint(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetCheckpoint(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ResetCheckpoint(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteCheckpoint(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method save_checkpoint;
    Method get_checkpoint;
    Method list_checkpoints;
    Method reset_checkpoint;
    Method delete_checkpoint;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_PROJECTION_SERVICE_H_
