// Who owns which lane.
#include "server/engine/groups/rebalance.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

namespace eventstore::engine {
namespace {

Uuid Id(int number) {
  Uuid id{};
  id[15] = static_cast<std::uint8_t>(number);
  return id;
}

// A group of daemons that each plan for their own members and carry it out.
class World {
 public:
  explicit World(int lanes) {
    for (int i = 0; i < lanes; ++i) lanes_.push_back({i, std::nullopt, false});
  }
  void Join(int member, int daemon) { daemon_of_[Id(member)] = daemon; }
  void Leave(int member) {
    daemon_of_.erase(Id(member));
    for (PlanLane& lane : lanes_) {
      if (lane.member == Id(member)) lane.member.reset();
    }
  }
  // One daemon's turn; how many lanes it took or gave.
  int Turn(int daemon) {
    std::vector<PlanMember> members;
    for (const auto& [id, of] : daemon_of_) members.push_back({id, of == daemon});
    const Plan plan = MakePlan(members, lanes_);
    for (const auto& [lane, member] : plan.claims) {
      PlanLane& claimed = lanes_[static_cast<std::size_t>(lane)];
      CHECK(!claimed.member.has_value());
      CHECK(daemon_of_.at(member) == daemon);
      claimed.member = member;
    }
    for (const std::int32_t lane : plan.releases) {
      PlanLane& released = lanes_[static_cast<std::size_t>(lane)];
      REQUIRE(released.member.has_value());
      CHECK(daemon_of_.at(*released.member) == daemon);
      released.member.reset();
    }
    return static_cast<int>(plan.claims.size() + plan.releases.size());
  }
  int Settle(int daemons) {
    int moves = 0;
    for (int quiet = 0, turns = 0; quiet < daemons && turns < 1000; ++turns) {
      const int moved = Turn(turns % daemons);
      moves += moved;
      quiet = moved == 0 ? quiet + 1 : 0;
    }
    return moves;
  }
  std::map<Uuid, int> Counts() const {
    std::map<Uuid, int> counts;
    for (const auto& [id, daemon] : daemon_of_) counts[id] = 0;
    for (const PlanLane& lane : lanes_) {
      if (lane.member.has_value()) ++counts[*lane.member];
    }
    return counts;
  }
  std::vector<PlanLane>& lanes() { return lanes_; }

 private:
  std::map<Uuid, int> daemon_of_;
  std::vector<PlanLane> lanes_;
};

TEST_CASE("OneMemberGetsAllLanes") {
  World world(16);
  world.Join(1, 0);
  CHECK(world.Settle(1) == 16);
  CHECK(world.Counts().at(Id(1)) == 16);
}

TEST_CASE("ANewMemberTakesItsShareAndNothingElseMoves") {
  World world(16);
  world.Join(1, 0);
  world.Settle(2);
  world.Join(2, 1);
  CHECK(world.Settle(2) == 2 * 8);  // each of eight lanes is released and claimed
  CHECK(world.Counts().at(Id(2)) == 8);
  world.Join(3, 0);
  CHECK(world.Settle(2) == 2 * 5);
  CHECK(world.Settle(2) == 0);
}

TEST_CASE("MoreMembersThanLanesLeaveSomeIdle") {
  World world(4);
  for (int i = 1; i <= 9; ++i) world.Join(i, i % 2);
  world.Settle(2);
  int busy = 0;
  for (const auto& [id, count] : world.Counts()) busy += count;
  CHECK(busy == 4);
}

TEST_CASE("ALaneThatIsBeingGivenUpIsNotGivenUpAgain") {
  World world(4);
  world.Join(1, 0);
  world.Settle(1);
  world.Join(2, 0);
  world.lanes()[3].is_draining = world.lanes()[2].is_draining = true;
  CHECK(world.Turn(0) == 0);
}

TEST_CASE("WhateverComesAndGoesTheSharesAreFairAndAllLanesOwned") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 dice(seed);
    CAPTURE(seed);
    const int daemons = 1 + static_cast<int>(dice() % 3);
    const int lanes = 1 + static_cast<int>(dice() % 32);
    World world(lanes);
    std::map<int, bool> there;
    for (int step = 0; step < 20; ++step) {
      const int member = 1 + static_cast<int>(dice() % 10);
      if (there[member]) {
        world.Leave(member);
      } else {
        world.Join(member, static_cast<int>(dice() % static_cast<unsigned>(daemons)));
      }
      there[member] = !there[member];
      if (dice() % 2 == 0) world.Turn(static_cast<int>(dice() % static_cast<unsigned>(daemons)));
      if (dice() % 3 != 0) continue;
      world.Settle(daemons);
      const auto counts = world.Counts();
      if (counts.empty()) continue;
      int sum = 0, least = lanes, most = 0;
      for (const auto& [id, count] : counts) {
        sum += count;
        least = std::min(least, count);
        most = std::max(most, count);
      }
      CHECK(sum == lanes);
      CHECK(most - least <= 1);
    }
  }
}

}  // namespace
}  // namespace eventstore::engine
