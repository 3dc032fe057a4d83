#include "server/pg/migrator.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using testing::In;

constexpr std::chrono::seconds kTimeout{60};
constexpr char kSchema[] = "sto\"re";
const std::vector<Migration> kThree = {
    {1, "first", "CREATE TABLE one (a int); INSERT INTO one VALUES (1);"},
    {2, "second", "CREATE TABLE two (a int);"},
    {3, "third", "INSERT INTO one VALUES (3);"},
};

// Two migrations less than the newest.
std::vector<Migration> OnlyFirst() { return {kThree[0]}; }

std::int64_t Count(Connection& connection, const std::string& sql) {
  absl::StatusOr<Result> result = connection.QueryOnce(sql, {}, In(kTimeout));
  INFO(sql << ": " << telemetry::MessageOf(result.status()));
  REQUIRE(result.ok());
  return result->Int64(0, 0);
}

// All the relations and schemas that a user made.
std::int64_t Made(Connection& connection) {
  return Count(connection,
               "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384)"
               " + (SELECT count(*) FROM pg_namespace WHERE oid >= 16384)");
}

absl::StatusOr<std::vector<int>> Apply(Connection& connection,
                                       const std::vector<Migration>& migrations) {
  return Migrator(&connection, kSchema, migrations).Apply(In(kTimeout));
}

std::vector<int> MustApply(Connection& connection, const std::vector<Migration>& migrations) {
  absl::StatusOr<std::vector<int>> applied = Apply(connection, migrations);
  INFO(telemetry::MessageOf(applied.status()));
  REQUIRE(applied.ok());
  return *std::move(applied);
}

bool Says(const absl::Status& status, std::string_view part) {
  INFO(telemetry::MessageOf(status));
  return telemetry::MessageOf(status).find(part) != std::string_view::npos;
}

TEST_CASE("Migrations are applied once, in order, in their schema", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  CHECK(MustApply(*connection, OnlyFirst()) == std::vector<int>{1});
  CHECK(MustApply(*connection, kThree) == std::vector<int>{2, 3});
  CHECK(MustApply(*connection, kThree).empty());
  CHECK(Count(*connection, R"(SELECT count(*) FROM "sto""re".one)") == 2);
  CHECK(Count(*connection, R"(SELECT count(*) FROM "sto""re".schema_migrations)") == 3);
  CHECK_FALSE(connection->in_transaction());
  // The session's own search path is as before.
  CHECK(Count(*connection,
              "SELECT count(*) FROM pg_class WHERE relname = 'one'"
              " AND pg_table_is_visible(oid)") == 0);
}

TEST_CASE("Status and its list of what is missing change nothing", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  const std::int64_t made_before = Made(*connection);
  Migrator migrator(connection.get(), kSchema, kThree);
  auto states = migrator.Status(In(kTimeout));
  INFO(telemetry::MessageOf(states.status()));
  REQUIRE(states.ok());
  REQUIRE(states->size() == 3);
  for (const MigrationState& state : *states) CHECK_FALSE(state.applied);
  CHECK(states->at(1).name == "second");
  CHECK(Made(*connection) == made_before);
  MustApply(*connection, OnlyFirst());
  states = migrator.Status(In(kTimeout));
  REQUIRE(states.ok());
  CHECK(states->at(0).applied);
  CHECK(states->at(0).applied_at.size() == std::string_view("2024-01-01T00:00:00Z").size());
  CHECK(states->at(0).applied_at.back() == 'Z');
  CHECK_FALSE(states->at(1).applied);
}

TEST_CASE("A file that fails leaves nothing of itself", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  const absl::Status status =
      Apply(*connection, {kThree[0], {2, "broken", "CREATE TABLE half (a int); SELECT 1 / 0"}})
          .status();
  CHECK(Says(status, "migration 2 (broken): division by zero"));
  REQUIRE(ErrorOf(status).has_value());
  CHECK(ErrorOf(status)->sqlstate == "22012");
  CHECK_FALSE(connection->in_transaction());
  CHECK(Count(*connection, "SELECT count(*) FROM pg_class WHERE relname = 'half'") == 0);
  CHECK(MustApply(*connection, kThree) == std::vector<int>{2, 3});
}

TEST_CASE("A file that ends its own transaction is refused", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  const absl::Status status =
      Apply(*connection, {{1, "commits", "CREATE TABLE one (a int); COMMIT"}}).status();
  CHECK(Says(status, "remove its COMMIT"));
}

