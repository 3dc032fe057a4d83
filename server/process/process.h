// The daemon: builds its rooms, runs them, and takes them down in order.
#ifndef EVENTSTORE_SERVER_PROCESS_PROCESS_H_
#define EVENTSTORE_SERVER_PROCESS_PROCESS_H_

#include <absl/status/status.h>

#include "server/process/config.h"
#include "server/process/config_flags.h"

namespace eventstore::process {

// The program's version, as --version and eventstore_build_info show it.
[[nodiscard]] const char* Version();

// Blocks the signals that end the daemon in this thread and all that it starts. Call it first in
// main.
void BlockSignals();

// Serves until SIGTERM or SIGINT, then drains: health says NOT_SERVING, streams end with
// UNAVAILABLE, the lane empties, connections close. A second signal ends the process at once.
// Returns the exit code: 0 after a clean drain, 1 where something must be mended before a start can
// succeed.
[[nodiscard]] int Serve(const Config& config);

// `eventstored migrate`, with --status or --dry-run. Prints to stdout; returns the exit code.
[[nodiscard]] int Migrate(const Config& config, CommandLine::Command command);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_PROCESS_H_
