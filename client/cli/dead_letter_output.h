// How a dead letter is shown.
#ifndef EVENTSTORE_CLIENT_CLI_DEAD_LETTER_OUTPUT_H_
#define EVENTSTORE_CLIENT_CLI_DEAD_LETTER_OUTPUT_H_

#include <string>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "client/cli/session.h"

namespace eventstore::cli {

[[nodiscard]] std::string NameOfStatus(v1::DeadLetterStatus status);
// One line for programs.
[[nodiscard]] std::string JsonOfDeadLetter(const v1::DeadLetter& entry);
// All of it, for people or programs as the session has it.
void PrintDeadLetter(const v1::DeadLetter& entry, Session* session);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_DEAD_LETTER_OUTPUT_H_
