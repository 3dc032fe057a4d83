// The command line.
#include "server/process/config_flags.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using Catch::Matchers::Contains;
using Command = CommandLine::Command;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"eventstored"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), "1.2.3");
}

CommandLine MustParse(const std::vector<std::string>& arguments) {
  absl::StatusOr<CommandLine> line = Parse(arguments);
  INFO(telemetry::MessageOf(line.status()));
  REQUIRE(line.ok());
  return *line;
}

std::string ParseError(const std::vector<std::string>& arguments) {
  absl::StatusOr<CommandLine> line = Parse(arguments);
  REQUIRE_FALSE(line.ok());
  return std::string(telemetry::MessageOf(line.status()));
}

}  // namespace

TEST_CASE("Without flags the daemon serves") {
  const CommandLine line = MustParse({});
  CHECK(line.command == Command::kServe);
  CHECK(line.sources.file.empty());
  CHECK(line.sources.flags.empty());
}

TEST_CASE("Each flag sets its key") {
  const CommandLine line =
      MustParse({"--config", "a.yaml", "--listen", "h:1", "--metrics-listen=h:2", "--database",
                 "host=db1 user=app", "--data-dir", "/srv/x"});
  CHECK(line.sources.file == "a.yaml");
  const auto value = [&line](const std::string& path) {
    for (const Assignment& flag : line.sources.flags) {
      if (flag.path == path) return flag.text + " by " + flag.origin;
    }
    return std::string();
  };
  CHECK(line.sources.flags.size() == 4);
  CHECK(value("listen") == "h:1 by flag --listen");
  CHECK(value("metrics_listen") == "h:2 by flag --metrics-listen");
  CHECK(value("database.dsn") == "host=db1 user=app by flag --database");
  CHECK(value("data_dir") == "/srv/x by flag --data-dir");
}

TEST_CASE("Commands") {
  CHECK(MustParse({"--print-config"}).command == Command::kPrintConfig);
  CHECK(MustParse({"migrate"}).command == Command::kMigrate);
  CHECK(MustParse({"migrate", "--status"}).command == Command::kMigrateStatus);
  CHECK(MustParse({"migrate", "--dry-run"}).command == Command::kMigrateDryRun);
  SECTION("take the daemon's flags before and after their name") {
    CHECK(MustParse({"--database", "host=a", "migrate"}).sources.flags.size() == 1);
    CHECK(MustParse({"migrate", "--status", "--database", "host=a"}).sources.flags.size() == 1);
  }
}

TEST_CASE("Help and version are text to print") {
  const CommandLine version = MustParse({"--version"});
  CHECK(version.command == Command::kPrintText);
  CHECK(version.text == "eventstored 1.2.3\n");
  const CommandLine help = MustParse({"--help"});
  CHECK(help.command == Command::kPrintText);
  for (const char* part :
       {"--config", "--listen", "--metrics-listen", "--database", "--data-dir", "--print-config",
        "--version", "migrate", "127.0.0.1:7440", "./data", "EVENTSTORED_POOL_POOL_SIZE"}) {
    CHECK_THAT(help.text, Contains(part));
  }
  CHECK_THAT(MustParse({"migrate", "--help"}).text, Contains("--dry-run"));
}

TEST_CASE("A wrong command line says what is wrong with it") {
  CHECK_THAT(ParseError({"--lisen", "h:1"}), Contains("--lisen") && Contains("--help"));
  CHECK_THAT(ParseError({"serve"}), Contains("serve"));
  CHECK_THAT(ParseError({"--listen"}), Contains("--listen"));
  CHECK_THAT(ParseError({"--listen", "h:1", "--listen", "h:2"}), Contains("--listen"));
  CHECK_THAT(ParseError({"migrate", "--status", "--dry-run"}), Contains("--status"));
  CHECK_THAT(ParseError({"--status"}), Contains("--status"));
}

}  // namespace eventstore::process
