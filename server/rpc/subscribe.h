// EventStoreService.Subscribe.
#ifndef EVENTSTORE_SERVER_RPC_SUBSCRIBE_H_
#define EVENTSTORE_SERVER_RPC_SUBSCRIBE_H_

#include <memory>
#include <string>

#include "server/rpc/stream_call.h"

namespace eventstore::rpc {

// Passes a subscription's messages on, one at a time: the next is asked for when gRPC has taken the
// one before, so that the client's flow control reaches the hub. The hub drops who stalls.
class SubscribeCall final : public StreamCall {
 public:
  SubscribeCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                const Method* method);

 private:
  absl::Status Prepare(const grpc::ByteBuffer& request) override;
  void Fetch(Backend* backend) override;
  void OnStopped() override;
  void OnMessage(const engine::SubscriptionMessage& message);
  [[nodiscard]] std::vector<Message> EventMessages(
      const engine::SubscriptionMessage& message) const;

  std::shared_ptr<Feed> feed_;  // constant after Prepare; null if that failed
  std::string store_id_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_SUBSCRIBE_H_
