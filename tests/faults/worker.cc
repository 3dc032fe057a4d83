#include "tests/faults/worker.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <utility>

#include "tests/support/postgres.h"

namespace eventstore::faults {
namespace {

const char kProgram[] = EVENTSTORE_BIN_DIR "/fault_client";
constexpr std::chrono::milliseconds kKillTime{10'000};

}  // namespace

Worker::Worker(std::string name, std::vector<std::string> arguments, std::string output)
    : name_(std::move(name)), arguments_(std::move(arguments)), output_(std::move(output)) {
  Start();
}

Worker::~Worker() { Kill(); }

void Worker::Start() {
  std::vector<std::string> words = {kProgram};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int out = open(output_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Blocked across exec: asked to end before it is ready for that, it must not just die.
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, nullptr);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(kProgram, argv.data());
    _exit(127);
  }
  close(out);
  if (pid_ < 0) throw std::runtime_error("fork failed");
  exit_code_.reset();
}

void Worker::Signal(int signal) const {
  if (!exit_code_.has_value()) kill(pid_, signal);
}

void Worker::Kill() {
  Signal(SIGKILL);
  WaitExit(kKillTime);
}

std::optional<int> Worker::WaitExit(std::chrono::milliseconds timeout) {
  testing::Eventually(
      [this] {
        if (exit_code_.has_value()) return true;
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
        exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
      },
      timeout);
  return exit_code_;
}

}  // namespace eventstore::faults
