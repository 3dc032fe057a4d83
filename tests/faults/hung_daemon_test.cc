// A daemon that hangs while it holds the head's lock: the server's time-outs free the others.
#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/faults/arena.h"
#include "tests/faults/checker/checker.h"
#include "tests/faults/client/appender.h"
#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::faults;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kIdleTimeout{1'000};
constexpr milliseconds kLockTimeout{1'000};
// A lane that waited in vain tries again after a pause; and a busy machine is slow.
constexpr milliseconds kSlack{2'000};
constexpr int kRounds = 3;
constexpr int kFreezesMax = 2'000;

// A session that locked the head, and whose daemon sends nothing more.
constexpr char kIdleHolders[] =
    "SELECT count(*) FROM pg_stat_activity AS session JOIN pg_locks AS held USING (pid)"
    " JOIN pg_class AS locked ON locked.oid = held.relation"
    " WHERE session.datname = current_database() AND session.state = 'idle in transaction'"
    " AND locked.relname = 'log_head' AND held.mode = 'RowShareLock' AND held.granted";

bool IsStopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end + 1, 3) == " T ";
}

// Stops daemon 0 again and again until it stands still with the head locked.
bool FreezeWithTheHead(Arena* arena, pg::Connection* connection, Dice* dice) {
  const testing::Child& child = arena->daemon(0).child();
  for (int i = 0; i < kFreezesMax; ++i) {
    child.Signal(SIGSTOP);
    testing::Eventually([&] { return IsStopped(child.pid()); });
    // What it sent before is still worked on for a moment.
    const bool holds = testing::Eventually(
        [&] {
          const auto holders =
              connection->QueryOnce(kIdleHolders, pg::Params(), testing::In(testing::kPatience));
          return holders.ok() && holders->Int64(0, 0) > 0;
        },
        milliseconds(10));
    if (holds) return true;
    child.Signal(SIGCONT);
    arena->LetRun(dice->Millis(0, 12));
  }
  return false;
}

milliseconds Time(const std::function<void()>& work) {
  const auto started = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - started);
}

}  // namespace

TEST_CASE("AHungDaemonThatHoldsTheHeadFreezesNobodyForLongerThanItsTimeouts") {
  const std::uint64_t seed = FaultSeed();
  INFO("EVENTSTORE_FAULT_SEED=" << seed);
  Dice dice(seed);
  Arena arena({{"writer.lock_timeout_ms", std::to_string(kLockTimeout.count())},
               {"writer.idle_in_transaction_timeout_ms", std::to_string(kIdleTimeout.count())},
               {"writer.statement_timeout_ms", "2000"},
               {"writer.max_wait_ms", "8000"}});
  const auto connection = testing::Connect(arena.dsn(), "eventstore");
  const Clients clients = ConnectTo({arena.daemon(0).port(), arena.daemon(1).port()});
  AppendLog log(arena.RecordPath("writer", "probe"));
  const auto probe = [&](int daemon, milliseconds timeout) {
    Wish wish = MakeClosing({"Probe", "probe"});
    wish.record.forever = false;  // what is not acknowledged stays unknown
    Tracked tracked = log.Ask(std::move(wish));
    return SendOnce(clients, {daemon, timeout, std::nullopt}, &log, &tracked);
  };
  for (const char* name : {"a", "b"}) {
    arena.StartWorker("writer", name, seed + static_cast<std::uint64_t>(name[0]), {}, {0});
  }
  milliseconds longest{0};
  for (int round = 0; round < kRounds; ++round) {
    REQUIRE(FreezeWithTheHead(&arena, connection.get(), &dice));
    Verdict verdict = Verdict::kUnclear;
    const auto timed_probe = [&] {
      return Time([&] { verdict = probe(1, milliseconds(20'000)); });
    };
    const milliseconds frozen = timed_probe();
    CHECK(verdict == Verdict::kAcknowledged);
    CHECK(frozen <= kIdleTimeout + kLockTimeout + kSlack);
    longest = std::max(longest, frozen);
    // From then on the hung one is in nobody's way.
    for (int i = 0; i < 10; ++i) {
      CHECK(timed_probe() <= kSlack);
      CHECK(verdict == Verdict::kAcknowledged);
    }
    REQUIRE(IsStopped(arena.daemon(0).child().pid()));
    arena.daemon(0).child().Signal(SIGCONT);
    CHECK(
        testing::Eventually([&] { return probe(0, milliseconds(5'000)) == Verdict::kAcknowledged; },
                            testing::kPatience));
  }
  WARN("EVENTSTORE_FAULT_SEED=" << seed << ", frozen for " << longest.count() << " ms at most");
  // The lock was really in the way.
  CHECK(longest > kIdleTimeout / 5);
  std::vector<std::string> findings = arena.FinishWorkers("writer", /*ask=*/true);
  log.Done();
  const History history = arena.ReadHistory();
  const FinalState state = arena.ReadFinalState(history, &dice);
  for (const std::string& finding : Check(history, state)) findings.push_back(finding);
  for (const std::string& finding : findings) UNSCOPED_INFO(finding);
  CHECK(findings.empty());
  CHECK(Count(history, state).acknowledged > 3 * 12);
}
