// The embedded PostgreSQL server: what it survives, and what it says when it cannot start.
#include "server/process/embedded_postgres.h"

#include <libpq-fe.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::process {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::Eventually;

// A new folder that is removed at the end, and with it what its links lead to below /var/lib.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(mode_t mode = 0755) {
    std::string path = fs::temp_directory_path() / "eventstore-embedded-XXXXXX";
    REQUIRE(mkdtemp(path.data()) != nullptr);
    REQUIRE(chmod(path.c_str(), mode) == 0);
    path_ = path;
  }
  ~TemporaryFolder() {
    for (const std::string& folder : elsewhere_) fs::remove_all(folder);
    fs::remove_all(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void AlsoRemove(std::string folder) { elsewhere_.push_back(std::move(folder)); }

 private:
  std::string path_;
  std::vector<std::string> elsewhere_;
};

EmbeddedPostgresOptions OptionsFor(const std::string& data_dir) {
  EmbeddedPostgresOptions options;
  options.data_dir = data_dir;
  options.settings = {{"fsync", "off"}, {"shared_buffers", "16MB"}, {"max_connections", "20"}};
  return options;
}

std::unique_ptr<EmbeddedPostgres> MustStart(const EmbeddedPostgresOptions& options) {
  absl::StatusOr<std::unique_ptr<EmbeddedPostgres>> server = EmbeddedPostgres::Start(options);
  INFO(telemetry::MessageOf(server.status()));
  REQUIRE(server.ok());
  return *std::move(server);
}

std::string StartError(const EmbeddedPostgresOptions& options) {
  absl::StatusOr<std::unique_ptr<EmbeddedPostgres>> server = EmbeddedPostgres::Start(options);
  REQUIRE_FALSE(server.ok());
  CHECK(server.status().code() == absl::StatusCode::kFailedPrecondition);
  return std::string(telemetry::MessageOf(server.status()));
}

// The first value that a statement returns; empty if it returns none.
std::string Ask(const EmbeddedPostgres& server, const std::string& sql) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
      PQconnectdb(server.conninfo().c_str()), &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()),
                                                             &PQclear);
  INFO(sql << ": " << PQerrorMessage(connection.get()));
  const ExecStatusType status = PQresultStatus(result.get());
  REQUIRE((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK));
  return PQntuples(result.get()) == 0 ? "" : PQgetvalue(result.get(), 0, 0);
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text;
  REQUIRE(file.good());
}

bool IsRoot() { return geteuid() == 0; }

// Whether the process exists and is no zombie.
bool IsAlive(pid_t pid) {
  std::error_code error;
  return !fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error).empty();
}

}  // namespace

TEST_CASE("A restart finds what was written") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/a/b/data");
  std::unique_ptr<EmbeddedPostgres> server = MustStart(options);
  Ask(*server, "CREATE TABLE kept AS SELECT 42 AS answer");
  const pid_t pid = server->pid();
  server.reset();
  CHECK_FALSE(IsAlive(pid));
  server = MustStart(options);
  CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
}

TEST_CASE("The server is made as the store needs it") {
  const TemporaryFolder folder;
  std::unique_ptr<EmbeddedPostgres> server = MustStart(OptionsFor(folder.path() + "/data"));
  CHECK(Ask(*server, "SELECT current_database()") == "eventstore");
  CHECK(Ask(*server, "SHOW server_encoding") == "UTF8");
  CHECK(Ask(*server, "SELECT datcollate FROM pg_database WHERE datname = 'eventstore'") == "C");
  CHECK(Ask(*server, "SHOW data_checksums") == "on");
  CHECK(Ask(*server, "SHOW jit") == "off");
  CHECK(Ask(*server, "SHOW synchronous_commit") == "on");
  CHECK(Ask(*server, "SHOW max_connections") == "20");  // The options' settings win.
  CHECK(Ask(*server, "SHOW listen_addresses").empty());
  CHECK(getpgid(server->pid()) != getpgrp());  // A Ctrl-C in the terminal does not reach it.
  struct stat process = {};
  REQUIRE(stat(("/proc/" + std::to_string(server->pid())).c_str(), &process) == 0);
  CHECK(process.st_uid != 0);
  for (const std::string& path : {server->cluster_dir(), server->socket_dir()}) {
    struct stat info = {};
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0700);  // Closed to others.
  }
}

TEST_CASE("TCP cannot be switched on by the settings") {
  const TemporaryFolder folder;
  EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  options.settings.emplace_back("listen_addresses", "*");
  CHECK(Ask(*MustStart(options), "SHOW listen_addresses").empty());
}

