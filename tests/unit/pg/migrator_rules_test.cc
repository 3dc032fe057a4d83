#include "server/pg/migrator_rules.h"

#include <catch2/catch.hpp>

#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

const std::vector<Migration> kMigrations = {{1, "one", "SELECT 1"}, {2, "two", "SELECT 2"}};

AppliedMigration Applied(const Migration& migration) {
  return {migration.version, std::string(migration.name), ChecksumOf(migration.sql), "2024-01-01"};
}

bool Says(const absl::Status& status, std::string_view part) {
  return telemetry::MessageOf(status).find(part) != std::string_view::npos;
}

TEST_CASE("The checksum is SHA-256 of the exact bytes", "[migrator]") {
  // The examples of FIPS 180-2, appendix B, and of the empty message.
  CHECK(ChecksumOf("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(ChecksumOf("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(ChecksumOf("a\n") != ChecksumOf("a\r\n"));
}

TEST_CASE("A server older than 14 is refused", "[migrator]") {
  CHECK(CheckServerVersion(140000).ok());
  CHECK(CheckServerVersion(170002).ok());
  const absl::Status old = CheckServerVersion(130'016);
  CHECK(old.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(old, "PostgreSQL 13"));
  CHECK(Says(old, "14 or newer"));
}

TEST_CASE("What is applied is told from what is not", "[migrator]") {
  const auto states = CompareMigrations(kMigrations, {Applied(kMigrations[0])});
  REQUIRE(states.ok());
  REQUIRE(states->size() == 2);
  CHECK(states->at(0).applied);
  CHECK(states->at(0).applied_at == "2024-01-01");
  CHECK_FALSE(states->at(1).applied);
  CHECK(states->at(1).name == "two");
}

TEST_CASE("An edited file is refused", "[migrator]") {
  AppliedMigration edited = Applied(kMigrations[1]);
  edited.checksum = ChecksumOf("SELECT 3");
  const absl::Status status =
      CompareMigrations(kMigrations, {Applied(kMigrations[0]), edited}).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "migration 2 (two) was edited"));
  CHECK(Says(status, "restore the original file"));
}

TEST_CASE("A newer database is refused", "[migrator]") {
  const Migration three{3, "three", "SELECT 3"};
  const absl::Status status =
      CompareMigrations(kMigrations,
                        {Applied(kMigrations[0]), Applied(kMigrations[1]), Applied(three)})
          .status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(Says(status, "migration 3 (three)"));
  CHECK(Says(status, "newer version"));
}

TEST_CASE("Versions must ascend from 1", "[migrator]") {
  CHECK(CheckMigrationOrder(kMigrations).ok());
  CHECK(CheckMigrationOrder({}).ok());
  CHECK_FALSE(CheckMigrationOrder({{2, "b", ""}, {1, "a", ""}}).ok());
  CHECK_FALSE(CheckMigrationOrder({{1, "a", ""}, {1, "b", ""}}).ok());
  CHECK_FALSE(CheckMigrationOrder({{0, "zero", ""}}).ok());
}

}  // namespace
}  // namespace eventstore::pg
