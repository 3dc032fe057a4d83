// What an operator sees: health, reflection, metrics, the command line, migrations.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A message with one field of the length-delimited kind.
std::string OneField(int number, const std::string& value) {
  return std::string(1, static_cast<char>(number << 3 | 2)) +
         std::string(1, static_cast<char>(value.size())) + value;
}

}  // namespace

TEST_CASE("HealthIsToldPerService") {
  Client& client = SharedDaemon().client();
  CHECK(client.Health() == "SERVING");
  CHECK(client.Health("eventstore.v1.EventStoreService") == "SERVING");
  std::string response;
  CHECK(
      client.Raw("/grpc.health.v1.Health/Check", OneField(1, "no.such.Service"), &response).code ==
      absl::StatusCode::kNotFound);
}

TEST_CASE("ReflectionTellsTheServicesAndTheirMethods") {
  const auto call = SharedDaemon().client().Start(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  REQUIRE(call->Write(OneField(7, "*")));  // list_services
  const auto services = call->Read();
  REQUIRE(services.has_value());
  CHECK(Has(*services, "eventstore.v1.EventStoreService"));
  CHECK(Has(*services, "grpc.health.v1.Health"));
  REQUIRE(call->Write(OneField(4, "eventstore.v1.EventStoreService")));  // file_containing_symbol
  const auto file = call->Read();
  REQUIRE(file.has_value());
  CHECK(Has(*file, "AppendEventsStream"));
  call->WritesDone();
  CHECK(call->Finish().ok());
}

TEST_CASE("LiveAndReadyAreServedByHttp") {
  Daemon& daemon = SharedDaemon();
  CHECK(daemon.Get("/health/live").status == 200);
  CHECK(daemon.Get("/health/ready").status == 200);
  CHECK(daemon.Get("/metrics").status == 200);
  CHECK(daemon.Get("/no/such/page").status == 404);
}

TEST_CASE("EveryMetricIsThereWithASensibleValue") {
  const std::filesystem::path config =
      std::filesystem::temp_directory_path() / (UniqueName("outbox") + ".yaml");
  std::ofstream(config) << "outbox: {enabled: true, routes: [{sink: hook}],"
                           " sinks: {hook: {type: webhook, url: 'http://127.0.0.1:9/'}}}";
  auto daemon = Daemon::Start({.arguments = {"--config", config}});
  std::filesystem::remove(config);
  Client& client = daemon->client();
  const auto stream = NewStream();
  const auto events = NewEvents(5);
  MustAppend(client, stream, events);
  MustAppend(client, stream, events);  // A replay.
  v1::AppendEventsResponse response;
  CHECK_FALSE(Append(client, AppendRequest(stream, NoStream(), NewEvents(1)), &response).ok());
  Subscriber subscriber(client, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  MustAppend(client, stream, NewEvents(2));
  CHECK(subscriber.NextEvents(7).size() == 7);
  CHECK(ReadStream(client, stream).events.size() == 7);

  // The names that metrics.h promises.
  const std::string header = ReadFile(EVENTSTORE_SOURCE_DIR "/server/telemetry/metrics.h");
  const std::string exposition = daemon->Get("/metrics").body;
  const std::regex pattern(R"(\beventstore_[a-z_]+)");
  std::set<std::string> names;
  for (auto it = std::sregex_iterator(header.begin(), header.end(), pattern);
       it != std::sregex_iterator(); ++it) {
    names.insert(it->str());
  }
  CHECK(names.size() > 50);
  // What is told of each group or projection is there once there is one; see their tests.
  const std::regex of_readers("eventstore_(group|projection|dead_letters).*");
  for (const std::string& name : names) {
    if (std::regex_match(name, of_readers)) continue;
    INFO(name << " is not there");
    CHECK(Has(exposition, "# TYPE " + name + " "));
  }

  const auto value = [&](const std::string& name) { return daemon->Metric(name).value_or(-1); };
  CHECK(value("eventstore_events_appended_total") == 7);
  CHECK(value("eventstore_append_replays_total") == 1);
  CHECK(value("eventstore_append_conflicts_total") == 1);
  CHECK(value("eventstore_head_position") == 7);
  CHECK(value("eventstore_epoch") == 1);
  CHECK(value("eventstore_lane_queue_appends") == 0);
  CHECK(value("eventstore_lane_queue_bytes") == 0);
  CHECK(value("eventstore_lane_batch_events_sum") >= 7);
  CHECK(value("eventstore_lane_commit_seconds_count") >= 2);
  CHECK(value("eventstore_lane_commit_seconds_sum") > 0);
  CHECK(value("eventstore_lane_cache_streams") == 1);
  CHECK(value("eventstore_partition_headroom_positions") > 10'000'000);
  CHECK(value("eventstore_pool_size") == 5);
  CHECK(value("eventstore_pool_checked_in") + value("eventstore_pool_checked_out") >= 1);
  CHECK(value("eventstore_pool_overflow") == 0);
  CHECK(value("eventstore_pool_connects_total") >= 1);
  CHECK(value("eventstore_events_read_total") >= 7);
  CHECK(value("eventstore_subscription_events_sent_total") == 7);
  CHECK(value("eventstore_ring_events") == 7);
  CHECK(value("eventstore_ring_bytes") > 0);
  CHECK(Eventually(
      [&] { return value("eventstore_subscribers{state=\"live\",store=\"default\"}") == 1; }));
  CHECK(value("eventstore_subscriber_lag_positions_max") == 0);
  CHECK(value("eventstore_rpc_requests_total{code=\"OK\",method=\"AppendEvents\"}") == 3);
  CHECK(value("eventstore_rpc_requests_total{code=\"ABORTED\",method=\"AppendEvents\"}") == 1);
  CHECK(value("eventstore_rpc_requests_total{code=\"OK\",method=\"ReadStream\"}") == 1);
  CHECK(value("eventstore_rpc_seconds_count{method=\"AppendEvents\"}") == 4);
  CHECK(value("eventstore_rpc_in_flight{method=\"Subscribe\"}") == 1);
  CHECK(value("eventstore_build_info") == 1);
  CHECK(value("eventstore_process_start_time_seconds") > 1.6e9);
  CHECK(value("eventstore_process_resident_memory_bytes") > 1e6);
  subscriber.call().Cancel();
  CHECK(Eventually([&] { return value("eventstore_rpc_in_flight{method=\"Subscribe\"}") == 0; }));
}

TEST_CASE("AnAnswerCarriesTheRequestIdThatTheLogNames") {
  auto daemon = Daemon::Start({.settings = {{"log.level", "debug"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CHECK(daemon->WaitForLog("AppendEvents ended with code 0"));
}

TEST_CASE("VersionHelpAndPrintConfigPrintAndExit") {
  const ProgramRun version = RunDaemonProgram({"--version"});
  CHECK(version.exit_code == 0);
  CHECK(std::regex_search(version.output, std::regex(R"(^eventstored \d+\.\d+\.\d+\n$)")));
  const ProgramRun help = RunDaemonProgram({"--help"});
  CHECK(help.exit_code == 0);
  for (const std::string flag : {"--config", "--listen", "--metrics-listen", "--database",
                                 "--data-dir", "--print-config", "--version", "migrate"}) {
    INFO(flag);
    CHECK(Has(help.output, flag));
  }
  const ProgramRun defaults = RunDaemonProgram({"--print-config"});
  CHECK(defaults.exit_code == 0);
  CHECK(defaults.output == ReadFile(EVENTSTORE_SOURCE_DIR "/deploy/eventstored.yaml"));
  const ProgramRun changed =
      RunDaemonProgram({"--print-config", "--listen", "127.0.0.1:1234"},
                       {{"database.dsn", "host=db password=hunter2"}, {"pool.pool_size", "7"}});
  CHECK(changed.exit_code == 0);
  CHECK(Has(changed.output, "listen: \"127.0.0.1:1234\""));
  CHECK(Has(changed.output, "pool_size: 7"));
  CHECK_FALSE(Has(changed.output, "hunter2"));
}

TEST_CASE("ABadConfigurationIsRefusedWithExitCodeTwoAndTheKeysPath") {
  const std::vector<std::pair<Settings, std::string>> cases = {
      {{{"pool.pool_size", "0"}}, "pool.pool_size"},
      {{{"writer.batch_events_max", "many"}}, "writer.batch_events_max"},
      {{{"no.such_key", "1"}}, "EVENTSTORED_NO_SUCH_KEY"},
      {{{"listen", "nowhere"}}, "listen"},
      {{{"log.level", "loud"}}, "log.level"},
      {{{"database.dsn", "postgresql+asyncpg://u:p@h/db"}}, "postgresql://"},
      {{{"database.password_file", "/no/such/file"}, {"database.dsn", "host=x"}},
       "database.password_file"},
      {{{"limits.request_bytes_max", "268435456"}}, "server.message_bytes_max"},
  };
  for (const auto& [settings, text] : cases) {
    const ProgramRun run = RunDaemonProgram({}, settings);
    INFO(text << ": " << run.log);
    CHECK(run.exit_code == 2);
    CHECK(Has(run.log, text));
  }
  const ProgramRun flag = RunDaemonProgram({"--no-such-flag"});
  CHECK(flag.exit_code == 2);
  CHECK(Has(flag.log, "--no-such-flag"));
  const ProgramRun password = RunDaemonProgram({"--database", "host=x password=hunter2"});
  CHECK(password.exit_code == 2);
  CHECK_FALSE(Has(password.log, "hunter2"));
  const ProgramRun file = RunDaemonProgram({"--config", "/no/such/file.yaml"});
  CHECK(file.exit_code == 2);
  CHECK(Has(file.log, "/no/such/file.yaml"));
}

TEST_CASE("MigrateBringsASchemaUpToDateAndTellsOfIt") {
  const Settings settings = {{"database.dsn", CreateDatabase()}};
  const ProgramRun before = RunDaemonProgram({"migrate", "--status"}, settings);
  INFO(before.output << before.log);
  CHECK(before.exit_code == 0);
  CHECK(Has(before.output, "not applied"));
  const ProgramRun dry = RunDaemonProgram({"migrate", "--dry-run"}, settings);
  CHECK(dry.exit_code == 0);
  CHECK(Has(dry.output, "would be applied"));
  CHECK(RunDaemonProgram({"migrate", "--status"}, settings).output == before.output);

  const ProgramRun migrated = RunDaemonProgram({"migrate"}, settings);
  CHECK(migrated.exit_code == 0);
  CHECK(Has(migrated.output, "applied 0001"));
  const ProgramRun after = RunDaemonProgram({"migrate", "--status"}, settings);
  CHECK(after.exit_code == 0);
  CHECK_FALSE(Has(after.output, "not applied"));
  CHECK(Has(RunDaemonProgram({"migrate"}, settings).output, "up to date"));
  CHECK(RunDaemonProgram({"migrate", "--dry-run"}, settings).output.empty());

  auto daemon = Daemon::Start(
      {.dsn = settings.at("database.dsn"), .settings = {{"database.migrate", "false"}}});
  CHECK(MustAppend(daemon->client(), NewStream(), NewEvents(1)).first_position() == 1);
}

TEST_CASE("WhatWaitingCannotMendEndsTheStart") {
  // No tables, and not allowed to make them.
  const ProgramRun bare = RunDaemonProgram({}, {{"database.dsn", CreateDatabase()},
                                                {"database.migrate", "false"},
                                                {"listen", "127.0.0.1:0"},
                                                {"metrics_listen", "127.0.0.1:0"}});
  INFO(bare.log);
  CHECK(bare.exit_code == 1);
  CHECK(Has(bare.log, "the store cannot be opened"));
  // An address that is taken.
  const std::string taken = "127.0.0.1:" + std::to_string(SharedDaemon().port());
  const ProgramRun second = RunDaemonProgram(
      {},
      {{"database.dsn", CreateDatabase()}, {"listen", taken}, {"metrics_listen", "127.0.0.1:0"}});
  INFO(second.log);
  CHECK(second.exit_code == 1);
  CHECK(Has(second.log, taken));
}
