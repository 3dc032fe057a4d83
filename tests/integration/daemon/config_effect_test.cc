// Changes every configuration key and sees its effect on a running daemon, or on what it refuses.
//
// One row a daemon: which keys it changes, and what to see. A key of --print-config that no row
// changes fails the test.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "tests/support/daemon_events.h"
#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using Message = v1::SubscribeResponse;

namespace {

struct Row {
  std::string name;
  // The keys that this row is about, with their values.
  Settings changed;
  // Sees the effect.
  void (*see)(const Settings& changed);
};

const Settings kPatientLane = {{"writer.lock_timeout_ms", "600000"},
                               {"writer.statement_timeout_ms", "600000"},
                               {"writer.max_wait_ms", "600000"}};
// Without upkeep in the background.
const Settings kQuiet = {{"daemon.heartbeat_ms", "600000"},
                         {"daemon.expire_ms", "3600000"},
                         {"hub.poll_interval_ms", "600000"},
                         {"partitions.check_interval_ms", "3600000"}};

std::unique_ptr<Daemon> StartWith(Settings changed, const Settings& more = {}) {
  changed.insert(more.begin(), more.end());
  return Daemon::Start({.settings = std::move(changed)});
}

double Value(const Daemon& daemon, const std::string& metric) {
  return daemon.Metric(metric).value_or(-1);
}

v1::AppendEventsRequest Sized(std::size_t bytes) {
  return AppendRequest(NewStream(), Any(),
                       {NewEvent("Sized", "\"" + std::string(bytes, 'x') + "\"")});
}

std::unique_ptr<Call> Begin(Daemon& daemon, const v1::AppendEventsRequest& request) {
  return daemon.client().Stream("AppendEvents", request);
}

std::unique_ptr<Call> BeginHead(Daemon& daemon) {
  return daemon.client().Stream("GetHead", v1::GetHeadRequest());
}

CallStatus TryAppend(Daemon& daemon, const v1::AppendEventsRequest& request) {
  v1::AppendEventsResponse response;
  return Append(daemon.client(), request, &response);
}

// An append that the lane holds, with the head locked from outside.
std::unique_ptr<Call> Occupy(Daemon& daemon) {
  auto call = Begin(daemon, Sized(1));
  REQUIRE(WaitForBlockedSessions(daemon.dsn(), 1));
  return call;
}

bool WaitForQueue(Daemon& daemon, double appends) {
  return Eventually([&] { return Value(daemon, "eventstore_lane_queue_appends") == appends; });
}

// Whether a session that waits for a lock began to wait `times` times anew within `within`.
bool WaitsAnew(const std::string& dsn, std::size_t times, milliseconds within) {
  std::set<std::int64_t> starts;
  return Eventually(
      [&] {
        starts.insert(QueryNumber(
            dsn,
            "SELECT coalesce(max((extract(epoch FROM query_start) * 1000000)::bigint), 0)"
            " FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
            "current_database()"));
        starts.erase(0);
        return starts.size() >= times;
      },
      within);
}

std::int64_t Transactions(const std::string& dsn) {
  return QueryNumber(SharedPostgres().conninfo(),
                     "SELECT xact_commit FROM pg_stat_database WHERE datname = '" +
                         dsn.substr(dsn.rfind('=') + 1) + "'");
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

// --- the process ---

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

// --- the database ---

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

// --- the embedded server ---

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

// --- the pool ---

void SeePoolBounds(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(BeginHead(*daemon));
  CHECK(Eventually([&] { return Value(*daemon, "eventstore_pool_checked_out") == 3; }));
  CHECK(Value(*daemon, "eventstore_pool_size") == 1);
  CHECK(Value(*daemon, "eventstore_pool_overflow") == 2);
  const CallStatus status = BeginHead(*daemon)->Finish();
  INFO(status.Text());
  CHECK(status.info().limit_name() == "pool.pool_timeout");
}

void SeePoolRecycle(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  CHECK(Eventually([&] {
    GetHead(daemon->client());
    return Value(*daemon, "eventstore_pool_recycled_total") >= 2;
  }));
}

void SeePrePingOff(const Settings& changed) {
  for (const bool ping : {true, false}) {
    auto daemon = StartWith(ping ? Settings{} : changed, kQuiet);
    GetHead(daemon->client());
    // Every session but the lane's and the listener's: those of the pool are idle after a read.
    RunSql(daemon->dsn(),
           "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
           " AND datname = current_database() AND application_name LIKE 'eventstored%'");
    CHECK(Eventually([&] {
      v1::GetHeadResponse head;
      return daemon->client().Unary("GetHead", v1::GetHeadRequest(), &head).ok();
    }));
    const double failures = Value(*daemon, "eventstore_pool_pre_ping_failures_total");
    if (ping) {
      CHECK(failures >= 1);
    } else {
      CHECK(failures == 0);
    }
  }
}

// --- limits ---

void SeeLimits(const Settings& changed) {
  auto daemon = StartWith(changed);
  Client& client = daemon->client();
  const auto limit = [&](const std::string& name) {
    return std::stoll(changed.at("limits." + name));
  };
  const auto refused = [&](const std::string& name, const CallStatus& status) {
    INFO(name << ": " << status.Text());
    CHECK(status.reason() == v1::ERROR_REASON_TOO_LARGE);
    CHECK(status.info().limit_name() == name);
    CHECK(status.info().limit() == limit(name));
  };
  const auto append = [&](const std::string& name, void (*mutate)(v1::AppendEventsRequest*)) {
    auto request = AppendRequest(NewStream(), Any(), NewEvents(1));
    mutate(&request);
    refused(name, TryAppend(*daemon, request));
  };
  MustAppend(client, NewStream(), NewEvents(3));  // What keeps to the limits is taken.
  const auto dead_letter = [&](const std::string& name, int message_bytes, int trace_bytes) {
    v1::AddDeadLetterRequest request;
    request.set_event_id("0190b2c4-0000-7000-8000-000000000001");
    request.set_projection_name("p");
    request.set_error_message(std::string(message_bytes, 'm'));
    request.set_error_stacktrace(std::string(trace_bytes, 't'));
    v1::AddDeadLetterResponse response;
    refused(name,
            client.Unary("/eventstore.v1.DeadLetterService/AddDeadLetter", request, &response));
  };
  dead_letter("error_message_bytes_max", 301, 400);
  dead_letter("error_stacktrace_bytes_max", 300, 401);
  append("event_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_payload("\"" + std::string(2100, 'x') + "\""); });
  append("request_events_max", [](auto* r) {
    for (const auto& event : NewEvents(3)) *r->add_events() = event;
  });
  append("request_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_payload("\"" + std::string(9000, 'x') + "\""); });
  append("name_bytes_max",
         [](auto* r) { r->mutable_events(0)->set_actor_id(std::string(41, 'a')); });
  append("tags_max", [](auto* r) {
    r->mutable_events(0)->add_tags("a");
    r->mutable_events(0)->add_tags("b");
  });
  append("tag_bytes_max", [](auto* r) { r->mutable_events(0)->add_tags("abcdef"); });
  append("metadata_entries_max", [](auto* r) {
    (*r->mutable_events(0)->mutable_metadata())["a"] = "1";
    (*r->mutable_events(0)->mutable_metadata())["b"] = "2";
  });
  append("metadata_bytes_max",
         [](auto* r) { (*r->mutable_events(0)->mutable_metadata())["a"] = std::string(60, 'm'); });
  for (const std::string json : {"[[[[]]]]", "123456789012345678901234567890"}) {
    const CallStatus status =
        TryAppend(*daemon, AppendRequest(NewStream(), Any(), {NewEvent("Json", json)}));
    INFO(json << ": " << status.Text());
    CHECK(status.code == absl::StatusCode::kInvalidArgument);
  }
  v1::ReadAllRequest read;
  read.mutable_filter()->add_tags("a");
  read.mutable_filter()->add_tags("b");
  refused("filter_values_max", client.Stream("ReadAll", read)->Finish());
  v1::ReadAllRequest pattern;
  pattern.mutable_filter()->set_event_type_regex("abcde");
  refused("filter_regex_bytes_max", client.Stream("ReadAll", pattern)->Finish());
  v1::SubscribeRequest subscribe;
  subscribe.set_max_batch_size(6);
  CHECK(client.Stream("Subscribe", subscribe)->Finish().info().field() == "max_batch_size");
  v1::ListStreamsRequest list;
  list.set_page_size(3);
  v1::ListStreamsResponse page;
  CHECK(client.Unary("ListStreams", list, &page).info().field() == "page_size");
}

