#include "server/process/embedded_child.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <thread>

namespace eventstore::process {
namespace {

// How often the end of a child is looked for.
constexpr std::chrono::milliseconds kPollInterval{10};
// Most output of a program that is kept.
constexpr std::size_t kOutputBytesMax = 64 << 10;

// What a child did when it failed, told to the parent through a pipe.
enum class Step : int { kRedirect, kAccount, kWorkingDir, kExec };
struct Failure {
  Step step = Step::kExec;
  int error = 0;
};

std::string_view StepName(Step step) {
  switch (step) {
    case Step::kRedirect:
      return "redirect its output";
    case Step::kAccount:
      return "change to the account";
    case Step::kWorkingDir:
      return "enter the folder";
    case Step::kExec:
      return "execute";
  }
  return "start";
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { Close(); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// Everything that the child needs, made before the fork: between fork and exec a child of a process
// with threads may call only what is safe in a signal handler, which excludes allocation.
struct Prepared {
  std::vector<char*> argv;
  std::array<char*, 3> environment;
  const Account* account;
  const char* working_dir;
  int input_fd;
  int output_fd;
  int report_fd;
};

[[noreturn]] void Fail(const Prepared& prepared, Step step) {
  const Failure failure{step, errno};
  // If this write fails too, the exit code still tells the parent.
  [[maybe_unused]] const ssize_t written = write(prepared.report_fd, &failure, sizeof(failure));
  _exit(127);
}

[[noreturn]] void RunChild(const Prepared& prepared) {
  setsid();
  // Ignored signals and the signal mask survive exec: PostgreSQL must not inherit a daemon's.
  struct sigaction by_default = {};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &by_default, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(077);
  if (dup2(prepared.input_fd, 0) < 0 || dup2(prepared.output_fd, 1) < 0 ||
      dup2(prepared.output_fd, 2) < 0) {
    Fail(prepared, Step::kRedirect);
  }
  // Sockets of other threads' libraries too; a kernel before 5.11 leaves those as they are.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  const Account& account = *prepared.account;
  if (account.change && (setgroups(account.groups.size(), account.groups.data()) != 0 ||
                         setgid(account.gid) != 0 || setuid(account.uid) != 0)) {
    Fail(prepared, Step::kAccount);
  }
  if (chdir(prepared.working_dir) != 0) Fail(prepared, Step::kWorkingDir);
  execve(prepared.argv[0], prepared.argv.data(), prepared.environment.data());
  Fail(prepared, Step::kExec);
}

absl::Status MakeStartError(const Account& account, const ChildCommand& command,
                            const Failure& failure) {
  const std::string_view object =
      failure.step == Step::kWorkingDir ? command.working_dir : command.argv[0];
  const std::string text =
      fmt::format("cannot start {} as {}: cannot {} {}: {}", command.argv[0], account.name,
                  StepName(failure.step), failure.step == Step::kAccount ? account.name : object,
                  std::generic_category().message(failure.error));
  if (failure.step == Step::kWorkingDir && failure.error == EACCES) {
    return absl::PermissionDeniedError(text);
  }
  return absl::InternalError(text);
}

std::string ReadOutput(int fd) {
  std::string output(kOutputBytesMax, '\0');
  const ssize_t size = pread(fd, output.data(), output.size(), 0);
  output.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!output.empty() && output.back() == '\n') output.pop_back();
  return output;
}

absl::StatusOr<Account> Ourselves(uid_t uid) {
  Account account;
  account.uid = uid;
  account.gid = getegid();
  account.name = fmt::format("uid {}", uid);
  return account;
}

}  // namespace

absl::StatusOr<Account> FindAccount(const std::string& user) {
  if (geteuid() != 0) return Ourselves(geteuid());
  struct passwd entry = {};
  struct passwd* found = nullptr;
  std::vector<char> buffer(16 << 10);
  const int error = getpwnam_r(user.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) {
    return absl::FailedPreconditionError(fmt::format(
        "PostgreSQL refuses to run as root, and the unprivileged account \"{}\" {}: create it "
        "(apt-get install postgresql-15 does, or: useradd --system --user-group {}), name another "
        "one by embedded.user, start the daemon as another user, or give it a database by "
        "--database",
        user,
        error == 0 ? "does not exist"
                   : "cannot be looked up (" + std::generic_category().message(error) + ")",
        user));
  }
  if (entry.pw_uid == 0) {
    return absl::FailedPreconditionError(fmt::format(
        "embedded.user: \"{}\" is root, which PostgreSQL refuses; name an unprivileged account, "
        "such as postgres",
        user));
  }
  Account account;
  account.name = user;
  account.uid = entry.pw_uid;
  account.gid = entry.pw_gid;
  account.change = true;
  int count = 64;
  account.groups.resize(static_cast<std::size_t>(count));
  if (getgrouplist(user.c_str(), entry.pw_gid, account.groups.data(), &count) < 0) {
    count = 0;  // More groups than fit: its own one is enough to run a server.
    account.groups[static_cast<std::size_t>(count++)] = entry.pw_gid;
  }
  account.groups.resize(static_cast<std::size_t>(count));
  return account;
}

absl::StatusOr<pid_t> Spawn(const Account& account, const ChildCommand& command) {
  int report[2] = {-1, -1};
  if (pipe2(report, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  FileDescriptor report_read(report[0]);
  FileDescriptor report_write(report[1]);
  const FileDescriptor input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (input.get() < 0) return absl::ErrnoToStatus(errno, "cannot open /dev/null");

  static constexpr char kPath[] =
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  static constexpr char kLocale[] = "LC_ALL=C";
  Prepared prepared{};
  for (const std::string& argument : command.argv) {
    prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  }
  prepared.argv.push_back(nullptr);
  prepared.environment = {const_cast<char*>(kPath), const_cast<char*>(kLocale), nullptr};
  prepared.account = &account;
  prepared.working_dir = command.working_dir.c_str();
  prepared.input_fd = input.get();
  prepared.output_fd = command.output_fd;
  prepared.report_fd = report_write.get();

  // No handler of ours may run in the child before it reset them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) RunChild(prepared);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return absl::ErrnoToStatus(fork_error, "cannot start a process");

  report_write.Close();
  Failure failure;
  ssize_t size = 0;
  do {  // Ends with nothing read as soon as exec closed the child's end.
    size = read(report_read.get(), &failure, sizeof(failure));
  } while (size < 0 && errno == EINTR);
  if (size == 0) return pid;
  waitpid(pid, nullptr, 0);
  return MakeStartError(account, command, failure);
}

bool HasEnded(pid_t pid) {
  const pid_t ended = waitpid(pid, nullptr, WNOHANG);
  return ended == pid || (ended < 0 && errno == ECHILD);
}

bool WaitForEnd(pid_t pid, Deadline deadline) {
  while (!HasEnded(pid)) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

absl::StatusOr<std::string> RunToEnd(const Account& account, const std::vector<std::string>& argv,
                                     const std::string& working_dir, Deadline deadline) {
  const FileDescriptor output(memfd_create("eventstored-output", MFD_CLOEXEC));
  if (output.get() < 0) return absl::ErrnoToStatus(errno, "cannot make a file in memory");
  absl::StatusOr<pid_t> pid = Spawn(account, {argv, working_dir, output.get()});
  if (!pid.ok()) return pid.status();
  int result = 0;
  for (pid_t ended = 0; ended != *pid;) {
    ended = waitpid(*pid, &result, WNOHANG);
    if (ended < 0) return absl::ErrnoToStatus(errno, "cannot wait for " + argv[0]);
    if (ended == *pid) break;
    if (std::chrono::steady_clock::now() >= deadline) {
      kill(-*pid, SIGKILL);  // It leads a session, and so a process group, of its own.
      waitpid(*pid, nullptr, 0);
      return absl::DeadlineExceededError(
          fmt::format("{} did not end in time; it printed: {}", argv[0], ReadOutput(output.get())));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  std::string text = ReadOutput(output.get());
  if (WIFEXITED(result) && WEXITSTATUS(result) == 0) return text;
  return absl::InternalError(
      fmt::format("{} failed ({} {}): {}", argv[0], WIFEXITED(result) ? "exit code" : "signal",
                  WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result), text));
}

std::vector<pid_t> ServerProcessesIn(const std::string& cluster_dir) {
  std::vector<pid_t> pids;
  struct stat cluster = {};
  if (stat(cluster_dir.c_str(), &cluster) != 0) return pids;
  std::error_code error;
  std::filesystem::directory_iterator end;
  for (std::filesystem::directory_iterator it("/proc", error); !error && it != end;
       it.increment(error)) {
    const std::filesystem::path folder = it->path();
    const std::string name = folder.filename();
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) continue;
    // The same folder, not the same name: a container's processes have names of their own. Fails
    // for a process that ended meanwhile, a zombie, and another user's.
    struct stat cwd = {};
    if (stat((folder / "cwd").c_str(), &cwd) != 0) continue;
    if (cwd.st_dev != cluster.st_dev || cwd.st_ino != cluster.st_ino) continue;
    // A shell that someone left in the folder is no server.
    std::string program;
    std::getline(std::ifstream(folder / "comm"), program);
    if (program == "postgres") pids.push_back(pid);
  }
  return pids;
}

}  // namespace eventstore::process
