// The effects of keys: the addresses, logs, transport and drain of the process, its database and
// its embedded server.
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/integration/daemon/config_effect.h"

namespace eventstore::testing {
namespace {

void SeeAddresses(const Settings&) {
  const int port = FreePort();
  const int metrics_port = FreePort();
  auto daemon = StartWith({{"listen", "127.0.0.1:" + std::to_string(port)},
                           {"metrics_listen", "127.0.0.1:" + std::to_string(metrics_port)}});
  CHECK(HttpGet(metrics_port, "/health/ready").status == 200);
  Client client(port);
  CHECK(GetHead(client).position() == 0);
}

void SeeLogs(const Settings& changed) {
  auto daemon = StartWith(changed);
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  GetHead(daemon->client());
  std::istringstream lines(daemon->Log());
  std::string line;
  while (std::getline(lines, line)) {
    INFO(line);
    CHECK(line.front() == '{');
    CHECK(line.back() == '}');
  }
  CHECK(daemon->WaitForLog("\"debug\""));
  CHECK(daemon->WaitForLog("FROM log_head"));
  CHECK(Value(*daemon, "eventstore_pool_size") == 10);  // Of the preset.
}

void SeeTransportLimit(const Settings& changed) {
  auto daemon = StartWith(
      changed, {{"limits.request_bytes_max", "32768"}, {"limits.event_bytes_max", "32768"}});
  CHECK(TryAppend(*daemon, Sized(50'000)).info().limit_name() == "request_bytes_max");
  const CallStatus status = TryAppend(*daemon, Sized(70'000));
  CHECK(status.code == absl::StatusCode::kResourceExhausted);
  CHECK(status.details.empty());
}

void SeeInFlightLimit(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Occupy(*daemon);
  const auto call = daemon->client().Start("AppendEventsStream");
  for (std::uint64_t i = 0; i < 5; ++i) {
    v1::AppendEventsStreamRequest request;
    *request.mutable_append() = Sized(1);
    REQUIRE(call->Write(request.SerializeAsString()));
  }
  REQUIRE(WaitForQueue(*daemon, 2));
  const auto later = Begin(*daemon, Sized(1));
  CHECK(WaitForQueue(*daemon, 3));  // Its own; the other three of the call are not read.
}

void SeeDrainTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Occupy(*daemon);
  const auto started = steady_clock::now();
  CHECK(daemon->Stop() == 0);
  CHECK(steady_clock::now() - started < seconds(10));
}

void SeeSchema(const Settings& changed) {
  auto daemon = StartWith(changed);
  MustAppend(daemon->client(), NewStream(), NewEvents(2));
  CHECK(QueryNumber(daemon->dsn(), "SELECT last_position FROM other_schema.log_head") == 2);
}

void SeeDsn(const Settings&) {
  const std::string dsn = CreateDatabase();
  auto daemon = StartWith({{"database.dsn", dsn}});
  MustAppend(daemon->client(), NewStream(), NewEvents(2));
  CHECK(QueryNumber(dsn, "SELECT last_position FROM log_head") == 2);
}

void SeePasswordFile(const Settings&) {
  auto server = StartPostgres();
  RunSql(server->conninfo(),
         "CREATE ROLE app LOGIN PASSWORD 'open sesame'; ALTER DATABASE "
         "eventstore OWNER TO app");
  const std::string rules = server->cluster_dir() + "/pg_hba.conf";
  std::ifstream old(rules);
  std::ostringstream text;
  text << "local all app scram-sha-256\n" << old.rdbuf();
  std::ofstream(rules) << text.str();
  RunSql(server->conninfo(), "SELECT pg_reload_conf()");
  const std::string dsn = server->conninfo() + " user=app dbname=eventstore";
  REQUIRE(Eventually([&] {  // The rules are read a little later.
    pg::ConnectionOptions options;
    options.conninfo = dsn;
    return !pg::Connection::Open(options, In(kPatience)).ok();
  }));
  const std::string file = server->cluster_dir() + "/../password";
  std::ofstream(file) << "open sesame\n";
  chmod(file.c_str(), 0600);
  auto daemon = Daemon::Start({.dsn = dsn, .settings = {{"database.password_file", file}}});
  CHECK(GetHead(daemon->client()).position() == 0);
  CHECK(daemon->Log().find("sesame") == std::string::npos);
  daemon.reset();
  std::ofstream(file) << "open barley\n";
  // With a wrong one the daemon waits, and says why without telling it.
  daemon = Daemon::Start(
      {.dsn = dsn, .settings = {{"database.password_file", file}}, .wait_ready = false});
  CHECK(daemon->WaitForLog("password authentication failed"));
  CHECK(daemon->Log().find("barley") == std::string::npos);
}

// A server that takes connections and says nothing counts how often it is tried.
void SeeConnectTimeout(const Settings& changed) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(listener, 64) == 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  auto daemon = Daemon::Start(
      {.dsn = "host=127.0.0.1 user=x dbname=x port=" + std::to_string(ntohs(address.sin_port)),
       .settings = changed,
       .wait_ready = false});
  int tries = 0;
  CHECK(Eventually(
      [&] {
        while (accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) >= 0) ++tries;
        return tries >= 5;
      },
      seconds(12)));  // By default there were three at most.
  daemon.reset();
  close(listener);
}

void SeeMigrateOff(const Settings& changed) {
  Settings settings = changed;
  settings.insert({{"database.dsn", CreateDatabase()},
                   {"listen", "127.0.0.1:0"},
                   {"metrics_listen", "127.0.0.1:0"}});
  CHECK(RunDaemonProgram({}, settings).exit_code == 1);
}

void SeeConnectionsMax(const Settings& changed) {
  Settings settings = changed;
  settings["database.dsn"] = CreateDatabase();
  const ProgramRun run = RunDaemonProgram({}, settings);
  CHECK(run.exit_code == 2);
  CHECK(run.log.find("database.connections_max") != std::string::npos);
}

// A data folder, removed with what stands in for it below /var/lib.
class DataFolder {
 public:
  DataFolder() {
    path_ = std::filesystem::temp_directory_path() / "eventstore-config-XXXXXX";
    REQUIRE(mkdtemp(path_.data()) != nullptr);
    chmod(path_.c_str(), 0755);
  }
  ~DataFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

ProgramRun RunEmbedded(const std::string& data_dir, Settings settings) {
  settings.insert(
      {{"data_dir", data_dir}, {"listen", "127.0.0.1:0"}, {"metrics_listen", "127.0.0.1:0"}});
  return RunDaemonProgram({}, settings);
}

void SeeEmbeddedRefusal(const Settings& changed) {
  const DataFolder folder;
  const ProgramRun run = RunEmbedded(folder.path(), changed);
  INFO(run.log);
  CHECK(run.exit_code == 1);
  CHECK(run.log.find(changed.begin()->second) != std::string::npos);
}

void SeeEmbeddedAccount(const Settings& changed) {
  if (geteuid() != 0) return;  // Without root there is no other account to run as.
  SeeEmbeddedRefusal(changed);
}

pid_t PostmasterOf(const Daemon& daemon) {
  const std::string log = daemon.Log();
  return std::atoi(log.c_str() + log.rfind("(pid ") + 5);
}

void SeeEmbeddedTimes(const Settings& changed) {
  const DataFolder folder;
  const Settings stop = {{"embedded.stop_timeout_ms", changed.at("embedded.stop_timeout_ms")}};
  auto daemon = Daemon::Start({.data_dir = folder.path() + "/data", .settings = stop});
  CHECK(std::filesystem::exists(folder.path() + "/data/postgres"));  // What data_dir is for.
  // One of its processes hangs, so it cannot stop cleanly.
  const std::string task = std::to_string(PostmasterOf(*daemon));
  std::ifstream children("/proc/" + task + "/task/" + task + "/children");
  pid_t child = 0;
  REQUIRE((children >> child));
  kill(child, SIGSTOP);
  CHECK(daemon->Stop() == 0);
  CHECK(daemon->Log().find("embedded.stop_timeout_ms = 400") != std::string::npos);
  daemon.reset();
  // A server that never accepts connections.
  const std::string bin = folder.path() + "/bin";
  std::filesystem::create_directory(bin);
  for (const std::string name : {"postgres", "initdb"}) {
    std::ofstream(bin + "/" + name) << "#!/bin/sh\n[ \"$1\" = --version ] || [ \"$1\" = -V ] && "
                                       "exec echo 'postgres (PostgreSQL) 15.9'\nexec sleep 600\n";
    chmod((bin + "/" + name).c_str(), 0755);
  }
  const auto started = steady_clock::now();
  const ProgramRun run =
      RunEmbedded(folder.path() + "/data",
                  {{"embedded.start_timeout_ms", changed.at("embedded.start_timeout_ms")},
                   {"embedded.bin_dir", bin}});
  INFO(run.log);
  CHECK(run.exit_code == 1);
  CHECK(run.log.find("embedded.start_timeout_ms = 1100") != std::string::npos);
  CHECK(steady_clock::now() - started < seconds(40));
}

}  // namespace

std::vector<Row> ProcessRows() {
  return {
      {"addresses", {{"listen", ""}, {"metrics_listen", ""}}, SeeAddresses},
      {"logs",
       {{"log.level", "debug"},
        {"log.format", "json"},
        {"pool.echo", "true"},
        {"pool.preset", "heavy"}},
       SeeLogs},
      {"transport", {{"server.message_bytes_max", "65536"}}, SeeTransportLimit},
      {"in flight", {{"server.append_stream_in_flight_max", "2"}}, SeeInFlightLimit},
      {"drain", {{"server.drain_timeout_ms", "500"}}, SeeDrainTimeout},
      {"schema", {{"database.schema", "other_schema"}}, SeeSchema},
      {"dsn", {{"database.dsn", ""}}, SeeDsn},
      {"password", {{"database.password_file", ""}}, SeePasswordFile},
      {"connect timeout", {{"database.connect_timeout_ms", "200"}}, SeeConnectTimeout},
      {"migrate", {{"database.migrate", "false"}}, SeeMigrateOff},
      {"connections", {{"database.connections_max", "10"}}, SeeConnectionsMax},
      {"programs", {{"embedded.bin_dir", "/no/such/folder"}}, SeeEmbeddedRefusal},
      {"account", {{"embedded.user", "nosuchaccount"}}, SeeEmbeddedAccount},
      {"embedded times",
       {{"data_dir", ""},
        {"embedded.start_timeout_ms", "1100"},
        {"embedded.stop_timeout_ms", "400"}},
       SeeEmbeddedTimes},
  };
}

}  // namespace eventstore::testing
