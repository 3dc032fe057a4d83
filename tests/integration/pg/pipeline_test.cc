#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "server/pg/connection.h"
#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using std::chrono::milliseconds;
using testing::In;

constexpr std::chrono::seconds kTimeout{30};
constexpr Statement kBegin{"test_begin", "BEGIN"};
constexpr Statement kCommit{"test_commit", "COMMIT"};
constexpr Statement kInsert{"test_insert", "INSERT INTO t VALUES ($1)"};
constexpr Statement kCount{"test_count", "SELECT count(*) FROM t"};
constexpr Statement kMistake{"test_mistake", "SELEC 1"};
constexpr Statement kEcho{"test_echo", "SELECT $1::text"};
constexpr Statement kWarn{"test_warn", "DO $$ BEGIN RAISE WARNING 'careful'; END $$"};
constexpr Statement kPrepared{"test_prepared",
                              "SELECT count(*) FROM pg_prepared_statements WHERE name = $1"};
constexpr Statement kEndMyself{"test_end_myself", "SELECT pg_terminate_backend(pg_backend_pid())"};
constexpr Statement kSleep{"test_sleep", "SELECT pg_sleep(60)::text"};

// A connection with an empty temporary table t whose unique key is checked at the end.
std::unique_ptr<Connection> Connect(const std::string& constraint = "UNIQUE") {
  auto connection = testing::Connect(testing::SharedPostgres().conninfo());
  REQUIRE(
      connection->RunScript("CREATE TEMP TABLE t (a int " + constraint + ")", In(kTimeout)).ok());
  return connection;
}

Params Number(std::int32_t value) {
  Params params;
  params.Int32(value);
  return params;
}

Params Word(std::string_view value) {
  Params params;
  params.Text(value);
  return params;
}

std::int64_t RowsOf(Connection& connection) {
  absl::StatusOr<Result> result = connection.Query(kCount, {}, In(kTimeout));
  REQUIRE(result.ok());
  return result->Int64(0, 0);
}

bool IsPrepared(Connection& connection, const Statement& statement) {
  absl::StatusOr<Result> result = connection.Query(kPrepared, Word(statement.name), In(kTimeout));
  REQUIRE(result.ok());
  return result->Int64(0, 0) == 1;
}

Error ErrorIn(const absl::Status& status) {
  INFO(telemetry::MessageOf(status));
  const std::optional<Error> error = ErrorOf(status);
  REQUIRE(error.has_value());
  return *error;
}

TEST_CASE("All results come back in order", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kBegin, {});
  for (int i = 0; i < 100; ++i) pipeline.Add(kInsert, Number(i));
  pipeline.Add(kCount, {});
  pipeline.Add(kCommit, {});
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  INFO(telemetry::MessageOf(outcome.status));
  REQUIRE(outcome.status.ok());
  REQUIRE(outcome.results.size() == 103);
  CHECK(outcome.results[50].affected() == 1);
  CHECK(outcome.results[101].Int64(0, 0) == 100);
  CHECK_FALSE(connection->in_transaction());
}

TEST_CASE("A pipeline without BEGIN is one transaction", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kInsert, Number(1));
  pipeline.Add(kInsert, Number(2));
  pipeline.Add(kInsert, Number(1));
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  CHECK(ErrorIn(outcome.status).sqlstate == "23505");
  CHECK(ErrorIn(outcome.status).outcome == Outcome::kRolledBack);
  CHECK(ErrorIn(outcome.status).constraint == "t_a_key");
  CHECK(outcome.results.size() == 2);
  CHECK(RowsOf(*connection) == 0);
}

TEST_CASE("After an error the rest is skipped, the COMMIT too", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kBegin, {});
  pipeline.Add(kInsert, Number(1));
  pipeline.Add(kInsert, Number(1));
  pipeline.Add(kInsert, Number(2));
  pipeline.Add(kCommit, {});
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  CHECK(ErrorIn(outcome.status).sqlstate == "23505");
  CHECK(outcome.results.size() == 2);
  CHECK(connection->usable());
  CHECK(connection->in_transaction());
  REQUIRE(connection->RunScript("ROLLBACK", In(kTimeout)).ok());
  CHECK(RowsOf(*connection) == 0);
}

TEST_CASE("An error at the Sync itself is the pipeline's", "[pipeline]") {
  const auto connection = Connect("UNIQUE DEFERRABLE INITIALLY DEFERRED");
  Pipeline pipeline(connection.get());
  pipeline.Add(kInsert, Number(1));
  pipeline.Add(kInsert, Number(1));
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  CHECK(ErrorIn(outcome.status).sqlstate == "23505");
  CHECK(ErrorIn(outcome.status).outcome == Outcome::kRolledBack);
  CHECK(connection->usable());
  CHECK(RowsOf(*connection) == 0);
}

