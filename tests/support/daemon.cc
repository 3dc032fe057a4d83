#include "tests/support/daemon.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "tests/support/postgres.h"

extern char** environ;

namespace eventstore::testing {
namespace {

const char kProgram[] = EVENTSTORE_BIN_DIR "/eventstored";

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string VariableOf(const std::string& key) {
  std::string name = "EVENTSTORED_";
  for (const char c : key) {
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// This process' environment without settings of a daemon, and `settings`.
std::vector<std::string> MakeEnvironment(const Settings& settings) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (text.rfind("EVENTSTORED_", 0) != 0) environment.push_back(text);
  }
  for (const auto& [key, value] : settings) environment.push_back(VariableOf(key) + "=" + value);
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenOutput(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments, const Settings& settings,
             const std::string& directory) {
  folder_ = std::filesystem::temp_directory_path() / "eventstore-daemon-XXXXXX";
  if (mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  std::vector<std::string> words = {kProgram};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = MakeEnvironment(settings);
  // Everything is prepared before the fork: other threads may hold the allocator's lock in it.
  const std::vector<char*> argv = Pointers(&words);
  const std::vector<char*> envp = Pointers(&environment);
  const int out = OpenOutput(folder_ + "/stdout");
  const int err = OpenOutput(folder_ + "/stderr");
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    if (!directory.empty() && chdir(directory.c_str()) != 0) _exit(126);
    execve(kProgram, argv.data(), envp.data());
    _exit(127);
  }
  close(out);
  close(err);
  if (pid_ < 0) throw std::runtime_error("fork failed");
}

Child::~Child() {
  if (!exit_code_.has_value()) {
    Signal(SIGKILL);
    WaitExit();
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Child::Signal(int signal) const {
  if (!exit_code_.has_value()) kill(pid_, signal);
}

std::optional<int> Child::WaitExit(std::chrono::milliseconds timeout) {
  Eventually(
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

std::string Child::Output() const { return ReadWhole(folder_ + "/stdout"); }
std::string Child::Log() const { return ReadWhole(folder_ + "/stderr"); }

HttpAnswer HttpGet(int port, const std::string& path) {
  HttpAnswer answer;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  timeval timeout{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  const std::string request =
      "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string text;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[65536];
    ssize_t got = 0;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }
  close(fd);
  if (text.rfind("HTTP/1.1 ", 0) == 0) answer.status = std::atoi(text.c_str() + 9);
  const std::size_t end = text.find("\r\n\r\n");
  if (end != std::string::npos) answer.body = text.substr(end + 4);
  return answer;
}

std::unique_ptr<Daemon> Daemon::Start(DaemonOptions options) {
  if (options.dsn.empty() && options.data_dir.empty()) options.dsn = CreateDatabase();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(options)));
  daemon->Launch();
  return daemon;
}

void Daemon::Launch() {
  Settings settings = {{"listen", "127.0.0.1:0"}, {"metrics_listen", "127.0.0.1:0"}};
  if (!options_.dsn.empty()) settings["database.dsn"] = options_.dsn;
  if (!options_.data_dir.empty()) settings["data_dir"] = options_.data_dir;
  for (const auto& [key, value] : options_.settings) settings[key] = value;
  client_.reset();
  child_ = std::make_unique<Child>(options_.arguments, settings);
  static const std::regex kPorts(
      R"(gRPC on .* \(port (\d+)\), metrics and health on .*\(port (\d+)\))");
  Eventually(
      [this] {
        const std::string log = Log();
        std::smatch match;
        if (std::regex_search(log, match, kPorts)) {
          port_ = std::stoi(match[1]);
          metrics_port_ = std::stoi(match[2]);
          return true;
        }
        return child_->WaitExit(std::chrono::milliseconds(0)).has_value();
      },
      kPatience);
  if (port_ == 0) throw std::runtime_error("the daemon does not start:\n" + Log());
  client_ = std::make_unique<Client>(port_);
  if (options_.wait_ready && !WaitReady()) {
    throw std::runtime_error("the daemon does not become ready:\n" + Log());
  }
}

bool Daemon::WaitReady(std::chrono::milliseconds timeout) const {
  return Eventually([this] { return Get("/health/ready").status == 200; }, timeout);
}

bool Daemon::WaitForLog(const std::string& text, std::chrono::milliseconds timeout) const {
  return Eventually([&] { return Log().find(text) != std::string::npos; }, timeout);
}

int Daemon::Stop() {
  child_->Signal(SIGTERM);
  return child_->WaitExit().value_or(-1);
}

void Daemon::Restart() {
  Stop();
  port_ = 0;
  Launch();
}

std::optional<double> Daemon::Metric(const std::string& name) const {
  const std::string text = Get("/metrics").body;
  std::optional<double> sum;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
    const std::string series = line.substr(0, space);
    const bool found = series == name || series.substr(0, series.find('{')) == name;
    if (found) sum = sum.value_or(0) + std::strtod(line.c_str() + space, nullptr);
  }
  return sum;
}

Daemon& SharedDaemon() {
  SharedPostgres();  // Made before the daemon, so that it goes after it.
  static const std::unique_ptr<Daemon> daemon = Daemon::Start();
  return *daemon;
}

ProgramRun RunDaemonProgram(const std::vector<std::string>& arguments, const Settings& settings,
                            const std::string& directory) {
  Child child(arguments, settings, directory);
  ProgramRun run;
  run.exit_code = child.WaitExit().value_or(-1);
  run.output = child.Output();
  run.log = child.Log();
  return run;
}

}  // namespace eventstore::testing
