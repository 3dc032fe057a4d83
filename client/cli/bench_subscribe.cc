// bench subscribe: how long after an append was meant to start its events reach each subscriber.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/bench.h"
#include "server/core/mutex.h"

namespace eventstore::cli {
namespace {

using std::chrono::steady_clock;
using std::chrono::system_clock;

// How long to wait for the subscriptions to begin, and for the last events to arrive.
constexpr std::chrono::seconds kPatience{10};

std::int64_t NowNanos() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             system_clock::now().time_since_epoch())
      .count();
}

// Counts what all subscribers together got.
class Arrivals {
 public:
  void Add(std::int64_t count) {
    MutexLock lock(&mutex_);
    count_ += count;
    if (count_ >= wanted_) changed_.NotifyAll();
  }
  // Waits until so many have come, or the deadline.
  void WaitFor(std::int64_t count, Deadline deadline) {
    MutexLock lock(&mutex_);
    wanted_ = count;
    while (count_ < count && changed_.WaitUntil(&mutex_, deadline)) {
    }
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::int64_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t wanted_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<std::int64_t>::max();
};

// Follows the store, or a stream of its own, from the end. The appends write into `timestamp` when
// they were meant to start; both run in this process, so they share a clock. gRPC's threads call
// the reactions.
class Subscriber : public grpc::ClientReadReactor<v1::SubscribeResponse> {
 public:
  Subscriber(const BenchContext& bench, int number, Arrivals* arrivals)
      : prefix_(bench.events->prefix()), arrivals_(arrivals) {
    request_.mutable_end();
    if (bench.options.own_streams) {
      bench.events->NameStream(number, request_.mutable_stream());
    } else {
      request_.mutable_filter()->set_tenant_id(bench.options.tenant);
    }
    bench.connections->ForSlot(number).async()->Subscribe(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  ~Subscriber() override {
    context_.TryCancel();
    MutexLock lock(&mutex_);
    while (!done_) changed_.Wait(&mutex_);
  }

  // Waits until the subscription is live.
  grpc::Status WaitUntilLive(Deadline deadline) {
    MutexLock lock(&mutex_);
    while (!live_ && !done_ && changed_.WaitUntil(&mutex_, deadline)) {
    }
    if (live_ || (done_ && !status_.ok())) return live_ ? grpc::Status::OK : status_;
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "a subscription did not become live"};
  }

  // Counts from now on only what was meant to start after this time.
  void CountFrom(std::int64_t wall_nanos) {
    MutexLock lock(&mutex_);
    counted_from_ = wall_nanos;
  }

  // `expected`: how many should have come; 0: not known.
  void AddTo(std::int64_t expected, BenchResult* result) {
    MutexLock lock(&mutex_);
    result->delivery.Merge(latency_);
    result->delivered += received_;
    if (expected > received_) result->missed += expected - received_;
    if (done_) ++result->load.errors["subscription: " + FailureReason(status_)];
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const std::int64_t now = NowNanos();
    {
      MutexLock lock(&mutex_);
      if (response_.has_caught_up()) {
        live_ = true;
        changed_.NotifyAll();
      }
      const std::int64_t before = received_;
      for (const v1::Event& event : response_.events().events()) Count(event, now);
      if (received_ > before) arrivals_->Add(received_ - before);
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    MutexLock lock(&mutex_);
    status_ = status;
    done_ = true;
    changed_.NotifyAll();
  }

 private:
  void Count(const v1::Event& event, std::int64_t now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    // Others may be appending too.
    if (!event.stream().aggregate_id().starts_with(prefix_)) return;
    ++received_;
    const std::int64_t meant =
        event.timestamp().seconds() * 1'000'000'000 + event.timestamp().nanos();
    if (meant >= counted_from_) latency_.Record(now - meant);
  }

  const std::string prefix_;
  Arrivals* const arrivals_;
  grpc::ClientContext context_;
  v1::SubscribeRequest request_;
  v1::SubscribeResponse response_;
  Mutex mutex_;
  CondVar changed_;
  Histogram latency_ ABSL_GUARDED_BY(mutex_);
  std::int64_t received_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t counted_from_ ABSL_GUARDED_BY(mutex_) = 0;
  bool live_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::Status RunSubscribeBench(const BenchContext& context, BenchResult* result) {
  Arrivals arrivals;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (int i = 0; i < context.options.subscribers; ++i) {
    subscribers.push_back(std::make_unique<Subscriber>(context, i, &arrivals));
  }
  const Deadline live_by = steady_clock::now() + kPatience;
  for (const auto& subscriber : subscribers) {
    grpc::Status status = subscriber->WaitUntilLive(live_by);
    if (!status.ok()) return status;
  }
  const auto warm_up = std::chrono::duration<double>(context.options.warm_up_s);
  const std::int64_t counted_from =
      NowNanos() + std::chrono::duration_cast<std::chrono::nanoseconds>(warm_up).count();
  for (const auto& subscriber : subscribers) subscriber->CountFrom(counted_from);
  const auto workload = MakeAppendWorkload(context);
  result->load = RunLoad(context, workload.get());
  const std::int64_t appended = result->load.events_in_all;
  const std::int64_t copies = context.options.own_streams ? 1 : context.options.subscribers;
  arrivals.WaitFor(appended * copies, steady_clock::now() + kPatience);
  for (const auto& subscriber : subscribers) {
    subscriber->AddTo(context.options.own_streams ? 0 : appended, result);
  }
  if (context.options.own_streams && appended > result->delivered) {
    result->missed = appended - result->delivered;
  }
  return grpc::Status::OK;
}

}  // namespace eventstore::cli
