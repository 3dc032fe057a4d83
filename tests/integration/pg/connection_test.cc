// What a connection does once it is open, and how it ends.
#include "server/pg/connection.h"

#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using std::chrono::milliseconds;
using testing::Eventually;
using testing::In;

constexpr std::chrono::seconds kTimeout{20};
constexpr Statement kSleep{"test_sleep", "SELECT pg_sleep($1)::text"};
constexpr Statement kNumber{"test_number", "SELECT $1::bigint"};

std::unique_ptr<Connection> Connect() {
  return testing::Connect(testing::SharedPostgres().conninfo());
}

int PidOf(Connection& connection) {
  absl::StatusOr<Result> result = connection.QueryOnce("SELECT pg_backend_pid()", {}, In(kTimeout));
  REQUIRE(result.ok());
  return result->Int32(0, 0);
}

std::int64_t Count(Connection& connection, const std::string& sql, const Params& params) {
  absl::StatusOr<Result> result = connection.QueryOnce(sql, params, In(kTimeout));
  REQUIRE(result.ok());
  return result->Int64(0, 0);
}

// Waits until the backend runs a statement.
bool IsRunning(Connection& observer, int pid) {
  return Eventually([&observer, pid] {
    return Count(observer,
                 "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'",
                 Params().Int32(pid)) == 1;
  });
}

// Ends the backend and waits until it is gone.
void Terminate(Connection& observer, int pid) {
  absl::StatusOr<Result> result = observer.QueryOnce("SELECT pg_terminate_backend($1, 10000)",
                                                     Params().Int32(pid), In(kTimeout));
  REQUIRE(result.ok());
  REQUIRE(result->Bool(0, 0));
}

Error ErrorIn(const absl::Status& status) {
  INFO(telemetry::MessageOf(status));
  const std::optional<Error> error = ErrorOf(status);
  REQUIRE(error.has_value());
  return *error;
}

TEST_CASE("A server error leaves the connection usable", "[connection]") {
  const auto connection = Connect();
  const absl::Status status =
      connection->QueryOnce("SELECT 1 / $1", Params().Int32(0), In(kTimeout)).status();
  CHECK(status.code() == absl::StatusCode::kInternal);
  const Error error = ErrorIn(status);
  CHECK(error.sqlstate == "22012");
  CHECK(error.outcome == Outcome::kRolledBack);
  CHECK_FALSE(error.connection_lost);
  CHECK_FALSE(error.timed_out);
  CHECK(telemetry::MessageOf(status) == "division by zero (SQLSTATE 22012)");
  CHECK(connection->usable());
  CHECK(connection->Ping(In(kTimeout)).ok());
}

TEST_CASE("A violated constraint is named", "[connection]") {
  const auto connection = Connect();
  REQUIRE(
      connection
          ->RunScript("CREATE TEMP TABLE t (a int CONSTRAINT positive CHECK (a > 0))", In(kTimeout))
          .ok());
  const absl::Status status =
      connection->QueryOnce("INSERT INTO t VALUES (-1)", {}, In(kTimeout)).status();
  CHECK(ErrorIn(status).constraint == "positive");
  CHECK(ErrorIn(status).sqlstate == "23514");
}

TEST_CASE("A passed deadline closes the connection", "[connection]") {
  const auto connection = Connect();
  const absl::Status status =
      connection->Query(kSleep, Params().Double(60), In(milliseconds(100))).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  const Error error = ErrorIn(status);
  CHECK(error.timed_out);
  CHECK(error.connection_lost);
  CHECK(error.outcome == Outcome::kInDoubt);
  CHECK_FALSE(connection->usable());
  CHECK_FALSE(connection->in_transaction());
  const Error after = ErrorIn(connection->Ping(In(kTimeout)));
  CHECK(after.connection_lost);
  CHECK(after.outcome == Outcome::kNotSent);
}

