// What survives: restarts of the daemon and of PostgreSQL, and how the daemon ends.
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;
using std::chrono::steady_clock;

namespace {

constexpr char kService[] = "eventstore.v1.EventStoreService";

// A PostgreSQL that these tests may stop; each leaves it running.
process::EmbeddedPostgres& StoppablePostgres() {
  SharedPostgres();
  static const std::unique_ptr<process::EmbeddedPostgres> server = StartPostgres();
  return *server;
}

// Appends until it is stored, always with the same ids, as a client should.
v1::AppendEventsResponse AppendUntilStored(Client& client, const v1::AppendEventsRequest& request) {
  v1::AppendEventsResponse response;
  CallStatus status;
  Eventually(
      [&] {
        status = Append(client, request, &response, std::chrono::milliseconds(5000));
        return status.ok();
      },
      kPatience);
  INFO(status.Text());
  REQUIRE(status.ok());
  return response;
}

bool IsServing(Daemon& daemon) { return daemon.client().Health(kService) == "SERVING"; }

}  // namespace

TEST_CASE("EventsAreStillThereAfterARestart") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  const auto events = NewEvents(3);
  const auto first = MustAppend(daemon->client(), stream, events);
  const auto head = GetHead(daemon->client());
  const StreamRead before = ReadStream(daemon->client(), stream);
  daemon->Restart();
  const StreamRead after = ReadStream(daemon->client(), stream);
  REQUIRE(after.events.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(after.events[i].DebugString() == before.events[i].DebugString());
  }
  CHECK(GetHead(daemon->client()).DebugString() == head.DebugString());
  const auto replay = MustAppend(daemon->client(), stream, events);
  CHECK(replay.deduplicated());
  CHECK(replay.first_position() == first.first_position());
  v1::AppendEventsResponse next;
  REQUIRE(Append(daemon->client(), AppendRequest(stream, Exact(3), NewEvents(1)), &next).ok());
  CHECK(next.first_version() == 4);
  CHECK(next.first_position() == head.position() + 1);
}

