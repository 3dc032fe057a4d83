// The write lane's own logic, against a naive model: with other daemons, lost connections, commits
// in doubt, failovers and refused data, all of it by chance.
//
// Each seed is a history of its own, and gives the same one everywhere. The first that goes wrong
// is told call by call; EVENTSTORE_TEST_VERBOSE=1 tells how often what happened.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>
#include <random>
#include <stdexcept>
#include <utility>

#include "tests/unit/engine/lane_world.h"

namespace eventstore::engine {
namespace {

constexpr int kRuns = 500;
constexpr int kBatchesPerRun = 60;

v1::ExpectedVersion Any() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_any();
  return expected;
}

v1::ExpectedVersion NoStream() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_no_stream();
  return expected;
}

Weather RandomWeather(LaneWorld& world) {
  const auto some = [&world](int chance) { return world.Below(2) == 0 ? 0 : chance; };
  switch (world.Below(5)) {
    case 0:
      return {};
    case 1:
      return {.neighbour = 2 + world.Below(100)};
    case 2:  // one trouble in many batches, so that what it leaves behind shows
      return {10, 5, 5, 10, 5, 5, 10, 5};
    default:
      return {some(80), some(60), some(60), some(150), some(40), some(40), some(150), some(30)};
  }
}

// A whole history. Returns what was wrong; counts what happened.
std::string RunHistory(std::uint64_t seed, bool keep_calls, std::map<std::string, int>* seen) {
  std::mt19937_64 shapes(seed);
  LaneWorld::Shape shape;
  shape.streams = shapes() % 2 == 0 ? 3 + static_cast<int>(shapes() % 4) : 60;
  shape.cache_streams_max = shapes() % 3 == 0 ? 2 : 100;
  shape.foreign_events_max = shapes() % 4 == 0 ? 2 : 100;
  shape.appends_max = shapes() % 3 == 0 ? 1 : 10;
  shape.transactions = shapes() % 3 == 0 ? 0 : 400;
  shape.condition_positions_max = shapes() % 4 == 0 ? 3 : 1000;
  constexpr int kOdd[] = {10, 60, 500};
  shape.odd = kOdd[shapes() % 3];
  LaneWorld world(shape, seed);
  world.database().keep_calls = keep_calls;
  if (shapes() % 4 == 0) {  // a store with a past, and another server than before
    world.Neighbour();
    world.Neighbour();
    if (shapes() % 2 == 0) world.database().FailOver(0);
  }
  world.RunIdle();  // as the writer does first
  world.database().weather = RandomWeather(world);
  const bool neighbours = world.database().weather.neighbour > 0;
  bool more = false;
  try {
    for (int i = 0; i < kBatchesPerRun && world.database().complaints.empty(); ++i) {
      if (neighbours && world.Below(4) == 0) {
        world.database().NeighbourSignsOn();
        world.Neighbour();
      }
      if (!more && world.Below(10) == 0) world.RunIdle();
      more = world.Below(2) == 0;
      world.RunBatch(more);
    }
    world.RunEnd();
  } catch (const std::runtime_error&) {  // a batch without end: the complaint says so
  }
  for (const auto& [what, times] : world.database().seen) (*seen)[what] += times;
  return world.Complaint();
}

TEST_CASE("Random batches in any weather are answered as by a naive model", "[lane][random]") {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  const std::uint64_t first =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "EVENTSTORE_TEST_SEED=" << first << " (" << kRuns << " seeds from there)\n";
  std::map<std::string, int> seen;
  for (std::uint64_t seed = first; seed < first + kRuns; ++seed) {
    if (RunHistory(seed, /*keep_calls=*/false, &seen).empty()) continue;
    // Again, to tell the story.
    const std::string story = RunHistory(seed, /*keep_calls=*/true, &seen);
    std::cout << "EVENTSTORE_TEST_SEED=" << seed << ": " << story << "\n";
    FAIL("EVENTSTORE_TEST_SEED=" << seed << ": " << story.substr(0, story.find('\n')));
  }
  // It was all there.
  for (const char* what : {"written",
                           "replayed",
                           "conflict",
                           "duplicate",
                           "deleted",
                           "deleted softly",
                           "expired",
                           "refused",
                           "unavailable",
                           "unavailable, written",
                           "internal error",
                           "undisturbed",
                           "answered later",
                           "lost before it was sent",
                           "neighbour",
                           "lost",
                           "lost at rollback",
                           "open fails",
                           "clock set",
                           "failover",
                           "rewound",
                           "told of a rewind",
                           "in doubt",
                           "in doubt, written",
                           "in doubt, not written",
                           "in doubt, not replicated",
                           "no partition",
                           "partitions low",
                           "poison",
                           "probe lost",
                           "stored id",
                           "guard of the head",
                           "55P03",
                           "25006",
                           "XX000",
                           "transaction written",
                           "transaction replayed",
                           "transaction conflict",
                           "transaction duplicate",
                           "transaction deleted",
                           "condition held",
                           "condition failed",
                           "conditions by query",
                           "sent back",
                           "written optimistically",
                           "written under the lock"}) {
    INFO(what);
    CHECK(seen[what] > 0);
  }
  if (std::getenv("EVENTSTORE_TEST_VERBOSE") != nullptr) {
    for (const auto& [what, times] : seen) std::cout << "  " << what << ": " << times << "\n";
  }
}

