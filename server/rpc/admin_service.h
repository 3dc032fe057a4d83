// The gRPC service eventstore.v1.AdminService.
#ifndef EVENTSTORE_SERVER_RPC_ADMIN_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_ADMIN_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/admin_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Every method taken as raw bytes; see event_store_service.h for why.
using RawAdminService = v1::AdminService::WithRawCallbackMethod_CreatePayloadIndex<
    v1::AdminService::WithRawCallbackMethod_DropPayloadIndex<
        v1::AdminService::WithRawCallbackMethod_ListPayloadIndexes<v1::AdminService::Service>>>;

// Holds no threads and no server. Its methods are called by gRPC's threads and never block. Must
// outlive the server.
class AdminService final : public RawAdminService {
 public:
  // `metrics` must outlive this object.
  AdminService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
               telemetry::Metrics* metrics);

  // From now on new calls end with STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* CreatePayloadIndex(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DropPayloadIndex(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListPayloadIndexes(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method create_payload_index;
    Method drop_payload_index;
    Method list_payload_indexes;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_ADMIN_SERVICE_H_
