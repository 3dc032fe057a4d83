// One connection to PostgreSQL.
#ifndef EVENTSTORE_SERVER_PG_CONNECTION_H_
#define EVENTSTORE_SERVER_PG_CONNECTION_H_

#include <absl/container/flat_hash_set.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <libpq-fe.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/pg/codec.h"
#include "server/pg/errors.h"

namespace eventstore::pg {

// A statement that is prepared on a connection when it is first used there. Both texts must live
// for ever; `name` must be unique in the program.
struct Statement {
  const char* name;
  const char* sql;
};

// A notice or warning of the server.
struct Notice {
  std::string severity;  // Not localized, such as "WARNING".
  std::string sqlstate;
  std::string message;
};

// A message of NOTIFY.
struct Notification {
  std::string channel;
  std::string payload;
  int sender_pid = 0;
};

struct ConnectionOptions {
  // A libpq connection string: keywords or a postgresql:// URI, several hosts and TLS as libpq has
  // them (https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING).
  std::string conninfo;
  // The schema whose tables the statements mean: `search_path` is set to it. Empty: untouched.
  std::string schema;
  // Shown in pg_stat_activity.
  std::string application_name = "eventstored";
  // Longest time to connect to one host.
  std::chrono::milliseconds connect_timeout{5000};
  // Session settings (name, value), applied at connect; jit and memoize are off in every session:
  // statements this short lose more by them than they can win.
  std::vector<std::pair<std::string, std::string>> settings;
  // Log every statement at debug level (never parameters: they are the users' data).
  bool echo = false;
};

// Refuses what libpq would misread, with the right form in the message: a SQLAlchemy-style URL
// (postgresql+asyncpg://...) is shown as its postgresql:// equivalent (`?ssl=require` becomes
// `?sslmode=require`), other schemes and unknown keywords are named. Passwords are masked in
// messages.
[[nodiscard]] absl::Status CheckConninfo(std::string_view conninfo);

// The connection string with its password replaced by "***", for logs and --print-config.
[[nodiscard]] std::string MaskConninfo(std::string_view conninfo);

// Owns one libpq connection, in non-blocking mode. Every call takes a deadline; when it passes, the
// connection is closed, because what the server still does is unknown (if nothing was sent yet, it
// is kept). Not thread-safe: one thread at a time. Errors carry a pg::Error.
//
// A connection that ended while it was idle is noticed before anything is sent: such an error's
// outcome is kNotSent, and the call can be repeated on another connection.
class Connection {
 public:
  // Connects and applies the settings, trying each host for at most `connect_timeout` (or the
  // connection string's own connect_timeout). No host could be reached: UNAVAILABLE. The server
  // refuses a setting: FAILED_PRECONDITION that names it. Looking up a host's name may block
  // longer.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Connection>> Open(
      const ConnectionOptions& options, Deadline deadline);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs one prepared statement in its own transaction, or in the open one.
  [[nodiscard]] absl::StatusOr<Result> Query(const Statement& statement, const Params& params,
                                             Deadline deadline);
  // Runs one statement that is planned for these very parameters (a custom plan).
  [[nodiscard]] absl::StatusOr<Result> QueryOnce(std::string_view sql, const Params& params,
                                                 Deadline deadline);
  // Runs a script of several statements, without parameters, by the simple protocol: all in one
  // transaction unless the script says otherwise.
  [[nodiscard]] absl::Status RunScript(std::string_view sql, Deadline deadline);
  // One empty round trip.
  [[nodiscard]] absl::Status Ping(Deadline deadline);
  // Without a round trip: whether the server or the network has ended the idle connection.
  [[nodiscard]] absl::Status CheckIdle() { return Absorb(); }
  // Waits for notifications (after LISTEN) until one is there, `wake_fd` becomes readable (-1:
  // none; it is not read) or the deadline passes; an empty list in the last two cases.
  [[nodiscard]] absl::StatusOr<std::vector<Notification>> WaitForNotifications(int wake_fd,
                                                                               Deadline deadline);
  // Asks the server to cancel the running statement. Any thread may call it while another one
  // waits; it blocks for one round trip. Never cancel a COMMIT.
  void Cancel();

  // What to do each time that something was sent and before its answer is awaited: work that needs
  // no database costs nothing then. Must not use this connection.
  void OnSent(std::function<void()> work) { on_sent_ = std::move(work); }

