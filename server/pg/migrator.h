// Brings a schema up to date from numbered SQL files.
#ifndef EVENTSTORE_SERVER_PG_MIGRATOR_H_
#define EVENTSTORE_SERVER_PG_MIGRATOR_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/pg/connection.h"

namespace eventstore::pg {

// One file of schema/: "0001_name.sql".
struct Migration {
  int version = 0;
  std::string_view name;  // "name"
  std::string_view sql;
};

// What is known of one migration.
struct MigrationState {
  int version = 0;
  std::string name;
  bool applied = false;
  std::string applied_at;  // ISO 8601, if applied
};

// The oldest server that the SQL works on.
inline constexpr int kServerVersionMin = 140000;

// Applies `migrations` (ascending versions) in `schema`, which is created if it is missing. Records
// version, name, SHA-256 checksum and time in `schema_migrations`. Each file runs in one
// transaction together with its record; several daemons may start at once: one applies, the others
// wait on a lock of the record table (and on an advisory lock only for the moment before that table
// exists). No superuser.
//
// Refuses, with FAILED_PRECONDITION and what to do: a server older than 14; a database whose
// encoding is not UTF8; a database that has migrations which this program does not know (it is
// newer); an applied file whose text was changed since.
class Migrator {
 public:
  // `connection` must outlive this object.
  Migrator(Connection* connection, std::string schema, std::vector<Migration> migrations);

  // Applies what is missing; returns the versions that were applied now.
  [[nodiscard]] absl::StatusOr<std::vector<int>> Apply(Deadline deadline);
  // Changes nothing; the state of every known migration.
  [[nodiscard]] absl::StatusOr<std::vector<MigrationState>> Status(Deadline deadline);

 private:
  [[nodiscard]] absl::Status CheckServer(Deadline deadline);
  // Reads the record table, and compares it with the known migrations.
  [[nodiscard]] absl::StatusOr<std::vector<MigrationState>> Compare(Deadline deadline);
  [[nodiscard]] absl::StatusOr<bool> Exists(std::string_view sql, const std::string& name,
                                            Deadline deadline);
  // Creates the schema and the record table where they are missing.
  [[nodiscard]] absl::Status CreateRecordTable(Deadline deadline);
  // Whether it was applied now; false if another daemon did it before.
  [[nodiscard]] absl::StatusOr<bool> ApplyOne(const Migration& migration, Deadline deadline);
  // Runs the file and records it, inside the open transaction.
  [[nodiscard]] absl::Status RunFile(const Migration& migration, Deadline deadline);
  void Rollback(Deadline deadline);

  Connection* const connection_;
  const std::string schema_;
  const std::string table_;  // The record table's name, qualified and quoted.
  const std::vector<Migration> migrations_;
};

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_MIGRATOR_H_
