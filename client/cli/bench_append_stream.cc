// bench append-stream: one AppendEventsStream call per connection, with many requests in flight on
// it.
#include <deque>
#include <string>
#include <utility>

#include "client/cli/bench.h"
#include "client/cli/failure.h"
#include "server/core/mutex.h"

namespace eventstore::cli {
namespace {

// One operation's memory. The call reads `request` until its write is done.
struct StreamSlot {
  v1::AppendEventsStreamRequest request;
  std::mt19937_64 random{std::random_device{}()};
};

// One call. Its slots' requests wait in a queue, which their number bounds, for the one write that
// gRPC allows at a time. Owned by the workload; gRPC's threads and the driver's call it.
class AppendCall : public grpc::ClientBidiReactor<v1::AppendEventsStreamRequest,
                                                  v1::AppendEventsStreamResponse> {
 public:
  AppendCall(const BenchContext& bench, int number, std::vector<StreamSlot>* slots)
      : bench_(bench), slots_(slots), outstanding_(slots->size(), 0) {
    bench_.connections->ForSlot(number).async()->AppendEventsStream(&context_, this);
    // Writes are started by several threads; the hold keeps OnDone away until none will be.
    AddHold();
    StartRead(&response_);
    StartCall();
  }

  // Sends the slot's request. False if the call is over, and the request will have no answer.
  bool Send(int slot) {
    MutexLock lock(&mutex_);
    if (broken_) return false;
    outstanding_[static_cast<std::size_t>(slot)] = 1;
    queue_.push_back(slot);
    if (!writing_) WriteNext();
    return true;
  }

  void Cancel() {
    context_.TryCancel();
    Break();
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      if (ok && !broken_) {
        if (!queue_.empty()) WriteNext();
        return;
      }
    }
    Break();
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Break();
      return;
    }
    const auto slot = response_.correlation_id();
    bool known = false;
    {
      MutexLock lock(&mutex_);
      if (slot < outstanding_.size()) known = std::exchange(outstanding_[slot], 0) != 0;
    }
    const bool failed = response_.has_error();
    const std::string reason = failed ? ReasonOf(FailureOf(response_.error())) : "";
    // Answer the driver before the next read: it may send again on this slot at once.
    if (known && failed) bench_.driver->Fail(static_cast<int>(slot), reason);
    if (known && !failed) {
      bench_.driver->Finish(static_cast<int>(slot), bench_.options.events_per_append);
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    const std::string reason = status.ok() ? "CALL_ENDED" : FailureReason(status);
    std::vector<int> lost;
    {
      MutexLock lock(&mutex_);
      for (std::size_t slot = 0; slot < outstanding_.size(); ++slot) {
        if (std::exchange(outstanding_[slot], 0) != 0) lost.push_back(static_cast<int>(slot));
      }
    }
    for (const int slot : lost) bench_.driver->Fail(slot, reason);
    MutexLock lock(&mutex_);
    done_ = true;
    changed_.NotifyAll();
  }

  void WaitUntilDone() {
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
  }

  [[nodiscard]] bool done() {
    MutexLock lock(&mutex_);
    return done_;
  }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto slot = static_cast<std::size_t>(queue_.front());
    queue_.pop_front();
    writing_ = true;
    StartWrite(&(*slots_)[slot].request);
  }

  // No writes from now on, so that OnDone can come.
  void Break() {
    {
      MutexLock lock(&mutex_);
      if (std::exchange(broken_, true)) return;
    }
    RemoveHold();
  }

  const BenchContext bench_;
  std::vector<StreamSlot>* const slots_;
  grpc::ClientContext context_;
  v1::AppendEventsStreamResponse response_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<int> queue_ ABSL_GUARDED_BY(mutex_);
  // By slot: whether an answer is awaited. Not vector<bool>, whose elements cannot be exchanged.
  std::vector<char> outstanding_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

// The calls, each made again when it broke.
class AppendStreamWorkload : public Workload {
 public:
  explicit AppendStreamWorkload(const BenchContext& bench)
      : bench_(bench), slots_(static_cast<std::size_t>(bench.options.in_flight)) {
    calls_.resize(static_cast<std::size_t>(bench.connections->size()));
    for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i] = MakeCall(i);
  }

  ~AppendStreamWorkload() override {
    Cancel();
    for (const auto& call : calls_) call->WaitUntilDone();
  }

  void Start(int slot, LoadDriver::TimePoint /*intended*/) override {
    StreamSlot& used = slots_[static_cast<std::size_t>(slot)];
    used.request.set_correlation_id(static_cast<std::uint64_t>(slot));
    bench_.events->Fill(used.request.mutable_append(), &used.random);
    if (!CallOf(slot)->Send(slot)) bench_.driver->Fail(slot, "CALL_ENDED");
  }

  void Cancel() override {
    MutexLock lock(&mutex_);
    for (const auto& call : calls_) call->Cancel();
  }

 private:
  std::shared_ptr<AppendCall> MakeCall(std::size_t number) {
    return std::make_shared<AppendCall>(bench_, static_cast<int>(number), &slots_);
  }

  std::shared_ptr<AppendCall> CallOf(int slot) {
    MutexLock lock(&mutex_);
    const std::size_t number = static_cast<std::size_t>(slot) % calls_.size();
    if (calls_[number]->done()) calls_[number] = MakeCall(number);
    return calls_[number];
  }

  const BenchContext bench_;
  std::vector<StreamSlot> slots_;
  Mutex mutex_;
  std::vector<std::shared_ptr<AppendCall>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Workload> MakeAppendStreamWorkload(const BenchContext& context) {
  return std::make_unique<AppendStreamWorkload>(context);
}

}  // namespace eventstore::cli
