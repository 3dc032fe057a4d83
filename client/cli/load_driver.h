// Keeps operations in flight and measures them; what an operation is, a Workload says.
#ifndef EVENTSTORE_CLIENT_CLI_LOAD_DRIVER_H_
#define EVENTSTORE_CLIENT_CLI_LOAD_DRIVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/histogram.h"
#include "server/core/mutex.h"

namespace eventstore::cli {

// How to load.
struct LoadPlan {
  // Most operations at a time, each in a slot of its own, numbered from 0.
  int in_flight = 1;
  // Operations to start per second, whether or not the ones before are done. 0: closed loop, each
  // slot starts its next operation when its last one is done.
  double rate = 0;
  // What is done in the warm-up is not counted; the duration follows it.
  std::chrono::milliseconds warm_up{0};
  std::chrono::milliseconds duration{0};
  // How long to wait at the end for operations that are still in flight.
  std::chrono::milliseconds drain{10'000};
};

// What was measured, between the end of the warm-up and the end.
struct LoadResult {
  // Nanoseconds from when an operation was meant to start until it was done. With a rate that is
  // not when it did start, so a server that stalls cannot hide how long others had to wait
  // ("coordinated omission").
  Histogram latency;
  std::int64_t operations = 0;
  std::int64_t events = 0;
  double seconds = 0;
  std::map<std::string, std::int64_t> errors;  // by reason
  // Operations that the rate asked for but that were never started, for want of a slot.
  std::int64_t not_started = 0;
  // Events of all operations that succeeded, with those of the warm-up and of the end.
  std::int64_t events_in_all = 0;
};

// Operations of one kind. Owned by the caller of LoadDriver::Run.
class Workload {
 public:
  virtual ~Workload() = default;
  // Starts an operation in a slot that is free, and does not wait for it. Exactly one Finish or
  // Fail of the driver must follow, from any thread, but Finish never from inside Start. Called by
  // any thread, for different slots at once.
  virtual void Start(int slot, std::chrono::steady_clock::time_point intended) = 0;
  // Ends what is still in flight, so that every slot becomes free soon.
  virtual void Cancel() = 0;
};

// Runs one load. Finish and Fail may be called by any thread; Run by one, once.
class LoadDriver {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit LoadDriver(const LoadPlan& plan);
  LoadDriver(const LoadDriver&) = delete;
  LoadDriver& operator=(const LoadDriver&) = delete;

  // Loads until the plan's end or Stop, then waits until every slot is free. `progress` is called
  // about once a second from this thread with a line for people; `workload` must outlive the call.
  [[nodiscard]] LoadResult Run(Workload* workload,
                               const std::function<void(std::string_view)>& progress);

  // An operation succeeded that wrote or read so many events.
  void Finish(int slot, std::int64_t events);
  // An operation failed. The slot rests for a moment: a server that is away should not be hammered.
  void Fail(int slot, const std::string& reason);
  // Ends the load early.
  void Stop();

  // From when on things are counted; valid inside Run.
  [[nodiscard]] TimePoint counted_from() const { return counted_from_; }

 private:
  struct Slot {
    TimePoint intended;
    TimePoint ready_at;
  };

  void StartSlots(std::vector<int>* slots);
  void TakeDueSlots(TimePoint now, std::vector<int>* slots) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] bool TakeFreeSlot(TimePoint now, int* slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] TimePoint NextWake(TimePoint now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] TimePoint IntendedStart(std::int64_t number) const;
  [[nodiscard]] std::string ProgressText(TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);
  [[nodiscard]] LoadResult Conclude(TimePoint ended) ABSL_LOCKS_EXCLUDED(mutex_);

  const LoadPlan plan_;
  // Set by Run before the first operation starts, constant after.
  Workload* workload_ = nullptr;
  TimePoint started_;
  TimePoint counted_from_;
  TimePoint end_;

  Mutex mutex_;
  CondVar changed_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> free_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::int64_t scheduled_ ABSL_GUARDED_BY(mutex_) = 0;  // started by the rate so far
  std::int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  LoadResult result_ ABSL_GUARDED_BY(mutex_);
  // For the progress line.
  std::int64_t shown_events_ ABSL_GUARDED_BY(mutex_) = 0;
  TimePoint shown_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_LOAD_DRIVER_H_
