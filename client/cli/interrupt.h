// Lets SIGINT and SIGTERM end long commands cleanly.
#ifndef EVENTSTORE_CLIENT_CLI_INTERRUPT_H_
#define EVENTSTORE_CLIENT_CLI_INTERRUPT_H_

#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "server/core/mutex.h"

namespace eventstore::cli {

// The wish to stop. Raised by the first SIGINT or SIGTERM, or by a test; a second signal ends the
// process at once. Owned by main, outlives every command. Any thread may call it.
class Interrupt {
 public:
  Interrupt() = default;
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Handles the process' signals from now on; at most one object of a process may. False if the
  // system refuses.
  [[nodiscard]] bool HandleSignals();

  // Wakes everybody who waits and runs the registered callbacks, on this thread.
  void Raise();
  [[nodiscard]] bool raised() const;

  // Waits for as long as said, or until raised. Returns whether it is raised.
  [[nodiscard]] bool WaitFor(std::chrono::milliseconds duration);

  // Runs a callback if the interrupt is raised while this lives, at once if it is already. The
  // callback must not touch the Interrupt. After the destructor it is not running and never will.
  class Callback {
   public:
    Callback(Interrupt* interrupt, std::function<void()> callback);
    ~Callback();
    Callback(const Callback&) = delete;
    Callback& operator=(const Callback&) = delete;

   private:
    Interrupt* const interrupt_;
    int id_ = 0;
  };

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool raised_ ABSL_GUARDED_BY(mutex_) = false;
  int next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::function<void()>> callbacks_ ABSL_GUARDED_BY(mutex_);
  // Turns what the signal handler wrote into a pipe into Raise: a handler itself may do almost
  // nothing. Joined by the destructor.
  std::thread thread_;
  int pipe_[2] = {-1, -1};
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_INTERRUPT_H_
