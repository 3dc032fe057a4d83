// bench append: unary appends, many in flight.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "client/cli/bench.h"
#include "server/core/mutex.h"

namespace eventstore::cli {
namespace {

// Streams filled at a time before a read benchmark.
constexpr int kFillInFlight = 64;
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

// One operation's memory, used again and again.
struct AppendSlot {
  std::optional<grpc::ClientContext> context;
  v1::AppendEventsRequest request;
  v1::AppendEventsResponse response;
  std::mt19937_64 random{std::random_device{}()};
};

// What the steady clock's `time` is on the system's clock, which events carry, in nanoseconds.
std::int64_t ToWallNanos(LoadDriver::TimePoint time) {
  const auto wall = std::chrono::system_clock::now() - (std::chrono::steady_clock::now() - time);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch()).count();
}

class AppendWorkload : public Workload {
 public:
  explicit AppendWorkload(const BenchContext& context)
      : bench_(context), slots_(static_cast<std::size_t>(context.options.in_flight)) {}

  void Start(int slot, LoadDriver::TimePoint intended) override {
    AppendSlot& used = slots_[static_cast<std::size_t>(slot)];
    used.context.emplace();
    bench_.session->SetDeadline(&*used.context);
    bench_.events->Fill(&used.request, &used.random);
    // By it a subscriber tells how long the event took.
    const std::int64_t wall = ToWallNanos(intended);
    for (v1::NewEvent& event : *used.request.mutable_events()) {
      event.mutable_timestamp()->set_seconds(wall / kNanosPerSecond);
      event.mutable_timestamp()->set_nanos(static_cast<std::int32_t>(wall % kNanosPerSecond));
    }
    bench_.connections->ForSlot(slot).async()->AppendEvents(
        &*used.context, &used.request, &used.response, [this, slot](const grpc::Status& status) {
          if (status.ok()) {
            bench_.driver->Finish(slot, bench_.options.events_per_append);
          } else {
            bench_.driver->Fail(slot, FailureReason(status));
          }
        });
  }

  // Every call has a deadline: all end by themselves.
  void Cancel() override {}

 private:
  const BenchContext bench_;
  std::vector<AppendSlot> slots_;
};

// Appends to streams next to each other, all at once, and waits. Returns the first error.
grpc::Status FillSome(const BenchContext& bench, std::int64_t first, int count,
                      std::vector<AppendSlot>* slots) {
  Mutex mutex;
  CondVar changed;
  int left = count;
  grpc::Status failure;
  for (int i = 0; i < count; ++i) {
    AppendSlot& slot = (*slots)[static_cast<std::size_t>(i)];
    slot.context.emplace();
    bench.session->SetDeadline(&*slot.context);
    bench.events->FillStream(first + i, &slot.request, &slot.random);
    bench.connections->ForSlot(i).async()->AppendEvents(&*slot.context, &slot.request,
                                                        &slot.response, [&](grpc::Status status) {
                                                          MutexLock lock(&mutex);
                                                          if (!status.ok()) failure = status;
                                                          --left;
                                                          changed.NotifyAll();
                                                        });
  }
  MutexLock lock(&mutex);
  while (left > 0) changed.Wait(&mutex);
  return failure;
}

}  // namespace

std::unique_ptr<Workload> MakeAppendWorkload(const BenchContext& context) {
  return std::make_unique<AppendWorkload>(context);
}

grpc::Status FillStreams(const BenchContext& context) {
  std::vector<AppendSlot> slots(kFillInFlight);
  for (int first = 0; first < context.options.streams; first += kFillInFlight) {
    const int count = std::min(kFillInFlight, context.options.streams - first);
    grpc::Status status = FillSome(context, first, count, &slots);
    if (!status.ok()) return status;
    if (context.session->interrupt().raised()) {
      return {grpc::StatusCode::CANCELLED, "interrupted while the streams to read were filled"};
    }
  }
  return grpc::Status::OK;
}

}  // namespace eventstore::cli
