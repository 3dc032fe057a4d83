#include "server/rpc/consume.h"

#include <utility>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/core/errors.h"
#include "server/core/validate_groups.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

ConsumeCall::ConsumeCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                         const Method* method)
    : environment_(environment), context_(context), caller_(context, method) {}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ConsumeCall::Start() {
  {
    MutexLock lock(&mutex_);
    self_ = shared_from_this();
  }
  StartSendInitialMetadata();
  absl::Status status = caller_.CheckDeadline();
  if (status.ok()) status = environment_->open_calls.Add(shared_from_this());
  if (status.ok()) {
    Advance();
  } else {
    End(std::move(status), Farewell::kLeft);
  }
  return this;
}

// Starts whatever can be started now. Called after each change, without the lock.
void ConsumeCall::Advance() {
  bool read = false;
  bool ask = false;
  bool finish = false;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (is_finished_) return;
    if (is_ended_) {
      if (is_writing_) return;
      is_finished_ = finish = true;
      status = end_status_;
    } else {
      if (!is_reading_ && !is_handling_) is_reading_ = read = true;
      if (membership_ != nullptr && !is_writing_ && !is_asking_) is_asking_ = ask = true;
    }
  }
  if (read) StartRead(&reading_);
  if (ask) AskForMessage();
  if (finish) Finish(caller_.Finish(status));
}

std::shared_ptr<engine::GroupMember> ConsumeCall::membership() {
  MutexLock lock(&mutex_);
  return membership_;
}

void ConsumeCall::OnReadDone(bool ok) {
  grpc::ByteBuffer buffer;
  {
    MutexLock lock(&mutex_);
    is_reading_ = false;
    if (ok && !is_ended_) {
      is_handling_ = true;
      std::swap(buffer, reading_);
    }
  }
  if (!ok) {
    End(absl::OkStatus(), Farewell::kAsk);
    return;
  }
  absl::Status status = membership() == nullptr ? Join(buffer) : Handle(buffer);
  if (!status.ok()) {
    {
      MutexLock lock(&mutex_);
      is_handling_ = false;
    }
    End(std::move(status), Farewell::kBroke);
  }
}

absl::Status ConsumeCall::Join(const grpc::ByteBuffer& buffer) {
  v1::ConsumeRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  if (absl::Status status = ValidateJoin(environment_->limits, &request); !status.ok()) {
    return status;
  }
  auto backend = environment_->find_backend(request.join().tenant_id());
  if (!backend.ok()) return backend.status();
  auto joined = (*backend)->groups().Join(std::move(*request.mutable_join()),
                                          [weak = weak_from_this()](absl::Status status) {
                                            if (const auto self = weak.lock())
                                              self->End(std::move(status), Farewell::kLeft);
                                          });
  if (!joined.ok()) return joined.status();
  bool is_late = false;
  {
    MutexLock lock(&mutex_);
    is_late = is_ended_;
    is_handling_ = false;
    if (!is_late) {
      backend_ = *std::move(backend);
      membership_ = *joined;
    }
  }
  if (is_late) (*joined)->Leave();
  Advance();
  return absl::OkStatus();
}

absl::Status ConsumeCall::Handle(const grpc::ByteBuffer& buffer) {
  v1::ConsumeRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) return status;
  if (absl::Status status = ValidateConsume(request); !status.ok()) return status;
  if (const auto member = membership()) {
    member->Handle(std::move(request), [self = shared_from_this()] { self->OnHandled(); });
  }
  return absl::OkStatus();
}

void ConsumeCall::OnHandled() {
  {
    MutexLock lock(&mutex_);
    is_handling_ = false;
  }
  Advance();
}

void ConsumeCall::AskForMessage() {
  if (const auto member = membership()) {
    member->RequestNext([self = shared_from_this()](absl::StatusOr<std::string> message) {
      self->OnMessage(std::move(message));
    });
  }
}

void ConsumeCall::OnMessage(absl::StatusOr<std::string> message) {
  bool write = false;
  {
    MutexLock lock(&mutex_);
    is_asking_ = false;
    if (message.ok() && !is_ended_) {
      const grpc::Slice slice(*message);
      writing_ = grpc::ByteBuffer(&slice, 1);
      is_writing_ = write = true;
    }
  }
  if (write) StartWrite(&writing_);
  if (!message.ok()) End(message.status(), Farewell::kLeft);
}

void ConsumeCall::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    is_writing_ = false;
    writing_.Clear();
  }
  if (!ok) End(caller_.CancelReason(), Farewell::kBroke);
  Advance();
}

void ConsumeCall::End(absl::Status status, Farewell farewell) {
  std::shared_ptr<engine::GroupMember> member;
  {
    MutexLock lock(&mutex_);
    if (is_ended_) return;
    is_ended_ = true;
    end_status_ = std::move(status);
    member = membership_;
    is_farewell_open_ = farewell == Farewell::kAsk;
    if (is_writing_) {
      grace_alarm_.emplace();
      grace_alarm_->Set(std::chrono::system_clock::now() + environment_->options.drop_grace_ms,
                        [weak = weak_from_this()](bool expired) {
                          const auto self = weak.lock();
                          if (expired && self != nullptr) self->OnGraceAlarm();
                        });
    }
  }
  if (member != nullptr) SayFarewell(member.get(), farewell);
  Advance();
}

void ConsumeCall::SayFarewell(engine::GroupMember* member, Farewell farewell) {
  if (farewell == Farewell::kLeft) member->Leave();
  if (farewell == Farewell::kBroke) member->Break();
}

void ConsumeCall::OnGraceAlarm() {
  MutexLock lock(&mutex_);
  // Under the lock, for OnDone takes it before the context goes.
  if (!is_done_ && is_writing_) context_->TryCancel();
}

void ConsumeCall::OnCancel() { End(caller_.CancelReason(), Farewell::kBroke); }

void ConsumeCall::Drain(absl::Status status) { End(std::move(status), Farewell::kLeft); }

void ConsumeCall::OnDone() {
  environment_->open_calls.Remove(this);
  std::shared_ptr<engine::GroupMember> member;
  {
    MutexLock lock(&mutex_);
    if (is_farewell_open_) member = membership_;
  }
  if (member != nullptr) {
    SayFarewell(member.get(), context_->IsCancelled() ? Farewell::kBroke : Farewell::kLeft);
  }
  // Given up in the opposite order: the member belongs to the backend's store.
  std::shared_ptr<ConsumeCall> self;
  std::shared_ptr<Backend> backend;
  std::shared_ptr<engine::GroupMember> last;
  MutexLock lock(&mutex_);
  is_done_ = true;
  if (grace_alarm_.has_value()) grace_alarm_->Cancel();
  last = std::move(membership_);
  backend = std::move(backend_);
  self = std::move(self_);
}

}  // namespace eventstore::rpc
