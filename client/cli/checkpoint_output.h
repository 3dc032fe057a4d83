// How a checkpoint is shown.
#ifndef EVENTSTORE_CLIENT_CLI_CHECKPOINT_OUTPUT_H_
#define EVENTSTORE_CLIENT_CLI_CHECKPOINT_OUTPUT_H_

#include <string>

#include "eventstore/v1/projection_service.pb.h"

#include "client/cli/fields.h"
#include "client/cli/json.h"
#include "client/cli/session.h"

namespace eventstore::cli {

// What a checkpoint's line says of its condition.
[[nodiscard]] std::string StateOf(const v1::CheckpointStatus& status);
// Its lag, with ">=" before a lower bound.
[[nodiscard]] std::string LagOf(const v1::CheckpointStatus& status);
[[nodiscard]] std::string SecondsOf(const v1::CheckpointStatus& status);
// The members that describe it, in the object that is open.
void AddCheckpoint(const v1::Checkpoint& checkpoint, JsonLine* line);
// One line for programs.
[[nodiscard]] std::string JsonOf(const v1::CheckpointStatus& status);
// For people; `fields` follow what the checkpoint itself has.
void PrintCheckpoint(const v1::Checkpoint& checkpoint, Fields fields, Session* session);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_CHECKPOINT_OUTPUT_H_
