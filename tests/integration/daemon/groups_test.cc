// Consumer groups, through the public door.
#include <catch2/catch.hpp>
#include <csignal>
#include <map>
#include <memory>
#include <set>

#include "server/core/lane_hash.h"
#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;

namespace {

// Several streams with so many events each, in turns.
std::vector<v1::StreamId> AppendStreams(Client& client, int streams, int events) {
  std::vector<v1::StreamId> names;
  for (int s = 0; s < streams; ++s) names.push_back(NewStream());
  for (int e = 0; e < events; ++e) {
    for (const v1::StreamId& stream : names) MustAppend(client, stream, NewEvents(1));
  }
  return names;
}

v1::ConsumerGroupSettings Quick() {
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(4);
  settings.set_max_attempts(2);
  SetMillis(20, settings.mutable_backoff_min());
  SetMillis(50, settings.mutable_backoff_max());
  SetMillis(2'000, settings.mutable_lease_duration());
  return settings;
}

std::string DeadLetterStatus(const std::string& dsn, const std::string& group, int ordinal = 0) {
  const std::int64_t number = QueryNumber(
      dsn,
      "SELECT coalesce((SELECT CASE status WHEN 'failed' THEN 1 WHEN 'retrying' THEN 2 ELSE 3"
      " END FROM dead_letter_queue WHERE projection_name = '" +
          group + "' ORDER BY global_position OFFSET " + std::to_string(ordinal) +
          " LIMIT 1), 0)::bigint");
  constexpr const char* kNames[] = {"none", "failed", "retrying", "resolved"};
  return kNames[number];
}

std::int64_t DeadLetters(const std::string& dsn, const std::string& group,
                         const std::string& status) {
  return QueryNumber(dsn, "SELECT count(*) FROM dead_letter_queue WHERE projection_name = '" +
                              group + "' AND status = '" + status + "'");
}

void SetDeadLetters(const std::string& dsn, const std::string& group, const std::string& status) {
  RunSql(dsn, "UPDATE dead_letter_queue SET status = '" + status +
                  "' WHERE status = 'failed' AND projection_name = '" + group + "'");
}

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
  CreateGroup(daemon->client(), "g", Quick());
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

TEST_CASE("AnEventThatFailsTooOftenBecomesADeadLetterAndItsRetryIsResolved", "[groups]") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(2));
  CreateGroup(daemon->client(), "g", Quick());
  Consumer consumer(daemon->client(), "g", 1);
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const auto events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].event().version() == 1);
    CHECK(events[0].attempt() == attempt);
    consumer.Nack(events[0], v1::NACK_ACTION_RETRY, "broken");
  }
  auto events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 2);  // its stream goes on
  consumer.Ack(events);
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(DeadLetterStatus(daemon->dsn(), "g") == "failed");
  CHECK(QueryNumber(daemon->dsn(),
                    "SELECT retry_count::bigint FROM dead_letter_queue WHERE"
                    " error_message = 'broken'") == 1);
  CHECK(GetGroup(daemon->client(), "g").parked() == 1);
  SetDeadLetters(daemon->dsn(), "g", "retrying");
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 1);
  consumer.Nack(events[0], v1::NACK_ACTION_RETRY, "still broken");
  CHECK(Eventually([&] { return DeadLetterStatus(daemon->dsn(), "g") == "failed"; }));
  CHECK(QueryNumber(daemon->dsn(),
                    "SELECT retry_count::bigint FROM dead_letter_queue WHERE"
                    " error_message = 'still broken'") == 2);
  SetDeadLetters(daemon->dsn(), "g", "retrying");
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  consumer.Ack(events);
  CHECK(Eventually([&] { return DeadLetterStatus(daemon->dsn(), "g") == "resolved"; }));
  CHECK(GetGroup(daemon->client(), "g").parked() == 0);
}

TEST_CASE("ParkAndSkipSettleAtOnce", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(3));
  CreateGroup(daemon->client(), "g", Quick());
  Consumer consumer(daemon->client(), "g");
  const auto events = consumer.NextEvents(3);
  REQUIRE(events.size() == 3);
  consumer.Nack(events[0], v1::NACK_ACTION_SKIP);
  consumer.Nack(events[1], v1::NACK_ACTION_PARK, "poison");
  consumer.Ack({events[2]});
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(DeadLetters(daemon->dsn(), "g", "failed") == 1);
}