// --- the write lane ---

void SeeWriteQueue(const Settings& changed) {
  Settings settings = changed;  // A request must fit into the queue.
  settings.insert({{"limits.request_bytes_max", "2000"}, {"limits.event_bytes_max", "2000"}});
  auto daemon = StartWith(settings, kPatientLane);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Occupy(*daemon);
  const auto large = Begin(*daemon, Sized(1500));
  REQUIRE(WaitForQueue(*daemon, 1));
  CHECK(TryAppend(*daemon, Sized(1500)).info().limit_name() == "writer.queue_bytes_max");
  const auto small = Begin(*daemon, Sized(1));
  REQUIRE(WaitForQueue(*daemon, 2));
  CHECK(TryAppend(*daemon, Sized(1)).info().limit_name() == "writer.queue_appends_max");
}

void SeeBatches(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  const auto batches_of = [&](std::size_t bytes) {
    const double before = std::max(0.0, Value(*daemon, "eventstore_lane_batch_appends_count"));
    std::vector<std::unique_ptr<Call>> calls;
    {
      LockedHead nobody_commits(daemon->dsn());
      calls.push_back(Occupy(*daemon));
      for (int i = 0; i < 4; ++i) calls.push_back(Begin(*daemon, Sized(bytes)));
      REQUIRE(WaitForQueue(*daemon, 4));
      Eventually([] { return false; }, milliseconds(150));  // Slower than slow_commit_ms.
    }
    for (auto& call : calls) CHECK(call->Finish().ok());
    return Value(*daemon, "eventstore_lane_batch_appends_count") - before;
  };
  CHECK(batches_of(1) == 1 + 2);    // Two events a batch.
  CHECK(batches_of(700) == 1 + 4);  // One of that size a batch.
  CHECK(Value(*daemon, "eventstore_lane_slow_commits_total") >= 2);
  CHECK(daemon->WaitForLog("a batch of"));
  CHECK(Value(*daemon, "eventstore_lane_cache_streams") <= 3);  // Of ten.
}

