// EventStoreService.QueryEvents.
#ifndef EVENTSTORE_SERVER_RPC_QUERY_EVENTS_H_
#define EVENTSTORE_SERVER_RPC_QUERY_EVENTS_H_

#include "server/rpc/read_all.h"

namespace eventstore::rpc {

// As ReadAll, forwards, of events by what their payloads hold.
class QueryEventsCall final : public ReadAllCall {
 public:
  using ReadAllCall::ReadAllCall;

 private:
  absl::Status Prepare(const grpc::ByteBuffer& request) override;
  void Fetch(Backend* backend) override;
  [[nodiscard]] grpc::ByteBuffer Serialize(v1::EventBatch batch,
                                           std::int64_t head_position) const override;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_QUERY_EVENTS_H_
