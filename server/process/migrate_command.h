// `eventstored migrate`.
#ifndef EVENTSTORE_SERVER_PROCESS_MIGRATE_COMMAND_H_
#define EVENTSTORE_SERVER_PROCESS_MIGRATE_COMMAND_H_

#include "server/pg/connection.h"
#include "server/process/config_flags.h"

namespace eventstore::process {

// Applies what is missing (kMigrate), or only prints what is applied (kMigrateStatus) or would be
// (kMigrateDryRun), to stdout. Returns the exit code.
[[nodiscard]] int MigrateStore(const pg::ConnectionOptions& options, CommandLine::Command command);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_MIGRATE_COMMAND_H_
