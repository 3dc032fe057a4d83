// ConsumerGroupService.Consume.
#ifndef EVENTSTORE_SERVER_RPC_CONSUME_H_
#define EVENTSTORE_SERVER_RPC_CONSUME_H_

#include <grpcpp/alarm.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <string>

#include "server/core/mutex.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/caller.h"
#include "server/rpc/drain.h"

namespace eventstore::rpc {

// One member of a consumer group. One message of the client is handled at a time: the next is read
// when the engine is done with it; one message to the client is written at a time: the next is
// asked for when gRPC has taken it. So both directions are bounded by flow control, and the engine
// drops who stalls.
//
// Ends with OK after the client has half-closed (it left in order), with the engine's reason where
// the membership ended, and with INVALID_REQUEST after a message that is wrong. An end that comes
// while a message is being written waits for it, and after `drop_grace_ms` the call is cut.
//
// Lifetime and threads: as StreamCall. gRPC's threads, the groups' thread and a timer's.
class ConsumeCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                          public Drainable,
                          public std::enable_shared_from_this<ConsumeCall> {
 public:
  ConsumeCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
              const Method* method);

  // Returns what the method's handler gives to gRPC.
  [[nodiscard]] grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start();

  void Drain(absl::Status status) override;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // How the client went. kAsk: it has half-closed, or is gone; only the end of the call tells.
  enum class Farewell { kLeft, kBroke, kAsk };

  [[nodiscard]] absl::Status Handle(const grpc::ByteBuffer& buffer);
  [[nodiscard]] absl::Status Join(const grpc::ByteBuffer& buffer);
  void OnHandled();
  static void SayFarewell(engine::GroupMember* member, Farewell farewell);
  void AskForMessage();
  void OnMessage(absl::StatusOr<std::string> message);
  // Only the first end counts.
  void End(absl::Status status, Farewell farewell);
  void Advance();
  void OnGraceAlarm();
  [[nodiscard]] std::shared_ptr<engine::GroupMember> membership();

  CallEnvironment* const environment_;
  grpc::CallbackServerContext* const context_;
  const Caller caller_;

  Mutex mutex_;
  std::shared_ptr<ConsumeCall> self_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Backend> backend_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<engine::GroupMember> membership_
      ABSL_GUARDED_BY(mutex_);                        // null until `join` came
  grpc::ByteBuffer reading_ ABSL_GUARDED_BY(mutex_);  // untouched while is_reading_
  grpc::ByteBuffer writing_ ABSL_GUARDED_BY(mutex_);  // untouched while is_writing_
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_handling_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_asking_ ABSL_GUARDED_BY(mutex_) = false;  // the engine owes a message
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;  // gRPC was told
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;      // gRPC told us; the context is gone
  bool is_farewell_open_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_status_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Alarm> grace_alarm_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_CONSUME_H_
