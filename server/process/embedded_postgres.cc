#include "server/process/embedded_postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string_view>
#include <system_error>
#include <thread>

#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr char kSuperuser[] = "postgres";
constexpr char kDatabase[] = "eventstore";
constexpr int kPort = 5432;  // Only a part of the socket's name.
constexpr milliseconds kPollInterval{20};
// How long an immediate shutdown, and after it the kernel's SIGKILL, may take.
constexpr milliseconds kImmediateTimeout{8'000};
constexpr milliseconds kKillTimeout{5'000};
// The server's log is cut when it is longer: it is for the last start's problems, not an archive.
constexpr off_t kLogBytesMax = 64 << 20;
// How much of it a failed start's error shows.
constexpr off_t kLogTailBytes = 2'000;
// A Unix socket's address holds 108 bytes, the last of them zero.
constexpr std::size_t kSocketPathBytesMax = 107;

std::map<std::string, std::string> EffectiveSettings(const EmbeddedPostgresOptions& options,
                                                     const std::string& socket_dir) {
  std::map<std::string, std::string> settings = {
      {"max_connections", "200"},
      {"shared_buffers", "256MB"},
      {"fsync", "on"},
      {"synchronous_commit", "on"},
      {"wal_compression", "on"},
      {"max_wal_size", "4GB"},
      {"checkpoint_timeout", "15min"},
      {"autovacuum", "on"},
      {"jit", "off"},
      {"huge_pages", "try"},
      {"timezone", "UTC"},
      {"log_timezone", "UTC"},
      {"log_line_prefix", "%m [%p] "},
      // What a statement did wrong is told to its sender; the log is for the server's own fate.
      {"log_min_messages", "log"},
      {"logging_collector", "off"},
  };
  for (const auto& [name, value] : options.settings) settings[name] = value;
  settings["listen_addresses"] = "";
  settings["port"] = fmt::format("{}", kPort);
  settings["unix_socket_directories"] = socket_dir;
  settings["unix_socket_permissions"] = "0700";
  return settings;
}

bool IsSyncOff(const EmbeddedPostgresOptions& options) {
  return std::any_of(options.settings.begin(), options.settings.end(), [](const auto& setting) {
    return setting.first == "fsync" && setting.second == "off";
  });
}

// Whether both the server's setting, which is a list, and libpq's `host`, which is one too, take
// the folder for what it is, and the socket's address has room for it.
bool IsUsableSocketDir(const std::string& dir) {
  return dir.find_first_of(",\"'\\") == std::string::npos &&
         dir.size() + fmt::format("/.s.PGSQL.{}", kPort).size() <= kSocketPathBytesMax;
}

// The conninfo for one of the cluster's databases. Only folders without quotes are used.
std::string ConninfoFor(const std::string& socket_dir, std::string_view database) {
  return fmt::format("host='{}' port={} user={} dbname={}", socket_dir, kPort, kSuperuser,
                     database);
}

std::string TailOf(const std::string& path, off_t from) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(0, std::ios::end);
  const off_t size = file.tellg();
  file.seekg(std::max(from, size - kLogTailBytes));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void SignalAll(const std::vector<pid_t>& pids, int signal) {
  for (const pid_t pid : pids) kill(pid, signal);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedPostgres>> EmbeddedPostgres::Start(
    const EmbeddedPostgresOptions& options) {
  const Deadline deadline = steady_clock::now() + options.start_timeout;
  // Whether a server is installed is asked first: without one there is nothing to prepare for.
  if (auto programs = FindServerPrograms(options.bin_dir, 0, deadline); !programs.ok()) {
    return programs.status();
  }
  absl::StatusOr<Account> account = FindAccount(options.user);
  if (!account.ok()) return account.status();
  absl::StatusOr<std::string> data_dir = PrepareDataDir(options.data_dir, *account);
  if (!data_dir.ok()) return data_dir.status();
  absl::StatusOr<FolderLock> lock = FolderLock::Acquire(*data_dir);
  if (!lock.ok()) return lock.status();
  absl::StatusOr<Cluster> cluster =
      OpenCluster(*data_dir, options.bin_dir, *account, !IsSyncOff(options), deadline);
  if (!cluster.ok()) return cluster.status();

  std::unique_ptr<EmbeddedPostgres> server(new EmbeddedPostgres);
  server->options_ = options;
  server->account_ = *std::move(account);
  server->lock_ = *std::move(lock);
  server->home_lock_ = std::move(cluster->home_lock);
  server->bin_dir_ = cluster->programs.bin_dir;
  server->cluster_dir_ = cluster->dir;
  server->log_path_ = *data_dir + "/postgres.log";
  if (absl::Status made = server->MakeSocketDir(cluster->home); !made.ok()) return made;
  server->conninfo_ = ConninfoFor(server->socket_dir_, kDatabase);
  if (absl::Status launched = server->Launch(); !launched.ok()) return launched;
  return server;
}

EmbeddedPostgres::~EmbeddedPostgres() {
  if (absl::Status stopped = Stop(); !stopped.ok()) {
    spdlog::error("embedded PostgreSQL: {}", telemetry::MessageOf(stopped));
  }
  if (log_fd_ >= 0) close(log_fd_);
  if (socket_dir_is_temporary_) {
    std::error_code error;
    std::filesystem::remove_all(socket_dir_, error);
  }
}

absl::Status EmbeddedPostgres::MakeSocketDir(const std::string& home) {
  socket_dir_ = home + "/socket";
  if (home.empty() || !IsUsableSocketDir(socket_dir_)) {
    // Not TMPDIR: a long one there would be no better.
    std::string pattern = "/tmp/eventstored-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) {
      return absl::FailedPreconditionError(fmt::format(
          "the socket cannot be in {} (its path may have {} bytes, no comma, quote or backslash), "
          "and {} cannot be made instead: {}; choose another folder by --data-dir",
          socket_dir_, kSocketPathBytesMax, pattern, std::generic_category().message(errno)));
    }
    socket_dir_ = pattern;
    socket_dir_is_temporary_ = true;
  }
  return MakePrivateFolder(socket_dir_, account_);
}

absl::Status EmbeddedPostgres::Launch() {
  if (absl::Status recovered = StopLeftovers(); !recovered.ok()) return recovered;
  const Deadline deadline = steady_clock::now() + options_.start_timeout;
  if (log_fd_ < 0) {
    log_fd_ = open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd_ < 0) {
      return absl::FailedPreconditionError(
          fmt::format("cannot write {}: {}", log_path_, std::generic_category().message(errno)));
    }
  }
  BoundLog();
  struct stat log = {};
  fstat(log_fd_, &log);

  ChildCommand command;
  command.argv = {bin_dir_ + "/postgres", "-D", cluster_dir_};
  for (const auto& [name, value] : EffectiveSettings(options_, socket_dir_)) {
    command.argv.insert(command.argv.end(), {"-c", name + "=" + value});
  }
  command.working_dir = cluster_dir_;
  command.output_fd = log_fd_;
  // No PR_SET_PDEATHSIG: it follows the thread that forked, not the process, and a restart may come
  // from a thread that ends before the daemon does. A server that outlives a crash is stopped by
  // the next start, and loses nothing until then.
  absl::StatusOr<pid_t> pid = Spawn(account_, command);
  if (!pid.ok()) return pid.status();
  pid_ = *pid;
  absl::Status ready = WaitUntilReady(deadline, log.st_size);
  if (ready.ok()) ready = CreateDatabase(deadline);
  if (!ready.ok()) {
    Stop(/*immediate=*/true).IgnoreError();
    return ready;
  }
  spdlog::info("embedded PostgreSQL runs (pid {}) in {}", pid_.load(), cluster_dir_);
  return absl::OkStatus();
}

absl::Status EmbeddedPostgres::WaitUntilReady(Deadline deadline, off_t log_size) {
  const std::string conninfo = ConninfoFor(socket_dir_, kSuperuser) + " connect_timeout=2";
  while (PQping(conninfo.c_str()) != PQPING_OK) {
    if (!IsRunning()) {
      return absl::FailedPreconditionError(
          fmt::format("the embedded PostgreSQL ended during its start; {} says: {}", log_path_,
                      TailOf(log_path_, log_size)));
    }
    if (steady_clock::now() >= deadline) {
      return absl::DeadlineExceededError(fmt::format(
          "the embedded PostgreSQL did not accept connections within embedded.start_timeout_ms = "
          "{}; {} says: {}",
          options_.start_timeout.count(), log_path_, TailOf(log_path_, log_size)));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  return absl::OkStatus();
}

absl::Status EmbeddedPostgres::CreateDatabase(Deadline deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
  const std::string conninfo = fmt::format("{} connect_timeout=5 options='-c statement_timeout={}'",
                                           ConninfoFor(socket_dir_, kSuperuser),
                                           std::max<std::int64_t>(left.count(), 1'000));
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(conninfo.c_str()),
                                                                &PQfinish);
  const auto failed = [&connection] {
    return absl::InternalError(
        fmt::format("cannot create the database {} in the embedded "
                    "PostgreSQL: {}",
                    kDatabase, PQerrorMessage(connection.get())));
  };
  if (PQstatus(connection.get()) != CONNECTION_OK) return failed();
  using ResultPtr = std::unique_ptr<PGresult, decltype(&PQclear)>;
  const std::string look_up =
      fmt::format("SELECT 1 FROM pg_catalog.pg_database WHERE datname = '{}'", kDatabase);
  const ResultPtr found(PQexec(connection.get(), look_up.c_str()), &PQclear);
  if (PQresultStatus(found.get()) != PGRES_TUPLES_OK) return failed();
  if (PQntuples(found.get()) > 0) return absl::OkStatus();
  const std::string create = fmt::format("CREATE DATABASE {} TEMPLATE template0", kDatabase);
  const ResultPtr created(PQexec(connection.get(), create.c_str()), &PQclear);
  return PQresultStatus(created.get()) == PGRES_COMMAND_OK ? absl::OkStatus() : failed();
}

absl::Status EmbeddedPostgres::StopLeftovers() {
  const std::string pid_file = cluster_dir_ + "/postmaster.pid";
  std::vector<pid_t> pids = ServerProcessesIn(cluster_dir_);
  if (!pids.empty()) {
    pid_t postmaster = 0;
    std::ifstream(pid_file) >> postmaster;
    const bool alive = std::find(pids.begin(), pids.end(), postmaster) != pids.end();
    spdlog::warn("a crashed daemon left its PostgreSQL ({} processes) in {}: stopping it",
                 pids.size(), cluster_dir_);
    const auto wait = [&](milliseconds timeout) {
      const Deadline deadline = steady_clock::now() + timeout;
      while (!(pids = ServerProcessesIn(cluster_dir_)).empty()) {
        if (steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(kPollInterval);
      }
      return true;
    };
    // Fast: it ends its sessions and makes a checkpoint. Backends without a postmaster only end.
    if (alive) kill(postmaster, SIGINT);
    if (!alive || !wait(options_.stop_timeout)) {
      SignalAll(pids, SIGQUIT);
      if (!wait(kImmediateTimeout)) SignalAll(pids, SIGKILL);
    }
    if (!wait(kKillTimeout)) {
      return absl::FailedPreconditionError(
          fmt::format("a PostgreSQL server (pid {}) still works in {} and cannot be stopped: stop "
                      "it by hand",
                      pids.front(), cluster_dir_));
    }
  }
  // PostgreSQL would refuse to start if the file's pid belongs to something else by now. Nothing
  // works in this folder, and our lock keeps other daemons out: the file is stale.
  if (unlink(pid_file.c_str()) != 0 && errno != ENOENT) {
    return absl::FailedPreconditionError(
        fmt::format("cannot remove {}: {}", pid_file, std::generic_category().message(errno)));
  }
  return absl::OkStatus();
}

absl::Status EmbeddedPostgres::Stop(bool immediate) {
  const pid_t pid = pid_;
  if (pid < 0) return absl::OkStatus();
  bool ended = false;
  if (!immediate) {
    kill(pid, SIGINT);
    ended = WaitForEnd(pid, steady_clock::now() + options_.stop_timeout);
    if (!ended) {
      spdlog::warn(
          "embedded PostgreSQL did not stop within embedded.stop_timeout_ms = {}; it is "
          "stopped without a checkpoint and will replay its log at the next start",
          options_.stop_timeout.count());
    }
  }
  if (!ended) {
    kill(pid, SIGQUIT);
    ended = WaitForEnd(pid, steady_clock::now() + kImmediateTimeout);
  }
  if (!ended) {
    kill(pid, SIGKILL);
    ended = WaitForEnd(pid, steady_clock::now() + kKillTimeout);
  }
  if (!ended) return absl::InternalError(fmt::format("its postmaster {} does not end", pid));
  pid_ = -1;
  return absl::OkStatus();
}

absl::Status EmbeddedPostgres::Restart() {
  if (absl::Status stopped = Stop(); !stopped.ok()) return stopped;
  return Launch();
}

bool EmbeddedPostgres::IsRunning() {
  const pid_t pid = pid_;
  if (pid < 0) return false;
  BoundLog();
  if (!HasEnded(pid)) return true;
  pid_ = -1;
  return false;
}

void EmbeddedPostgres::BoundLog() {
  struct stat info = {};
  // The server appends, so it goes on at the new end.
  if (fstat(log_fd_, &info) == 0 && info.st_size > kLogBytesMax && ftruncate(log_fd_, 0) != 0) {
    spdlog::warn("cannot cut {}: {}", log_path_, std::generic_category().message(errno));
  }
}

}  // namespace eventstore::process
