// bench consume: how fast a consumer group's members work through the store.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "client/cli/bench.h"
#include "client/cli/retry.h"
#include "server/core/mutex.h"

namespace eventstore::cli {
namespace {

using std::chrono::steady_clock;

// How long to wait for the last acks to be durable, and for members to leave.
constexpr std::chrono::seconds kPatience{10};
// Most events in flight to a member: as many as an ack can name.
constexpr int kInFlightMax = 10'000;

// What all members together have done.
class Progress {
 public:
  explicit Progress(std::int64_t wanted) : wanted_(wanted) {}

  void Joined() {
    MutexLock lock(&mutex_);
    ++joined_;
    changed_.NotifyAll();
  }
  // Redelivered events are work, but not progress.
  void Add(std::int64_t acked, std::int64_t repeated, std::int64_t nanos) {
    MutexLock lock(&mutex_);
    acked_ += acked - repeated;
    repeated_ += repeated;
    ++messages_;
    latency_.Record(nanos);
    if (acked_ >= wanted_) changed_.NotifyAll();
  }
  void Ended(const grpc::Status& status) {
    MutexLock lock(&mutex_);
    if (!status.ok()) ++errors_[FailureReason(status)];
    ++ended_;
    changed_.NotifyAll();
  }
  void Stop() {
    MutexLock lock(&mutex_);
    is_stopped_ = true;
    changed_.NotifyAll();
  }

  // Waits until so many members are in, or one of them is out. False if there will be fewer.
  bool WaitForMembers(int members, Deadline deadline) {
    MutexLock lock(&mutex_);
    while (joined_ < members && ended_ == 0 && !is_stopped_) {
      if (!changed_.WaitUntil(&mutex_, deadline)) break;
    }
    return joined_ >= members;
  }
  // Waits until all is acked, a member is out, or the time is up. Whether all is acked.
  bool WaitForAll(Deadline deadline) {
    MutexLock lock(&mutex_);
    while (acked_ < wanted_ && ended_ == 0 && !is_stopped_) {
      if (!changed_.WaitUntil(&mutex_, deadline)) break;
    }
    return acked_ >= wanted_;
  }
  void AddTo(BenchResult* result) {
    MutexLock lock(&mutex_);
    result->load.operations = messages_;
    result->load.events = result->load.events_in_all = acked_;
    result->load.latency = latency_;
    result->load.errors = errors_;
    result->redelivered = repeated_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  const std::int64_t wanted_;
  std::int64_t acked_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t repeated_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t messages_ ABSL_GUARDED_BY(mutex_) = 0;
  Histogram latency_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::int64_t> errors_ ABSL_GUARDED_BY(mutex_);
  int joined_ ABSL_GUARDED_BY(mutex_) = 0;
  int ended_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Acks what it gets. gRPC's threads call the reactions.
class Member : public grpc::ClientBidiReactor<v1::ConsumeRequest, v1::ConsumeResponse> {
 public:
  Member(const BenchContext& bench, const std::string& group, Progress* progress)
      : progress_(progress),
        stub_(v1::ConsumerGroupService::NewStub(
            MakeChannel(bench.session->options.address, /*own_socket=*/true))) {
    v1::ConsumeJoin* const join = writing_.mutable_join();
    join->set_group(group);
    join->set_tenant_id(bench.options.tenant);
    stub_->async()->Consume(&context_, this);
    is_writing_ = true;
    StartWrite(&writing_);
    StartRead(&response_);
    StartCall();
  }

  // Leaves in order, or not at all if that takes too long.
  ~Member() override {
    MutexLock lock(&mutex_);
    is_leaving_ = true;
    if (!is_writing_ && !is_done_) StartWritesDone();
    const Deadline deadline = steady_clock::now() + kPatience;
    while (!is_done_ && changed_.WaitUntil(&mutex_, deadline)) {
    }
    if (!is_done_) context_.TryCancel();
    while (!is_done_) changed_.Wait(&mutex_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_joined()) progress_->Joined();
    if (response_.has_events()) {
      MutexLock lock(&mutex_);
      if (waiting_.ack().delivery_ids_size() == 0) since_ = steady_clock::now();
      for (const v1::DeliveredEvent& event : response_.events().events()) {
        waiting_.mutable_ack()->add_delivery_ids(event.delivery_id());
        if (event.redelivered()) ++repeats_waiting_;
      }
      WriteAcks();
    }
    StartRead(&response_);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    is_writing_ = false;
    if (!ok) return;
    const int acked = writing_.ack().delivery_ids_size();
    if (acked > 0) {
      progress_->Add(acked, repeats_writing_,
                     std::chrono::nanoseconds(steady_clock::now() - writing_since_).count());
    }
    WriteAcks();
    if (!is_writing_ && is_leaving_) StartWritesDone();
  }

  void OnDone(const grpc::Status& status) override {
    progress_->Ended(status);
    MutexLock lock(&mutex_);
    is_done_ = true;
    changed_.NotifyAll();
  }

 private:
  void WriteAcks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (is_writing_ || is_leaving_ || waiting_.ack().delivery_ids_size() == 0) return;
    writing_.Clear();
    writing_.Swap(&waiting_);
    repeats_writing_ = std::exchange(repeats_waiting_, 0);
    writing_since_ = since_;
    is_writing_ = true;
    StartWrite(&writing_);
  }

  Progress* const progress_;
  const std::unique_ptr<v1::ConsumerGroupService::Stub> stub_;
  grpc::ClientContext context_;
  v1::ConsumeResponse response_;
  Mutex mutex_;
  CondVar changed_;
  v1::ConsumeRequest writing_;  // gRPC's while `is_writing_`
  v1::ConsumeRequest waiting_ ABSL_GUARDED_BY(mutex_);
  std::int64_t repeats_writing_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t repeats_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  steady_clock::time_point since_ ABSL_GUARDED_BY(mutex_);
  steady_clock::time_point writing_since_ ABSL_GUARDED_BY(mutex_);
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_leaving_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;
};

// The group of one run; deleted at its end.
class BenchGroup {
 public:
  explicit BenchGroup(const BenchContext& bench)
      : bench_(bench),
        stub_(v1::ConsumerGroupService::NewStub(bench.session->channel())),
        name_("bench-" + bench.events->prefix()) {}