  // False once the connection was lost or given up: every further call fails.
  [[nodiscard]] bool usable() const { return connection_ != nullptr; }
  // Whether a transaction is open (also a failed one).
  [[nodiscard]] bool in_transaction() const;
  [[nodiscard]] int server_version() const { return server_version_; }  // such as 150004
  [[nodiscard]] std::chrono::steady_clock::time_point opened_at() const { return opened_at_; }
  // When the server last answered.
  [[nodiscard]] std::chrono::steady_clock::time_point used_at() const { return used_at_; }
  [[nodiscard]] const ConnectionOptions& options() const { return options_; }

 private:
  friend class Pipeline;
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  struct FreeCancel {
    void operator()(PGcancel* cancel) const { PQfreeCancel(cancel); }
  };
  explicit Connection(const ConnectionOptions& options);

  // Applies the session settings in one round trip.
  [[nodiscard]] absl::Status ApplySettings(Deadline deadline);
  // Before every exchange: fails, with nothing sent, if the connection was lost or the deadline
  // passed.
  [[nodiscard]] absl::Status Begin(Deadline deadline);
  // Takes in what the server sent to an idle connection; fails if that is the connection's end.
  [[nodiscard]] absl::Status Absorb();
  // Sends what is unsent and receives until PQgetResult would not block.
  [[nodiscard]] absl::Status AwaitResult(Deadline deadline);
  // The status of a failed result; closes the connection if the server or the network ended it.
  [[nodiscard]] absl::Status Failed(const PGresult* result);
  // Closes the connection, and says why.
  [[nodiscard]] absl::Status Lost(std::string_view why, std::string_view sqlstate, Outcome outcome);
  [[nodiscard]] absl::Status TimedOut();
  void Close();
  static void OnNotice(void* self, const PGresult* notice);

  ConnectionOptions options_;
  std::unique_ptr<PGconn, Finish> connection_;
  std::unique_ptr<PGcancel, FreeCancel> cancel_;  // Constant after Open, so that any thread may.
  absl::flat_hash_set<std::string> prepared_;     // The names of the statements prepared here.
  std::function<void()> on_sent_;
  std::vector<Notice> notices_;
  std::optional<Notice> fatal_;  // Why the server ended an idle connection.
  int server_version_ = 0;
  std::chrono::steady_clock::time_point opened_at_;
  std::chrono::steady_clock::time_point used_at_;
};

// Several prepared statements in one round trip.
//
// Add() queues; Run() sends them all and one Sync, and reads every answer. A pipeline always ends
// in a Sync, never in a Flush: the server would otherwise keep its locks while it waits for more,
// in spite of every time-out. The first statement that fails makes the server skip the rest.
//
// Example:
//   Pipeline pipeline(&connection);
//   pipeline.Add(kBegin, {});
//   pipeline.Add(kLockHead, Params().Text(ctid));
//   Pipeline::Outcome outcome = pipeline.Run(deadline);
class Pipeline {
 public:
  // `connection` must outlive this object and not be used otherwise before Run returned.
  explicit Pipeline(Connection* connection) : connection_(connection) {}

  void Add(const Statement& statement, Params params);

  struct Outcome {
    // OK, or the first error.
    absl::Status status;
    // The results of the statements before the first error, in order; all of them if OK.
    std::vector<Result> results;
    // What the server noted while it ran (a commit's warnings among them).
    std::vector<Notice> notices;
  };
  // May be called once.
  [[nodiscard]] Outcome Run(Deadline deadline);

 private:
  friend class Connection;
  struct Step {
    Statement statement;
    Params params;
  };
  // One statement to run; `name` is null if it shall not be prepared.
  struct Call {
    const char* name;
    const char* sql;
    const Params* params;
  };
  static Outcome RunCalls(Connection* connection, std::span<const Call> calls, Deadline deadline);
  static absl::Status Send(Connection* connection, std::span<const Call> calls,
                           std::vector<const char*>* answers);
  static absl::Status Receive(Connection* connection, const std::vector<const char*>& answers,
                              Deadline deadline, std::vector<Result>* results);

  Connection* const connection_;
  std::vector<Step> steps_;
};

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_CONNECTION_H_
