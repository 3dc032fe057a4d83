#include "tests/support/broker_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <utility>

namespace eventstore::testing {
namespace {

constexpr std::chrono::milliseconds kPollInterval{10};

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string ReadWhole(const std::string& path) {
  std::ifstream input(path);
  return {std::istreambuf_iterator<char>(input), std::istreambuf_iterator<char>()};
}

}  // namespace

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  if (!bound) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

bool Answers(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

TempFolder::TempFolder() {
  path_ = std::filesystem::temp_directory_path() / "eventstore-broker-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::Write(const std::string& name, const std::string& content) const {
  std::string file = path_ + "/" + name;
  std::ofstream(file) << content;
  return file;
}

BrokerProcess::BrokerProcess(std::vector<std::string> arguments,
                             std::vector<std::string> environment, const std::string& log_file)
    : log_file_(log_file) {
  const char* const path = std::getenv("PATH");
  environment.push_back(std::string("PATH=/usr/local/sbin:/usr/sbin:/sbin:") +
                        (path == nullptr ? "/usr/bin:/bin" : path));
  environment.emplace_back("LC_ALL=C.UTF-8");
  // Everything is prepared before the fork: other threads may hold the allocator's lock in it.
  const std::vector<char*> argv = Pointers(&arguments);
  const std::vector<char*> envp = Pointers(&environment);
  const int out = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvpe(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  close(in);
  close(out);
  if (pid_ < 0) throw std::runtime_error("fork failed");
}

BrokerProcess::~BrokerProcess() {
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void BrokerProcess::Signal(int signal) const { kill(pid_, signal); }

void BrokerProcess::AwaitReady(const std::function<bool()>& is_ready) const {
  const auto deadline = std::chrono::steady_clock::now() + kBrokerPatience;
  while (!is_ready()) {
    siginfo_t ended{};
    waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (ended.si_pid != 0 || std::chrono::steady_clock::now() >= deadline) {
      throw std::runtime_error("a broker does not start:\n" + ReadWhole(log_file_));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Frozen::Frozen(const BrokerProcess& process) : process_(process) { process_.Signal(SIGSTOP); }

Frozen::~Frozen() { process_.Signal(SIGCONT); }

}  // namespace eventstore::testing
