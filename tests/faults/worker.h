// A fault_client process.
#ifndef EVENTSTORE_TESTS_FAULTS_WORKER_H_
#define EVENTSTORE_TESTS_FAULTS_WORKER_H_

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace eventstore::faults {

// Start it from the test's main thread: it is killed when the thread that started it ends. One
// thread at a time.
class Worker {
 public:
  // What it prints goes to `output`.
  Worker(std::string name, std::vector<std::string> arguments, std::string output);
  // Kills it if it still runs.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  void Signal(int signal) const;
  // SIGKILL, and waits for its end.
  void Kill();
  // Runs it again, with the same arguments.
  void Start();
  // The exit code, 128 + the signal's number if one ended it; nothing if it still runs.
  std::optional<int> WaitExit(std::chrono::milliseconds timeout);

 private:
  const std::string name_;
  const std::vector<std::string> arguments_;
  const std::string output_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_WORKER_H_
