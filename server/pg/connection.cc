#include "server/pg/connection.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/pg/conninfo.h"
#include "server/pg/identifier.h"
#include "server/pg/socket_wait.h"
#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

using std::chrono::steady_clock;

// A script may raise a notice per row: only so many are kept for the caller.
constexpr std::size_t kNoticesMax = 100;

std::string Field(const PGresult* result, int code) {
  const char* value = PQresultErrorField(result, code);
  return value == nullptr ? "" : value;
}

// libpq ends its messages with a line break.
std::string_view Trim(const char* message) {
  std::string_view text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text;
}

// FATAL and PANIC end the session.
bool EndsSession(std::string_view severity) { return severity == "FATAL" || severity == "PANIC"; }

// Takes `connection` through libpq's asynchronous connect. Returns an empty text, or what failed.
std::string FinishConnecting(PGconn* connection, Deadline deadline, bool* timed_out) {
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  while (PQstatus(connection) != CONNECTION_BAD) {
    if (state == PGRES_POLLING_OK) return "";
    if (state == PGRES_POLLING_FAILED) break;
    pollfd fd{PQsocket(connection),
              static_cast<short>(state == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    const int ready = WaitForSockets({&fd, 1}, deadline);
    if (ready == 0) {
      *timed_out = true;
      return "no answer in time";
    }
    if (ready < 0) return std::string("poll: ") + std::strerror(errno);
    state = PQconnectPoll(connection);
  }
  const std::string_view message = Trim(PQerrorMessage(connection));
  return message.empty() ? "out of memory" : std::string(message);
}

PGconn* StartConnecting(const ConnectTarget& target, const std::string& application_name) {
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : target.parameters) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back("fallback_application_name");  // The connection string's own name wins.
  values.push_back(application_name.c_str());
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  return PQconnectStartParams(keywords.data(), values.data(), 0);
}

}  // namespace

Connection::Connection(const ConnectionOptions& options) : options_(options) {}

Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const ConnectionOptions& options,
                                                             Deadline deadline) {
  absl::StatusOr<std::vector<ConnectTarget>> targets = ConnectTargets(options.conninfo);
  if (!targets.ok()) return targets.status();
  std::string failures;
  Error error{.outcome = Outcome::kNotSent, .connection_lost = true};
  for (const ConnectTarget& target : *targets) {
    const Deadline now = steady_clock::now();
    if (now >= deadline) break;
    const auto timeout = target.connect_timeout.has_value()
                             ? std::chrono::milliseconds(*target.connect_timeout)
                             : options.connect_timeout;
    const Deadline target_deadline = std::min(deadline, now + timeout);
    std::unique_ptr<Connection> connection(new Connection(options));
    connection->connection_.reset(StartConnecting(target, options.application_name));
    PQsetNoticeReceiver(connection->connection_.get(), &Connection::OnNotice, connection.get());
    bool timed_out = false;
    std::string failure =
        FinishConnecting(connection->connection_.get(), target_deadline, &timed_out);
    if (failure.empty()) {
      const absl::Status applied = connection->ApplySettings(target_deadline);
      if (applied.ok()) return connection;
      if (applied.code() == absl::StatusCode::kFailedPrecondition) return applied;
      failure = telemetry::MessageOf(applied);
      timed_out = applied.code() == absl::StatusCode::kDeadlineExceeded;
    }
    error.timed_out = error.timed_out || timed_out;
    if (!failures.empty()) failures += "; ";
    failures += target.label + ": " + failure;
    if (timed_out) failures += fmt::format(" ({} ms)", timeout.count());
  }
  const bool too_late = steady_clock::now() >= deadline;
  error.timed_out = error.timed_out || too_late;
  if (failures.empty()) failures = "the deadline passed before the first attempt";
  return MakeStatus(too_late ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kUnavailable,
                    "cannot connect to PostgreSQL: " + failures, error);
}

