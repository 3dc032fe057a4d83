// The gRPC service eventstore.v1.SnapshotService.
#ifndef EVENTSTORE_SERVER_RPC_SNAPSHOT_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_SNAPSHOT_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/snapshot_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Every method taken as raw bytes; see event_store_service.h for why.
using RawSnapshotService = v1::SnapshotService::WithRawCallbackMethod_SaveSnapshot<
    v1::SnapshotService::WithRawCallbackMethod_GetSnapshot<
        v1::SnapshotService::WithRawCallbackMethod_ListSnapshots<
            v1::SnapshotService::WithRawCallbackMethod_DeleteSnapshots<
                v1::SnapshotService::Service>>>>;

// Holds no threads and no server. Its methods are called by gRPC's threads and never block. Must
// outlive the server.
class SnapshotService final : public RawSnapshotService {
 public:
  // `metrics` must outlive this object.
  SnapshotService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                  telemetry::Metrics* metrics);

  // From now on new calls end with STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* SaveSnapshot(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetSnapshot(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListSnapshots(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteSnapshots(grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer* request,
                                            grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method save_snapshot;
    Method get_snapshot;
    Method list_snapshots;
    Method delete_snapshots;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_SNAPSHOT_SERVICE_H_
