// Consumer groups, through the public door: what members get, and what their answers do.
#include <catch2/catch.hpp>
#include <map>
#include <memory>

#include "server/core/lane_hash.h"
#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;

namespace {

// Everything that comes is in the order of its stream.
void CheckOrder(const std::vector<v1::DeliveredEvent>& events) {
  std::map<std::string, std::int64_t> last;
  for (const v1::DeliveredEvent& delivered : events) {
    std::int64_t& version = last[delivered.event().stream().aggregate_id()];
    CHECK(delivered.event().version() == version + 1);
    version = delivered.event().version();
  }
}

}  // namespace

TEST_CASE("OneMemberGetsEveryEventInTheOrderOfItsStreamAndTheLagBecomesZero", "[groups]") {
  auto daemon = Daemon::Start();
  AppendStreams(daemon->client(), 10, 5);
  const auto created = CreateGroup(daemon->client(), "g");
  CHECK(created.settings().lanes() == 16);
  CHECK(created.revision() == 1);
  CHECK(created.lag_positions() == 50);
  Consumer consumer(daemon->client(), "g", 0, "worker");
  const auto events = consumer.NextEvents(50);
  REQUIRE(events.size() == 50);
  CheckOrder(events);
  CHECK(consumer.joined().settings().max_attempts() == 5);
  CHECK(consumer.lanes().size() == 16);
  for (const auto& delivered : events) {
    CHECK(delivered.attempt() == 1);
    CHECK_FALSE(delivered.redelivered());
  }
  CHECK(consumer.Ack(events));
  CHECK(WaitForLagZero(daemon->client(), "g"));
  // Live ones too.
  MustAppend(daemon->client(), NewStream(), NewEvents(3));
  const auto live = consumer.NextEvents(3);
  REQUIRE(live.size() == 3);
  // Twice, and an unknown one: harmless.
  consumer.Ack(live);
  consumer.Ack(live);
  v1::ConsumeRequest unknown;
  for (const std::int64_t id : {-5L, 0L, 123456789L}) unknown.mutable_ack()->add_delivery_ids(id);
  consumer.Send(unknown);
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(Eventually(
      [&] { return daemon->Metric("eventstore_group_ignored_acks_total").value_or(0) == 6; }));
  const auto group = GetGroup(daemon->client(), "g");
  REQUIRE(group.members_size() == 1);
  CHECK(group.members(0).member_name() == "worker");
  CHECK(group.members(0).lanes() == 16);
  CHECK(group.checkpoint() == 53);
  CHECK(consumer.Leave().ok());
  CHECK(Eventually([&] { return GetGroup(daemon->client(), "g").members_size() == 0; }));
}

TEST_CASE("ANackedEventComesAgainAndHoldsBackOnlyItsOwnStream", "[groups]") {
  auto daemon = Daemon::Start();
  const auto streams = AppendStreams(daemon->client(), 2, 2);
  CreateGroup(daemon->client(), "g", QuickGroup());
  Consumer consumer(daemon->client(), "g");
  auto events = consumer.NextEvents(4);
  REQUIRE(events.size() == 4);
  std::vector<v1::DeliveredEvent> first, rest;
  for (const auto& event : events) {
    const bool nacked = event.event().stream().aggregate_id() == streams[0].aggregate_id() &&
                        event.event().version() == 1;
    (nacked ? first : rest).push_back(event);
  }
  REQUIRE(first.size() == 1);
  consumer.Nack(first[0], v1::NACK_ACTION_RETRY, "not now");
  consumer.Ack(rest);
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 1);
  CHECK(events[0].attempt() == 2);
  CHECK(events[0].redelivered());
  consumer.Ack(events);
  // The ack of the one behind it did not count.
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 2);
  CHECK(events[0].event().stream().aggregate_id() == streams[0].aggregate_id());
  consumer.Ack(events);
  CHECK(WaitForLagZero(daemon->client(), "g"));
}

TEST_CASE("WhoeverDoesNotAckInTimeGetsTheEventAgain", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  auto settings = QuickGroup();
  SetMillis(300, settings.mutable_ack_timeout());
  CreateGroup(daemon->client(), "g", settings);
  Consumer consumer(daemon->client(), "g");
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const auto events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].attempt() == attempt);
  }
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(FailedDeadLetters(daemon->client(), "g") == 1);
}

TEST_CASE("ACrashLoopEndsInADeadLetterAndLeavingInOrderDoesNotCount", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CreateGroup(daemon->client(), "g", QuickGroup());
  for (int round = 0; round < 3; ++round) {
    Consumer consumer(daemon->client(), "g");
    const auto events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].attempt() == 1);
    CHECK(events[0].redelivered() == (round > 0));
    CHECK(consumer.Leave().ok());
  }
  for (int attempt = 1; attempt <= 2; ++attempt) {
    Client own(daemon->port());
    Consumer consumer(own, "g");
    const auto events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].attempt() == attempt);
    consumer.call().Cancel();
    (void)consumer.call().Finish();
  }
  CHECK(Eventually([&] { return FailedDeadLetters(daemon->client(), "g") == 1; }));
}

TEST_CASE("AMemberThatNeverAcksStallsNobodyElse", "[groups]") {
  auto daemon = Daemon::Start();
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(2);
  settings.set_unsettled_span_max(10);
  SetMillis(600'000, settings.mutable_ack_timeout());
  CreateGroup(daemon->client(), "g", settings);
  Client lazy_client(daemon->port());
  Consumer lazy(lazy_client, "g");
  REQUIRE(lazy.WaitForLanes(2));
  Consumer busy(daemon->client(), "g");
  REQUIRE(busy.WaitForLanes(1));
  constexpr int kStreams = 20;
  constexpr int kEvents = 20;
  const auto streams = AppendStreams(daemon->client(), kStreams, kEvents);
  // What is in the busy one's lane goes through, although the other lane is full.
  const std::int32_t lane = *busy.lanes().begin();
  std::size_t expected = 0;
  for (const auto& stream : streams) {
    if (LaneOf(StreamHash(stream), 2) == lane) expected += kEvents;
  }
  REQUIRE(expected > 10);
  REQUIRE(expected < kStreams * kEvents);
  std::size_t got = 0;
  while (got < expected) {
    const auto events = busy.NextEvents(1);
    if (events.empty()) break;
    got += events.size();
    busy.Ack(events);
  }
  CHECK(got == expected);
  CHECK(Eventually([&] {
    const auto group = GetGroup(daemon->client(), "g");
    return group.lanes(lane).lag_positions() == 0 && group.lanes(1 - lane).in_flight() == 10;
  }));
  // Once the lazy one works, it catches up with its lane.
  std::size_t late = 0;
  while (late < kStreams * kEvents - expected) {
    const auto events = lazy.NextEvents(1);
    if (events.empty()) break;
    late += events.size();
    lazy.Ack(events);
  }
  CHECK(late == kStreams * kEvents - expected);
  CHECK(WaitForLagZero(daemon->client(), "g"));
}

TEST_CASE("AFilteredGroupComesToTheHeadThoughNothingMatches", "[groups]") {
  auto daemon = Daemon::Start();
  v1::ConsumerGroupSettings settings;
  settings.mutable_filter()->add_event_types("Wanted");
  CreateGroup(daemon->client(), "g", settings);
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  MustAppend(daemon->client(), NewStream(), NewEvents(5));
  CHECK(WaitForLagZero(daemon->client(), "g"));
  MustAppend(daemon->client(), NewStream(), NewEvents(1, "Wanted"));
  const auto events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().event_type() == "Wanted");
}