void SeeLockTimeout(const Settings& changed) {
  auto daemon = StartWith(changed);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Begin(*daemon, Sized(1));
  CHECK(WaitsAnew(daemon->dsn(), 3, seconds(4)));
}

void SeeMaxWait(const Settings& changed) {
  auto daemon = StartWith(changed, {{"writer.lock_timeout_ms", "100"}});
  LockedHead nobody_commits(daemon->dsn());
  const auto started = steady_clock::now();
  const CallStatus status = TryAppend(*daemon, Sized(1));
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(steady_clock::now() - started < seconds(8));
}

void SeeStatementTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, {{"writer.lock_timeout_ms", "600000"}});
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Begin(*daemon, Sized(1));
  CHECK(WaitsAnew(daemon->dsn(), 3, seconds(8)));
}

// A daemon that hangs with the lock in its hands loses it soon.
void SeeIdleInTransactionTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  std::unique_ptr<Call> held;
  {
    LockedHead nobody_commits(daemon->dsn());
    held = Occupy(*daemon);
    daemon->child().Signal(SIGSTOP);
  }
  const auto started = steady_clock::now();
  { LockedHead free_again(daemon->dsn()); }
  CHECK(steady_clock::now() - started < seconds(4));
  daemon->child().Signal(SIGCONT);
  CHECK(held->Finish().ok());
  CHECK(GetHead(daemon->client()).position() == 1);
}

void SeeForeignEventsMax(const Settings& changed) {
  for (const bool forgets : {false, true}) {
    auto one = StartWith(forgets ? changed : Settings{});
    auto two = Daemon::Start({.dsn = one->dsn()});
    for (int i = 0; i < 10; ++i) MustAppend(one->client(), NewStream(), NewEvents(1));
    MustAppend(two->client(), NewStream(), NewEvents(3));
    MustAppend(one->client(), NewStream(), NewEvents(1));
    const double cached = Value(*one, "eventstore_lane_cache_streams");
    if (forgets) {
      CHECK(cached == 1);
    } else {
      CHECK(cached >= 11);
    }
  }
}

// --- the reader ---

void SeeReadQueue(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(BeginHead(*daemon));
    REQUIRE(Eventually([&] { return Value(*daemon, "eventstore_read_queue_requests") == i; }));
  }
  CHECK(BeginHead(*daemon)->Finish().info().limit_name() == "reader.queue_requests_max");
}

