// EventStoreService.ReadStream.
#ifndef EVENTSTORE_SERVER_RPC_READ_STREAM_H_
#define EVENTSTORE_SERVER_RPC_READ_STREAM_H_

#include "server/rpc/stream_call.h"

namespace eventstore::rpc {

// Reads page after page of a stream, up to what was committed at the first one. The first message
// has the stream's info even if there are no events.
class ReadStreamCall final : public StreamCall {
 public:
  ReadStreamCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                 const Method* method);

 private:
  absl::Status Prepare(const grpc::ByteBuffer& request) override;
  void Fetch(Backend* backend) override;
  void OnPage(engine::StreamPage page);

  engine::StreamPageQuery query_;  // of the next page
  bool is_first_ = true;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_READ_STREAM_H_
