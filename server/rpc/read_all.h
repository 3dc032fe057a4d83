// EventStoreService.ReadAll.
#ifndef EVENTSTORE_SERVER_RPC_READ_ALL_H_
#define EVENTSTORE_SERVER_RPC_READ_ALL_H_

#include "server/engine/reader.h"
#include "server/rpc/backend.h"
#include "server/rpc/stream_call.h"

namespace eventstore::rpc {

// Reads page after page of the store, up to the head of its start. Sends at least one message, so
// that the client learns the head and how far was looked; a long search that finds nothing tells of
// its progress now and then. QueryEventsCall reads in the same way.
class ReadAllCall : public StreamCall {
 public:
  ReadAllCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
              const Method* method);

 protected:
  absl::Status Prepare(const grpc::ByteBuffer& request) override;
  void Fetch(Backend* backend) override;
  // A message of the answer. ReadAllResponse and QueryEventsResponse have the same fields.
  [[nodiscard]] virtual grpc::ByteBuffer Serialize(v1::EventBatch batch,
                                                   std::int64_t head_position) const;
  // Sets what a request with a filter reads from: the filter, and the backend of its tenant.
  [[nodiscard]] absl::Status Choose(const v1::Filter& filter);
  // Takes the answer to Fetch.
  [[nodiscard]] engine::Done<engine::AllPage> PageDone();

  engine::AllPageQuery query_;  // of the next page

 private:
  void OnPage(engine::AllPage page);
  // Whether a page may be followed by another: reading must get on, or it would never end.
  [[nodiscard]] bool MadeProgress(const engine::AllPage& page) const;

  bool is_first_ = true;
  std::int64_t head_position_ = 0;
  int silent_pages_ = 0;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_READ_ALL_H_
