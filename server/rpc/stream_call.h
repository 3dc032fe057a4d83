// The life of every server-streaming call: a short queue of messages, one write at a time, and an
// orderly end whatever the client, the store or a shutdown does meanwhile.
#ifndef EVENTSTORE_SERVER_RPC_STREAM_CALL_H_
#define EVENTSTORE_SERVER_RPC_STREAM_CALL_H_

#include <absl/status/status.h>
#include <grpcpp/alarm.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "server/core/mutex.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/drain.h"

namespace eventstore::rpc {

// The reactor of a server-streaming method, fed by its derived class: Fetch asks for more, Deliver
// brings it, End breaks off. While a message is being written nothing else may be started on a
// call, not even its end; so an end that comes then waits until the client took the message, and
// after `drop_grace_ms` the call is cut.
//
// Lifetime: holds itself from Start until gRPC's OnDone. The engine's callbacks hold it too, by
// shared_ptr, for they may come later; what they bring then is dropped.
//
// Threads: gRPC's, the engine's and a timer's. The members of a derived class need no lock if only
// Prepare, Fetch and the answers to Fetch use them: these never run at the same time.
class StreamCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                   public Drainable,
                   public std::enable_shared_from_this<StreamCall> {
 public:
  ~StreamCall() override = default;

  // Prepares the call and starts it. Returns what the method's handler gives to gRPC.
  [[nodiscard]] grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(const grpc::ByteBuffer& request);

  void Drain(absl::Status status) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 protected:
  // A message, and where a reader that got it would resume.
  struct Message {
    grpc::ByteBuffer bytes;
    std::int64_t position = 0;
    std::int64_t epoch = 0;
  };

  // Asks for more while less than `read_ahead_bytes` wait to be sent (0: only when nothing does).
  // Drops a client that does not take a message for `stall_timeout` (zero: somebody else watches).
  struct Flow {
    std::int64_t read_ahead_bytes = 0;
    std::chrono::milliseconds stall_timeout{0};
  };

  StreamCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
             const Method* method, Flow flow);

  // Parses and validates the request and sets `backend_`. An error ends the call.
  [[nodiscard]] virtual absl::Status Prepare(const grpc::ByteBuffer& request) = 0;
  // Asks for the next messages. Answered by exactly one Deliver or End, by any thread.
  virtual void Fetch(Backend* backend) = 0;
  // The call was broken off from outside: whatever Fetch waits for is not wanted any more. May be
  // called several times.
  virtual void OnStopped() {}

  // Sends messages; after the last ones the call ends with OK.
  void Deliver(std::vector<Message> messages, bool last);
  // Ends the call; what was not sent yet is dropped. Only the first end counts.
  void End(absl::Status status);

  [[nodiscard]] const CallEnvironment& environment() const { return *environment_; }
  [[nodiscard]] const Caller& caller() const { return caller_; }
  template <typename Derived>
  [[nodiscard]] std::shared_ptr<Derived> Self() {
    return std::static_pointer_cast<Derived>(shared_from_this());
  }

  // Set by Prepare; given back when gRPC is done.
  std::shared_ptr<Backend> backend_;

 private:
  // Starts whatever can be started now. Called after each change, without the lock.
  void Advance();
  // End, and tells the derived class.
  void Stop(absl::Status status);
  void WatchForStall() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnStallAlarm();
  void OnGraceAlarm();

  CallEnvironment* const environment_;
  grpc::CallbackServerContext* const context_;
  const Flow flow_;
  const Caller caller_;

  Mutex mutex_;
  std::shared_ptr<StreamCall> self_ ABSL_GUARDED_BY(mutex_);
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  Message writing_ ABSL_GUARDED_BY(mutex_);  // untouched while is_writing_
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of queue_ and writing_
  std::int64_t sent_position_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t sent_epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_fetching_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_last_ ABSL_GUARDED_BY(mutex_) = false;      // no more after queue_
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;     // broken off
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;  // gRPC was told
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;      // gRPC told us; the context is gone
  absl::Status end_status_ ABSL_GUARDED_BY(mutex_);
  Deadline write_started_at_ ABSL_GUARDED_BY(mutex_);
  bool is_watching_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Alarm> stall_alarm_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Alarm> grace_alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_STREAM_CALL_H_