TEST_CASE("A second daemon on the same folder is refused and told of the first") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  std::unique_ptr<EmbeddedPostgres> server = MustStart(options);
  const std::string error = StartError(options);
  CHECK_THAT(error, Contains("pid " + std::to_string(getpid())));
  CHECK_THAT(error, Contains("--data-dir"));
  CHECK(server->IsRunning());
  CHECK(Ask(*server, "SELECT 1") == "1");
}

TEST_CASE("A folder below a closed home works, and is found again") {
  if (!IsRoot()) {
    WARN("needs root");
    return;
  }
  TemporaryFolder home(0700);
  const EmbeddedPostgresOptions options = OptionsFor(home.path() + "/checkout/data");
  std::unique_ptr<EmbeddedPostgres> server = MustStart(options);
  const std::string first = fs::path(server->cluster_dir()).parent_path();
  home.AlsoRemove(first);
  CHECK_THAT(first, Catch::Matchers::StartsWith("/var/lib/eventstored-"));
  CHECK(fs::canonical(options.data_dir + "/postgres") == server->cluster_dir());
  Ask(*server, "CREATE TABLE kept AS SELECT 42 AS answer");
  server.reset();
  server = MustStart(options);
  CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
  struct stat info = {};
  REQUIRE(stat(home.path().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);

  SECTION("a copy of the folder cannot run the same cluster beside it") {
    const std::string copy = home.path() + "/copy";
    fs::create_directory(copy);
    fs::copy_symlink(options.data_dir + "/postgres", copy + "/postgres");
    CHECK_THAT(StartError(OptionsFor(copy)), Contains("pid " + std::to_string(getpid())));
    CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
  }
  SECTION("a deleted folder begins anew and leaves the earlier events alone") {
    server.reset();
    fs::remove_all(options.data_dir);
    server = MustStart(options);
    const std::string second = fs::path(server->cluster_dir()).parent_path();
    home.AlsoRemove(second);
    CHECK(second != first);
    CHECK(Ask(*server, "SELECT to_regclass('kept') IS NULL") == "t");
    CHECK(fs::exists(first + "/postgres/PG_VERSION"));
  }
  SECTION("a link that leads nowhere is an error, not an empty store") {
    server.reset();
    fs::remove_all(first + "/postgres");
    CHECK_THAT(StartError(options), Contains("which is missing"));
  }
}

TEST_CASE("A private data folder of root needs no other place") {
  if (!IsRoot()) {
    WARN("needs root");
    return;
  }
  const TemporaryFolder folder(0700);
  std::unique_ptr<EmbeddedPostgres> server = MustStart(OptionsFor(folder.path()));
  CHECK(server->cluster_dir() == folder.path() + "/postgres");
  struct stat info = {};
  REQUIRE(stat(folder.path().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0710);  // The account may pass, nobody else.
}

TEST_CASE("The postmaster that a crashed daemon left behind is stopped") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  int report[2];
  REQUIRE(pipe(report) == 0);
  const pid_t daemon = fork();
  if (daemon == 0) {
    auto server = EmbeddedPostgres::Start(options);
    if (!server.ok()) _exit(1);
    const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
        PQconnectdb((*server)->conninfo().c_str()), &PQfinish);
    PQclear(PQexec(connection.get(), "CREATE TABLE kept AS SELECT 42 AS answer"));
    const pid_t pid = (*server)->pid();
    if (write(report[1], &pid, sizeof(pid)) != sizeof(pid)) _exit(1);
    for (;;) pause();
  }
  close(report[1]);
  pid_t leftover = -1;
  REQUIRE(read(report[0], &leftover, sizeof(leftover)) == sizeof(leftover));
  close(report[0]);
  kill(daemon, SIGKILL);
  REQUIRE(waitpid(daemon, nullptr, 0) == daemon);
  REQUIRE(IsAlive(leftover));

  std::unique_ptr<EmbeddedPostgres> server = MustStart(options);
  CHECK_FALSE(IsAlive(leftover));
  CHECK(server->pid() != leftover);
  CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
}

TEST_CASE("A postmaster that was killed is noticed and started again") {
  const TemporaryFolder folder;
  std::unique_ptr<EmbeddedPostgres> server = MustStart(OptionsFor(folder.path() + "/data"));
  Ask(*server, "CREATE TABLE kept AS SELECT 42 AS answer");
  const std::string conninfo = server->conninfo();
  REQUIRE(server->IsRunning());
  kill(server->pid(), SIGKILL);
  REQUIRE(Eventually([&] { return !server->IsRunning(); }));
  CHECK(server->pid() == -1);
  REQUIRE(server->Restart().ok());
  CHECK(server->IsRunning());
  CHECK(server->conninfo() == conninfo);
  CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
  SECTION("also after a stop as in a crash") {
    REQUIRE(server->Stop(/*immediate=*/true).ok());
    CHECK_FALSE(server->IsRunning());
    REQUIRE(server->Restart().ok());
    CHECK(Ask(*server, "SELECT answer FROM kept") == "42");
  }
}