TEST_CASE("AParkedStreamWaitsAndFollowsInOrderOnceItsEventIsDone", "[groups]") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  const auto other = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(3));
  auto settings = Quick();
  settings.set_on_failure(v1::ON_FAILURE_PARK_STREAM);
  settings.set_lanes(1);
  CreateGroup(daemon->client(), "g", settings);
  Consumer consumer(daemon->client(), "g");
  auto events = consumer.NextEvents(3);
  REQUIRE(events.size() == 3);
  consumer.Nack(events[0], v1::NACK_ACTION_PARK, "poison");
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(DeadLetters(daemon->dsn(), "g", "failed") == 3);
  CHECK(GetGroup(daemon->client(), "g").lanes(0).parked_streams() == 1);
  MustAppend(daemon->client(), stream, NewEvents(1));
  MustAppend(daemon->client(), other, NewEvents(1));
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().stream().aggregate_id() == other.aggregate_id());
  consumer.Ack(events);
  CHECK(Eventually([&] { return DeadLetters(daemon->dsn(), "g", "failed") == 4; }));
  // Only the first is resolved by hand: the others follow by themselves.
  RunSql(daemon->dsn(),
         "UPDATE dead_letter_queue SET status = 'resolved', resolved_at = now(), resolved_by = 'me'"
         " WHERE error_message = 'poison'");
  for (const std::int64_t version : {2, 3, 4}) {
    events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].event().version() == version);
    consumer.Ack(events);
  }
  CHECK(Eventually([&] { return DeadLetters(daemon->dsn(), "g", "resolved") == 4; }));
  CHECK(Eventually([&] { return GetGroup(daemon->client(), "g").lanes(0).parked_streams() == 0; }));
  MustAppend(daemon->client(), stream, NewEvents(1));
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 5);
  consumer.Ack(events);
  CHECK(WaitForLagZero(daemon->client(), "g"));
}

