#include "client/cli/load_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPauseAfterFailure{50};
constexpr std::chrono::milliseconds kProgressInterval{1000};

double Seconds(steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

LoadDriver::LoadDriver(const LoadPlan& plan) : plan_(plan) {}

LoadResult LoadDriver::Run(Workload* workload,
                           const std::function<void(std::string_view)>& progress) {
  workload_ = workload;
  started_ = steady_clock::now();
  counted_from_ = started_ + plan_.warm_up;
  end_ = counted_from_ + plan_.duration;
  TimePoint next_progress = started_ + kProgressInterval;
  std::vector<int> due;
  {
    MutexLock lock(&mutex_);
    slots_.assign(static_cast<std::size_t>(plan_.in_flight), Slot{started_, started_});
    for (int slot = plan_.in_flight; slot-- > 0;) free_.push_back(slot);
    shown_at_ = started_;
  }
  TimePoint now = started_;
  while (now < end_) {
    std::string text;
    {
      MutexLock lock(&mutex_);
      if (stopped_) break;
      TakeDueSlots(now, &due);
      if (now >= next_progress) {
        text = ProgressText(now);
        next_progress = now + kProgressInterval;
      }
    }
    if (!text.empty()) progress(text);
    StartSlots(&due);
    {
      MutexLock lock(&mutex_);
      const TimePoint wake = std::min(next_progress, NextWake(steady_clock::now()));
      if (!stopped_) changed_.WaitUntil(&mutex_, wake);
    }
    now = steady_clock::now();
  }
  Stop();
  const TimePoint ended = std::min(steady_clock::now(), end_);
  Drain();
  return Conclude(ended);
}

void LoadDriver::StartSlots(std::vector<int>* slots) {
  for (const int slot : *slots) {
    TimePoint intended;
    {
      MutexLock lock(&mutex_);
      intended = slots_[static_cast<std::size_t>(slot)].intended;
    }
    workload_->Start(slot, intended);
  }
  slots->clear();
}

LoadDriver::TimePoint LoadDriver::IntendedStart(std::int64_t number) const {
  const auto offset = std::chrono::duration<double>(static_cast<double>(number) / plan_.rate);
  return started_ + std::chrono::duration_cast<steady_clock::duration>(offset);
}

bool LoadDriver::TakeFreeSlot(TimePoint now, int* slot) {
  // Newest first: in the usual case, without failures, that is one look.
  for (auto it = free_.rbegin(); it != free_.rend(); ++it) {
    if (slots_[static_cast<std::size_t>(*it)].ready_at > now) continue;
    *slot = *it;
    free_.erase(std::next(it).base());
    return true;
  }
  return false;
}

void LoadDriver::TakeDueSlots(TimePoint now, std::vector<int>* slots) {
  int slot = 0;
  while (plan_.rate <= 0 || IntendedStart(scheduled_) <= now) {
    if (!TakeFreeSlot(now, &slot)) return;
    slots_[static_cast<std::size_t>(slot)].intended =
        plan_.rate > 0 ? IntendedStart(scheduled_++) : now;
    slots->push_back(slot);
  }
}

LoadDriver::TimePoint LoadDriver::NextWake(TimePoint now) const {
  TimePoint wake = end_;
  // With all slots taken, a Finish or Fail wakes.
  if (free_.empty()) return wake;
  TimePoint ready = end_;
  for (const int slot : free_) {
    ready = std::min(ready, slots_[static_cast<std::size_t>(slot)].ready_at);
  }
  wake = plan_.rate > 0 ? std::max(ready, IntendedStart(scheduled_)) : ready;
  return std::clamp(wake, std::min(now, end_), end_);
}

void LoadDriver::Finish(int slot, std::int64_t events) {
  const TimePoint now = steady_clock::now();
  {
    MutexLock lock(&mutex_);
    Slot& used = slots_[static_cast<std::size_t>(slot)];
    result_.events_in_all += events;
    if (used.intended >= counted_from_) {
      result_.latency.Record(
          std::chrono::duration_cast<std::chrono::nanoseconds>(now - used.intended).count());
    }
    if (now >= counted_from_ && now < end_) {
      ++result_.operations;
      result_.events += events;
    }
    const bool again = plan_.rate <= 0 && !stopped_ && now < end_;
    if (!again) {
      used.ready_at = now;
      free_.push_back(slot);
      // Only who waits for a slot, or for all of them, needs to know; a wake-up is not free.
      const bool wanted = stopped_ || free_.size() == 1 || free_.size() == slots_.size();
      if (wanted) changed_.NotifyAll();
      return;
    }
    used.intended = now;
  }
  workload_->Start(slot, now);
}

void LoadDriver::Fail(int slot, const std::string& reason) {
  const TimePoint now = steady_clock::now();
  MutexLock lock(&mutex_);
  ++failed_;
  // What Cancel ended after the end says nothing about the server, but an operation of the duration
  // that never came back does.
  if (now >= counted_from_) ++result_.errors[reason];
  slots_[static_cast<std::size_t>(slot)].ready_at = now + kPauseAfterFailure;
  free_.push_back(slot);
  changed_.NotifyAll();
}

void LoadDriver::Stop() {
  MutexLock lock(&mutex_);
  stopped_ = true;
  changed_.NotifyAll();
}

void LoadDriver::Drain() {
  {
    const Deadline deadline = steady_clock::now() + plan_.drain;
    MutexLock lock(&mutex_);
    while (free_.size() < slots_.size() && changed_.WaitUntil(&mutex_, deadline)) {
    }
  }
  workload_->Cancel();
  MutexLock lock(&mutex_);
  while (free_.size() < slots_.size()) changed_.Wait(&mutex_);
}

std::string LoadDriver::ProgressText(TimePoint now) {
  const double since = Seconds(now - std::exchange(shown_at_, now));
  const std::int64_t events = result_.events_in_all;
  const double rate = static_cast<double>(events - std::exchange(shown_events_, events)) / since;
  return fmt::format("{:.0f} s{}: {} events/s, {} failed", Seconds(now - started_),
                     now < counted_from_ ? " (warm-up)" : "", Grouped(std::llround(rate)),
                     Grouped(failed_));
}

LoadResult LoadDriver::Conclude(TimePoint ended) {
  MutexLock lock(&mutex_);
  result_.seconds = std::max(0.0, Seconds(ended - counted_from_));
  if (plan_.rate > 0) {
    const auto wanted = static_cast<std::int64_t>(Seconds(ended - started_) * plan_.rate);
    result_.not_started = std::max<std::int64_t>(0, wanted - scheduled_);
  }
  return std::move(result_);
}

}  // namespace eventstore::cli
