// The daemon with a PostgreSQL of its own, in a folder.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

// A folder below one of mode 700, which the account of PostgreSQL cannot enter. With it goes what
// stands in for it below /var/lib.
class PrivateFolder {
 public:
  PrivateFolder() {
    home_ = std::filesystem::temp_directory_path() / "eventstore-home-XXXXXX";
    REQUIRE(mkdtemp(home_.data()) != nullptr);
    chmod(home_.c_str(), 0700);
  }
  ~PrivateFolder() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(path(), ignored)) {
      if (!entry.is_symlink(ignored)) continue;
      const std::filesystem::path target = std::filesystem::read_symlink(entry.path(), ignored);
      for (auto part = target; part.has_relative_path(); part = part.parent_path()) {
        if (part.filename().string().rfind("eventstored-", 0) == 0) {
          std::filesystem::remove_all(part, ignored);
          break;
        }
      }
    }
    std::filesystem::remove_all(home_, ignored);
  }

  [[nodiscard]] std::string path() const { return home_ + "/data"; }

 private:
  std::string home_;
};

// The pid of the daemon's own PostgreSQL, by its log.
pid_t PostmasterOf(const Daemon& daemon) {
  const std::string log = daemon.Log();
  const std::size_t at = log.rfind("(pid ");
  REQUIRE(at != std::string::npos);
  return std::atoi(log.c_str() + at + 5);
}

// Whether a process runs. One that ended but that nobody has waited for does not.
bool IsRunning(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return false;
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.substr(name_end + 2, 1) != "Z";
}

}  // namespace

TEST_CASE("WithoutADatabaseTheDaemonRunsItsOwnAndARestartFindsTheEventsAgain") {
  const PrivateFolder folder;  // Outlives the daemon.
  auto daemon = Daemon::Start({.data_dir = folder.path()});
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(3));
  const pid_t postmaster = PostmasterOf(*daemon);
  CHECK(IsRunning(postmaster));
  daemon->Restart();
  CHECK_FALSE(IsRunning(postmaster));
  CHECK(ReadStream(daemon->client(), stream).events.size() == 3);
  CHECK(MustAppend(daemon->client(), stream, NewEvents(1)).first_version() == 4);

  SECTION("a second daemon on the same folder says so and stops") {
    const ProgramRun second = RunDaemonProgram({}, {{"data_dir", folder.path()},
                                                    {"listen", "127.0.0.1:0"},
                                                    {"metrics_listen", "127.0.0.1:0"}});
    INFO(second.log);
    CHECK(second.exit_code == 1);
    CHECK(second.log.find(std::to_string(daemon->child().pid())) != std::string::npos);
    CHECK(MustAppend(daemon->client(), stream, NewEvents(1)).first_version() == 5);
  }

  SECTION("after a crash the leftover PostgreSQL is recovered") {
    const pid_t leftover = PostmasterOf(*daemon);
    daemon->child().Signal(SIGKILL);
    REQUIRE(daemon->child().WaitExit() == 128 + SIGKILL);
    CHECK(IsRunning(leftover));
    daemon->Restart();
    CHECK_FALSE(IsRunning(leftover));
    CHECK(ReadStream(daemon->client(), stream).events.size() == 4);
    CHECK(MustAppend(daemon->client(), stream, NewEvents(1)).first_version() == 5);
  }

  SECTION("a PostgreSQL that dies is started again") {
    const pid_t dying = PostmasterOf(*daemon);
    kill(dying, SIGQUIT);
    CHECK(daemon->WaitForLog("stopped by itself"));
    CHECK(Eventually(
        [&] {
          v1::AppendEventsResponse response;
          return Append(daemon->client(), AppendRequest(stream, Any(), NewEvents(1)), &response)
              .ok();
        },
        kPatience));
    CHECK(ReadStream(daemon->client(), stream).events.size() >= 5);
  }
  CHECK(daemon->Stop() == 0);
}

TEST_CASE("WhatIsMissingForAnEmbeddedServerIsNamed") {
  const PrivateFolder folder;
  const Settings base = {
      {"data_dir", folder.path()}, {"listen", "127.0.0.1:0"}, {"metrics_listen", "127.0.0.1:0"}};
  const auto run = [&](const std::string& key, const std::string& value) {
    Settings settings = base;
    settings[key] = value;
    const ProgramRun result = RunDaemonProgram({}, settings);
    INFO(result.log);
    CHECK(result.exit_code == 1);
    CHECK(result.log.find(value) != std::string::npos);
  };
  run("embedded.bin_dir", "/no/such/folder");
  if (geteuid() == 0) run("embedded.user", "nosuchaccount");
}
