#include "server/engine/groups/work_thread.h"

#include <utility>

namespace eventstore::engine {

WorkThread::WorkThread(std::function<Deadline()> idle)
    : idle_(std::move(idle)), thread_([this] { ThreadMain(); }) {}

WorkThread::~WorkThread() { Stop(); }

bool WorkThread::Post(Work work, std::size_t queue_max) {
  MutexLock lock(&mutex_);
  if (stopped_ || queue_.size() >= queue_max) return false;
  queue_.push_back(std::move(work));
  changed_.NotifyOne();
  return true;
}

void WorkThread::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void WorkThread::ThreadMain() {
  Deadline next = Deadline::max();
  while (true) {
    std::deque<Work> works;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stopped_) {
        if (next == Deadline::max()) {
          changed_.Wait(&mutex_);
        } else if (!changed_.WaitUntil(&mutex_, next)) {
          break;
        }
      }
      if (queue_.empty() && stopped_) return;
      works.swap(queue_);
    }
    for (Work& work : works) work();
    if (idle_) next = idle_();
  }
}

}  // namespace eventstore::engine