TEST_CASE("AReplayIsKnownAfterARestartAndAHundredThousandLaterEvents") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  const auto request = AppendRequest(stream, NoStream(), NewEvents(2));
  v1::AppendEventsResponse first;
  REQUIRE(Append(daemon->client(), request, &first).ok());
  for (int i = 0; i < 100; ++i) MustAppend(daemon->client(), NewStream(), NewEvents(1000));
  daemon->Restart();
  CHECK(GetHead(daemon->client()).position() == 100'002);
  v1::AppendEventsResponse replay;
  const CallStatus status = Append(daemon->client(), request, &replay);
  INFO(status.Text());
  REQUIRE(status.ok());
  CHECK(replay.deduplicated());
  first.set_deduplicated(true);
  CHECK(replay.DebugString() == first.DebugString());
  CHECK(GetHead(daemon->client()).position() == 100'002);
}

TEST_CASE("ARestartOfPostgresIsSurvivedWithoutHelp") {
  auto& server = StoppablePostgres();
  auto daemon =
      Daemon::Start({.dsn = CreateDatabase(server), .settings = {{"writer.max_wait_ms", "2000"}}});
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(1));
  v1::SubscribeRequest subscribe;
  *subscribe.mutable_stream() = stream;
  Subscriber subscriber(daemon->client(), subscribe);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  REQUIRE(IsServing(*daemon));
  for (const bool immediate : {false, true}) {
    REQUIRE(server.Stop(immediate).ok());
    CHECK(
        Eventually([&] { return daemon->client().Health(kService) == "NOT_SERVING"; }, kPatience));
    CHECK(daemon->client().Health() == "NOT_SERVING");
    CHECK(daemon->Get("/health/ready").status == 503);
    CHECK(daemon->Get("/health/live").status == 200);
    const auto request = AppendRequest(stream, StreamExists(), NewEvents(1));
    v1::AppendEventsResponse response;
    const CallStatus away =
        Append(daemon->client(), request, &response, std::chrono::milliseconds(30'000));
    INFO(away.Text());
    CHECK(away.code == absl::StatusCode::kUnavailable);
    CHECK(away.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    REQUIRE(server.Restart().ok());
    CHECK(Eventually([&] { return IsServing(*daemon); }, kPatience));
    CHECK(AppendUntilStored(daemon->client(), request).last_version() == (immediate ? 3 : 2));
  }
  CHECK(GetInfo(daemon->client(), stream).version() == 3);
  // The subscription outlived both.
  CHECK(VersionsOf(subscriber.NextEvents(3)) == std::vector<std::int64_t>{1, 2, 3});
  CHECK(subscriber.violation() == "");
  CHECK(daemon->Metric("eventstore_lane_reconnects_total").value_or(0) >= 2);
}

TEST_CASE("AppendsThatAreRetriedAcrossACrashOfPostgresLandOnce") {
  auto& server = StoppablePostgres();
  auto daemon = Daemon::Start({.dsn = CreateDatabase(server)});
  constexpr int kWriters = 3;
  constexpr int kAppends = 60;
  std::atomic<int> stored{0};
  std::atomic<int> gave_up{0};
  std::vector<v1::StreamId> streams;
  for (int w = 0; w < kWriters; ++w) streams.push_back(NewStream());
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      Client client(daemon->port());
      for (int i = 0; i < kAppends; ++i) {
        const auto request = AppendRequest(streams[static_cast<std::size_t>(w)],
                                           i == 0 ? NoStream() : Exact(2 * i), NewEvents(2));
        v1::AppendEventsResponse response;
        const bool done = Eventually(
            [&] { return Append(client, request, &response, std::chrono::seconds(5)).ok(); },
            kPatience);
        // Versions that do not follow would tell of a second landing.
        if (!done || response.last_version() != 2 * (i + 1)) ++gave_up;
        ++stored;
      }
    });
  }
  for (int crash = 1; crash <= 2; ++crash) {
    Eventually([&] { return stored >= crash * kWriters * kAppends / 3; }, kPatience);
    CHECK(server.Stop(true).ok());
    CHECK(server.Restart().ok());
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(gave_up == 0);
  CHECK(GetHead(daemon->client()).position() == 2 * kWriters * kAppends);
  CHECK(QueryNumber(daemon->dsn(), "SELECT count(*) FROM events") == 2 * kWriters * kAppends);
  for (const auto& stream : streams) {
    CHECK(GetInfo(daemon->client(), stream).version() == 2 * kAppends);
  }
}

TEST_CASE("WithPostgresAwayAtItsStartTheDaemonWaitsSaysSoAndThenServes") {
  auto& server = StoppablePostgres();
  const std::string dsn = CreateDatabase(server);
  REQUIRE(server.Stop().ok());
  auto daemon = Daemon::Start({.dsn = dsn, .wait_ready = false});
  CHECK(daemon->WaitForLog("waiting for the database"));
  CHECK(daemon->client().Health(kService) == "NOT_SERVING");
  CHECK(Eventually([&] {
    const HttpAnswer ready = daemon->Get("/health/ready");
    return ready.status == 503 && ready.body.find("waiting for the database") != std::string::npos;
  }));
  CHECK(daemon->Get("/health/live").status == 200);
  v1::GetHeadResponse head;
  const CallStatus status = daemon->client().Unary("GetHead", v1::GetHeadRequest(), &head);
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kUnavailable);
  CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  REQUIRE(server.Restart().ok());
  REQUIRE(daemon->WaitReady());
  CHECK(Eventually([&] { return IsServing(*daemon); }));
  CHECK(MustAppend(daemon->client(), NewStream(), NewEvents(1)).first_position() == 1);
}

TEST_CASE("SigtermWhileWaitingForTheDatabaseEndsTheDaemon") {
  auto& server = StoppablePostgres();
  const std::string dsn = CreateDatabase(server);
  REQUIRE(server.Stop().ok());
  auto daemon = Daemon::Start({.dsn = dsn, .wait_ready = false});
  CHECK(daemon->WaitForLog("waiting for the database"));
  CHECK(daemon->Stop() == 0);
  REQUIRE(server.Restart().ok());
}

