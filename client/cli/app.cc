#include "client/cli/app.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/session.h"

namespace eventstore::cli {
namespace {

// gRPC's own default; above, a call could as well have no deadline.
constexpr double kTimeoutMaxS = 24 * 3600;

constexpr char kFooter[] =
    "\nExit codes: 0 done; 1 the request failed; 2 the command line or the input is wrong; "
    "3 the server cannot be reached.\n"
    "Results go to stdout, everything else to stderr. 'eventstorectl COMMAND --help' tells more.";

void AddGlobalOptions(CLI::App* app, GlobalOptions* options) {
  app->add_option("--address", options->address, "host:port of the server")
      ->envname("EVENTSTORECTL_ADDRESS")
      ->capture_default_str();
  app->add_option_function<std::string>(
         "--output",
         [options](const std::string& text) {
           options->output = text == "json" ? OutputFormat::kJson : OutputFormat::kText;
         },
         "text, or json: one object per line")
      ->check(CLI::IsMember(std::vector<std::string>{"text", "json"}).description(""))
      ->type_name("text|json")
      ->default_str("text");
  app->add_option("--timeout", options->timeout_s,
                  "time limit in seconds of each request that has one answer")
      ->check(CLI::Range(0.001, kTimeoutMaxS).description(""))
      ->capture_default_str();
}

}  // namespace

CLI::Option* AddNumber(CLI::App* command, const std::string& name, const std::string& description,
                       std::function<void(std::int64_t)> set) {
  return command->add_option_function<std::int64_t>(name, std::move(set), description)
      ->check(CLI::NonNegativeNumber);
}

int RunCli(int argc, const char* const* argv, Console* console, Interrupt* interrupt) {
  Session session(console, interrupt);
  Action action;
  CLI::App app("Command-line client of eventstored, an event store on PostgreSQL.",
               "eventstorectl");
  app.footer(kFooter);
  app.fallthrough();  // Global options may stand behind the command too.
  app.require_subcommand(1);
  app.set_version_flag("--version", "eventstorectl " EVENTSTORE_VERSION);
  AddGlobalOptions(&app, &session.options);
  AddAppendCommand(&app, &action);
  AddTransactCommand(&app, &action);
  AddReadCommands(&app, &action);
  AddSubscribeCommand(&app, &action);
  AddInspectCommands(&app, &action);
  AddLifecycleCommands(&app, &action);
  AddGroupsCommand(&app, &action);
  AddCheckpointsCommand(&app, &action);
  AddDeadLettersCommand(&app, &action);
  AddSnapshotsCommand(&app, &action);
  AddOutboxCommand(&app, &action);
  AddQueryCommand(&app, &action);
  AddPayloadIndexesCommand(&app, &action);
  AddBenchCommand(&app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" of code 0 and print to `out`.
    return app.exit(error, *console->out, *console->err) == 0 ? kExitOk : kExitUsage;
  }
  const int code = action(session);
  console->out->flush();
  if (!console->out->good()) {
    session.Notice("error: cannot write to standard output; is its disk full or its reader gone?");
    return kExitFailed;
  }
  return code;
}

}  // namespace eventstore::cli