absl::Status Connection::ApplySettings(Deadline deadline) {
  PGconn* const raw = connection_.get();
  if (PQsetnonblocking(raw, 1) != 0) return Lost(PQerrorMessage(raw), "", Outcome::kNotSent);
  cancel_.reset(PQgetCancel(raw));
  server_version_ = PQserverVersion(raw);
  opened_at_ = steady_clock::now();
  std::vector<std::pair<std::string, std::string>> settings = {{"jit", "off"},
                                                               {"enable_memoize", "off"}};
  if (!options_.schema.empty()) {
    settings.emplace_back("search_path", QuoteIdentifier(options_.schema));
  }
  settings.insert(settings.end(), options_.settings.begin(), options_.settings.end());
  std::vector<Params> params;
  std::vector<Pipeline::Call> calls;
  params.reserve(settings.size());
  for (const auto& [name, value] : settings) {
    params.push_back(std::move(Params().Text(name).Text(value)));
    calls.push_back({nullptr, "SELECT set_config($1, $2, false)", &params.back()});
  }
  Pipeline::Outcome outcome = Pipeline::RunCalls(this, calls, deadline);
  const std::optional<Error> error = ErrorOf(outcome.status);
  if (!error.has_value() || error->connection_lost || error->timed_out) return outcome.status;
  const auto& [name, value] = settings[std::min(outcome.results.size(), settings.size() - 1)];
  return MakeStatus(absl::StatusCode::kFailedPrecondition,
                    fmt::format("the server refused the session setting {} = '{}': {}", name, value,
                                telemetry::MessageOf(outcome.status)),
                    *error);
}

absl::StatusOr<Result> Connection::Query(const Statement& statement, const Params& params,
                                         Deadline deadline) {
  const Pipeline::Call call{statement.name, statement.sql, &params};
  Pipeline::Outcome outcome = Pipeline::RunCalls(this, {&call, 1}, deadline);
  if (!outcome.status.ok()) return outcome.status;
  return std::move(outcome.results.front());
}

absl::StatusOr<Result> Connection::QueryOnce(std::string_view sql, const Params& params,
                                             Deadline deadline) {
  const std::string text(sql);
  const Pipeline::Call call{nullptr, text.c_str(), &params};
  Pipeline::Outcome outcome = Pipeline::RunCalls(this, {&call, 1}, deadline);
  if (!outcome.status.ok()) return outcome.status;
  return std::move(outcome.results.front());
}

absl::Status Connection::RunScript(std::string_view sql, Deadline deadline) {
  absl::Status begun = Begin(deadline);
  if (!begun.ok()) return begun;
  const std::string text(sql);
  if (options_.echo) spdlog::debug("SQL script: {}", text);
  if (PQsendQuery(connection_.get(), text.c_str()) != 1) {
    return Lost(PQerrorMessage(connection_.get()), "", Outcome::kNotSent);
  }
  absl::Status first_error;
  for (;;) {
    absl::Status awaited = AwaitResult(deadline);
    if (!awaited.ok()) return first_error.ok() ? awaited : WithConnectionLost(first_error);
    PGresult* const raw = PQgetResult(connection_.get());
    if (raw == nullptr) return first_error;
    const Result result(raw);
    const ExecStatusType status = PQresultStatus(raw);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
      continue;
    }
    absl::Status failed = Failed(raw);
    if (first_error.ok()) first_error = std::move(failed);
    if (!usable()) return WithConnectionLost(first_error);
  }
}

absl::Status Connection::Ping(Deadline deadline) {
  return Pipeline::RunCalls(this, {}, deadline).status;  // Nothing but a Sync.
}

absl::StatusOr<std::vector<Notification>> Connection::WaitForNotifications(int wake_fd,
                                                                           Deadline deadline) {
  std::vector<Notification> notifications;
  for (;;) {
    absl::Status absorbed = Absorb();
    if (!absorbed.ok()) return absorbed;
    while (PGnotify* const raw = PQnotifies(connection_.get())) {
      notifications.push_back({raw->relname, raw->extra, raw->be_pid});
      PQfreemem(raw);
    }
    if (!notifications.empty()) return notifications;
    pollfd fds[2] = {{PQsocket(connection_.get()), POLLIN, 0}, {wake_fd, POLLIN, 0}};
    const int ready = WaitForSockets(fds, deadline);
    if (ready < 0) return Lost(std::strerror(errno), "", Outcome::kNotSent);
    if (ready == 0 || fds[1].revents != 0) return notifications;
  }
}

void Connection::Cancel() {
  char message[256];
  if (cancel_ != nullptr && PQcancel(cancel_.get(), message, sizeof(message)) != 1) {
    spdlog::warn("could not cancel a statement: {}", Trim(message));
  }
}

bool Connection::in_transaction() const {
  return usable() && PQtransactionStatus(connection_.get()) != PQTRANS_IDLE;
}