TEST_CASE("An edited file is refused, and nothing is applied", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  MustApply(*connection, OnlyFirst());
  std::vector<Migration> edited = kThree;
  edited[0].sql = "CREATE TABLE one (a int); INSERT INTO one VALUES (1); ";
  const absl::Status status = Apply(*connection, edited).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "migration 1 (first) was edited"));
  CHECK(Count(*connection, "SELECT count(*) FROM pg_class WHERE relname = 'two'") == 0);
  CHECK(Migrator(connection.get(), kSchema, edited).Status(In(kTimeout)).status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("A database newer than the program is refused", "[migrator]") {
  const auto connection = testing::Connect(testing::CreateDatabase());
  MustApply(*connection, kThree);
  const absl::Status status = Apply(*connection, OnlyFirst()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "newer than this program"));
  CHECK(Says(status, "migration 3 (third)"));
}

TEST_CASE("A database that is not UTF8 is refused", "[migrator]") {
  const auto admin = testing::Connect(testing::SharedPostgres().conninfo());
  REQUIRE(admin
              ->RunScript("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
                          In(kTimeout))
              .ok());
  const auto connection = testing::Connect(testing::SharedPostgres().conninfo() + " dbname=latin");
  const absl::Status status = Apply(*connection, kThree).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "LATIN1; UTF8 is needed"));
}

TEST_CASE("Several daemons may start at once: each file is applied once", "[migrator]") {
  constexpr int kDaemons = 6;
  const std::string conninfo = testing::CreateDatabase();
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < kDaemons; ++i) connections.push_back(testing::Connect(conninfo));
  std::vector<absl::StatusOr<std::vector<int>>> applied(kDaemons, std::vector<int>());
  std::vector<std::thread> threads;
  std::atomic<int> ready{0};
  for (std::size_t i = 0; i < kDaemons; ++i) {
    threads.emplace_back([&applied, &connections, &ready, i] {
      ++ready;
      while (ready < kDaemons) std::this_thread::yield();
      applied[i] = Apply(*connections[i], kThree);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t count = 0;
  for (const auto& versions : applied) {
    INFO(telemetry::MessageOf(versions.status()));
    REQUIRE(versions.ok());
    count += versions->size();
  }
  CHECK(count == kThree.size());
  CHECK(Count(*connections[0], R"(SELECT count(*) FROM "sto""re".one)") == 2);
}

TEST_CASE("Several daemons may start at once on a database of snapshots that stay", "[migrator]") {
  const std::string conninfo = testing::CreateDatabase();
  ConnectionOptions options;
  options.conninfo = conninfo;
  options.settings = {{"default_transaction_isolation", "repeatable read"}};
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&options, &failures] {
      auto connection = Connection::Open(options, In(kTimeout));
      if (!connection.ok() || !Apply(**connection, kThree).ok()) ++failures;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failures == 0);
}

// A role without privileges but those that the test gives it, in a database of its own.
struct PlainRole {
  explicit PlainRole(const std::string& name)
      : database(testing::CreateDatabase()), owner(testing::Connect(database)) {
    REQUIRE(owner->RunScript("CREATE ROLE " + name + " LOGIN", In(kTimeout)).ok());
    conninfo = database + " user=" + name;
  }

  std::string database;
  std::unique_ptr<Connection> owner;
  std::string conninfo;
};

TEST_CASE("No superuser is needed, only the right to create a schema", "[migrator]") {
  PlainRole role("migrates");
  const std::string name = role.database.substr(role.database.rfind('=') + 1);
  REQUIRE(role.owner->RunScript("GRANT CREATE ON DATABASE " + name + " TO migrates", In(kTimeout))
              .ok());
  const auto connection = testing::Connect(role.conninfo);
  CHECK(MustApply(*connection, kThree) == std::vector<int>{1, 2, 3});
}

TEST_CASE("A schema that belongs to the role is enough", "[migrator]") {
  PlainRole role("owns_schema");
  REQUIRE(
      role.owner->RunScript(R"(CREATE SCHEMA "sto""re" AUTHORIZATION owns_schema)", In(kTimeout))
          .ok());
  const auto connection = testing::Connect(role.conninfo);
  CHECK(MustApply(*connection, kThree) == std::vector<int>{1, 2, 3});
}

TEST_CASE("A role without the right to create is told what to grant", "[migrator]") {
  PlainRole role("powerless");
  const auto connection = testing::Connect(role.conninfo);
  const absl::Status status = Apply(*connection, kThree).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "GRANT CREATE ON DATABASE"));
  CHECK_FALSE(connection->in_transaction());
}

}  // namespace
}  // namespace eventstore::pg
