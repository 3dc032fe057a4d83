// A thread that does what it is given, in order.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_WORK_THREAD_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_WORK_THREAD_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>

#include "server/core/mutex.h"

namespace eventstore::engine {

// Thread-safe. What is posted must not throw. Joined by Stop.
class WorkThread {
 public:
  using Work = std::function<void()>;

  // `idle`: called whenever the queue ran empty; returns when it wants to be called again at the
  // latest.
  explicit WorkThread(std::function<Deadline()> idle = nullptr);
  ~WorkThread();
  WorkThread(const WorkThread&) = delete;
  WorkThread& operator=(const WorkThread&) = delete;

  // False, with nothing done, if `queue_max` pieces wait already or the thread was stopped.
  bool Post(Work work, std::size_t queue_max = SIZE_MAX);
  // Does what was posted before, and joins. Idempotent; not from the thread itself.
  void Stop();

 private:
  void ThreadMain();

  const std::function<Deadline()> idle_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_WORK_THREAD_H_