TEST_CASE("A deadline that passed before sends nothing and keeps the connection", "[connection]") {
  const auto connection = Connect();
  const absl::Status status =
      connection->Query(kNumber, Params().Int64(1), In(milliseconds(-1))).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  const Error error = ErrorIn(status);
  CHECK(error.timed_out);
  CHECK_FALSE(error.connection_lost);
  CHECK(error.outcome == Outcome::kNotSent);
  CHECK(connection->Query(kNumber, Params().Int64(1), In(kTimeout)).ok());
}

TEST_CASE("A backend terminated in the middle of a statement leaves its outcome in doubt",
          "[connection]") {
  const auto connection = Connect();
  const auto observer = Connect();
  const int pid = PidOf(*connection);
  absl::Status status;
  std::thread runner([&connection, &status] {
    status = connection->Query(kSleep, Params().Double(60), In(kTimeout)).status();
  });
  const bool running = IsRunning(*observer, pid);
  Terminate(*observer, pid);
  runner.join();
  REQUIRE(running);
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  const Error error = ErrorIn(status);
  CHECK(error.connection_lost);
  CHECK(error.sqlstate == "57P01");
  CHECK(error.outcome == Outcome::kInDoubt);
  CHECK_FALSE(error.timed_out);
  CHECK_FALSE(connection->usable());
}

TEST_CASE("A backend terminated while idle is noticed before anything is sent", "[connection]") {
  const auto connection = Connect();
  const auto observer = Connect();
  Terminate(*observer, PidOf(*connection));
  const absl::Status status = connection->Query(kNumber, Params().Int64(1), In(kTimeout)).status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  const Error error = ErrorIn(status);
  CHECK(error.connection_lost);
  CHECK(error.outcome == Outcome::kNotSent);
  CHECK(error.sqlstate == "57P01");
}

TEST_CASE("A server that crashes in the middle is a lost connection", "[connection]") {
  const auto server = testing::StartPostgres();
  const auto connection = testing::Connect(server->conninfo());
  const auto observer = testing::Connect(server->conninfo());
  const int pid = PidOf(*connection);
  absl::Status status;
  std::thread runner([&connection, &status] {
    status = connection->RunScript("SELECT pg_sleep(60)", In(kTimeout));
  });
  const bool running = IsRunning(*observer, pid);
  const absl::Status stopped = server->Stop(/*immediate=*/true);
  runner.join();
  REQUIRE(running);
  REQUIRE(stopped.ok());
  CHECK(ErrorIn(status).connection_lost);
  CHECK(ErrorIn(status).outcome == Outcome::kInDoubt);
  CHECK(ErrorIn(observer->Ping(In(kTimeout))).connection_lost);
}

TEST_CASE("A ping is a round trip: a server that hangs does not answer it", "[connection]") {
  const auto connection = Connect();
  const int pid = PidOf(*connection);
  REQUIRE(kill(pid, SIGSTOP) == 0);
  const absl::Status status = connection->Ping(In(milliseconds(100)));
  REQUIRE(kill(pid, SIGCONT) == 0);
  CHECK(ErrorIn(status).timed_out);
}

TEST_CASE("Another thread may cancel a statement", "[connection]") {
  const auto connection = Connect();
  const auto observer = Connect();
  const int pid = PidOf(*connection);
  absl::Status status;
  std::thread runner([&connection, &status] {
    status = connection->Query(kSleep, Params().Double(60), In(kTimeout)).status();
  });
  const bool running = IsRunning(*observer, pid);
  connection->Cancel();
  runner.join();
  REQUIRE(running);
  CHECK(ErrorIn(status).sqlstate == "57014");
  CHECK(ErrorIn(status).outcome == Outcome::kRolledBack);
  CHECK(connection->usable());
}

TEST_CASE("A script runs in one transaction", "[connection]") {
  const auto connection = Connect();
  REQUIRE(connection->RunScript("CREATE TEMP TABLE t (a int)", In(kTimeout)).ok());
  const absl::Status status = connection->RunScript(
      "INSERT INTO t VALUES (1); SELECT 1 / 0; INSERT INTO t VALUES (2)", In(kTimeout));
  CHECK(ErrorIn(status).sqlstate == "22012");
  CHECK(Count(*connection, "SELECT count(*) FROM t", {}) == 0);
  CHECK(connection->RunScript("", In(kTimeout)).ok());
}

