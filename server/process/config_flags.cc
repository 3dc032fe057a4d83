#include "server/process/config_flags.h"

#include <CLI/CLI.hpp>
#include <map>
#include <utility>

#include "server/process/config_keys.h"

namespace eventstore::process {
namespace {

constexpr char kDescription[] =
    "eventstored: an event store on PostgreSQL, served over gRPC.\n"
    "Without --database it runs a PostgreSQL of its own in --data-dir.";
constexpr char kFooter[] =
    "Every setting can stand in the config file or in an environment variable:\n"
    "pool.pool_size is EVENTSTORED_POOL_POOL_SIZE. `eventstored --print-config` shows them all.\n"
    "SIGTERM drains and exits; a second one exits at once.";

// The help of a key that has a flag: the first sentence of its documentation.
std::string FlagHelp(const Key& key) {
  const std::size_t end = key.doc.find(". ");
  const std::string sentence = end == std::string::npos ? key.doc : key.doc.substr(0, end + 1);
  const std::string value = key.get(Config());
  return sentence + (value.empty() ? "" : " Default: " + value);
}

CommandLine::Command CommandOf(const CLI::App& migrate, bool status, bool dry_run, bool print) {
  if (migrate.parsed()) {
    if (status) return CommandLine::Command::kMigrateStatus;
    return dry_run ? CommandLine::Command::kMigrateDryRun : CommandLine::Command::kMigrate;
  }
  return print ? CommandLine::Command::kPrintConfig : CommandLine::Command::kServe;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv,
                                             const std::string& version) {
  CommandLine line;
  CLI::App app(kDescription, "eventstored");
  app.footer(kFooter);
  app.set_version_flag("--version", "eventstored " + version);
  app.add_option("--config", line.sources.file, "The YAML file with the settings");
  std::map<std::string, std::pair<CLI::Option*, std::string>> options;
  for (const Key& key : Keys()) {
    if (key.flag.empty()) continue;
    auto& [option, value] = options[key.path];
    option = app.add_option(key.flag, value, FlagHelp(key));
  }
  bool print = false;
  app.add_flag("--print-config", print, "Print the effective settings as a config file, and exit");

  bool status = false;
  bool dry_run = false;
  CLI::App* migrate =
      app.add_subcommand("migrate", "Bring the database's schema up to date, and exit");
  migrate->fallthrough();  // So that --database may stand after it.
  CLI::Option* status_flag =
      migrate->add_flag("--status", status, "Only show which migrations are applied");
  migrate->add_flag("--dry-run", dry_run, "Only show which migrations would be applied")
      ->excludes(status_flag);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.command = CommandLine::Command::kPrintText;
    line.text = migrate->parsed() ? migrate->help() : app.help();
    return line;
  } catch (const CLI::CallForVersion& call) {
    line.command = CommandLine::Command::kPrintText;
    line.text = std::string(call.what()) + "\n";
    return line;
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(std::string(error.what()) + "; see eventstored --help");
  }
  line.command = CommandOf(*migrate, status, dry_run, print);
  for (const auto& [path, option] : options) {
    if (option.first->count() == 0) continue;
    line.sources.flags.push_back({path, option.second, "flag " + FindKey(path)->flag});
  }
  return line;
}

}  // namespace eventstore::process