// What the lane asks of its database for a batch.
std::vector<std::string> CallsOf(LaneWorld& world, const std::vector<LaneWorld::Wanted>& batch) {
  world.database().keep_calls = true;
  world.RunBatch(batch);
  std::vector<std::string> calls;
  for (const std::string& line : world.database().calls) {
    if (line[0] != ' ' && line.find("write ") != 0 && line.find("append ") != 0)
      calls.push_back(line);
  }
  world.database().calls.clear();
  REQUIRE(world.Complaint().empty());
  return calls;
}

using Calls = std::vector<std::string>;

TEST_CASE("A lane alone writes a batch in one round trip", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  world.database().calls.clear();
  const Uuid id = world.NewId();
  // It does not know yet whether others wrote meanwhile.
  CHECK(CallsOf(world, {{0, Any(), {id}}}) == Calls{"lock", "write"});
  CHECK(CallsOf(world, {{0, Any(), {world.NewId()}}}) == Calls{"write_optimistic"});
  CHECK(CallsOf(world, {{0, Any(), {world.NewId()}}, {1, NoStream(), {world.NewId()}}}) ==
        Calls{"look_up", "write_optimistic"});
  // A replay is found by its id.
  CHECK(CallsOf(world, {{0, Any(), {id}}}) ==
        Calls{"write_optimistic", "rollback", "lock", "rollback"});
  CHECK(CallsOf(world, {{1, Any(), {world.NewId()}}}) == Calls{"write_optimistic"});
}

v1::AppendCondition NoTag(const std::string& tag, std::int64_t after_position) {
  v1::AppendCondition condition;
  condition.add_query()->add_tags(tag);
  condition.set_after_position(after_position);
  return condition;
}

TEST_CASE("A transaction with conditions takes the round trips of an append", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  world.database().calls.clear();
  const auto transaction = [&] {
    return LaneWorld::Wanted{0, Any(), {world.NewId()}, {NoTag("no such tag", 0)}};
  };
  CHECK(CallsOf(world, {transaction()}) == Calls{"lock", "write"});
  CHECK(CallsOf(world, {transaction()}) == Calls{"write_optimistic"});
  CHECK(CallsOf(world, {transaction(), transaction()}) == Calls{"write_optimistic"});
}

TEST_CASE("What the lane committed itself since the evaluation is known before the hub has it",
          "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  const auto transaction = [&] {
    return LaneWorld::Wanted{0, Any(), {world.NewId()}, {NoTag("no such tag", 0)}};
  };
  (void)CallsOf(world, {transaction()});
  // Evaluated, and then a batch is committed that is handed on while the next one is written.
  bool first = true;
  world.after_evaluation = [&] {
    if (!std::exchange(first, false)) return;
    world.RunBatch({transaction()}, /*more=*/true);
    world.database().calls.clear();
  };
  CHECK(CallsOf(world, {transaction()}) == Calls{"write_optimistic"});
}

TEST_CASE("What another daemon committed since the evaluation takes one query for the batch",
          "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  (void)CallsOf(world, {{0, Any(), {world.NewId()}, {}}});
  world.database().calls.clear();
  const std::vector<LaneWorld::Wanted> batch = {
      {0, Any(), {world.NewId()}, {NoTag("no such tag", 0)}},
      {0, Any(), {world.NewId()}, {NoTag("nor this", 0)}}};
  // Evaluated, and then somebody else is faster.
  world.after_evaluation = [&world] { world.NeighbourAppends(1, {world.NewId()}); };
  CHECK(CallsOf(world, batch) ==
        Calls{"write_optimistic", "rollback", "lock", "read_touched", "find_matches", "write"});
}

// What is told to the batch's callers.
std::vector<std::string> AnswersOf(LaneWorld& world, const std::vector<LaneWorld::Wanted>& batch) {
  world.database().keep_calls = true;
  world.RunBatch(batch);
  std::vector<std::string> answers;
  for (const std::string& line : world.database().calls) {
    if (line.find("  write ") == 0) answers.push_back(line.substr(line.find(": ") + 2));
  }
  world.database().calls.clear();
  REQUIRE(world.Complaint().empty());
  return answers;
}