TEST_CASE("A statement that was prepared stays so when its transaction is rolled back",
          "[pipeline]") {
  const auto connection = Connect();
  Pipeline failing(connection.get());
  failing.Add(kInsert, Number(1));
  failing.Add(kMistake, {});
  failing.Add(kEcho, Word("never prepared"));
  const Pipeline::Outcome outcome = failing.Run(In(kTimeout));
  CHECK(ErrorIn(outcome.status).sqlstate == "42601");
  CHECK(IsPrepared(*connection, kInsert));
  CHECK_FALSE(IsPrepared(*connection, kMistake));
  CHECK_FALSE(IsPrepared(*connection, kEcho));
  // All of them can be used again: what is there is not prepared twice, what is not is prepared.
  Pipeline again(connection.get());
  again.Add(kInsert, Number(1));
  again.Add(kEcho, Word("prepared now"));
  again.Add(kEcho, Word("and used twice"));
  const Pipeline::Outcome good = again.Run(In(kTimeout));
  INFO(telemetry::MessageOf(good.status));
  REQUIRE(good.status.ok());
  CHECK(good.results[2].Text(0, 0) == "and used twice");
  CHECK(IsPrepared(*connection, kEcho));
}

TEST_CASE("Pipelines far beyond the sockets' buffers do not deadlock", "[pipeline]") {
  const auto connection = Connect();
  const std::string megabyte(1 << 20, 'x');
  Pipeline pipeline(connection.get());
  for (int i = 0; i < 24; ++i) pipeline.Add(kEcho, Word(megabyte + std::to_string(i)));
  const Pipeline::Outcome outcome = pipeline.Run(In(std::chrono::seconds(60)));
  INFO(telemetry::MessageOf(outcome.status));
  REQUIRE(outcome.status.ok());
  REQUIRE(outcome.results.size() == 24);
  CHECK(outcome.results[23].Text(0, 0) == megabyte + "23");
}

TEST_CASE("Many small statements in one pipeline do not deadlock", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  const std::string text(300, 'y');
  for (int i = 0; i < 20'000; ++i) pipeline.Add(kEcho, Word(text));
  const Pipeline::Outcome outcome = pipeline.Run(In(std::chrono::seconds(60)));
  REQUIRE(outcome.status.ok());
  CHECK(outcome.results.size() == 20'000);
}

TEST_CASE("Warnings come with the pipeline that raised them", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kWarn, {});
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  REQUIRE(outcome.status.ok());
  REQUIRE(outcome.notices.size() == 1);
  CHECK(outcome.notices[0].severity == "WARNING");
  CHECK(outcome.notices[0].sqlstate == "01000");
  CHECK(outcome.notices[0].message == "careful");
  Pipeline quiet(connection.get());
  quiet.Add(kCount, {});
  CHECK(quiet.Run(In(kTimeout)).notices.empty());
}

TEST_CASE("A backend terminated inside a pipeline leaves the rest in doubt", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kInsert, Number(1));
  pipeline.Add(kEndMyself, {});
  pipeline.Add(kCount, {});
  const Pipeline::Outcome outcome = pipeline.Run(In(kTimeout));
  CHECK(outcome.status.code() == absl::StatusCode::kUnavailable);
  const Error error = ErrorIn(outcome.status);
  CHECK(error.connection_lost);
  CHECK(error.outcome == Outcome::kInDoubt);
  CHECK(error.sqlstate == "57P01");
  CHECK_FALSE(connection->usable());
  Pipeline after(connection.get());
  after.Add(kCount, {});
  const Error unsent = ErrorIn(after.Run(In(kTimeout)).status);
  CHECK(unsent.connection_lost);
  CHECK(unsent.outcome == Outcome::kNotSent);
}

TEST_CASE("A pipeline's deadline closes the connection", "[pipeline]") {
  const auto connection = Connect();
  Pipeline pipeline(connection.get());
  pipeline.Add(kSleep, {});
  const Pipeline::Outcome outcome = pipeline.Run(In(milliseconds(100)));
  CHECK(outcome.status.code() == absl::StatusCode::kDeadlineExceeded);
  const Error error = ErrorIn(outcome.status);
  CHECK(error.timed_out);
  CHECK(error.connection_lost);
  CHECK(error.outcome == Outcome::kInDoubt);
  CHECK_FALSE(connection->usable());
}

TEST_CASE("An empty pipeline is a round trip", "[pipeline]") {
  const auto connection = Connect();
  const Pipeline::Outcome outcome = Pipeline(connection.get()).Run(In(kTimeout));
  CHECK(outcome.status.ok());
  CHECK(outcome.results.empty());
}

TEST_CASE("Results of any size are read in one piece per statement", "[pipeline]") {
  const auto connection = Connect();
  absl::StatusOr<Result> result =
      connection->QueryOnce("SELECT g, repeat('z', 100) FROM generate_series(1, $1::int) AS g",
                            Number(100'000), In(kTimeout));
  REQUIRE(result.ok());
  CHECK(result->rows() == 100'000);
  CHECK(result->Int32(99'999, 0) == 100'000);
}

}  // namespace
}  // namespace eventstore::pg
