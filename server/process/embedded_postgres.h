// A private PostgreSQL server for a daemon that was given no database.
#ifndef EVENTSTORE_SERVER_PROCESS_EMBEDDED_POSTGRES_H_
#define EVENTSTORE_SERVER_PROCESS_EMBEDDED_POSTGRES_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/process/embedded_child.h"
#include "server/process/embedded_cluster.h"

namespace eventstore::process {

struct EmbeddedPostgresOptions {
  // Folder that holds the cluster (`<data_dir>/postgres`) and the lock file. Created if missing.
  std::string data_dir;
  // Folder with initdb and postgres. Empty: the newest /usr/lib/postgresql/*/bin, then PATH.
  std::string bin_dir;
  // The unprivileged account to run as when this process is root (PostgreSQL refuses root).
  std::string user = "postgres";
  // Further settings as in postgresql.conf, such as {"max_connections", "200"}.
  std::vector<std::pair<std::string, std::string>> settings;
  // Longest time for start (a leftover's stop not counted) and for a clean stop.
  std::chrono::milliseconds start_timeout{60'000};
  std::chrono::milliseconds stop_timeout{30'000};
};

// Runs `postgres` of the installed server package on a private data folder and Unix socket (no
// TCP). The cluster is made by initdb the first time (UTF8, C collation, data checksums, trust on
// the socket, which only its owner may enter) and kept. Works as root from a folder below a home of
// mode 700: files that the unprivileged account cannot reach are put below
// /var/lib/eventstored-<hash of data_dir>, and a link in data_dir leads there. The server's log is
// `<data_dir>/postgres.log`.
//
// A lock file makes two daemons on one folder impossible: the second gets FAILED_PRECONDITION that
// names the first's pid. A postmaster that a crashed daemon left behind is stopped first. A missing
// server package or account is FAILED_PRECONDITION with what to install or create.
//
// Not thread-safe, but pid() and conninfo() may be called by any thread after Start.
class EmbeddedPostgres {
 public:
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<EmbeddedPostgres>> Start(
      const EmbeddedPostgresOptions& options);
  // Stops the server: a fast shutdown, then an immediate one after `stop_timeout`.
  ~EmbeddedPostgres();
  EmbeddedPostgres(const EmbeddedPostgres&) = delete;
  EmbeddedPostgres& operator=(const EmbeddedPostgres&) = delete;

  // A libpq connection string for the database "eventstore" on the private socket.
  [[nodiscard]] const std::string& conninfo() const { return conninfo_; }
  // The postmaster's process id; -1 while it is stopped.
  [[nodiscard]] int pid() const { return pid_; }
  // The folder of the socket, and of the cluster's files.
  [[nodiscard]] const std::string& socket_dir() const { return socket_dir_; }
  [[nodiscard]] const std::string& cluster_dir() const { return cluster_dir_; }

  // Stops now (also what the destructor does). `immediate`: without a checkpoint, as a crash does.
  absl::Status Stop(bool immediate = false);
  // Starts again after Stop, or after the server died.
  absl::Status Restart();
  // Whether the postmaster runs; a daemon's housekeeper calls it and Restart()s a dead one. Reaps
  // one that died, and keeps the server's log below its limit.
  [[nodiscard]] bool IsRunning();

 private:
  EmbeddedPostgres() = default;

  // Makes the folder of the socket: in `home`, or below /tmp if there is none or its name is too
  // long for a socket.
  absl::Status MakeSocketDir(const std::string& home);
  // Starts the server, waits until it accepts connections, and makes the database if it is missing.
  absl::Status Launch();
  // `log_size`: how long the log was before the start, so that an error shows only what came after.
  absl::Status WaitUntilReady(Deadline deadline, off_t log_size);
  absl::Status CreateDatabase(Deadline deadline);
  // Stops what a crashed daemon, or a killed postmaster, left running on this cluster.
  absl::Status StopLeftovers();
  void BoundLog();

  EmbeddedPostgresOptions options_;
  Account account_;
  FolderLock lock_;       // on the data folder
  FolderLock home_lock_;  // on the folder that stands in for it below /var/lib, if any
  std::string bin_dir_;
  std::string cluster_dir_;
  std::string socket_dir_;
  bool socket_dir_is_temporary_ = false;
  std::string conninfo_;
  std::string log_path_;
  int log_fd_ = -1;
  std::atomic<pid_t> pid_{-1};
};

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_EMBEDDED_POSTGRES_H_