TEST_CASE("AStoppedLaneGoesOnWhenItsDeadLetterIsDecided", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(2));
  auto settings = Quick();
  settings.set_on_failure(v1::ON_FAILURE_STOP);
  settings.set_lanes(1);
  CreateGroup(daemon->client(), "g", settings);
  const std::string decision = GENERATE("resolved", "retrying");
  Consumer consumer(daemon->client(), "g", 1);
  auto events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  consumer.Nack(events[0], v1::NACK_ACTION_PARK, "poison");
  CHECK(Eventually([&] {
    return GetGroup(daemon->client(), "g").lanes(0).stopped_event_id() ==
           events[0].event().event_id();
  }));
  CHECK(daemon->Metric("eventstore_group_lane_stopped").has_value());
  CHECK(consumer.NextEvents(1, milliseconds(300)).empty());
  // A new owner knows.
  CHECK(consumer.Leave().ok());
  Consumer next(daemon->client(), "g", 1);
  REQUIRE(next.WaitForLanes(1));
  CHECK(next.NextEvents(1, milliseconds(1'500)).empty());
  SetDeadLetters(daemon->dsn(), "g", decision);
  events = next.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == (decision == "resolved" ? 2 : 1));
  next.Ack(events);
  for (int i = 0; i < 3 && !WaitForLagZero(daemon->client(), "g", milliseconds(10)); ++i) {
    next.Ack(next.NextEvents(1, milliseconds(2'000)));
  }
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(Eventually([&] { return DeadLetterStatus(daemon->dsn(), "g") == "resolved"; }));
}

TEST_CASE("WhoeverDoesNotAckInTimeGetsTheEventAgain", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  auto settings = Quick();
  SetMillis(300, settings.mutable_ack_timeout());
  CreateGroup(daemon->client(), "g", settings);
  Consumer consumer(daemon->client(), "g");
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const auto events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].attempt() == attempt);
  }
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(DeadLetters(daemon->dsn(), "g", "failed") == 1);
}

TEST_CASE("ACrashLoopEndsInADeadLetterAndLeavingInOrderDoesNotCount", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CreateGroup(daemon->client(), "g", Quick());
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
  CHECK(Eventually([&] { return DeadLetters(daemon->dsn(), "g", "failed") == 1; }));
}

TEST_CASE("UnknownGroupsAndDeletedOnesEndTheCallWithTheReason", "[groups]") {
  auto daemon = Daemon::Start();
  Consumer nobody(daemon->client(), "missing");
  CHECK_FALSE(nobody.Next().has_value());
  CHECK(nobody.call().Finish().reason() == v1::ERROR_REASON_NOT_FOUND);
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  v1::DeleteConsumerGroupRequest request;
  request.set_name("g");
  v1::DeleteConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("DeleteConsumerGroup"), request, &response).ok());
  while (consumer.Next().has_value()) {
  }
  CHECK(consumer.call().Finish().reason() == v1::ERROR_REASON_NOT_FOUND);
  CHECK(daemon->client().Unary(GroupMethod("DeleteConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_NOT_FOUND);
  // Another one of that name is another one.
  CreateGroup(daemon->client(), "g");
  Consumer again(daemon->client(), "g");
  CHECK(again.WaitForLanes(16));
}

TEST_CASE("SettingsChangeWithoutAnyMemberBeingDropped", "[groups]") {
  auto daemon = Daemon::Start();
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  v1::UpdateConsumerGroupRequest request;
  request.set_name("g");
  SetMillis(300, request.mutable_settings()->mutable_ack_timeout());
  request.mutable_settings()->set_max_attempts(1);
  request.set_expected_revision(1);
  v1::UpdateConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("UpdateConsumerGroup"), request, &response).ok());
  CHECK(response.group().revision() == 2);
  CHECK(response.group().settings().max_attempts() == 1);
  CHECK(response.group().settings().unsettled_span_max() == 1'000);
  CHECK(daemon->client().Unary(GroupMethod("UpdateConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_CONDITION_FAILED);
  request.clear_expected_revision();
  request.mutable_settings()->set_lanes(8);
  CHECK(daemon->client().Unary(GroupMethod("UpdateConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_INVALID_REQUEST);
  // The new time-out and number of attempts hold for the member that is there.
  CHECK(Eventually([&] {
    MustAppend(daemon->client(), NewStream(), NewEvents(1));
    (void)consumer.NextEvents(1, milliseconds(1'000));
    return DeadLetters(daemon->dsn(), "g", "failed") > 0;
  }));
  CHECK_FALSE(consumer.call().ended());
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

TEST_CASE("MembersOnTwoDaemonsShareTheLanesAndADeadDaemonsLanesAreTakenOver", "[groups]") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  auto settings = Quick();
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
  auto settings = Quick();
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

TEST_CASE("GroupsAreListedPageByPage", "[groups]") {
  auto daemon = Daemon::Start();
  for (const char* name : {"c", "a", "b"}) CreateGroup(daemon->client(), name);
  v1::ListConsumerGroupsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    v1::ListConsumerGroupsResponse page;
    REQUIRE(daemon->client().Unary(GroupMethod("ListConsumerGroups"), request, &page).ok());
    for (const auto& group : page.groups()) names.push_back(group.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  CHECK(names == std::vector<std::string>{"a", "b", "c"});
  v1::CreateConsumerGroupRequest again;
  again.set_name("a");
  v1::CreateConsumerGroupResponse response;
  CHECK(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), again, &response).reason() ==
        v1::ERROR_REASON_ALREADY_EXISTS);
}

TEST_CASE("AGroupStartsWhereItWasTold", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(5));
  v1::CreateConsumerGroupRequest request;
  v1::CreateConsumerGroupResponse response;
  request.set_name("end");
  request.mutable_end();
  REQUIRE(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).ok());
  CHECK(response.group().lag_positions() == 0);
  request.set_name("after");
  request.set_after_position(3);
  REQUIRE(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).ok());
  Consumer consumer(daemon->client(), "after");
  CHECK(consumer.NextEvents(2).size() == 2);
  request.set_name("ahead");
  request.set_after_position(6);
  CHECK(daemon->client().Unary(GroupMethod("CreateConsumerGroup"), request, &response).reason() ==
        v1::ERROR_REASON_POSITION_AHEAD);
}

TEST_CASE("WrongMessagesOfAMemberAreRefused", "[groups]") {
  Daemon& daemon = SharedDaemon();
  const std::string name = UniqueName("g");
  CreateGroup(daemon.client(), name);
  const int mistake = GENERATE(0, 1, 2, 3);
  auto call = daemon.client().Start(GroupMethod("Consume"));
  v1::ConsumeRequest join, wrong;
  join.mutable_join()->set_group(name);
  if (mistake == 0) wrong.mutable_nack();
  if (mistake == 1) wrong.mutable_join()->set_group(name);
  if (mistake == 2) wrong.mutable_credits()->set_max_in_flight(-1);
  if (mistake == 3) join.mutable_join()->clear_group();
  call->Write(join.SerializeAsString());
  if (mistake != 3) call->Write(wrong.SerializeAsString());
  while (call->Read().has_value()) {
  }
  CHECK(call->Finish().reason() == v1::ERROR_REASON_INVALID_REQUEST);
}
