#include "server/rpc/stream_call.h"

#include <utility>

#include "server/core/errors.h"

namespace eventstore::rpc {
namespace {

// A last message of so many bytes goes out together with the end of the call. It fits into a call's
// first flow-control window, so that no client can hold it up (a dead connection ends by
// keepalive).
constexpr std::size_t kWriteAndFinishBytesMax = 32 << 10;

}  // namespace

StreamCall::StreamCall(CallEnvironment* environment, grpc::CallbackServerContext* context,
                       const Method* method, Flow flow)
    : environment_(environment), context_(context), flow_(flow), caller_(context, method) {}

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamCall::Start(const grpc::ByteBuffer& request) {
  {
    MutexLock lock(&mutex_);
    self_ = shared_from_this();
  }
  absl::Status status = environment_->open_calls.CheckOpen();
  if (status.ok()) status = caller_.CheckDeadline();
  if (status.ok()) status = Prepare(request);
  // Only now, so that Drain finds what Prepare made.
  if (status.ok()) status = environment_->open_calls.Add(shared_from_this());
  if (status.ok()) {
    Advance();
  } else {
    Stop(std::move(status));
  }
  return this;
}

void StreamCall::Deliver(std::vector<Message> messages, bool last) {
  {
    MutexLock lock(&mutex_);
    is_fetching_ = false;
    if (is_ended_) return;
    for (Message& message : messages) {
      waiting_bytes_ += static_cast<std::int64_t>(message.bytes.Length());
      queue_.push_back(std::move(message));
    }
    is_last_ = last;
  }
  Advance();
}

void StreamCall::End(absl::Status status) {
  std::deque<Message> dropped;  // freed without the lock
  {
    MutexLock lock(&mutex_);
    if (is_ended_ || is_finished_) return;
    is_ended_ = true;
    end_status_ = std::move(status);
    dropped.swap(queue_);
    if (is_writing_) {
      grace_alarm_.emplace();
      grace_alarm_->Set(std::chrono::system_clock::now() + environment_->options.drop_grace_ms,
                        [weak = weak_from_this()](bool expired) {
                          const auto self = weak.lock();
                          if (expired && self != nullptr) self->OnGraceAlarm();
                        });
    }
  }
  Advance();
}

void StreamCall::Advance() {
  bool write = false;
  bool finish = false;
  bool write_and_finish = false;
  absl::Status status;
  std::shared_ptr<Backend> fetch_from;  // held: the call may end while Fetch runs
  {
    MutexLock lock(&mutex_);
    if (!is_writing_ && !is_finished_) {
      if (!queue_.empty()) {
        writing_ = std::move(queue_.front());
        queue_.pop_front();
        is_writing_ = write = true;
        write_started_at_ = std::chrono::steady_clock::now();
        if (queue_.empty() && is_last_ && !is_ended_ &&
            writing_.bytes.Length() <= kWriteAndFinishBytesMax) {
          is_finished_ = write_and_finish = true;
          write = false;
        } else {
          WatchForStall();
        }
      } else if (is_ended_ || is_last_) {
        is_finished_ = finish = true;
        status = end_status_;
      }
    }
    const bool room = (!is_writing_ && queue_.empty()) || waiting_bytes_ < flow_.read_ahead_bytes;
    if (room && !is_fetching_ && !is_last_ && !is_ended_) {
      is_fetching_ = true;
      fetch_from = backend_;
    }
  }
  // Without the lock. Nobody else can start a write or the end until this write is done, and the
  // call lives at least until gRPC was told its end here.
  if (write) StartWrite(&writing_.bytes);
  if (write_and_finish) {
    StartWriteAndFinish(&writing_.bytes, grpc::WriteOptions(), caller_.Finish(status));
  }
  if (fetch_from != nullptr) Fetch(fetch_from.get());
  if (finish) Finish(caller_.Finish(status));
}

void StreamCall::OnWriteDone(bool ok) {
  Message written;  // freed without the lock
  {
    MutexLock lock(&mutex_);
    is_writing_ = false;
    waiting_bytes_ -= static_cast<std::int64_t>(writing_.bytes.Length());
    std::swap(written, writing_);
    if (ok) {
      sent_position_ = written.position;
      sent_epoch_ = written.epoch;
    }
  }
  if (ok) {
    Advance();
  } else {
    Stop(caller_.CancelReason());
    Advance();  // where the end was known before, it waited for this write
  }
}

void StreamCall::Stop(absl::Status status) {
  End(std::move(status));
  OnStopped();
}

void StreamCall::OnCancel() { Stop(caller_.CancelReason()); }

void StreamCall::Drain(absl::Status status) { Stop(std::move(status)); }

void StreamCall::OnDone() {
  std::shared_ptr<StreamCall> self;
  std::shared_ptr<Backend> backend;
  {
    MutexLock lock(&mutex_);
    is_done_ = true;
    if (stall_alarm_.has_value()) stall_alarm_->Cancel();
    if (grace_alarm_.has_value()) grace_alarm_->Cancel();
    self = std::move(self_);
    backend = std::move(backend_);
  }
  environment_->open_calls.Remove(this);
  OnStopped();
}

void StreamCall::WatchForStall() {
  // One alarm for all messages: it looks at the clock when it fires.
  if (is_watching_ || flow_.stall_timeout.count() == 0) return;
  is_watching_ = true;
  stall_alarm_.emplace();
  const auto left = write_started_at_ + flow_.stall_timeout - std::chrono::steady_clock::now();
  stall_alarm_->Set(std::chrono::system_clock::now() + left,
                    [weak = weak_from_this()](bool expired) {
                      const auto self = weak.lock();
                      if (expired && self != nullptr) self->OnStallAlarm();
                    });
}

void StreamCall::OnStallAlarm() {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    is_watching_ = false;
    if (is_done_ || is_ended_ || is_finished_ || !is_writing_) return;
    if (std::chrono::steady_clock::now() < write_started_at_ + flow_.stall_timeout) {
      WatchForStall();
      return;
    }
    status = SlowConsumer(sent_position_, sent_epoch_, flow_.stall_timeout);
  }
  Stop(std::move(status));
}

void StreamCall::OnGraceAlarm() {
  MutexLock lock(&mutex_);
  // Under the lock, for OnDone takes it before the context goes. No callback of ours runs inside:
  // gRPC hands those to its own threads.
  if (!is_done_ && is_writing_) context_->TryCancel();
}

}  // namespace eventstore::rpc
