// What the migrator decides without a server (private to this room).
#ifndef EVENTSTORE_SERVER_PG_MIGRATOR_RULES_H_
#define EVENTSTORE_SERVER_PG_MIGRATOR_RULES_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "server/pg/migrator.h"

namespace eventstore::pg {

// A row of schema_migrations.
struct AppliedMigration {
  int version = 0;
  std::string name;
  std::string checksum;
  std::string applied_at;
};

// SHA-256 of a file's exact bytes, in hexadecimal.
[[nodiscard]] std::string ChecksumOf(std::string_view sql);

// FAILED_PRECONDITION for a server older than kServerVersionMin.
[[nodiscard]] absl::Status CheckServerVersion(int server_version);

// INTERNAL if versions do not ascend from 1.
[[nodiscard]] absl::Status CheckMigrationOrder(const std::vector<Migration>& migrations);

// The state of every known migration; FAILED_PRECONDITION for an edited file and for a database
// that is newer than the program.
[[nodiscard]] absl::StatusOr<std::vector<MigrationState>> CompareMigrations(
    const std::vector<Migration>& migrations, const std::vector<AppliedMigration>& applied);

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_MIGRATOR_RULES_H_
