#include "server/rpc/append_stream.h"

#include <utility>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/errors.h"
#include "server/core/validation.h"
#include "server/rpc/status.h"
#include "server/rpc/wire.h"

namespace eventstore::rpc {

AppendStreamCall::AppendStreamCall(CallEnvironment* environment,
                                   grpc::CallbackServerContext* context, const Method* method)
    : environment_(environment), caller_(context, method) {}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* AppendStreamCall::Start() {
  {
    MutexLock lock(&mutex_);
    self_ = shared_from_this();
  }
  // At once: the first answer may be long in coming, and clients wait for the metadata.
  StartSendInitialMetadata();
  absl::Status status = caller_.CheckDeadline();
  if (status.ok()) status = environment_->open_calls.Add(shared_from_this());
  if (!status.ok()) {
    Drain(std::move(status));
  } else {
    Advance();
  }
  return this;
}

void AppendStreamCall::Drain(absl::Status status) {
  {
    MutexLock lock(&mutex_);
    is_read_over_ = true;
    if (end_status_.ok()) end_status_ = std::move(status);
  }
  Advance();
}

void AppendStreamCall::Advance() {
  bool read = false;
  bool write = false;
  bool finish = false;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (is_finished_) return;
    if (!is_writing_ && !answers_.empty()) {
      writing_ = std::move(answers_.front());
      answers_.pop_front();
      is_writing_ = write = true;
    }
    const std::size_t unanswered = in_flight_.size() + answers_.size() + (is_writing_ ? 1 : 0);
    const auto limit = static_cast<std::size_t>(environment_->options.append_stream_in_flight_max);
    if (!is_reading_ && !is_handling_ && !is_read_over_ && unanswered < limit) {
      is_reading_ = read = true;
    }
    if (is_read_over_ && !is_handling_ && !is_writing_ && answers_.empty() &&
        (in_flight_.empty() || is_abandoned_)) {
      is_finished_ = finish = true;
      status = end_status_;
    }
  }
  // Without the lock; the flags keep everybody else from starting the same.
  if (write) StartWrite(&writing_);
  if (read) StartRead(&reading_);
  if (finish) Finish(caller_.Finish(status));
}

void AppendStreamCall::OnReadDone(bool ok) {
  grpc::ByteBuffer buffer;
  {
    MutexLock lock(&mutex_);
    is_reading_ = false;
    if (!ok) {
      is_read_over_ = true;
    } else if (is_read_over_) {
      ok = false;  // came while draining: not begun, so the client repeats it elsewhere
    } else {
      is_handling_ = true;
      std::swap(buffer, reading_);
    }
  }
  if (ok) {
    std::uint64_t correlation_id = 0;
    const absl::Status status = Handle(buffer, &correlation_id);
    grpc::ByteBuffer answer;
    if (!status.ok()) answer = MakeAnswer(correlation_id, status);
    MutexLock lock(&mutex_);
    is_handling_ = false;
    if (!status.ok() && !is_abandoned_) answers_.push_back(std::move(answer));
  }
  Advance();
}

absl::Status AppendStreamCall::Handle(const grpc::ByteBuffer& buffer,
                                      std::uint64_t* correlation_id) {
  v1::AppendEventsStreamRequest request;
  if (absl::Status status = ParseMessage(buffer, &request); !status.ok()) {
    *correlation_id = FindVarint(buffer, v1::AppendEventsStreamRequest::kCorrelationIdFieldNumber);
    return status;
  }
  *correlation_id = request.correlation_id();
  if (!request.has_append()) {
    return InvalidRequest("append", "append is missing; set what to append");
  }
  auto append = ValidateAppend(std::move(*request.mutable_append()), environment_->limits);
  if (!append.ok()) return append.status();
  auto backend = environment_->find_backend(append->request.stream().tenant_id());
  if (!backend.ok()) return backend.status();

  std::uint64_t number = 0;
  {
    MutexLock lock(&mutex_);
    number = next_number_++;
    in_flight_.emplace(number, nullptr);
  }
  std::function<void()> cancel =
      (*backend)->Submit(*std::move(append), caller_.deadline(),
                         [self = shared_from_this(), number,
                          id = *correlation_id](absl::StatusOr<v1::AppendEventsResponse> answer) {
                           self->OnAnswer(number, id, std::move(answer));
                         });
  bool abandoned = false;
  {
    MutexLock lock(&mutex_);
    const auto found = in_flight_.find(number);
    if (found == in_flight_.end()) return absl::OkStatus();  // answered already
    abandoned = is_abandoned_;
    if (!abandoned) found->second = std::move(cancel);
  }
  if (abandoned) cancel();
  return absl::OkStatus();
}

grpc::ByteBuffer AppendStreamCall::MakeAnswer(
    std::uint64_t correlation_id, absl::StatusOr<v1::AppendEventsResponse> answer) const {
  v1::AppendEventsStreamResponse response;
  response.set_correlation_id(correlation_id);
  if (answer.ok()) {
    *response.mutable_appended() = *std::move(answer);
  } else {
    caller_.LogIfInternal(answer.status());
    *response.mutable_error() = ToRpcStatus(answer.status(), caller_.request_id());
  }
  return SerializeMessage(response);
}

void AppendStreamCall::OnAnswer(std::uint64_t number, std::uint64_t correlation_id,
                                absl::StatusOr<v1::AppendEventsResponse> answer) {
  grpc::ByteBuffer bytes = MakeAnswer(correlation_id, std::move(answer));
  {
    MutexLock lock(&mutex_);
    in_flight_.erase(number);
    if (!is_abandoned_) answers_.push_back(std::move(bytes));
  }
  Advance();
}

void AppendStreamCall::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    is_writing_ = false;
    writing_.Clear();
  }
  if (!ok) Abandon();
  Advance();
}

void AppendStreamCall::OnCancel() {
  Abandon();
  Advance();
}

void AppendStreamCall::Abandon() {
  std::vector<std::function<void()>> cancels;
  {
    MutexLock lock(&mutex_);
    if (is_abandoned_) return;
    is_abandoned_ = is_read_over_ = true;
    end_status_ = caller_.CancelReason();
    answers_.clear();
    for (const auto& [number, cancel] : in_flight_) {
      if (cancel) cancels.push_back(cancel);
    }
  }
  for (const auto& cancel : cancels) cancel();
}

void AppendStreamCall::OnDone() {
  environment_->open_calls.Remove(this);
  std::shared_ptr<AppendStreamCall> self;
  MutexLock lock(&mutex_);
  self = std::move(self_);
}

}  // namespace eventstore::rpc