TEST_CASE("SigtermDrainsAndExitsWithZeroInTime") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(10));
  Subscriber live(daemon->client(), v1::SubscribeRequest());
  REQUIRE(live.ReadUntil(Message::kCaughtUp));
  const auto bidi = daemon->client().Start("AppendEventsStream");
  v1::AppendEventsStreamRequest request;
  *request.mutable_append() = AppendRequest(NewStream(), Any(), NewEvents(1));
  REQUIRE(bidi->Write(request.SerializeAsString()));
  REQUIRE(bidi->Read().has_value());
  // A HealthCheckRequest: field 1 is the service's name.
  const std::string service = kService;
  const std::string health_request =
      "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  const auto watch = daemon->client().Start("/grpc.health.v1.Health/Watch");
  REQUIRE(watch->Write(health_request));
  watch->WritesDone();
  CHECK(watch->Read() == std::string("\x08\x01", 2));  // SERVING

  std::unique_ptr<Call> last;
  {
    LockedHead nobody_commits(daemon->dsn());
    last = daemon->client().Stream("AppendEvents", AppendRequest(NewStream(), Any(), NewEvents(1)));
    // It is in the lane's hands, and the lane waits for the lock.
    CHECK(WaitForBlockedSessions(daemon->dsn(), 1));
    daemon->child().Signal(SIGTERM);
    CHECK(daemon->WaitForLog("shutting down"));
    CHECK(watch->Read() == std::string("\x08\x02", 2));  // NOT_SERVING
  }
  // What the lane had is committed and answered.
  CHECK(last->Read().has_value());
  CHECK(last->Finish().ok());
  for (Call* call : {&live.call(), bidi.get()}) {
    const CallStatus status = call->Finish();
    INFO(status.Text());
    CHECK(status.code == absl::StatusCode::kUnavailable);
    CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  }
  const auto started = steady_clock::now();
  CHECK(daemon->child().WaitExit() == 0);
  CHECK(steady_clock::now() - started < std::chrono::seconds(20));
  CHECK(QueryNumber(daemon->dsn(), "SELECT last_position FROM log_head") == 12);
  CHECK(QueryNumber(daemon->dsn(), "SELECT count(*) FROM daemons") == 0);
}

TEST_CASE("WhatIsStuckIsCutOffAtTheDrainTimeout") {
  auto daemon = Daemon::Start({.settings = {{"server.drain_timeout_ms", "1500"},
                                            {"writer.lock_timeout_ms", "600000"},
                                            {"writer.statement_timeout_ms", "600000"},
                                            {"writer.max_wait_ms", "600000"}}});
  LockedHead nobody_commits(daemon->dsn());
  const auto stuck =
      daemon->client().Stream("AppendEvents", AppendRequest(NewStream(), Any(), NewEvents(1)));
  CHECK(WaitForBlockedSessions(daemon->dsn(), 1));
  const auto started = steady_clock::now();
  CHECK(daemon->Stop() == 0);
  CHECK(steady_clock::now() - started < std::chrono::seconds(10));
  const CallStatus status = stuck->Finish();
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kUnavailable);
}

TEST_CASE("ASecondSignalEndsTheDaemonAtOnce") {
  auto daemon = Daemon::Start({.settings = {{"server.drain_timeout_ms", "600000"},
                                            {"writer.lock_timeout_ms", "600000"},
                                            {"writer.statement_timeout_ms", "600000"},
                                            {"writer.max_wait_ms", "600000"}}});
  LockedHead nobody_commits(daemon->dsn());
  const auto stuck =
      daemon->client().Stream("AppendEvents", AppendRequest(NewStream(), Any(), NewEvents(1)));
  CHECK(WaitForBlockedSessions(daemon->dsn(), 1));
  daemon->child().Signal(SIGTERM);
  REQUIRE(daemon->WaitForLog("shutting down"));
  CHECK_FALSE(daemon->child().WaitExit(std::chrono::milliseconds(1000)).has_value());
  daemon->child().Signal(SIGTERM);
  CHECK(daemon->child().WaitExit(std::chrono::seconds(10)) == 128 + SIGTERM);
}