TEST_CASE("A replay is told as one however old the evaluation of its conditions is", "[lane]") {
  LaneWorld::Shape shape;
  shape.condition_positions_max = 2;
  LaneWorld world(shape, 1);
  world.RunIdle();
  const auto transaction = [](const Uuid& id) {
    return LaneWorld::Wanted{0, Any(), {id}, {NoTag("no such tag", 0)}};
  };
  const Uuid id = world.NewId();
  (void)AnswersOf(world, {transaction(id)});
  world.after_evaluation = [&world] {
    for (int i = 0; i < 3; ++i) world.NeighbourAppends(1, {world.NewId()});
  };
  const std::vector<std::string> answers =
      AnswersOf(world, {transaction(id), transaction(world.NewId())});
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].find("deduplicated: true") != std::string::npos);
  CHECK(answers[1] == "sent back");
}

TEST_CASE("An evaluation of another epoch is sent back", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  const auto transaction = [&world] {
    return LaneWorld::Wanted{0, Any(), {world.NewId()}, {NoTag("no such tag", 0)}};
  };
  (void)AnswersOf(world, {transaction()});
  world.after_evaluation = [&world] { world.database().FailOver(0); };
  CHECK(AnswersOf(world, {transaction()}) == std::vector<std::string>{"sent back"});
}

TEST_CASE("A batch that holds a conflict is written under the lock at once", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  world.database().calls.clear();
  (void)CallsOf(world, {{0, Any(), {world.NewId()}}});
  CHECK(CallsOf(world, {{0, NoStream(), {world.NewId()}}, {1, Any(), {world.NewId()}}}) ==
        Calls{"look_up", "lock", "write"});
  // That was no failure: the next one is optimistic again.
  CHECK(CallsOf(world, {{1, Any(), {world.NewId()}}}) == Calls{"write_optimistic"});
}

TEST_CASE("After a write that failed for the server's reasons, the next try takes the lock",
          "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  world.database().calls.clear();
  (void)CallsOf(world, {{0, Any(), {world.NewId()}}});
  world.database().refuse_next = "55P03";
  CHECK(CallsOf(world, {{0, Any(), {world.NewId()}}}) ==
        Calls{"write_optimistic", "rollback", "lock", "write"});
  CHECK(CallsOf(world, {{0, Any(), {world.NewId()}}}) == Calls{"write_optimistic"});
}

TEST_CASE("Where more work waits, a batch is answered while the next one is written", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  const auto answers = [&world] { return world.database().seen["written"]; };
  world.RunBatch({{0, Any(), {world.NewId()}}}, /*more=*/true);
  CHECK(answers() == 0);
  world.RunBatch({{0, Any(), {world.NewId()}}}, /*more=*/true);
  CHECK(answers() == 1);
  world.RunBatch({{0, Any(), {world.NewId()}}});
  CHECK(answers() == 3);
  world.RunBatch({{0, Any(), {world.NewId()}}}, /*more=*/true);
  CHECK(answers() == 3);
  world.RunEnd();
  CHECK(answers() == 4);
  CHECK(world.Complaint().empty());
}

TEST_CASE("After failures 0, 1, 3 and up to 63 batches take the lock first", "[lane]") {
  LaneWorld world({}, 1);
  world.RunIdle();
  (void)CallsOf(world, {{0, Any(), {world.NewId()}}});
  // How many batches took the lock before each optimistic one, with another daemon that commits
  // before every batch.
  const auto locked_between = [&world](std::size_t optimistic) {
    std::vector<int> counts;
    for (int locked = 0; counts.size() < optimistic;) {
      world.NeighbourAppends(1, {world.NewId()});
      const Calls calls = CallsOf(world, {{0, Any(), {world.NewId()}}});
      if (calls.front() == "write_optimistic") {
        counts.push_back(std::exchange(locked, 0));
      } else {
        REQUIRE(calls.front() == "lock");
        ++locked;
      }
    }
    return counts;
  };
  CHECK(locked_between(9) == std::vector<int>{0, 0, 1, 3, 7, 15, 31, 63, 63});
  // Alone again: one success is enough.
  int batches = 0;
  while (CallsOf(world, {{0, Any(), {world.NewId()}}}) != Calls{"write_optimistic"}) ++batches;
  CHECK(batches == 63);
  CHECK(locked_between(4) == std::vector<int>{0, 0, 1, 3});
}

}  // namespace
}  // namespace eventstore::engine
