// What the files of the groups command share.
#ifndef EVENTSTORE_CLIENT_CLI_GROUPS_H_
#define EVENTSTORE_CLIENT_CLI_GROUPS_H_

#include <CLI/CLI.hpp>

#include "client/cli/session.h"

namespace eventstore::cli {

// groups consume
void AddConsumeCommand(CLI::App* groups, Action* action);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_GROUPS_H_
