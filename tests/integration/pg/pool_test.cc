#include "server/pg/pool.h"

#include <signal.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::Eventually;
using testing::In;

constexpr std::chrono::seconds kTimeout{20};

// A pool on a database of its own, with its metrics.
struct PoolFixture {
  explicit PoolFixture(PoolOptions pool_options, milliseconds connect_timeout = kTimeout)
      : conninfo(testing::CreateDatabase()),
        metrics(registry.Pool("test")),
        pool(Connecting(conninfo, connect_timeout), pool_options, metrics),
        observer(testing::Connect(testing::SharedPostgres().conninfo())) {}

  static ConnectionOptions Connecting(const std::string& conninfo, milliseconds connect_timeout) {
    ConnectionOptions options;
    options.conninfo = conninfo;
    options.application_name = "pool-test";
    options.connect_timeout = connect_timeout;
    return options;
  }

  // A lease, or a failed test.
  Pool::Lease Acquire() {
    absl::StatusOr<Pool::Lease> lease = pool.Acquire(In(kTimeout));
    INFO(telemetry::MessageOf(lease.status()));
    REQUIRE(lease.ok());
    return *std::move(lease);
  }

  // The server's sessions of this pool's database.
  std::int64_t Sessions() {
    absl::StatusOr<Result> result = observer->QueryOnce(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = $2",
        Params().Text(conninfo.substr(conninfo.rfind('=') + 1)).Text("pool-test"), In(kTimeout));
    REQUIRE(result.ok());
    return result->Int64(0, 0);
  }

  void Terminate(int pid) {
    absl::StatusOr<Result> result = observer->QueryOnce("SELECT pg_terminate_backend($1, 10000)",
                                                        Params().Int32(pid), In(kTimeout));
    REQUIRE(result.ok());
    REQUIRE(result->Bool(0, 0));
  }

  std::string conninfo;
  telemetry::Metrics registry{"test"};
  telemetry::PoolMetrics metrics;
  Pool pool;
  std::unique_ptr<Connection> observer;
};

PoolOptions Sized(int pool_size, int max_overflow) {
  PoolOptions options;
  options.pool_size = pool_size;
  options.max_overflow = max_overflow;
  options.pre_ping_idle = milliseconds(0);
  return options;
}

int PidOf(Pool::Lease& lease) {
  absl::StatusOr<Result> result = lease->QueryOnce("SELECT pg_backend_pid()", {}, In(kTimeout));
  INFO(telemetry::MessageOf(result.status()));
  REQUIRE(result.ok());
  return result->Int32(0, 0);
}

TEST_CASE("A connection is used again", "[pool]") {
  PoolFixture fixture(Sized(2, 0));
  int first = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    first = PidOf(lease);
  }
  Pool::Lease lease = fixture.Acquire();
  CHECK(PidOf(lease) == first);
  CHECK(fixture.metrics.connects->Value() == 1);
}

TEST_CASE("The four figures, and their metrics, follow the leases", "[pool]") {
  PoolFixture fixture(Sized(1, 2));
  const auto check = [&fixture](int checked_out, int overflow, int checked_in) {
    const PoolStatus status = fixture.pool.status();
    CHECK(status.size == 1);
    CHECK(status.checked_out == checked_out);
    CHECK(status.overflow == overflow);
    CHECK(status.checked_in == checked_in);
    CHECK(fixture.metrics.size->Value() == 1);
    CHECK(fixture.metrics.checked_out->Value() == checked_out);
    CHECK(fixture.metrics.overflow->Value() == overflow);
    CHECK(fixture.metrics.checked_in->Value() == checked_in);
  };
  check(0, 0, 0);
  {
    Pool::Lease a = fixture.Acquire();
    check(1, 0, 0);
    Pool::Lease b = fixture.Acquire();
    Pool::Lease c = fixture.Acquire();
    check(3, 2, 0);
  }
  check(0, 0, 1);
}

TEST_CASE("Overflow connections are closed when they come back", "[pool]") {
  PoolFixture fixture(Sized(1, 2));
  {
    Pool::Lease a = fixture.Acquire();
    Pool::Lease b = fixture.Acquire();
    Pool::Lease c = fixture.Acquire();
    CHECK(fixture.Sessions() == 3);
  }
  CHECK(Eventually([&fixture] { return fixture.Sessions() == 1; }));
}

TEST_CASE("A pool that stays dry for pool_timeout is RESOURCE_EXHAUSTED", "[pool]") {
  PoolOptions options = Sized(1, 1);
  options.pool_timeout = milliseconds(60);
  PoolFixture fixture(options);
  Pool::Lease a = fixture.Acquire();
  Pool::Lease b = fixture.Acquire();
  const auto begin = steady_clock::now();
  const absl::Status status = fixture.pool.Acquire(In(kTimeout)).status();
  CHECK(steady_clock::now() - begin >= options.pool_timeout);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(telemetry::MessageOf(status).find("pool_timeout (60 ms)") != std::string_view::npos);
  REQUIRE(ErrorOf(status).has_value());
  CHECK(ErrorOf(status)->timed_out);
  CHECK(ErrorOf(status)->outcome == Outcome::kNotSent);
  CHECK(fixture.metrics.exhausted->Value() == 1);
  CHECK(fixture.metrics.timeouts->Value() == 1);
}