absl::Status Connection::Begin(Deadline deadline) {
  notices_.clear();
  absl::Status absorbed = Absorb();
  if (!absorbed.ok()) return absorbed;
  if (steady_clock::now() >= deadline) {
    return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                      "the deadline passed before anything was sent to PostgreSQL",
                      {.outcome = Outcome::kNotSent, .timed_out = true});
  }
  return absl::OkStatus();
}

absl::Status Connection::Absorb() {
  if (!usable()) {
    return MakeStatus(absl::StatusCode::kUnavailable,
                      "the connection to PostgreSQL was lost before",
                      {.outcome = Outcome::kNotSent, .connection_lost = true});
  }
  PGconn* const raw = connection_.get();
  pollfd fd{PQsocket(raw), POLLIN, 0};
  if (poll(&fd, 1, 0) <= 0) return absl::OkStatus();
  const bool received = PQconsumeInput(raw) == 1;
  const bool busy = PQisBusy(raw) != 0;  // For its side effect: it parses what was received.
  if (received && !busy && !fatal_.has_value() && PQstatus(raw) == CONNECTION_OK) {
    return absl::OkStatus();
  }
  if (!fatal_.has_value()) return Lost(PQerrorMessage(raw), "", Outcome::kNotSent);
  return Lost(fatal_->message, fatal_->sqlstate, Outcome::kNotSent);
}

absl::Status Connection::AwaitResult(Deadline deadline) {
  PGconn* const raw = connection_.get();
  for (;;) {
    // A failed write is no reason to stop: the server may have said why before it went.
    const bool unsent = PQflush(raw) == 1;
    if (PQisBusy(raw) == 0) return absl::OkStatus();
    pollfd fd{PQsocket(raw), static_cast<short>(unsent ? POLLIN | POLLOUT : POLLIN), 0};
    const int ready = WaitForSockets({&fd, 1}, deadline);
    if (ready == 0) return TimedOut();
    if (ready < 0) return Lost(std::strerror(errno), "", Outcome::kInDoubt);
    if ((fd.revents & ~POLLOUT) == 0) continue;
    if (PQconsumeInput(raw) != 1 && PQisBusy(raw) != 0) {
      return Lost(PQerrorMessage(raw), "", Outcome::kInDoubt);
    }
  }
}

absl::Status Connection::Failed(const PGresult* result) {
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
    return Lost("COPY from or to the client is not supported", "", Outcome::kInDoubt);
  }
  const std::string sqlstate = Field(result, PG_DIAG_SQLSTATE);
  std::string message = Field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (message.empty()) message = Trim(PQresultErrorMessage(result));
  if (EndsSession(Field(result, PG_DIAG_SEVERITY_NONLOCALIZED)) ||
      PQstatus(connection_.get()) != CONNECTION_OK) {
    return Lost(message, sqlstate, Outcome::kInDoubt);
  }
  return MakeStatus(absl::StatusCode::kInternal, message,
                    {.sqlstate = sqlstate,
                     .outcome = Outcome::kRolledBack,
                     .constraint = Field(result, PG_DIAG_CONSTRAINT_NAME)});
}

absl::Status Connection::Lost(std::string_view why, std::string_view sqlstate, Outcome outcome) {
  std::string message = "the connection to PostgreSQL was lost: ";
  message += Trim(std::string(why).c_str());
  Close();
  return MakeStatus(
      absl::StatusCode::kUnavailable, message,
      {.sqlstate = std::string(sqlstate), .outcome = outcome, .connection_lost = true});
}

absl::Status Connection::TimedOut() {
  Close();
  return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                    "PostgreSQL did not answer in time; the connection was closed",
                    {.outcome = Outcome::kInDoubt, .connection_lost = true, .timed_out = true});
}

void Connection::Close() {
  connection_.reset();
  prepared_.clear();
}

void Connection::OnNotice(void* self, const PGresult* notice) {
  auto* const connection = static_cast<Connection*>(self);
  Notice entry{Field(notice, PG_DIAG_SEVERITY_NONLOCALIZED), Field(notice, PG_DIAG_SQLSTATE),
               Field(notice, PG_DIAG_MESSAGE_PRIMARY)};
  if (EndsSession(entry.severity)) connection->fatal_ = entry;
  if (connection->notices_.size() < kNoticesMax) connection->notices_.push_back(std::move(entry));
}

}  // namespace eventstore::pg
