// Many threads, small pool, dying backends: what holds in spite of it.
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/pg/pool.h"
#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using std::chrono::milliseconds;
using testing::In;

constexpr std::chrono::seconds kTimeout{60};
constexpr int kThreads = 8;
constexpr int kRounds = 60;
constexpr int kPoolSize = 3;
constexpr int kOverflow = 2;
constexpr Statement kEcho{"stress_echo", "SELECT $1::bigint"};

struct Tally {
  std::atomic<int> used{0};
  std::atomic<int> lost{0};
  std::atomic<int> not_leased{0};
  std::atomic<int> most_at_once{0};
  std::atomic<int> at_once{0};

  void Wrong(const std::string& what) {
    MutexLock lock(&mutex);
    if (what_was_wrong.size() < 10) what_was_wrong.push_back(what);
  }

  Mutex mutex;
  std::vector<std::string> what_was_wrong ABSL_GUARDED_BY(mutex);
};

// Counts who holds a lease now.
class Holding {
 public:
  explicit Holding(Tally* tally) : tally_(tally) {
    const int now = ++tally_->at_once;
    int most = tally_->most_at_once;
    while (now > most && !tally_->most_at_once.compare_exchange_weak(most, now)) {
    }
  }
  ~Holding() { --tally_->at_once; }

 private:
  Tally* tally_;
};

void UseLease(Pool::Lease& lease, std::mt19937& random, Tally* tally) {
  const std::int64_t number = random();
  switch (random() % 8) {
    case 0:  // A session that ends under its user.
      if (!lease->RunScript("SELECT pg_terminate_backend(pg_backend_pid())", In(kTimeout)).ok()) {
        ++tally->lost;
      }
      return;
    case 1:  // One that is ended while it lies in the pool.
      (void)lease->RunScript(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
          " AND application_name = 'pool-stress' AND state = 'idle' LIMIT 1",
          In(kTimeout));
      return;
    case 2:  // A transaction left open.
      (void)lease->RunScript("BEGIN", In(kTimeout));
      return;
    default:
      break;
  }
  absl::StatusOr<Result> result = lease->Query(kEcho, Params().Int64(number), In(kTimeout));
  if (!result.ok()) {
    const std::optional<Error> error = ErrorOf(result.status());
    // Only a termination by another thread may spoil it.
    if (!error.has_value() || !error->connection_lost) tally->Wrong(result.status().ToString());
    ++tally->lost;
  } else if (result->Int64(0, 0) == number) {
    ++tally->used;
  } else {
    tally->Wrong("somebody else's answer");
  }
}

void Work(Pool* pool, unsigned seed, Tally* tally) {
  std::mt19937 random(seed);
  for (int round = 0; round < kRounds; ++round) {
    const auto patience = random() % 4 == 0 ? milliseconds(random() % 20) : milliseconds(60'000);
    absl::StatusOr<Pool::Lease> lease = pool->Acquire(In(patience));
    const PoolStatus status = pool->status();
    if (status.checked_out > kPoolSize + kOverflow || status.overflow > kOverflow ||
        status.checked_in > kPoolSize) {
      tally->Wrong("the pool is beyond its bounds");
    }
    if (!lease.ok()) {
      // A session may be terminated while it is being opened; a short patience may end.
      const std::optional<Error> error = ErrorOf(lease.status());
      if (!error.has_value() || !(error->connection_lost || error->timed_out) ||
          error->outcome != Outcome::kNotSent) {
        tally->Wrong(lease.status().ToString());
      }
      ++tally->not_leased;
      continue;
    }
    const Holding holding(tally);
    if ((*lease)->in_transaction()) tally->Wrong("somebody else's transaction");
    UseLease(*lease, random, tally);
  }
}

TEST_CASE("A pool under dying backends loses no slot and shares no connection", "[pool]") {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::stoul(given)) : std::random_device()();
  std::cout << "pool stress: EVENTSTORE_TEST_SEED=" << seed << std::endl;
  ConnectionOptions connection;
  connection.conninfo = testing::CreateDatabase();
  connection.application_name = "pool-stress";
  PoolOptions options;
  options.pool_size = kPoolSize;
  options.max_overflow = kOverflow;
  options.pool_timeout = kTimeout;
  options.pool_recycle = milliseconds(200);
  telemetry::Metrics registry("test");
  Pool pool(connection, options, registry.Pool("test"));
  Tally tally;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(Work, &pool, seed + i, &tally);
  for (std::thread& thread : threads) thread.join();
  {
    MutexLock lock(&tally.mutex);
    CHECK(tally.what_was_wrong == std::vector<std::string>{});
  }
  CHECK(tally.most_at_once <= kPoolSize + kOverflow);
  CHECK(tally.used > 0);
  CHECK(tally.lost > 0);
  CHECK(pool.status().checked_out == 0);
  // Every slot is still there: as many leases as the pool can have, without a wait.
  std::vector<Pool::Lease> leases;
  for (int i = 0; i < kPoolSize + kOverflow; ++i) {
    absl::StatusOr<Pool::Lease> lease = pool.Acquire(In(kTimeout));
    INFO(telemetry::MessageOf(lease.status()));
    REQUIRE(lease.ok());
    leases.push_back(*std::move(lease));
  }
  CHECK(pool.status().overflow == kOverflow);
}

}  // namespace
}  // namespace eventstore::pg