  grpc::Status Create() {
    v1::CreateConsumerGroupRequest request;
    request.set_name(name_);
    request.mutable_beginning();
    request.set_tenant_id(bench_.options.tenant);
    request.mutable_settings()->set_member_in_flight_max(kInFlightMax);
    v1::CreateConsumerGroupResponse response;
    return Call(bench_.session, [&](grpc::ClientContext* context) {
      return stub_->CreateConsumerGroup(context, request, &response);
    });
  }
  void Delete() {
    v1::DeleteConsumerGroupRequest request;
    request.set_name(name_);
    request.set_tenant_id(bench_.options.tenant);
    v1::DeleteConsumerGroupResponse response;
    (void)Call(bench_.session, [&](grpc::ClientContext* context) {
      return stub_->DeleteConsumerGroup(context, request, &response);
    });
  }
  // Waits until the checkpoints are at the end. How many events are not settled, at least.
  std::int64_t WaitUntilSettled(std::int64_t head) {
    v1::GetConsumerGroupRequest request;
    request.set_name(name_);
    request.set_tenant_id(bench_.options.tenant);
    const Deadline deadline = steady_clock::now() + kPatience;
    for (;;) {
      v1::GetConsumerGroupResponse response;
      const grpc::Status status = Call(bench_.session, [&](grpc::ClientContext* context) {
        return stub_->GetConsumerGroup(context, request, &response);
      });
      const std::int64_t left = head - response.group().checkpoint();
      if (status.ok() && left <= 0) return 0;
      if (steady_clock::now() >= deadline ||
          bench_.session->interrupt().WaitFor(std::chrono::milliseconds(50))) {
        return left;
      }
    }
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  const BenchContext& bench_;
  const std::unique_ptr<v1::ConsumerGroupService::Stub> stub_;
  const std::string name_;
};

grpc::Status RunMembers(const BenchContext& context, std::int64_t head, BenchGroup* group,
                        BenchResult* result) {
  Progress progress(head);
  const Interrupt::Callback stop(&context.session->interrupt(), [&] { progress.Stop(); });
  bool is_all = false;
  {
    std::vector<std::unique_ptr<Member>> members;
    const auto began = steady_clock::now();
    for (int i = 0; i < context.options.members; ++i) {
      members.push_back(std::make_unique<Member>(context, group->name(), &progress));
    }
    if (progress.WaitForMembers(context.options.members, began + kPatience)) {
      const auto duration = std::chrono::duration_cast<steady_clock::duration>(
          std::chrono::duration<double>(context.options.duration_s));
      is_all = progress.WaitForAll(began + duration);
    }
    result->load.seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
    progress.AddTo(result);
    if (is_all) result->missed = group->WaitUntilSettled(head);
  }
  if (result->load.events == 0 && !context.session->interrupt().raised()) {
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "the group's members got nothing"};
  }
  return grpc::Status::OK;
}

}  // namespace

grpc::Status RunConsumeBench(const BenchContext& context, BenchResult* result) {
  v1::GetHeadResponse head;
  grpc::Status status = GetHeadOrFill(context, context.options.events_per_read, &head);
  if (!status.ok()) return status;
  BenchGroup group(context);
  status = group.Create();
  if (!status.ok()) return status;
  status = RunMembers(context, head.position(), &group, result);
  group.Delete();
  return status;
}

}  // namespace eventstore::cli