TEST_CASE("No statement can wait for rows from the client", "[connection]") {
  const bool script = GENERATE(false, true);
  const auto connection = Connect();
  REQUIRE(connection->RunScript("CREATE TEMP TABLE t (a int)", In(kTimeout)).ok());
  const absl::Status status =
      script ? connection->RunScript("COPY t FROM STDIN", In(kTimeout))
             : connection->QueryOnce("COPY t FROM STDIN", {}, In(kTimeout)).status();
  CHECK(ErrorIn(status).connection_lost);
  CHECK(telemetry::MessageOf(status).find("COPY") != std::string_view::npos);
}

TEST_CASE("The state of the transaction is known", "[connection]") {
  const auto connection = Connect();
  CHECK_FALSE(connection->in_transaction());
  REQUIRE(connection->RunScript("BEGIN", In(kTimeout)).ok());
  CHECK(connection->in_transaction());
  REQUIRE_FALSE(connection->RunScript("SELECT 1 / 0", In(kTimeout)).ok());
  CHECK(connection->in_transaction());
  CHECK(connection->Ping(In(kTimeout)).ok());  // Also in a failed transaction.
  REQUIRE(connection->RunScript("ROLLBACK", In(kTimeout)).ok());
  CHECK_FALSE(connection->in_transaction());
}

TEST_CASE("Notifications wake the waiting thread", "[connection]") {
  const auto listener = Connect();
  const auto sender = Connect();
  REQUIRE(listener->RunScript("LISTEN news", In(kTimeout)).ok());
  absl::StatusOr<std::vector<Notification>> heard = std::vector<Notification>();
  std::thread waiter([&] { heard = listener->WaitForNotifications(-1, In(kTimeout)); });
  const absl::Status sent = sender->RunScript("NOTIFY news, 'text'", In(kTimeout));
  waiter.join();
  REQUIRE(sent.ok());
  REQUIRE(heard.ok());
  REQUIRE(heard->size() == 1);
  CHECK(heard->front().channel == "news");
  CHECK(heard->front().payload == "text");
  CHECK(heard->front().sender_pid == PidOf(*sender));
}

TEST_CASE("Notifications that came during a statement are not lost", "[connection]") {
  const auto connection = Connect();
  REQUIRE(connection->RunScript("LISTEN own", In(kTimeout)).ok());
  REQUIRE(connection->RunScript("NOTIFY own, 'a'; NOTIFY own, 'b'", In(kTimeout)).ok());
  REQUIRE(connection->Ping(In(kTimeout)).ok());
  const auto heard = connection->WaitForNotifications(-1, In(kTimeout));
  REQUIRE(heard.ok());
  CHECK(heard->size() == 2);
}

TEST_CASE("A wait for notifications ends at its deadline, and by its wake-up", "[connection]") {
  const auto connection = Connect();
  const auto nothing = connection->WaitForNotifications(-1, In(milliseconds(30)));
  REQUIRE(nothing.ok());
  CHECK(nothing->empty());
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  REQUIRE(write(fds[1], "x", 1) == 1);
  const auto begin = std::chrono::steady_clock::now();
  const auto woken = connection->WaitForNotifications(fds[0], In(kTimeout));
  CHECK(std::chrono::steady_clock::now() - begin < kTimeout);
  REQUIRE(woken.ok());
  CHECK(woken->empty());
  CHECK(connection->usable());
  close(fds[0]);
  close(fds[1]);
}

TEST_CASE("A listener learns that its connection was lost", "[connection]") {
  const auto listener = Connect();
  const auto observer = Connect();
  const int pid = PidOf(*listener);
  absl::Status status;
  std::thread waiter([&] { status = listener->WaitForNotifications(-1, In(kTimeout)).status(); });
  Terminate(*observer, pid);
  waiter.join();
  CHECK(ErrorIn(status).connection_lost);
}

}  // namespace
}  // namespace eventstore::pg
