// The rules of a lane, one by one.
#include "server/engine/groups/lane_state.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

// A lane with a clock and ids.
class Lane {
 public:
  explicit Lane(LaneRules rules = {}, LaneStart start = {})
      : rules_(rules), state_(rules, std::move(start)) {}

  void Offer(std::int64_t position, std::uint64_t stream) {
    state_.Offer({position, stream, 1'000 + position, std::to_string(position)}, now_);
  }
  // The positions of all that can be delivered now.
  std::vector<std::int64_t> Deliver() {
    std::vector<std::int64_t> positions;
    while (state_.HasNext()) {
      last_ = state_.Next(++id_, now_);
      CHECK(*last_.bytes == std::to_string(last_.position));
      ids_[last_.position] = id_;
      positions.push_back(last_.position);
    }
    return positions;
  }
  bool Ack(std::int64_t position) { return state_.Ack(ids_.at(position)); }
  bool Nack(std::int64_t position) {
    return state_.Retry(ids_.at(position), "no", std::nullopt, now_);
  }
  std::int64_t Pass(milliseconds time) {
    now_ += time;
    return state_.Advance(now_);
  }
  std::vector<std::int64_t> ParkAll() {
    std::vector<std::int64_t> positions;
    for (;;) {
      const auto parks = state_.TakeParks();
      if (parks.empty()) return positions;
      for (const auto& park : parks) {
        positions.push_back(park.position);
        state_.Parked(park.position);
      }
    }
  }
  LaneState& operator*() { return state_; }
  LaneState* operator->() { return &state_; }
  LaneState::Delivery last() const { return last_; }
  LaneState::Time now() const { return now_; }
  std::int64_t IdOf(std::int64_t position) const { return ids_.at(position); }

 private:
  LaneRules rules_;
  LaneState state_;
  LaneState::Time now_{std::chrono::hours(1)};
  LaneState::Delivery last_;
  std::int64_t id_ = 0;
  std::map<std::int64_t, std::int64_t> ids_;
};

using Positions = std::vector<std::int64_t>;

TEST_CASE("TheCheckpointIsTheLastPositionUpToWhichAllIsSettled", "[lane_state]") {
  Lane lane;
  CHECK(lane->checkpoint() == 0);
  lane.Offer(3, 1);
  lane.Offer(5, 2);
  lane.Offer(9, 3);
  CHECK(lane->checkpoint() == 2);
  CHECK(lane.Deliver() == Positions{3, 5, 9});
  CHECK(lane.Ack(5));
  CHECK(lane->checkpoint() == 2);
  CHECK(lane.Ack(3));
  CHECK(lane->checkpoint() == 8);
  lane->PassOver(20);
  CHECK(lane->checkpoint() == 8);
  CHECK(lane.Ack(9));
  CHECK(lane->checkpoint() == 20);
  CHECK(lane->unsettled() == 0);
}

TEST_CASE("AnAckTwiceOrOfAnUnknownDeliveryIsIgnored", "[lane_state]") {
  Lane lane;
  lane.Offer(1, 1);
  lane.Deliver();
  CHECK(lane.Ack(1));
  CHECK_FALSE(lane.Ack(1));
  CHECK_FALSE(lane->Ack(77));
  CHECK_FALSE(lane->Retry(77, "", std::nullopt, lane.now()));
  CHECK_FALSE(lane->Park(77, ""));
}

TEST_CASE("AnEventInRetryHoldsBackOnlyItsOwnStream", "[lane_state]") {
  Lane lane;
  for (const std::int64_t position : {1, 2, 3, 4}) {
    lane.Offer(position, static_cast<std::uint64_t>(position % 2));
  }
  CHECK(lane.Deliver() == Positions{1, 2, 3, 4});
  CHECK(lane.Nack(1));
  // 3 follows 1, so its delivery counts no more.
  CHECK_FALSE(lane.Ack(3));
  CHECK(lane.Ack(2));
  CHECK(lane.Ack(4));
  CHECK(lane.Deliver().empty());
  lane.Offer(5, 0);
  CHECK(lane.Deliver() == Positions{5});
  lane.Pass(milliseconds(500));
  CHECK(lane.Deliver() == Positions{1});
  CHECK(lane.last().attempt == 2);
  CHECK(lane.last().is_redelivered);
  CHECK(lane.Ack(1));
  CHECK(lane.Deliver() == Positions{3});
  CHECK(lane.last().attempt == 1);
  CHECK(lane.last().is_redelivered);
}

TEST_CASE("AnEarlyAckIsVoidWhenAnEarlierEventOfTheStreamFails", "[lane_state]") {
  Lane lane;
  lane.Offer(1, 1);
  lane.Offer(2, 1);
  lane.Deliver();
  CHECK(lane.Ack(2));
  CHECK(lane->checkpoint() == 0);
  CHECK(lane.Nack(1));
  lane.Pass(milliseconds(500));
  CHECK(lane.Deliver() == Positions{1});
  CHECK(lane.Ack(1));
  CHECK(lane->checkpoint() == 1);
  CHECK(lane.Deliver() == Positions{2});
}

TEST_CASE("WhatIsNotAckedInTimeFails", "[lane_state]") {
  Lane lane;
  lane.Offer(1, 1);
  lane.Deliver();
  CHECK(lane.Pass(milliseconds(29'999)) == 0);
  CHECK(lane.Pass(milliseconds(1)) == 1);
  CHECK_FALSE(lane.Ack(1));
  CHECK(lane->retrying() == 1);
  CHECK(lane->UnsavedAttempts().size() == 1);
  lane->AttemptsSaved(lane->UnsavedAttempts());
  CHECK(lane->UnsavedAttempts().empty());
}

TEST_CASE("ParkedAfterTheLastAttemptAndTheStreamGoesOn", "[lane_state]") {
  LaneRules rules;
  rules.attempts_max = 2;
  Lane lane(rules);
  lane.Offer(1, 1);
  lane.Offer(2, 1);
  lane.Deliver();
  lane.Nack(1);
  lane.Pass(milliseconds(500));
  lane.Deliver();
  lane.Nack(1);
  CHECK(lane.Deliver().empty());  // not before it is in the tables
  CHECK(lane->checkpoint() == 0);
  const auto parks = lane->TakeParks();
  REQUIRE(parks.size() == 1);
  CHECK(parks[0].attempts == 2);
  CHECK(parks[0].error == "no");
  CHECK(lane->TakeParks().empty());
  lane->ParkFailed(1);
  CHECK(lane.ParkAll() == Positions{1});
  CHECK(lane->checkpoint() == 1);
  CHECK(lane.Deliver() == Positions{2});
}

TEST_CASE("AParkedStreamParksWhatFollowsUntilItIsUnparked", "[lane_state]") {
  LaneRules rules;
  rules.attempts_max = 1;
  rules.on_failure = v1::ON_FAILURE_PARK_STREAM;
  Lane lane(rules);
  for (const std::int64_t position : {1, 2, 3}) lane.Offer(position, position == 2 ? 2U : 1U);
  lane.Deliver();
  lane.Nack(1);
  CHECK(lane->IsStreamParked(1));
  CHECK(lane.ParkAll() == Positions{1, 3});
  lane.Offer(4, 1);
  CHECK(lane.Deliver().empty());
  const auto parks = lane->TakeParks();
  REQUIRE(parks.size() == 1);
  CHECK(parks[0].is_behind);
  CHECK(parks[0].attempts == 0);
  lane->Parked(4);
  CHECK(lane.Ack(2));
  CHECK(lane->checkpoint() == 4);
  // Its first event was resolved: the later ones come again, before anything new.
  lane->OnDurable(4);
  CHECK(lane->AddRetry({3, 1, 0, "3"}, 0));
  CHECK(lane->AddRetry({4, 1, 0, "4"}, 0));
  lane->UnparkStream(1);
  lane.Offer(5, 1);
  CHECK(lane.Deliver() == Positions{3});
  CHECK(lane.Ack(3));
  CHECK(lane.Deliver() == Positions{4});
  CHECK(lane.Ack(4));
  CHECK(lane->TakeResolved() == Positions{3, 4});
  CHECK(lane.Deliver() == Positions{5});
}

TEST_CASE("AStoppedLaneWaitsForTheDecision", "[lane_state]") {
  LaneRules rules;
  rules.attempts_max = 1;
  rules.on_failure = v1::ON_FAILURE_STOP;
  const bool resolved = GENERATE(true, false);
  Lane lane(rules);
  lane.Offer(1, 1);
  lane.Offer(2, 2);
  lane.Deliver();
  lane.Nack(1);
  lane.Nack(2);
  CHECK(lane.ParkAll() == Positions{1});
  CHECK(lane->stopped_at() == 1);
  lane.Offer(3, 3);
  CHECK(lane.Deliver().empty());
  CHECK(lane->checkpoint() == 0);
  lane->Resume(resolved);
  if (!resolved) {
    CHECK(lane.Deliver() == Positions{1, 3});
    CHECK(lane.Ack(1));
  }
  CHECK(lane->checkpoint() == 1);
  CHECK(lane.ParkAll() == Positions{2});  // the next one
  CHECK(lane->stopped_at() == 2);
}

TEST_CASE("ARetriedDeadLetterGoesBeforeTheRestOfItsStream", "[lane_state]") {
  Lane lane({}, {10, false, {}, {}});
  lane.Offer(11, 1);
  CHECK(lane->AddRetry({4, 1, 0, "4"}, 2));
  CHECK_FALSE(lane->AddRetry({4, 1, 0, "4"}, 2));
  CHECK(lane->AddRetry({6, 1, 0, "6"}, 2));
  CHECK(lane->checkpoint() == 10);
  CHECK(lane.Deliver() == Positions{4});
  CHECK(lane.last().attempt == 3);
  CHECK(lane.Ack(4));
  CHECK(lane.Deliver() == Positions{6});
  lane.Nack(6);
  const auto parks = lane->TakeParks();
  REQUIRE(parks.size() == 1);
  CHECK(parks[0].is_retry);
  lane->Parked(6);
  CHECK(lane->TakeResolved() == Positions{4});
  CHECK(lane.Deliver() == Positions{11});
  CHECK(lane.Ack(11));
  CHECK(lane->checkpoint() == 11);
}

TEST_CASE("TheSpanCountsFromTheCheckpointInTheTables", "[lane_state]") {
  LaneRules rules;
  rules.unsettled_span_max = 3;
  Lane lane(rules);
  for (const std::int64_t position : {1, 2, 3}) lane.Offer(position, 1);
  CHECK_FALSE(lane->HasRoom());
  lane.Deliver();
  lane.Ack(1);
  CHECK_FALSE(lane->HasRoom());
  CHECK_FALSE(lane->is_clean());
  lane->OnDurable(1);
  CHECK(lane->HasRoom());
}

TEST_CASE("BytesAreBoundedTooButThereIsRoomForOneEvent", "[lane_state]") {
  LaneRules rules;
  rules.bytes_max = 10;
  Lane lane(rules);
  CHECK(lane->HasRoom());
  lane->Offer({1, 1, 0, std::string(50, 'x')}, lane.now());
  CHECK_FALSE(lane->HasRoom());
}

TEST_CASE("ADeadMembersEventsCountAsFailedAndALeavingOnesDoNot", "[lane_state]") {
  const bool failed = GENERATE(true, false);
  Lane lane;
  lane.Offer(1, 1);
  lane.Offer(2, 1);
  lane.Offer(3, 2);
  lane.Deliver();
  lane.Ack(2);
  lane->ReturnAll(failed, "gone", lane.now());
  CHECK(lane->in_flight() == 0);
  CHECK(lane.Deliver().empty() == failed);
  CHECK(lane->retrying() == (failed ? 2 : 0));
  CHECK_FALSE(lane->is_clean());
}

TEST_CASE("TheLastAttemptOfOneThatWasWithTheDeadIsItsOwn", "[lane_state]") {
  LaneRules rules;
  rules.attempts_max = 2;
  Lane lane(rules);
  lane.Offer(1, 1);
  CHECK_FALSE(lane->NextIsSuspect());
  lane.Deliver();
  lane->ReturnAll(true, "gone", lane.now());
  lane.Pass(milliseconds(500));
  REQUIRE(lane->HasNext());
  CHECK(lane->NextIsSuspect());
}

TEST_CASE("ATakeoverGoesOnCountingAttemptsAndKnowsWhatWasParked", "[lane_state]") {
  LaneStart start;
  start.checkpoint = 4;
  start.may_repeat = true;
  start.known[5] = {3, milliseconds(200), false};
  start.known[6] = {5, milliseconds(0), true};
  Lane lane({}, start);
  lane.Offer(5, 1);
  lane.Offer(6, 2);
  lane.Offer(7, 3);
  CHECK(lane.Deliver() == Positions{7});
  CHECK(lane.last().is_redelivered);
  lane.Pass(milliseconds(200));
  CHECK(lane.Deliver() == Positions{5});
  CHECK(lane.last().attempt == 4);
  CHECK(lane.Ack(5));
  CHECK(lane->checkpoint() == 6);
}

TEST_CASE("ATakeoverKnowsTheDeadLettersOfUnsettledEventsAndResolvesThem", "[lane_state]") {
  const bool is_stopped = GENERATE(true, false);
  LaneRules rules;
  rules.on_failure = v1::ON_FAILURE_STOP;
  LaneStart start;
  start.known[1] = {1, milliseconds(0), /*is_settled=*/false, /*has_dead_letter=*/true};
  if (is_stopped) start.stopped_at = 1;
  Lane lane(rules, std::move(start));
  lane.Offer(1, 7);
  lane.Offer(2, 7);
  lane.Pass(milliseconds(1));
  if (is_stopped) {
    CHECK(lane.Deliver().empty());
    CHECK(lane->Resume(/*settled=*/false));
  }
  CHECK(lane.Deliver() == std::vector<std::int64_t>{1});
  CHECK(lane->TakeResolved().empty());
  CHECK(lane.Ack(1));
  CHECK(lane->TakeResolved() == std::vector<std::int64_t>{1});
  CHECK(lane.Deliver() == std::vector<std::int64_t>{2});
  CHECK(lane.Ack(2));
  CHECK(lane->TakeResolved().empty());
  CHECK(lane->checkpoint() == 2);
}

TEST_CASE("AStoppedLanesEventThatSomebodyResolvedIsNotResolvedOnceMore", "[lane_state]") {
  LaneRules rules;
  rules.on_failure = v1::ON_FAILURE_STOP;
  LaneStart start;
  start.known[1] = {1, milliseconds(0), /*is_settled=*/false, /*has_dead_letter=*/true};
  start.stopped_at = 1;
  Lane lane(rules, std::move(start));
  lane.Offer(1, 7);
  CHECK(lane->Resume(/*settled=*/true));
  CHECK(lane->checkpoint() == 1);
  CHECK(lane->TakeResolved().empty());
}

TEST_CASE("TheBackoffDoublesUpToItsMaximumWithJitter", "[lane_state]") {
  const LaneRules rules;
  std::set<milliseconds> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CHECK(BackoffOf(rules, 1, seed) <= milliseconds(500));
    CHECK(BackoffOf(rules, 1, seed) >= milliseconds(375));
    CHECK(BackoffOf(rules, 3, seed) <= milliseconds(2'000));
    CHECK(BackoffOf(rules, 3, seed) >= milliseconds(1'500));
    CHECK(BackoffOf(rules, 1'000, seed) <= milliseconds(60'000));
    CHECK(BackoffOf(rules, 1'000, seed) >= milliseconds(45'000));
    seen.insert(BackoffOf(rules, 3, seed));
  }
  CHECK(seen.size() > 25);
}

TEST_CASE("AnErasedEventIsDeliveredWithoutItsContent", "[lane_state]") {
  LaneRules rules;
  rules.attempts_max = 5;
  LaneState lane(rules, {});
  const LaneState::Time now{std::chrono::hours(1)};
  lane.Offer({3, 1, 0, "secret 3"}, now);
  lane.Offer({4, 2, 0, "secret 4"}, now);
  lane.Offer({5, 3, 0, "secret 5"}, now);
  CHECK(*lane.Next(1, now).bytes == "secret 3");  // in flight already
  lane.Erase({3, 5, 99}, [](const std::string& bytes) { return "erased " + bytes.substr(7); });
  CHECK(*lane.Next(2, now).bytes == "secret 4");
  CHECK(*lane.Next(3, now).bytes == "erased 5");
  // What was delivered before is still acked, or delivered again as it is now.
  CHECK(lane.Ack(2));
  CHECK(lane.Retry(1, "cannot read the secret", milliseconds(0), now));
  lane.Erase({3}, [](const std::string& bytes) { return bytes; });
  REQUIRE(lane.UnsavedAttempts().size() == 1);
  CHECK(lane.UnsavedAttempts()[0].error.empty());
  lane.Advance(now);
  CHECK(*lane.Next(4, now).bytes == "erased 3");
  CHECK(lane.Ack(4));
  CHECK(lane.Ack(3));
  CHECK(lane.checkpoint() == 5);
}

}  // namespace
}  // namespace eventstore::engine
