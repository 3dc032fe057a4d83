// Consumer groups, through the public door: events that are given up, and how they come back.
#include <catch2/catch.hpp>
#include <memory>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;

namespace {

// The state of the group's one dead letter; unspecified if it has none or more.
v1::DeadLetterStatus StatusOfTheOne(Client& client) {
  const auto letters = DeadLettersOf(client, "g");
  return letters.size() == 1 ? letters[0].status() : v1::DEAD_LETTER_STATUS_UNSPECIFIED;
}

v1::DeadLetter TheOne(Client& client) {
  const auto letters = DeadLettersOf(client, "g");
  REQUIRE(letters.size() == 1);
  return letters[0];
}

bool WaitForStatus(Client& client, v1::DeadLetterStatus status) {
  return Eventually([&] { return StatusOfTheOne(client) == status; });
}

// A group of one lane that stops at its first event, which `consumer` gave up.
void StopALane(Daemon& daemon, Consumer* consumer) {
  const auto events = consumer->NextEvents(1);
  REQUIRE(events.size() == 1);
  consumer->Nack(events[0], v1::NACK_ACTION_PARK, "poison");
  CHECK(Eventually([&] {
    return GetGroup(daemon.client(), "g").lanes(0).stopped_event_id() ==
           events[0].event().event_id();
  }));
}

v1::ConsumerGroupSettings OneLane(v1::OnFailure on_failure) {
  auto settings = QuickGroup();
  settings.set_on_failure(on_failure);
  settings.set_lanes(1);
  return settings;
}

// Two looks of the group at its tables.
constexpr milliseconds kTwoLooks{2'500};

}  // namespace

TEST_CASE("AnEventThatFailsTooOftenBecomesADeadLetterAndItsRetryIsResolved", "[groups]") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(2));
  CreateGroup(daemon->client(), "g", QuickGroup());
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
  CHECK(StatusOfTheOne(daemon->client()) == v1::DEAD_LETTER_STATUS_FAILED);
  CHECK(TheOne(daemon->client()).error_message() == "broken");
  CHECK(TheOne(daemon->client()).retry_count() == 1);
  CHECK(GetGroup(daemon->client(), "g").parked() == 1);
  CHECK(RetryDeadLetters(daemon->client(), "g") == 1);
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 1);
  consumer.Nack(events[0], v1::NACK_ACTION_RETRY, "still broken");
  CHECK(WaitForStatus(daemon->client(), v1::DEAD_LETTER_STATUS_FAILED));
  CHECK(TheOne(daemon->client()).error_message() == "still broken");
  CHECK(TheOne(daemon->client()).retry_count() == 2);
  CHECK(RetryDeadLetters(daemon->client(), "g") == 1);
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  consumer.Ack(events);
  CHECK(WaitForStatus(daemon->client(), v1::DEAD_LETTER_STATUS_RESOLVED));
  CHECK(GetGroup(daemon->client(), "g").parked() == 0);
}

TEST_CASE("ParkAndSkipSettleAtOnce", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(3));
  CreateGroup(daemon->client(), "g", QuickGroup());
  Consumer consumer(daemon->client(), "g");
  const auto events = consumer.NextEvents(3);
  REQUIRE(events.size() == 3);
  consumer.Nack(events[0], v1::NACK_ACTION_SKIP);
  consumer.Nack(events[1], v1::NACK_ACTION_PARK, "poison");
  consumer.Ack({events[2]});
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(FailedDeadLetters(daemon->client(), "g") == 1);
}

