// The daemon's command line.
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_FLAGS_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_FLAGS_H_

#include <absl/status/statusor.h>

#include <string>

#include "server/process/config.h"

namespace eventstore::process {

struct CommandLine {
  enum class Command {
    kServe,
    kPrintConfig,
    kMigrate,        // Bring the schema up to date.
    kMigrateStatus,  // Show what is applied.
    kMigrateDryRun,  // Show what would be applied.
    kPrintText,      // --help or --version: print `text` and exit.
  };
  Command command = Command::kServe;
  std::string text;
  // The file and the flags; the caller adds the environment.
  ConfigSources sources;
};

// INVALID_ARGUMENT with what is wrong, for exit code 2. `version` is what --version prints.
[[nodiscard]] absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv,
                                                           const std::string& version);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_FLAGS_H_
