// The command line as a whole.
#ifndef EVENTSTORE_CLIENT_CLI_APP_H_
#define EVENTSTORE_CLIENT_CLI_APP_H_

#include "client/cli/console.h"
#include "client/cli/interrupt.h"

namespace eventstore::cli {

// Parses the arguments, runs the command that they name, and returns its exit code (see ExitCode).
[[nodiscard]] int RunCli(int argc, const char* const* argv, Console* console, Interrupt* interrupt);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_APP_H_
