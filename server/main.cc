// eventstored: flags -> Config -> Process, nothing else.
#include <fmt/format.h>

#include <cstdio>

#include "server/process/config.h"
#include "server/process/config_flags.h"
#include "server/process/process.h"
#include "server/telemetry/logging.h"

#ifdef EVENTSTORE_WITH_JEMALLOC
// Read by jemalloc before main: a thread gives memory back also while nothing is allocated.
extern "C" {
const char* malloc_conf = "background_thread:true";
}
#endif

int main(int argc, char** argv) {
  using eventstore::process::CommandLine;
  using eventstore::telemetry::MessageOf;
  eventstore::process::BlockSignals();
  auto command_line =
      eventstore::process::ParseCommandLine(argc, argv, eventstore::process::Version());
  if (!command_line.ok()) {
    fmt::print(stderr, "{}\n", MessageOf(command_line.status()));
    return 2;
  }
  if (command_line->command == CommandLine::Command::kPrintText) {
    fmt::print("{}", command_line->text);
    return 0;
  }
  command_line->sources.environment = eventstore::process::ProcessEnvironment();
  auto config = eventstore::process::LoadConfig(command_line->sources);
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", MessageOf(config.status()));
    return 2;
  }
  if (command_line->command == CommandLine::Command::kPrintConfig) {
    fmt::print("{}", eventstore::process::PrintConfig(*config));
    return 0;
  }
  const absl::Status logging = eventstore::telemetry::SetUpLogging(config->log);
  if (!logging.ok()) {
    fmt::print(stderr, "{}\n", MessageOf(logging));
    return 2;
  }
  if (command_line->command == CommandLine::Command::kServe) {
    return eventstore::process::Serve(*config);
  }
  return eventstore::process::Migrate(*config, command_line->command);
}