TEST_CASE("The caller's deadline is DEADLINE_EXCEEDED when it is sooner", "[pool]") {
  PoolFixture fixture(Sized(1, 0));
  Pool::Lease lease = fixture.Acquire();
  const absl::Status status = fixture.pool.Acquire(In(milliseconds(30))).status();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  REQUIRE(ErrorOf(status).has_value());
  CHECK(ErrorOf(status)->timed_out);
}

TEST_CASE("A wait in vain leaves the line in order", "[pool]") {
  PoolFixture fixture(Sized(1, 0));
  {
    Pool::Lease lease = fixture.Acquire();
    REQUIRE_FALSE(fixture.pool.Acquire(In(milliseconds(10))).ok());
  }
  Pool::Lease lease = fixture.Acquire();
  CHECK(lease->Ping(In(kTimeout)).ok());
}

TEST_CASE("Waiters are served in the order of their coming", "[pool]") {
  constexpr int kWaiters = 6;
  PoolFixture fixture(Sized(1, 0));
  std::vector<std::thread> threads;
  std::vector<int> served;  // Guarded by the only lease.
  std::atomic<int> failures{0};
  bool all_in_line = true;
  {
    Pool::Lease lease = fixture.Acquire();
    for (int i = 0; i < kWaiters; ++i) {
      threads.emplace_back([&fixture, &served, &failures, i] {
        absl::StatusOr<Pool::Lease> waited = fixture.pool.Acquire(In(kTimeout));
        if (waited.ok()) {
          served.push_back(i);
        } else {
          ++failures;
        }
      });
      // It is counted once it stands in line.
      all_in_line = all_in_line && Eventually([&fixture, i] {
                      return fixture.metrics.exhausted->Value() == i + 1;
                    });
    }
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(all_in_line);
  CHECK(failures == 0);
  CHECK(served == std::vector<int>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("A waiter gets the slot of a connection that came back broken", "[pool]") {
  PoolFixture fixture(Sized(1, 0));
  bool served = false;
  std::thread waiter;
  bool in_line = false;
  {
    Pool::Lease lease = fixture.Acquire();
    waiter = std::thread([&fixture, &served] {
      absl::StatusOr<Pool::Lease> waited = fixture.pool.Acquire(In(kTimeout));
      served = waited.ok() && (*waited)->Ping(In(kTimeout)).ok();
    });
    in_line = Eventually([&fixture] { return fixture.metrics.exhausted->Value() == 1; });
    fixture.Terminate(PidOf(lease));
    CHECK_FALSE(lease->Ping(In(kTimeout)).ok());
  }
  waiter.join();
  CHECK(in_line);
  CHECK(served);
}

TEST_CASE("Pre-ping replaces a dead connection before its use", "[pool]") {
  PoolFixture fixture(Sized(1, 0));
  int dead = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    dead = PidOf(lease);
  }
  fixture.Terminate(dead);
  Pool::Lease lease = fixture.Acquire();
  CHECK(PidOf(lease) != dead);
  CHECK(fixture.metrics.pre_ping_failures->Value() == 1);
}

TEST_CASE("Pre-ping is a round trip: it finds a server process that hangs", "[pool]") {
  PoolFixture fixture(Sized(1, 0), milliseconds(2000));
  int hung = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    hung = PidOf(lease);
  }
  REQUIRE(kill(hung, SIGSTOP) == 0);
  absl::StatusOr<Pool::Lease> lease = fixture.pool.Acquire(In(kTimeout));
  REQUIRE(kill(hung, SIGCONT) == 0);
  REQUIRE(lease.ok());
  CHECK(PidOf(*lease) != hung);
  CHECK(fixture.metrics.pre_ping_failures->Value() == 1);
}

TEST_CASE("A connection used a moment ago is looked at without a round trip", "[pool]") {
  PoolOptions options = Sized(1, 0);
  options.pre_ping_idle = std::chrono::minutes(10);
  PoolFixture fixture(options);
  int pid = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    pid = PidOf(lease);
  }
  REQUIRE(kill(pid, SIGSTOP) == 0);  // a round trip would hang
  {
    absl::StatusOr<Pool::Lease> lease = fixture.pool.Acquire(In(kTimeout));
    REQUIRE(kill(pid, SIGCONT) == 0);
    REQUIRE(lease.ok());
    CHECK(PidOf(*lease) == pid);
  }
  fixture.Terminate(pid);  // but a closed socket shows
  Pool::Lease lease = fixture.Acquire();
  CHECK(PidOf(lease) != pid);
  CHECK(fixture.metrics.pre_ping_failures->Value() == 1);
}

