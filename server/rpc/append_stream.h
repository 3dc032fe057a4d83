// EventStoreService.AppendEventsStream.
#ifndef EVENTSTORE_SERVER_RPC_APPEND_STREAM_H_
#define EVENTSTORE_SERVER_RPC_APPEND_STREAM_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "server/core/mutex.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/drain.h"

namespace eventstore::rpc {

// Reads requests while fewer than `append_stream_in_flight_max` are unanswered or have an
// answer that the client did not take, so that both the lane and this call's memory are protected
// by gRPC's flow control. Answers are written one at a time, in the order of completion. A request
// that fails, whatever its fault, is answered by an error and the call goes on.
//
// The call ends with OK after the client has half-closed and has every answer; at a shutdown with
// STORE_UNAVAILABLE after what is in flight was answered. When the client cancels, what is not in a
// batch yet is not written.
//
// Lifetime and threads: as StreamCall. gRPC's threads and the lane's.
class AppendStreamCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public Drainable,
                               public std::enable_shared_from_this<AppendStreamCall> {
 public:
  AppendStreamCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                   const Method* method);

  // Returns what the method's handler gives to gRPC.
  [[nodiscard]] grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start();

  void Drain(absl::Status status) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // Parses and submits what was read; an error is the answer to it.
  absl::Status Handle(const grpc::ByteBuffer& buffer, std::uint64_t* correlation_id);
  // An answer has come from the lane. `number` counts this call's requests.
  void OnAnswer(std::uint64_t number, std::uint64_t correlation_id,
                absl::StatusOr<v1::AppendEventsResponse> answer);
  [[nodiscard]] grpc::ByteBuffer MakeAnswer(std::uint64_t correlation_id,
                                            absl::StatusOr<v1::AppendEventsResponse> answer) const;
  // Starts whatever can be started now. Called after each change, without the lock.
  void Advance();
  // The client is gone: drops answers and cancels what the lane has not taken up.
  void Abandon();

  CallEnvironment* const environment_;
  const Caller caller_;

  Mutex mutex_;
  std::shared_ptr<AppendStreamCall> self_ ABSL_GUARDED_BY(mutex_);
  // What the lane has not answered yet, by number, and how to cancel it: null until Submit
  // returned.
  absl::flat_hash_map<std::uint64_t, std::function<void()>> in_flight_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<grpc::ByteBuffer> answers_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer reading_ ABSL_GUARDED_BY(mutex_);  // untouched while is_reading_
  grpc::ByteBuffer writing_ ABSL_GUARDED_BY(mutex_);  // untouched while is_writing_
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_handling_ ABSL_GUARDED_BY(mutex_) = false;  // between a read and its submission
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_read_over_ ABSL_GUARDED_BY(mutex_) = false;  // half-closed, draining or cancelled
  bool is_abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;  // gRPC was told
  absl::Status end_status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_APPEND_STREAM_H_
