// Consumer groups, through the public door: who owns the lanes, what that costs, and a history that
// is lost.
#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <set>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;

TEST_CASE("MembersOnTwoDaemonsShareTheLanesAndADeadDaemonsLanesAreTakenOver", "[groups]") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  auto settings = QuickGroup();
  settings.set_lanes(8);
  CreateGroup(one->client(), "g", settings);
  Consumer first(one->client(), "g");
  REQUIRE(first.WaitForLanes(8));
  Consumer second(two->client(), "g");
  REQUIRE(second.WaitForLanes(4));
  REQUIRE(first.WaitForLanes(4));
  AppendStreams(one->client(), 20, 2);
  std::set<std::string> seen;
  std::set<std::int32_t> lanes_of_first;
  for (Consumer* consumer : {&first, &second}) {
    for (int quiet = 0; quiet < 2;) {
      const auto events = consumer->NextEvents(1, milliseconds(500));
      if (events.empty()) ++quiet;
      for (const auto& event : events) CHECK(seen.insert(event.event().event_id()).second);
      // The first daemon's events are not acked: they must come again.
      if (consumer == &second) consumer->Ack(events);
    }
  }
  CHECK(seen.size() == 40);
  const auto tokens = GetGroup(two->client(), "g");
  one->child().Signal(SIGKILL);
  CHECK(one->child().WaitExit() == 128 + SIGKILL);
  REQUIRE(second.WaitForLanes(8));
  std::set<std::string> again;
  while (!WaitForLagZero(two->client(), "g", milliseconds(1))) {
    const auto events = second.NextEvents(1, milliseconds(1'000));
    for (const auto& event : events) {
      CHECK(event.redelivered());
      again.insert(event.event().event_id());
    }
    second.Ack(events);
  }
  CHECK(again.size() > 0);
  CHECK(again.size() < 40);
  CHECK(GetGroup(two->client(), "g").lanes_size() == 8);
}

TEST_CASE("AnIdleGroupCostsAStatementASecondAndNoMore", "[groups]") {
  auto daemon = Daemon::Start({.settings = {{"log.level", "debug"}, {"pool.echo", "true"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(3));
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  consumer.Ack(consumer.NextEvents(3));
  REQUIRE(WaitForLagZero(daemon->client(), "g"));
  const auto statements = [&] {
    const std::string log = daemon->Log();
    int count = 0;
    for (std::size_t at = log.find("SQL group_"); at != std::string::npos;
         at = log.find("SQL group_", at + 1)) {
      ++count;
    }
    return count;
  };
  (void)consumer.NextEvents(1, milliseconds(1'500));
  const int before = statements();
  CHECK(consumer.NextEvents(1, milliseconds(8'000)).empty());
  const int cost = statements() - before;
  CHECK(cost >= 5);
  CHECK(cost <= 9);
}

// What a restore from a backup, or a failover that lost commits, leaves behind.
TEST_CASE("ACheckpointOfALostHistoryGoesBackToWhereItEnded", "[groups]") {
  const bool is_live = GENERATE(true, false);
  auto daemon = Daemon::Start({.settings = {{"hub.poll_interval_ms", "50"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(10));
  auto settings = QuickGroup();
  settings.set_lanes(2);
  CreateGroup(daemon->client(), "g", settings);
  auto consumer = std::make_unique<Consumer>(daemon->client(), "g");
  consumer->Ack(consumer->NextEvents(10));
  REQUIRE(WaitForLagZero(daemon->client(), "g"));
  if (!is_live) {
    CHECK(consumer->Leave().ok());
    CHECK(daemon->Stop() == 0);
  }
  RunSql(daemon->dsn(),
         "DELETE FROM events WHERE global_position > 5;"
         "DELETE FROM event_ids WHERE global_position > 5;"
         "UPDATE streams SET version = 5, last_position = 5;"
         "UPDATE log_head SET last_position = 5, epoch = epoch + 1;"
         "INSERT INTO log_epochs (epoch, first_position) SELECT epoch, 6 FROM log_head");
  if (!is_live) {
    daemon->Restart();
    consumer = std::make_unique<Consumer>(daemon->client(), "g");
  }
  CHECK(Eventually([&] { return GetGroup(daemon->client(), "g").checkpoint() <= 5; }));
  for (int i = 0; i < 4; ++i) MustAppend(daemon->client(), NewStream(), NewEvents(1));
  const auto events = consumer->NextEvents(4);
  REQUIRE(events.size() == 4);
  std::set<std::int64_t> positions;
  for (const auto& event : events) positions.insert(event.event().global_position());
  CHECK(positions == std::set<std::int64_t>{6, 7, 8, 9});
  CHECK(daemon->Metric("eventstore_group_lanes_rewound_total").value_or(0) >= 1);
  consumer->Ack(events);
  CHECK(WaitForLagZero(daemon->client(), "g"));
}