void SeePages(const Settings& changed) {
  auto daemon = StartWith(changed);
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(20));
  const auto largest = [&](const v1::StreamId& of) {
    v1::ReadStreamRequest request;
    *request.mutable_stream() = of;
    const auto call = daemon->client().Stream("ReadStream", request);
    int most = 0;
    while (auto message = ReadMessage<v1::ReadStreamResponse>(*call)) {
      most = std::max(most, message->events().events_size());
    }
    CHECK(call->Finish().ok());
    return most;
  };
  CHECK(largest(stream) == 4);
  const auto wide = NewStream();
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < 8; ++i)
    events.push_back(NewEvent("Wide", "\"" + std::string(600, 'x') + "\""));
  MustAppend(daemon->client(), wide, events);
  CHECK(largest(wide) <= 2);
  MustAppend(daemon->client(), stream, NewEvents(970));
  daemon->Restart();  // so that nothing of it lies in memory
  v1::SubscribeRequest nothing;
  nothing.mutable_filter()->add_tags("none");
  nothing.set_checkpoint_interval(1);
  const double before = Value(*daemon, "eventstore_read_page_seconds_count");
  Subscriber subscriber(daemon->client(), nothing);
  REQUIRE(subscriber.ReadUntil(v1::SubscribeResponse::kCaughtUp));
  CHECK(Value(*daemon, "eventstore_read_page_seconds_count") - before >= 9);
}

void SeeReadTimeouts(const Settings& changed) {
  auto daemon = StartWith(changed);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  const auto started = steady_clock::now();
  const CallStatus status = BeginHead(*daemon)->Finish();
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(steady_clock::now() - started < seconds(15));
}

void SeeQueryTimeout(const Settings& changed) {
  auto daemon = StartWith(changed);
  v1::QueryEventsRequest request;
  request.set_payload_contains("{}");
  CHECK(daemon->client().Stream("QueryEvents", request)->Finish().ok());
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  const CallStatus status = daemon->client().Stream("QueryEvents", request)->Finish();
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(status.info().limit_name() == "query.statement_timeout_ms");
  CHECK(status.info().limit() == 200);
}

// --- the hub ---

void SeeHub(const Settings& changed) {
  auto daemon = StartWith(changed);
  Client slow(daemon->port());
  Subscriber subscriber(slow, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  const CallStatus second = daemon->client().Stream("Subscribe", v1::SubscribeRequest())->Finish();
  CHECK(second.info().limit_name() == "hub.subscriptions_max");
  for (int i = 0; i < 12; ++i) {
    std::vector<v1::NewEvent> events;
    for (int k = 0; k < 500; ++k) {
      events.push_back(NewEvent("Filled", "\"" + std::string(4000, 'x') + "\""));
    }
    MustAppend(daemon->client(), NewStream(), events);
  }
  CHECK(Eventually([&] { return Value(*daemon, "eventstore_subscribers_dropped_slow_total") == 1; },
                   seconds(20)));
  CHECK(Value(*daemon, "eventstore_ring_bytes") < 4'000'000);  // Of 24 MB.
}

// Upkeep in short intervals shows as transactions.
void SeeUpkeepInterval(const Settings& changed) {
  Settings settings = changed;
  settings.insert(kQuiet.begin(), kQuiet.end());
  auto daemon = StartWith(settings);
  const std::int64_t before = Transactions(daemon->dsn());
  CHECK(Eventually([&] { return Transactions(daemon->dsn()) >= before + 40; }, seconds(20)));
}

// --- partitions ---

std::int64_t Partitions(const std::string& dsn, const std::string& what) {
  return QueryNumber(dsn, "SELECT " + what +
                              "::bigint FROM (SELECT (regexp_matches(pg_get_expr(c.relpartbound,"
                              " c.oid), 'FROM \\(''?(\\d+)''?\\) TO \\(''?(\\d+)'))::bigint[] AS b"
                              " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE"
                              " i.inhparent = 'events'::regclass) bounds");
}

void SeePartitions(const Settings& changed) {
  auto daemon = StartWith(changed, {{"partitions.check_interval_ms", "200"}});
  CHECK(Partitions(daemon->dsn(), "min(b[2])") == 1001);
  CHECK(Partitions(daemon->dsn(), "count(*)") >= 1 + 3);
  for (int i = 0; i < 6; ++i) MustAppend(daemon->client(), NewStream(), NewEvents(1000));
  // The rate of writes asks for larger ones, up to the maximum, but not for many.
  CHECK(Eventually([&] { return Partitions(daemon->dsn(), "max(b[2] - b[1])") == 2000; }));
  CHECK(Partitions(daemon->dsn(), "count(*)") < 100);
}

void SeePartitionLockTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, {{"partitions.check_interval_ms", "200"},
                                    {"partitions.size_events", "1000"},
                                    {"partitions.lead_seconds", "1"}});
  const LockedHead nobody_attaches(daemon->dsn(),
                                   "LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE");
  MustAppend(daemon->client(), NewStream(), NewEvents(1000));
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CHECK(Eventually([&] {
    return QueryNumber(daemon->dsn(),
                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                       " clock_timestamp() - query_start > interval '1 second'") > 0;
  }));
}