TEST_CASE("A pid file that names a process of something else does not prevent the start") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  std::unique_ptr<EmbeddedPostgres> server = MustStart(options);
  // Another server is as much "something else" as any program is; it must not be harmed.
  const TemporaryFolder other_folder;
  std::unique_ptr<EmbeddedPostgres> other = MustStart(OptionsFor(other_folder.path() + "/data"));
  const std::string pid_file = server->cluster_dir() + "/postmaster.pid";
  server.reset();
  WriteFile(pid_file, std::to_string(other->pid()) + "\n");
  server = MustStart(options);
  CHECK(Ask(*server, "SELECT 1") == "1");
  CHECK(other->IsRunning());
}

TEST_CASE("An interrupted initdb is tried again") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  fs::create_directories(options.data_dir + "/postgres.new/base");
  WriteFile(options.data_dir + "/postgres.new/PG_VERSION", "15\n");
  CHECK(Ask(*MustStart(options), "SELECT 1") == "1");
  CHECK_FALSE(fs::exists(options.data_dir + "/postgres.new"));
}

TEST_CASE("A cluster of another version says which server it needs") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  const std::string cluster = MustStart(options)->cluster_dir();
  WriteFile(cluster + "/PG_VERSION", "12\n");
  const std::string error = StartError(options);
  CHECK_THAT(error, Contains("cluster of PostgreSQL 12"));
  CHECK_THAT(error, Contains("postgresql-12"));
}

TEST_CASE("What is missing is named together with the remedy") {
  const TemporaryFolder folder;
  EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  SECTION("the server package") {
    options.bin_dir = folder.path();
    const std::string error = StartError(options);
    CHECK_THAT(error, Contains(folder.path()));
    CHECK_THAT(error, Contains("apt-get install postgresql-15"));
    CHECK_THAT(error, Contains("--database"));
  }
  SECTION("the unprivileged account") {
    if (!IsRoot()) return;
    options.user = "no-such-account";
    const std::string error = StartError(options);
    CHECK_THAT(error, Contains("\"no-such-account\" does not exist"));
    CHECK_THAT(error, Contains("useradd"));
  }
  SECTION("root under the account's name") {
    if (!IsRoot()) return;
    options.user = "root";
    CHECK_THAT(StartError(options), Contains("embedded.user"));
  }
  SECTION("a folder that can be written") {
    options.data_dir = "/proc/eventstored";
    const std::string error = StartError(options);
    CHECK_THAT(error, Contains("/proc/eventstored"));
    CHECK_THAT(error, Contains("--data-dir"));
  }
  SECTION("a folder where a file is") {
    WriteFile(options.data_dir, "");
    CHECK_THAT(StartError(options), Contains(options.data_dir));
  }
}

TEST_CASE("A folder that is no cluster is left alone") {
  const TemporaryFolder folder;
  const EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  MustStart(options).reset();
  // The account's own folder, but somebody's files.
  for (const auto& entry : fs::directory_iterator(options.data_dir + "/postgres")) {
    fs::remove_all(entry.path());
  }
  WriteFile(options.data_dir + "/postgres/thesis.txt", "mine");
  CHECK_THAT(StartError(options), Contains("not a PostgreSQL cluster"));
  CHECK(fs::exists(options.data_dir + "/postgres/thesis.txt"));
}

TEST_CASE("A folder whose name no socket could have gets its socket elsewhere") {
  const TemporaryFolder folder;
  const std::string name = GENERATE(as<std::string>(), std::string(100, 'x'), "a,b", "it's");
  std::unique_ptr<EmbeddedPostgres> server =
      MustStart(OptionsFor(folder.path() + "/" + name + "/data"));
  CHECK(server->cluster_dir() == folder.path() + "/" + name + "/data/postgres");
  CHECK(server->socket_dir().rfind("/tmp/eventstored-", 0) == 0);
  CHECK(Ask(*server, "SELECT 1") == "1");
  const std::string socket_dir = server->socket_dir();
  server.reset();
  CHECK_FALSE(fs::exists(socket_dir));
}

TEST_CASE("A start that fails shows what the server said") {
  const TemporaryFolder folder;
  EmbeddedPostgresOptions options = OptionsFor(folder.path() + "/data");
  options.settings.emplace_back("no_such_setting", "1");
  CHECK_THAT(StartError(options), Contains("no_such_setting"));
  SECTION("and leaves the folder free for the next one") {
    options.settings.pop_back();
    CHECK(Ask(*MustStart(options), "SELECT 1") == "1");
  }
}

}  // namespace eventstore::process
