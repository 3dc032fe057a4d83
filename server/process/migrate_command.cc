#include "server/process/migrate_command.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "schema/migrations.h"

#include "server/pg/migrator.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kConnectTime{15};
constexpr std::chrono::minutes kMigrateTime{60};

int Complain(const absl::Status& status) {
  spdlog::critical("{}", telemetry::MessageOf(status));
  return 1;
}

}  // namespace

int MigrateStore(const pg::ConnectionOptions& options, CommandLine::Command command) {
  auto connection = pg::Connection::Open(options, Clock::now() + kConnectTime);
  if (!connection.ok()) return Complain(connection.status());
  pg::Migrator migrator(connection->get(), options.schema, schema::Migrations());
  if (command == CommandLine::Command::kMigrate) {
    auto applied = migrator.Apply(Clock::now() + kMigrateTime);
    if (!applied.ok()) return Complain(applied.status());
    for (const int version : *applied) fmt::print("applied {:04}\n", version);
    if (applied->empty()) fmt::print("the schema is up to date\n");
    return 0;
  }
  auto states = migrator.Status(Clock::now() + kMigrateTime);
  if (!states.ok()) return Complain(states.status());
  const bool dry_run = command == CommandLine::Command::kMigrateDryRun;
  for (const pg::MigrationState& state : *states) {
    if (dry_run && state.applied) continue;
    fmt::print("{:04} {:<20} {}\n", state.version, state.name,
               state.applied ? "applied " + state.applied_at
                             : (dry_run ? "would be applied" : "not applied"));
  }
  return 0;
}

}  // namespace eventstore::process