TEST_CASE("Without pre-ping the dead connection is handed out", "[pool]") {
  PoolOptions options = Sized(1, 0);
  options.pool_pre_ping = false;
  PoolFixture fixture(options);
  {
    Pool::Lease lease = fixture.Acquire();
    fixture.Terminate(PidOf(lease));
  }
  {
    Pool::Lease lease = fixture.Acquire();
    const absl::Status status = lease->Ping(In(kTimeout));
    REQUIRE(ErrorOf(status).has_value());
    CHECK(ErrorOf(status)->connection_lost);
  }
  CHECK(fixture.Acquire()->Ping(In(kTimeout)).ok());  // It was closed when it came back.
}

TEST_CASE("A connection past pool_recycle is replaced before its next use", "[pool]") {
  PoolOptions options = Sized(1, 0);
  options.pool_recycle = milliseconds(300);
  PoolFixture fixture(options);
  int first = 0;
  steady_clock::time_point opened_at;
  {
    Pool::Lease lease = fixture.Acquire();
    first = PidOf(lease);
    opened_at = lease->opened_at();
  }
  REQUIRE(Eventually([&] { return steady_clock::now() - opened_at > options.pool_recycle; }));
  Pool::Lease lease = fixture.Acquire();
  CHECK(PidOf(lease) != first);
  CHECK(fixture.metrics.recycled->Value() == 1);
}

TEST_CASE("A negative pool_recycle keeps connections for ever", "[pool]") {
  PoolOptions options = Sized(1, 0);
  options.pool_recycle = milliseconds(GENERATE(-1, 0));
  PoolFixture fixture(options);
  int first = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    first = PidOf(lease);
  }
  Pool::Lease lease = fixture.Acquire();
  CHECK((PidOf(lease) == first) == (options.pool_recycle.count() < 0));
}

TEST_CASE("A connection with an open transaction is closed when it comes back", "[pool]") {
  const std::string script = GENERATE("BEGIN", "BEGIN; SELECT 1 / 0");
  PoolFixture fixture(Sized(1, 0));
  int first = 0;
  {
    Pool::Lease lease = fixture.Acquire();
    first = PidOf(lease);
    REQUIRE(lease->RunScript(script, In(kTimeout)).ok() == (script == "BEGIN"));
    REQUIRE(lease->in_transaction());
  }
  CHECK(fixture.pool.status().checked_in == 0);
  Pool::Lease lease = fixture.Acquire();
  CHECK(PidOf(lease) != first);
  CHECK_FALSE(lease->in_transaction());
}

TEST_CASE("A moved lease returns its connection once", "[pool]") {
  PoolFixture fixture(Sized(2, 0));
  {
    Pool::Lease a = fixture.Acquire();
    Pool::Lease b = std::move(a);
    CHECK(fixture.pool.status().checked_out == 1);
    Pool::Lease c = fixture.Acquire();
    c = std::move(b);
    CHECK(fixture.pool.status().checked_out == 1);
    CHECK(c->Ping(In(kTimeout)).ok());
  }
  CHECK(fixture.pool.status().checked_out == 0);
  CHECK(fixture.pool.status().checked_in == 2);
}

TEST_CASE("An unreachable server is UNAVAILABLE and uses up no slot", "[pool]") {
  telemetry::Metrics registry("test");
  const telemetry::PoolMetrics metrics = registry.Pool("test");
  Pool pool(PoolFixture::Connecting("host=/nowhere user=u dbname=d", kTimeout), Sized(1, 1),
            metrics);
  for (int i = 0; i < 5; ++i) {
    CHECK(pool.Acquire(In(kTimeout)).status().code() == absl::StatusCode::kUnavailable);
  }
  CHECK(metrics.connect_failures->Value() == 5);
  CHECK(pool.status().overflow == 0);
  CHECK(pool.status().checked_out == 0);
}

TEST_CASE("Close ends every wait and every later one", "[pool]") {
  PoolFixture fixture(Sized(1, 0));
  absl::Status waited;
  std::thread waiter;
  bool in_line = false;
  {
    Pool::Lease lease = fixture.Acquire();
    waiter = std::thread([&] { waited = fixture.pool.Acquire(In(kTimeout)).status(); });
    in_line = Eventually([&fixture] { return fixture.metrics.exhausted->Value() == 1; });
    fixture.pool.Close();
    waiter.join();
    CHECK(lease->Ping(In(kTimeout)).ok());  // A lease outlives the closing.
  }
  CHECK(in_line);
  CHECK(waited.code() == absl::StatusCode::kUnavailable);
  CHECK(fixture.pool.Acquire(In(kTimeout)).status().code() == absl::StatusCode::kUnavailable);
  CHECK(Eventually([&fixture] { return fixture.Sessions() == 0; }));
}

}  // namespace
}  // namespace eventstore::pg
