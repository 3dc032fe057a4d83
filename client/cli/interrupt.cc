#include "client/cli/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

namespace eventstore::cli {
namespace {

constexpr char kSignalled = 's';
constexpr char kStop = 'x';

// Where the handler writes to; lock-free, so a handler may read it.
std::atomic<int> g_signal_pipe{-1};

void HandleSignal(int /*number*/) {
  const int saved_errno = errno;
  // If the pipe is full, a signal is on its way already.
  [[maybe_unused]] const ssize_t written = write(g_signal_pipe.load(), &kSignalled, 1);
  errno = saved_errno;
}

}  // namespace

bool Interrupt::HandleSignals() {
  if (pipe2(pipe_, O_CLOEXEC) != 0) return false;
  g_signal_pipe.store(pipe_[1]);
  thread_ = std::thread([this] {
    for (;;) {
      char what = 0;
      const ssize_t got = read(pipe_[0], &what, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got != 1 || what == kStop) return;
      Raise();
    }
  });
  struct sigaction action {};
  action.sa_handler = HandleSignal;
  // The second signal finds the default action, which ends the process.
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  return sigaction(SIGINT, &action, nullptr) == 0 && sigaction(SIGTERM, &action, nullptr) == 0;
}

Interrupt::~Interrupt() {
  if (pipe_[0] < 0) return;
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  g_signal_pipe.store(-1);
  while (write(pipe_[1], &kStop, 1) < 0 && errno == EINTR) {
  }
  thread_.join();
  close(pipe_[0]);
  close(pipe_[1]);
}

void Interrupt::Raise() {
  MutexLock lock(&mutex_);
  raised_ = true;
  for (const auto& [id, callback] : callbacks_) callback();
  changed_.NotifyAll();
}

bool Interrupt::raised() const {
  MutexLock lock(&mutex_);
  return raised_;
}

bool Interrupt::WaitFor(std::chrono::milliseconds duration) {
  const Deadline deadline = std::chrono::steady_clock::now() + duration;
  MutexLock lock(&mutex_);
  while (!raised_) {
    if (!changed_.WaitUntil(&mutex_, deadline)) break;
  }
  return raised_;
}

Interrupt::Callback::Callback(Interrupt* interrupt, std::function<void()> callback)
    : interrupt_(interrupt) {
  MutexLock lock(&interrupt_->mutex_);
  if (interrupt_->raised_) callback();
  id_ = interrupt_->next_id_++;
  interrupt_->callbacks_.emplace(id_, std::move(callback));
}

Interrupt::Callback::~Callback() {
  MutexLock lock(&interrupt_->mutex_);
  interrupt_->callbacks_.erase(id_);
}

}  // namespace eventstore::cli
