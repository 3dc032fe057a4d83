// Opening connections: hosts, time limits, session settings.
#include <catch2/catch.hpp>
#include <string>

#include "server/pg/connection.h"
#include "server/telemetry/logging.h"
#include "tests/integration/pg/fake_server.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::In;

constexpr std::chrono::seconds kTimeout{20};

bool Says(const absl::Status& status, std::string_view part) {
  INFO(telemetry::MessageOf(status));
  return telemetry::MessageOf(status).find(part) != std::string_view::npos;
}

std::string Ask(Connection& connection, const std::string& sql) {
  absl::StatusOr<Result> result = connection.QueryOnce(sql, {}, In(kTimeout));
  INFO(telemetry::MessageOf(result.status()));
  REQUIRE(result.ok());
  return std::string(result->Text(0, 0));
}

ConnectionOptions OptionsFor(const std::string& conninfo) {
  ConnectionOptions options;
  options.conninfo = conninfo;
  return options;
}

// The shared server's socket folder as the second host, after a host at `port` of 127.0.0.1.
std::string SecondHost(const std::string& port) {
  const std::string own_port = Ask(*testing::Connect(testing::SharedPostgres().conninfo()),
                                   "SELECT current_setting('port')");
  return testing::SharedPostgres().conninfo() + " host=127.0.0.1," +
         testing::SharedPostgres().socket_dir() + " port=" + port + "," + own_port;
}

TEST_CASE("A host that never answers is given up in time", "[connect]") {
  const testing::BlackHole hole;
  ConnectionOptions options = OptionsFor("host=127.0.0.1 port=" + hole.port() + " user=u dbname=d");
  options.connect_timeout = milliseconds(150);
  const auto begin = steady_clock::now();
  const absl::Status status = Connection::Open(options, In(kTimeout)).status();
  CHECK(steady_clock::now() - begin >= options.connect_timeout);
  CHECK(steady_clock::now() - begin < std::chrono::seconds(5));
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Says(status, "host 127.0.0.1, port " + hole.port()));
  CHECK(Says(status, "150 ms"));
  const std::optional<Error> error = ErrorOf(status);
  REQUIRE(error.has_value());
  CHECK(error->timed_out);
  CHECK(error->connection_lost);
  CHECK(error->outcome == Outcome::kNotSent);
}

TEST_CASE("The caller's deadline ends a connect", "[connect]") {
  const testing::BlackHole hole;
  ConnectionOptions options = OptionsFor("host=127.0.0.1 port=" + hole.port() + " user=u dbname=d");
  options.connect_timeout = kTimeout;
  const absl::Status status = Connection::Open(options, In(milliseconds(100))).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
}

TEST_CASE("The next host is tried when one never answers", "[connect]") {
  const testing::BlackHole hole;
  ConnectionOptions options = OptionsFor(SecondHost(hole.port()));
  options.connect_timeout = milliseconds(150);
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(options, In(kTimeout));
  INFO(telemetry::MessageOf(connection.status()));
  REQUIRE(connection.ok());
  CHECK((*connection)->Ping(In(kTimeout)).ok());
}

TEST_CASE("The next host is tried when one refuses", "[connect]") {
  std::string free_port;
  { free_port = testing::BlackHole().port(); }
  CHECK(Connection::Open(OptionsFor(SecondHost(free_port)), In(kTimeout)).ok());
}

TEST_CASE("The next host is tried when one has not the wanted role", "[connect]") {
  // Both hosts are the same primary: as a standby nothing is found, preferring one finds it.
  const std::string port = Ask(*testing::Connect(testing::SharedPostgres().conninfo()),
                               "SELECT current_setting('port')");
  const std::string dir = testing::SharedPostgres().socket_dir();
  const std::string both =
      testing::SharedPostgres().conninfo() + " host=" + dir + "," + dir + " port=" + port;
  const absl::Status none =
      Connection::Open(OptionsFor(both + " target_session_attrs=standby"), In(kTimeout)).status();
  CHECK(none.code() == absl::StatusCode::kUnavailable);
  CHECK(Says(none, "hot standby"));
  CHECK(Connection::Open(OptionsFor(both + " target_session_attrs=prefer-standby"), In(kTimeout))
            .ok());
  CHECK(Connection::Open(OptionsFor(both + " target_session_attrs=read-write"), In(kTimeout)).ok());
}

TEST_CASE("sslmode is libpq's: require fails on a server without TLS", "[connect]") {
  const testing::ServerWithoutTls server;
  const absl::Status status =
      Connection::Open(OptionsFor("host=127.0.0.1 user=u dbname=d gssencmode=disable"
                                  " sslmode=require port=" +
                                  server.port()),
                       In(kTimeout))
          .status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Says(status, "SSL was required"));
}

TEST_CASE("A connection string that libpq would misread is refused", "[connect]") {
  const absl::Status status =
      Connection::Open(OptionsFor("postgresql+asyncpg://u:p@h/db"), In(kTimeout)).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("A wrong database is an error that says so", "[connect]") {
  const absl::Status status =
      Connection::Open(OptionsFor(testing::SharedPostgres().conninfo() + " dbname=nowhere"),
                       In(kTimeout))
          .status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Says(status, "\"nowhere\" does not exist"));
}

TEST_CASE("The session has the settings it needs", "[connect]") {
  ConnectionOptions options = OptionsFor(testing::SharedPostgres().conninfo());
  options.schema = "We\"ird, schema";
  options.application_name = "settings-test";
  options.settings = {{"statement_timeout", "12345"}, {"lock_timeout", "678ms"}};
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Open(options, In(kTimeout));
  INFO(telemetry::MessageOf(connection.status()));
  REQUIRE(connection.ok());
  const auto setting = [&connection](const std::string& name) {
    return Ask(**connection, "SELECT current_setting('" + name + "')");
  };
  CHECK(setting("jit") == "off");
  CHECK(setting("client_encoding") == "UTF8");
  CHECK(setting("application_name") == "settings-test");
  CHECK(setting("statement_timeout") == "12345ms");
  CHECK(setting("lock_timeout") == "678ms");
  CHECK_FALSE((*connection)->in_transaction());
  CHECK((*connection)->server_version() >= 140000);
  REQUIRE(
      (*connection)
          ->RunScript(R"(CREATE SCHEMA "We""ird, schema"; CREATE TABLE here (a int))", In(kTimeout))
          .ok());
  CHECK(Ask(**connection, "SELECT current_schema()::text") == "We\"ird, schema");
  CHECK(Ask(**connection, "SELECT schemaname::text FROM pg_tables WHERE tablename = 'here'") ==
        "We\"ird, schema");
}

TEST_CASE("A setting that the server refuses is named", "[connect]") {
  ConnectionOptions options = OptionsFor(testing::SharedPostgres().conninfo());
  options.settings = {{"lock_timeout", "1s"}, {"statement_timeout", "soon"}, {"work_mem", "1MB"}};
  const absl::Status status = Connection::Open(options, In(kTimeout)).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "statement_timeout = 'soon'"));
  REQUIRE(ErrorOf(status).has_value());
  CHECK(ErrorOf(status)->sqlstate == "22023");
}

}  // namespace
}  // namespace eventstore::pg
