// The gRPC service eventstore.v1.EventStoreService.
#ifndef EVENTSTORE_SERVER_RPC_EVENT_STORE_SERVICE_H_
#define EVENTSTORE_SERVER_RPC_EVENT_STORE_SERVICE_H_

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "eventstore/v1/event_store_service.grpc.pb.h"

#include "server/core/limits.h"
#include "server/engine/store.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/options.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// The generated service with every method taken as raw bytes: so a request that does not parse gets
// an error that says why (gRPC itself would answer UNIMPLEMENTED without a word), and shared events
// are sent without being copied.
using RawLifecycleMethods = v1::EventStoreService::WithRawCallbackMethod_TruncateStream<
    v1::EventStoreService::WithRawCallbackMethod_DeleteStream<
        v1::EventStoreService::WithRawCallbackMethod_EraseEvents<v1::EventStoreService::Service>>>;
using RawEventStoreService = v1::EventStoreService::WithRawCallbackMethod_AppendEvents<
    v1::EventStoreService::WithRawCallbackMethod_AppendEventsStream<
        v1::EventStoreService::WithRawCallbackMethod_Transact<
            v1::EventStoreService::WithRawCallbackMethod_ReadStream<
                v1::EventStoreService::WithRawCallbackMethod_ReadAll<
                    v1::EventStoreService::WithRawCallbackMethod_QueryEvents<
                        v1::EventStoreService::WithRawCallbackMethod_Subscribe<
                            v1::EventStoreService::WithRawCallbackMethod_GetStreamInfo<
                                v1::EventStoreService::WithRawCallbackMethod_ListStreams<
                                    v1::EventStoreService::WithRawCallbackMethod_GetEvent<
                                        v1::EventStoreService::WithRawCallbackMethod_GetHead<
                                            RawLifecycleMethods>>>>>>>>>>>;

// Holds no threads and no server: register it with a grpc::ServerBuilder. Its methods are called by
// gRPC's threads and never block. Must outlive the server, and the stores must have stopped their
// threads (Store::Drain) before the last reference to them is given up.
class EventStoreService final : public RawEventStoreService {
 public:
  // `metrics` must outlive this object.
  EventStoreService(FindBackend find_backend, const Limits& limits, const RpcOptions& options,
                    telemetry::Metrics* metrics);

  // From now on new calls, and streaming calls that owe the client nothing any more, end with
  // STORE_UNAVAILABLE. Returns at once. Idempotent; any thread.
  void BeginDrain();

  grpc::ServerUnaryReactor* AppendEvents(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* AppendEventsStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Transact(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ReadStream(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* QueryEvents(grpc::CallbackServerContext* context,
                                                          const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ReadAll(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Subscribe(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* GetStreamInfo(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListStreams(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetEvent(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetHead(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* TruncateStream(grpc::CallbackServerContext* context,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteStream(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* EraseEvents(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;

 private:
  struct Methods {
    explicit Methods(telemetry::Metrics* metrics);
    Method append_events;
    Method append_events_stream;
    Method transact;
    Method read_stream;
    Method read_all;
    Method query_events;
    Method subscribe;
    Method get_stream_info;
    Method list_streams;
    Method get_event;
    Method get_head;
    Method truncate_stream;
    Method delete_stream;
    Method erase_events;
  };

  CallEnvironment environment_;
  const Methods methods_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_EVENT_STORE_SERVICE_H_