void SeeHeartbeat(const Settings& changed) {
  auto one = StartWith(changed);
  auto two = Daemon::Start({.dsn = one->dsn(), .settings = changed});
  std::set<std::int64_t> beats;
  CHECK(Eventually(
      [&] {
        beats.insert(QueryNumber(one->dsn(),
                                 "SELECT max((extract(epoch FROM heartbeat_at) * 1000000)::bigint)"
                                 " FROM daemons"));
        return beats.size() >= 6;
      },
      seconds(4)));
  // By now each has counted the other; that it is alone again is told anew.
  const std::string alone = "0 other daemons serve it";
  const std::size_t before = one->Log().rfind(alone);
  two->child().Signal(SIGKILL);
  CHECK(Eventually([&] { return one->Log().rfind(alone) != before; }, seconds(10)));
}

// One stream, so one lane: with room for one event only the first comes before its ack is durable.
void SeeGroups(const Settings& changed) {
  auto daemon = StartWith(changed);
  CreateGroup(daemon->client(), "g");
  const std::vector<v1::NewEvent> big = {NewEvent("Big", "\"" + std::string(1'500, 'x') + "\""),
                                         NewEvent("Big")};
  MustAppend(daemon->client(), NewStream(), big);
  Consumer consumer(daemon->client(), "g");
  auto events = consumer.NextEvents(2, milliseconds(1'500));
  REQUIRE(events.size() == 1);
  consumer.Ack(events);
  CHECK(consumer.NextEvents(1).size() == 1);
  // The second member is one too many.
  Consumer refused(daemon->client(), "g");
  CHECK_FALSE(refused.Next().has_value());
  const CallStatus status = refused.call().Finish();
  CHECK(status.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(status.info().limit_name() == "groups.members_max");
}

// An ack right after a flush waits for the next one.
void SeeGroupFlush(const Settings& changed) {
  auto daemon = StartWith(changed);
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  steady_clock::duration longest{0};
  for (int i = 0; i < 6; ++i) {
    MustAppend(daemon->client(), NewStream(), NewEvents(1));
    const auto started = steady_clock::now();
    consumer.Ack(consumer.NextEvents(1));
    CHECK(Eventually([&] { return GetGroup(daemon->client(), "g").lag_positions() == 0; }));
    longest = std::max(longest, steady_clock::now() - started);
  }
  CHECK(longest > milliseconds(300));
}

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
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
      {"pool bounds",
       {{"pool.pool_size", "1"},
        {"pool.max_overflow", "2"},
        {"pool.pool_timeout", "1"},
        {"reader.threads", "6"}},
       SeePoolBounds},
      {"recycle", {{"pool.pool_recycle", "1"}}, SeePoolRecycle},
      {"pre-ping", {{"pool.pool_pre_ping", "false"}}, SeePrePingOff},
      {"limits",
       {{"limits.event_bytes_max", "2048"},
        {"limits.request_bytes_max", "8192"},
        {"limits.request_events_max", "3"},
        {"limits.name_bytes_max", "40"},
        {"limits.tags_max", "1"},
        {"limits.tag_bytes_max", "5"},
        {"limits.metadata_entries_max", "1"},
        {"limits.metadata_bytes_max", "50"},
        {"limits.json_depth_max", "3"},
        {"limits.json_number_digits_max", "20"},
        {"limits.filter_values_max", "1"},
        {"limits.filter_regex_bytes_max", "4"},
        {"limits.error_message_bytes_max", "300"},
        {"limits.error_stacktrace_bytes_max", "400"},
        {"limits.batch_events_max", "5"},
        {"limits.page_size_max", "2"}},
       SeeLimits},
      {"write queue",
       {{"writer.queue_appends_max", "2"}, {"writer.queue_bytes_max", "2000"}},
       SeeWriteQueue},
      {"batches",
       {{"writer.batch_events_max", "2"},
        {"writer.batch_bytes_max", "1024"},
        {"writer.cache_streams_max", "3"},
        {"writer.slow_commit_ms", "100"}},
       SeeBatches},
      {"lock timeout", {{"writer.lock_timeout_ms", "100"}}, SeeLockTimeout},
      {"longest wait", {{"writer.max_wait_ms", "500"}}, SeeMaxWait},
      {"statement timeout", {{"writer.statement_timeout_ms", "200"}}, SeeStatementTimeout},
      {"hanging daemon",
       {{"writer.idle_in_transaction_timeout_ms", "200"}},
       SeeIdleInTransactionTimeout},
      {"foreign events", {{"writer.foreign_events_max", "0"}}, SeeForeignEventsMax},
      {"read queue", {{"reader.threads", "1"}, {"reader.queue_requests_max", "2"}}, SeeReadQueue},
      {"pages",
       {{"reader.page_events_max", "4"},
        {"reader.page_bytes_max", "1024"},
        {"reader.window_positions", "100"}},
       SeePages},
      {"read statement timeout", {{"reader.statement_timeout_ms", "200"}}, SeeReadTimeouts},
      {"longest read wait", {{"reader.max_wait_ms", "300"}}, SeeReadTimeouts},
      {"query statement timeout", {{"query.statement_timeout_ms", "200"}}, SeeQueryTimeout},
      {"hub",
       {{"hub.ring_bytes_max", "65536"},
        {"hub.subscriptions_max", "1"},
        {"hub.stall_timeout_ms", "500"}},
       SeeHub},
      {"poll", {{"hub.poll_interval_ms", "50"}}, SeeUpkeepInterval},
      {"partition checks", {{"partitions.check_interval_ms", "50"}}, SeeUpkeepInterval},
      {"partitions",
       {{"partitions.size_events", "1000"},
        {"partitions.size_events_max", "2000"},
        {"partitions.ahead_min", "3"},
        {"partitions.lead_seconds", "5"}},
       SeePartitions},
      {"partition lock", {{"partitions.lock_timeout_ms", "30000"}}, SeePartitionLockTimeout},
      {"heartbeat", {{"daemon.heartbeat_ms", "100"}, {"daemon.expire_ms", "600"}}, SeeHeartbeat},
      {"groups", {{"groups.members_max", "1"}, {"groups.lane_bytes_max", "1024"}}, SeeGroups},
      {"group flush", {{"groups.flush_interval_ms", "1000"}}, SeeGroupFlush},
  };
  return rows;
}

// The keys of --print-config, as "section.name".
std::set<std::string> AllKeys() {
  std::istringstream lines(RunDaemonProgram({"--print-config"}).output);
  std::set<std::string> keys;
  std::string line;
  std::string section;
  while (std::getline(lines, line)) {
    const std::size_t colon = line.find(':');
    const std::size_t start = line.find_first_not_of(' ');
    if (colon == std::string::npos || line[start] == '#') continue;
    const std::string name = line.substr(start, colon - start);
    if (colon + 1 == line.size()) {
      section = name;
    } else {
      keys.insert(start == 0 ? name : section + "." + name);
    }
  }
  return keys;
}

}  // namespace

TEST_CASE("EveryConfigurationKeyHasACase") {
  std::set<std::string> covered;
  for (const Row& row : Rows()) {
    for (const auto& [key, value] : row.changed) covered.insert(key);
  }
  const std::set<std::string> keys = AllKeys();
  CHECK(keys.size() > 60);
  for (const std::string& key : keys) {
    INFO(key << " has no case in this file");
    CHECK(covered.count(key) == 1);
  }
  for (const std::string& key : covered) {
    INFO(key << " is no key");
    CHECK(keys.count(key) == 1);
  }
}

TEST_CASE("EveryConfigurationKeyHasItsEffect") {
  for (const Row& row : Rows()) {
    DYNAMIC_SECTION(row.name) { row.see(row.changed); }
  }
}