TEST_CASE("AParkedStreamWaitsAndFollowsInOrderOnceItsEventIsDone", "[groups]") {
  auto daemon = Daemon::Start();
  const auto stream = NewStream();
  const auto other = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(3));
  CreateGroup(daemon->client(), "g", OneLane(v1::ON_FAILURE_PARK_STREAM));
  Consumer consumer(daemon->client(), "g");
  auto events = consumer.NextEvents(3);
  REQUIRE(events.size() == 3);
  consumer.Nack(events[0], v1::NACK_ACTION_PARK, "poison");
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(FailedDeadLetters(daemon->client(), "g") == 3);
  CHECK(GetGroup(daemon->client(), "g").lanes(0).parked_streams() == 1);
  MustAppend(daemon->client(), stream, NewEvents(1));
  MustAppend(daemon->client(), other, NewEvents(1));
  events = consumer.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().stream().aggregate_id() == other.aggregate_id());
  consumer.Ack(events);
  CHECK(Eventually([&] { return FailedDeadLetters(daemon->client(), "g") == 4; }));
  // Only the first is resolved by hand: the others follow by themselves.
  const auto letters = DeadLettersOf(daemon->client(), "g");
  CHECK(letters[0].error_message() == "poison");
  CHECK(ResolveDeadLetters(daemon->client(), "g", {letters[0].id()}) == 1);
  for (const std::int64_t version : {2, 3, 4}) {
    events = consumer.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].event().version() == version);
    consumer.Ack(events);
  }
  CHECK(Eventually([&] {
    return DeadLettersOf(daemon->client(), "g", v1::DEAD_LETTER_STATUS_RESOLVED).size() == 4;
  }));
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
  CreateGroup(daemon->client(), "g", OneLane(v1::ON_FAILURE_STOP));
  const bool is_retried = GENERATE(false, true);
  const bool is_taken_over = GENERATE(false, true);
  auto consumer = std::make_unique<Consumer>(daemon->client(), "g", 1);
  StopALane(*daemon, consumer.get());
  CHECK(
      Eventually([&] { return daemon->Metric("eventstore_group_lane_stopped").value_or(0) == 1; }));
  CHECK(consumer->NextEvents(1, milliseconds(300)).empty());
  if (is_taken_over) {
    // A new owner knows.
    CHECK(consumer->Leave().ok());
    consumer = std::make_unique<Consumer>(daemon->client(), "g", 1);
    REQUIRE(consumer->WaitForLanes(1));
    CHECK(consumer->NextEvents(1, milliseconds(1'500)).empty());
  }
  const std::int64_t decided = is_retried ? RetryDeadLetters(daemon->client(), "g")
                                          : ResolveDeadLetters(daemon->client(), "g");
  CHECK(decided == 1);
  for (std::int64_t version = is_retried ? 1 : 2; version <= 2; ++version) {
    const auto events = consumer->NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].event().version() == version);
    consumer->Ack(events);
  }
  CHECK(WaitForLagZero(daemon->client(), "g"));
  CHECK(WaitForStatus(daemon->client(), v1::DEAD_LETTER_STATUS_RESOLVED));
  // Nothing comes twice.
  CHECK(consumer->NextEvents(1, kTwoLooks).empty());
}

TEST_CASE("ARetryThatChangesHandsIsResolvedByTheNextOwnersAckAndComesNoMore", "[groups]") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(2));
  CreateGroup(daemon->client(), "g", OneLane(v1::ON_FAILURE_STOP));
  Consumer first(daemon->client(), "g", 1);
  StopALane(*daemon, &first);
  CHECK(RetryDeadLetters(daemon->client(), "g") == 1);
  auto events = first.NextEvents(1);
  REQUIRE(events.size() == 1);
  CHECK(events[0].event().version() == 1);
  CHECK(first.Leave().ok());  // without an answer
  Consumer second(daemon->client(), "g", 1);
  for (const std::int64_t version : {1, 2}) {
    events = second.NextEvents(1);
    REQUIRE(events.size() == 1);
    CHECK(events[0].event().version() == version);
    if (version == 1) CHECK(events[0].redelivered());
    second.Ack(events);
  }
  CHECK(WaitForStatus(daemon->client(), v1::DEAD_LETTER_STATUS_RESOLVED));
  CHECK(second.NextEvents(1, kTwoLooks).empty());
  CHECK(WaitForLagZero(daemon->client(), "g"));
}
