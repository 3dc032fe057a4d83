// Order and durability under fire: clients in processes of their own, two daemons on one store, and
// everything that can be cut, killed, frozen or crashed. What the clients recorded must be what the
// store holds.
//
// EVENTSTORE_FAULT_SEED repeats a run's choices (not its timing), EVENTSTORE_FAULT_SECONDS is how
// long there are faults in all, EVENTSTORE_FAULT_ROUNDS over how many runs with seeds that follow
// each other.
#include <catch2/catch.hpp>

#include "tests/faults/arena.h"
#include "tests/faults/checker/checker.h"
#include "tests/faults/injector.h"

using namespace eventstore;
using namespace eventstore::faults;

namespace {

constexpr std::int64_t kShortSeconds = 20;
// Streams with a closing event: how many of each type, and in all.
const std::vector<std::string> kClosings = {"Hot/hot-0", "Hot/hot-1", "Own/last",
                                            "Shared/shared-0"};

// Small limits and short waits, some of them others with each seed, so that every path is walked.
testing::Settings MakeSettings(Dice* dice) {
  const auto number = [&](std::int64_t least, std::int64_t most) {
    return std::to_string(dice->Between(least, most));
  };
  return {{"writer.lock_timeout_ms", "1000"},
          {"writer.idle_in_transaction_timeout_ms", "1000"},
          {"writer.statement_timeout_ms", "2000"},
          {"writer.max_wait_ms", number(1500, 4000)},
          {"writer.cache_streams_max", number(5, 200)},
          {"writer.foreign_events_max", number(0, 500)},
          {"writer.batch_events_max", number(5, 1000)},
          {"hub.ring_bytes_max", number(65'536, 200'000)},
          {"hub.poll_interval_ms", number(200, 2000)},
          {"reader.page_events_max", number(20, 500)},
          {"reader.window_positions", number(100, 2000)},
          {"partitions.size_events", number(1000, 5000)},
          {"partitions.check_interval_ms", "500"},
          {"daemon.heartbeat_ms", "300"},
          {"daemon.expire_ms", "2000"},
          {"database.connect_timeout_ms", "2000"},
          {"log.level", "debug"}};
}

void StartClients(Arena* arena, Dice* dice) {
  const auto seed = [&] { return static_cast<std::uint64_t>(dice->Between(1, 1'000'000)); };
  arena->StartWorker("writer", "a", seed());
  arena->StartWorker("writer", "b", seed());
  arena->StartWorker("reader", "r", seed());
  const auto subscribe = [&](const std::string& name, const std::vector<std::string>& what,
                             const std::vector<int>& daemons) {
    arena->StartWorker("subscriber", name, seed(), what, daemons);
  };
  subscribe("all-0", {"--until", "4"}, {0});
  subscribe("all-1", {"--until", "4"}, {1});
  subscribe("all", {"--until", "4"}, {0, 1});
  subscribe("hot", {"--until", "2", "--type", "Hot"}, {0, 1});
  subscribe("own", {"--until", "1", "--type", "Own"}, {1});
  subscribe("stream", {"--until", "1", "--stream", "Hot/hot-0"}, {0, 1});
  subscribe("shared", {"--until", "1", "--stream", "Shared/shared-0"}, {0});
}

void RunOnce(std::uint64_t seed, std::chrono::milliseconds duration) {
  INFO("EVENTSTORE_FAULT_SEED=" << seed);
  WARN("EVENTSTORE_FAULT_SEED=" << seed << ", " << duration.count() << " ms of faults");
  Dice dice(seed);
  Arena arena(MakeSettings(&dice));
  StartClients(&arena, &dice);
  Injector injector(&arena, seed + 1);
  injector.Run(duration);
  REQUIRE(arena.WaitReady());

  std::vector<std::string> findings;
  const auto finish = [&](const std::string& role, bool ask) {
    for (const std::string& failure : arena.FinishWorkers(role, ask)) findings.push_back(failure);
  };
  finish("writer", /*ask=*/true);
  finish("reader", /*ask=*/true);
  std::vector<std::string> close;
  for (const std::string& stream : kClosings) close.insert(close.end(), {"--close", stream});
  arena.StartWorker("closer", "c", 1, close);
  finish("closer", /*ask=*/false);
  finish("subscriber", /*ask=*/false);

  const History history = arena.ReadHistory();
  const FinalState state = arena.ReadFinalState(history, &dice);
  for (const std::string& finding : Check(history, state)) findings.push_back(finding);
  const Tally tally = Count(history, state);
  WARN("head " << state.head << "; " << injector.Text() << "; " << TextOf(tally));
  // The history was not rewound, and what should have been tried was.
  CHECK(state.epoch == 1);
  CHECK(tally.acknowledged > 200);
  CHECK(tally.conflicts > 20);
  CHECK(tally.refused > 5);
  CHECK(tally.deduplicated > 5);
  CHECK(tally.unknown_there + tally.unknown_gone > 10);
  CHECK(tally.sessions > 2 * 7);
  CHECK(tally.reads > 20);
  if (findings.empty()) return;
  std::string text;
  for (const std::string& finding : findings) text += finding + "\n";
  FAIL_CHECK(text << "records and logs: " << arena.Keep());
}

}  // namespace

TEST_CASE("WhatClientsSawUnderFireIsWhatTheStoreHolds") {
  const std::int64_t seconds = EnvironmentNumber("EVENTSTORE_FAULT_SECONDS", kShortSeconds);
  const std::int64_t rounds = EnvironmentNumber("EVENTSTORE_FAULT_ROUNDS", 1);
  const std::uint64_t seed = FaultSeed();
  for (std::int64_t round = 0; round < rounds; ++round) {
    RunOnce(seed + static_cast<std::uint64_t>(round),
            std::chrono::milliseconds(seconds * 1000 / rounds));
  }
}
