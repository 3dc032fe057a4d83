// The commands. Each Add... function declares commands with their options; when one of them was
// given, parsing leaves in `action` what runs it. `app` and `action` must live until then.
#ifndef EVENTSTORE_CLIENT_CLI_COMMANDS_H_
#define EVENTSTORE_CLIENT_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "client/cli/session.h"

namespace eventstore::cli {

// append
void AddAppendCommand(CLI::App* app, Action* action);
// transact
void AddTransactCommand(CLI::App* app, Action* action);
// read, read-all
void AddReadCommands(CLI::App* app, Action* action);
// subscribe
void AddSubscribeCommand(CLI::App* app, Action* action);
// streams, head, info, event, health
void AddInspectCommands(CLI::App* app, Action* action);
// truncate, delete-stream, erase
void AddLifecycleCommands(CLI::App* app, Action* action);
// groups create, update, delete, get, list, watch, consume
void AddGroupsCommand(CLI::App* app, Action* action);
// checkpoints list|get|save|reset|delete|watch
void AddCheckpointsCommand(CLI::App* app, Action* action);
// dead-letters list|get|add|retry|resolve|stats|purge|watch
void AddDeadLettersCommand(CLI::App* app, Action* action);
// snapshots list|get|save|delete
void AddSnapshotsCommand(CLI::App* app, Action* action);
// outbox list|claim|complete|fail|retry|stats|pause|resume|purge
void AddOutboxCommand(CLI::App* app, Action* action);
// query
void AddQueryCommand(CLI::App* app, Action* action);
// payload-indexes list|create|drop
void AddPayloadIndexesCommand(CLI::App* app, Action* action);
// bench
void AddBenchCommand(CLI::App* app, Action* action);

// Prints what is known of a stream.
void PrintStreamInfo(const v1::StreamInfo& info, Session* session);

// Adds an option that takes a whole number of at least 0 and hands it to `set`.
CLI::Option* AddNumber(CLI::App* command, const std::string& name, const std::string& description,
                       std::function<void(std::int64_t)> set);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_COMMANDS_H_
