// The gRPC service eventstore.v1.ConsumerGroupService.
#ifndef EVENTSTORE_SERVER_RPC_CONSUMER_GROUP_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_CONSUMER_GROUP_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Raw, as RawEventStoreService and for its reasons.
using RawConsumerGroupService = v1::ConsumerGroupService::WithRawCallbackMethod_CreateConsumerGroup<
    v1::ConsumerGroupService::WithRawCallbackMethod_UpdateConsumerGroup<
        v1::ConsumerGroupService::WithRawCallbackMethod_DeleteConsumerGroup<
            v1::ConsumerGroupService::WithRawCallbackMethod_GetConsumerGroup<
                v1::ConsumerGroupService::WithRawCallbackMethod_ListConsumerGroups<
                    v1::ConsumerGroupService::WithRawCallbackMethod_Consume<
                        v1::ConsumerGroupService::Service>>>>>>;

// As EventStoreService: no threads, never blocks, outlives the server.
class ConsumerGroupService final : public RawConsumerGroupService {
 public:
  // `metrics` must outlive this object.
  ConsumerGroupService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                       telemetry::Metrics* metrics);

  // Ends every member's call with STORE_UNAVAILABLE and refuses new ones. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* CreateConsumerGroup(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* UpdateConsumerGroup(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteConsumerGroup(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetConsumerGroup(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* request,
                                             grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListConsumerGroups(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Consume(
      grpc::CallbackServerContext* context) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method create;
    Method update;
    Method remove;
    Method get;
    Method list;
    Method consume;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_CONSUMER_GROUP_SERVICE_H_
