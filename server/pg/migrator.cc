#include "server/pg/migrator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "server/pg/identifier.h"
#include "server/pg/migrator_rules.h"
#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

// "Several daemons start at once": held only while the schema and the record table are made. Any
// number would do that no other program in the same database uses ("evstored" in ASCII).
constexpr std::int64_t kCreateLock = 0x6576'7374'6f72'6564;

// Said explicitly, for a database may have another default: every statement has to see what was
// committed before it, above all by who held the lock before.
constexpr char kBegin[] = "BEGIN ISOLATION LEVEL READ COMMITTED";

// SQLSTATE insufficient_privilege.
constexpr char kInsufficientPrivilege[] = "42501";

// `status` with what was being done before its message; the detail stays.
absl::Status Annotate(const std::string& what, const absl::Status& status) {
  const Error error = ErrorOf(status).value_or(Error{});
  return MakeStatus(status.code(), what + ": " + std::string(telemetry::MessageOf(status)), error);
}

}  // namespace

Migrator::Migrator(Connection* connection, std::string schema, std::vector<Migration> migrations)
    : connection_(connection),
      schema_(std::move(schema)),
      table_(QuoteIdentifier(schema_) + ".schema_migrations"),
      migrations_(std::move(migrations)) {}

absl::StatusOr<std::vector<int>> Migrator::Apply(Deadline deadline) {
  absl::StatusOr<std::vector<MigrationState>> states = Status(deadline);
  if (!states.ok()) return states.status();
  std::vector<int> applied_now;
  const bool complete = std::all_of(states->begin(), states->end(),
                                    [](const MigrationState& state) { return state.applied; });
  if (complete && !states->empty()) return applied_now;
  if (absl::Status created = CreateRecordTable(deadline); !created.ok()) return created;
  for (const Migration& migration : migrations_) {
    absl::StatusOr<bool> applied = ApplyOne(migration, deadline);
    if (!applied.ok()) {
      Rollback(deadline);
      return Annotate(fmt::format("migration {} ({})", migration.version, migration.name),
                      applied.status());
    }
    if (*applied) applied_now.push_back(migration.version);
  }
  return applied_now;
}

absl::StatusOr<std::vector<MigrationState>> Migrator::Status(Deadline deadline) {
  if (absl::Status ordered = CheckMigrationOrder(migrations_); !ordered.ok()) return ordered;
  if (absl::Status server = CheckServer(deadline); !server.ok()) return server;
  absl::StatusOr<bool> recorded = Exists("SELECT to_regclass($1) IS NOT NULL", table_, deadline);
  if (!recorded.ok()) return recorded.status();
  if (!*recorded) return CompareMigrations(migrations_, {});
  return Compare(deadline);
}

absl::Status Migrator::CheckServer(Deadline deadline) {
  if (absl::Status version = CheckServerVersion(connection_->server_version()); !version.ok()) {
    return version;
  }
  absl::StatusOr<Result> result = connection_->QueryOnce(
      "SELECT current_setting('server_encoding'), current_database()::text", {}, deadline);
  if (!result.ok()) return result.status();
  if (result->Text(0, 0) == "UTF8") return absl::OkStatus();
  return MakeStatus(
      absl::StatusCode::kFailedPrecondition,
      fmt::format("the database {0} is encoded in {1}; UTF8 is needed: create another one with "
                  "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
                  result->Text(0, 1), result->Text(0, 0)),
      {});
}

absl::StatusOr<std::vector<MigrationState>> Migrator::Compare(Deadline deadline) {
  absl::StatusOr<Result> result = connection_->QueryOnce(
      "SELECT version, name, checksum,"
      " to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
      " FROM " +
          table_,
      {}, deadline);
  if (!result.ok()) return result.status();
  std::vector<AppliedMigration> applied;
  for (int row = 0; row < result->rows(); ++row) {
    applied.push_back({result->Int32(row, 0), std::string(result->Text(row, 1)),
                       std::string(result->Text(row, 2)), std::string(result->Text(row, 3))});
  }
  return CompareMigrations(migrations_, applied);
}

absl::StatusOr<bool> Migrator::Exists(std::string_view sql, const std::string& name,
                                      Deadline deadline) {
  absl::StatusOr<Result> result = connection_->QueryOnce(sql, Params().Text(name), deadline);
  if (!result.ok()) return result.status();
  return result->Bool(0, 0);
}

