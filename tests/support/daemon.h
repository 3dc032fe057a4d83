// The real daemon as a child process, for tests that go through the public door.
//
// Ports are ephemeral, the configuration comes by environment variables, and the log goes to a file
// that the test can read. Start daemons from the test's main thread: a child is killed when the
// thread that started it ends, so that an aborted test leaves none behind.
#ifndef EVENTSTORE_TESTS_SUPPORT_DAEMON_H_
#define EVENTSTORE_TESTS_SUPPORT_DAEMON_H_

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/daemon_client.h"

namespace eventstore::testing {

// How long a test waits for what should happen soon; generous, for the machine may be busy.
inline constexpr std::chrono::milliseconds kPatience{60'000};

// Settings by key, such as {"pool.pool_size", "3"}.
using Settings = std::map<std::string, std::string>;

struct DaemonOptions {
  // The database; empty: a new one on the shared server, or an embedded server if `data_dir` is
  // set.
  std::string dsn;
  std::string data_dir;
  Settings settings;
  std::vector<std::string> arguments;
  // Whether Start waits until the daemon is ready, or only until it listens.
  bool wait_ready = true;
};

// A running program with its output in files.
class Child {
 public:
  // Runs eventstored with `arguments`; `settings` become EVENTSTORED_... variables, and no other
  // variable of that kind is passed on. `directory`: where it runs; empty: here.
  Child(const std::vector<std::string>& arguments, const Settings& settings,
        const std::string& directory = "");
  // Kills it if it still runs.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // The exit code, 128 + the signal's number if one ended it; nothing if it still runs.
  std::optional<int> WaitExit(std::chrono::milliseconds timeout = kPatience);
  [[nodiscard]] std::string Output() const;  // stdout
  [[nodiscard]] std::string Log() const;     // stderr

 private:
  std::string folder_;
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
};

struct HttpAnswer {
  int status = 0;  // 0: no answer
  std::string body;
};

// One GET of 127.0.0.1:`port`.
HttpAnswer HttpGet(int port, const std::string& path);

class Daemon {
 public:
  // Throws std::runtime_error with the log if it does not come up.
  static std::unique_ptr<Daemon> Start(DaemonOptions options = {});

  [[nodiscard]] Child& child() { return *child_; }
  [[nodiscard]] const std::string& dsn() const { return options_.dsn; }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] int metrics_port() const { return metrics_port_; }
  // The connection that tests share; make a Client of their own where flow control matters.
  [[nodiscard]] Client& client() { return *client_; }
  [[nodiscard]] std::string Log() const { return child_->Log(); }

  [[nodiscard]] bool WaitReady(std::chrono::milliseconds timeout = kPatience) const;
  [[nodiscard]] bool WaitForLog(const std::string& text,
                                std::chrono::milliseconds timeout = kPatience) const;
  // SIGTERM and wait; the exit code, or -1 if it does not end.
  int Stop();
  // Stops it (or takes note that it was killed) and starts it again on the same store.
  void Restart();

  [[nodiscard]] HttpAnswer Get(const std::string& path) const {
    return HttpGet(metrics_port_, path);
  }
  // A metric by its name with labels as in the exposition, such as
  // `eventstore_pool_size{store="default"}`; without labels: the sum over all of that name. Nothing
  // if it is not there.
  [[nodiscard]] std::optional<double> Metric(const std::string& name) const;

 private:
  explicit Daemon(DaemonOptions options) : options_(std::move(options)) {}
  void Launch();

  DaemonOptions options_;
  std::unique_ptr<Child> child_;
  std::unique_ptr<Client> client_;
  int port_ = 0;
  int metrics_port_ = 0;
};

// One daemon with default settings that all tests without needs of their own share, on a database
// of its own. Use streams, types and tags that nobody else uses (UniqueName).
Daemon& SharedDaemon();

// What `eventstored arguments...` does when run to its end.
struct ProgramRun {
  int exit_code = -1;
  std::string output;
  std::string log;
};
ProgramRun RunDaemonProgram(const std::vector<std::string>& arguments,
                            const Settings& settings = {}, const std::string& directory = "");

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_DAEMON_H_
