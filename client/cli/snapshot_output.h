// How a snapshot is shown.
#ifndef EVENTSTORE_CLIENT_CLI_SNAPSHOT_OUTPUT_H_
#define EVENTSTORE_CLIENT_CLI_SNAPSHOT_OUTPUT_H_

#include <string>

#include "eventstore/v1/snapshot_service.pb.h"

#include "client/cli/session.h"

namespace eventstore::cli {

// One line for programs; a JSON state is nested, any other is base64.
[[nodiscard]] std::string JsonOfSnapshot(const v1::Snapshot& snapshot, bool with_state);
// For people, or as a line for programs.
void PrintSnapshot(const v1::Snapshot& snapshot, Session* session);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_SNAPSHOT_OUTPUT_H_