// The schema is created only if it is missing: CREATE SCHEMA IF NOT EXISTS asks for the right to
// create one even where there is one. The lock's statement comes before those that look, so that
// they see what its last holder committed.
absl::Status Migrator::CreateRecordTable(Deadline deadline) {
  absl::Status status = connection_->RunScript(kBegin, deadline);
  if (status.ok()) {
    status = connection_
                 ->QueryOnce("SELECT pg_advisory_xact_lock($1)::text", Params().Int64(kCreateLock),
                             deadline)
                 .status();
  }
  if (status.ok()) {
    absl::StatusOr<bool> schema =
        Exists("SELECT to_regnamespace($1) IS NOT NULL", QuoteIdentifier(schema_), deadline);
    status = schema.status();
    if (schema.ok() && !*schema) {
      status = connection_->RunScript("CREATE SCHEMA " + QuoteIdentifier(schema_), deadline);
    }
  }
  absl::StatusOr<bool> table = false;
  if (status.ok()) {
    table = Exists("SELECT to_regclass($1) IS NOT NULL", table_, deadline);
    status = table.status();
  }
  if (status.ok() && !*table) {
    status = connection_->RunScript("CREATE TABLE " + table_ +
                                        " (version integer PRIMARY KEY, name text NOT NULL,"
                                        " checksum text NOT NULL,"
                                        " applied_at timestamptz NOT NULL DEFAULT now())",
                                    deadline);
  }
  if (status.ok()) status = connection_->RunScript("COMMIT", deadline);
  if (status.ok()) return status;
  Rollback(deadline);
  const std::optional<Error> error = ErrorOf(status);
  if (!error.has_value() || error->sqlstate != kInsufficientPrivilege) {
    return Annotate("creating the schema " + schema_, status);
  }
  return MakeStatus(
      absl::StatusCode::kFailedPrecondition,
      fmt::format("the database role may not create the schema {0} or tables in it: {1}; let an "
                  "administrator run GRANT CREATE ON DATABASE ... TO the role, or CREATE SCHEMA "
                  "{2} AUTHORIZATION the role",
                  schema_, telemetry::MessageOf(status), QuoteIdentifier(schema_)),
      *error);
}

absl::StatusOr<bool> Migrator::ApplyOne(const Migration& migration, Deadline deadline) {
  absl::Status begun = connection_->RunScript(
      std::string(kBegin) + "; LOCK TABLE " + table_ +
          " IN SHARE ROW EXCLUSIVE MODE; SET LOCAL search_path TO " + QuoteIdentifier(schema_),
      deadline);
  if (!begun.ok()) return begun;
  // Compared again under the lock: another daemon, perhaps a newer one, may have been here.
  absl::StatusOr<std::vector<MigrationState>> states = Compare(deadline);
  if (!states.ok()) return states.status();
  const bool already =
      std::any_of(states->begin(), states->end(), [&migration](const MigrationState& state) {
        return state.version == migration.version && state.applied;
      });
  if (!already) {
    if (absl::Status run = RunFile(migration, deadline); !run.ok()) return run;
  }
  if (absl::Status done = connection_->RunScript("COMMIT", deadline); !done.ok()) return done;
  if (!already) spdlog::info("applied migration {} ({})", migration.version, migration.name);
  return !already;
}

absl::Status Migrator::RunFile(const Migration& migration, Deadline deadline) {
  if (absl::Status run = connection_->RunScript(migration.sql, deadline); !run.ok()) return run;
  if (!connection_->in_transaction()) {
    return MakeStatus(
        absl::StatusCode::kInternal,
        "the file ends the transaction that it runs in: remove its COMMIT or ROLLBACK",
        {.outcome = Outcome::kInDoubt});
  }
  return connection_
      ->QueryOnce(
          "INSERT INTO " + table_ + " (version, name, checksum) VALUES ($1, $2, $3)",
          Params().Int32(migration.version).Text(migration.name).Text(ChecksumOf(migration.sql)),
          deadline)
      .status();
}

void Migrator::Rollback(Deadline deadline) {
  if (!connection_->in_transaction()) return;
  const absl::Status status = connection_->RunScript("ROLLBACK", deadline);
  if (!status.ok()) spdlog::warn("could not roll back: {}", telemetry::MessageOf(status));
}

}  // namespace eventstore::pg
