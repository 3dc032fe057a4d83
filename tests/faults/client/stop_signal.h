// SIGTERM as a condition that can be waited for.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_STOP_SIGNAL_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_STOP_SIGNAL_H_

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace eventstore::faults {

// Made by the main thread before any other is started, which then all have the signal blocked. Any
// thread may ask it.
class StopSignal {
 public:
  StopSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  }
  ~StopSignal() { close(fd_); }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // Whether the signal has come, or comes within `duration`. It is never taken away.
  [[nodiscard]] bool WaitFor(std::chrono::milliseconds duration) const {
    pollfd waiting{fd_, POLLIN, 0};
    return poll(&waiting, 1, static_cast<int>(duration.count())) > 0;
  }
  [[nodiscard]] bool came() const { return WaitFor(std::chrono::milliseconds(0)); }

 private:
  int fd_ = -1;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_STOP_SIGNAL_H_
