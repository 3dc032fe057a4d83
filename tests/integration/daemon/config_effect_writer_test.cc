// The effects of keys: the write lane.
#include <csignal>
#include <thread>

#include "tests/integration/daemon/config_effect.h"

namespace eventstore::testing {
namespace {

void SeeWriteQueue(const Settings& changed) {
  Settings settings = changed;  // A request must fit into the queue.
  settings.insert({{"limits.request_bytes_max", "2000"}, {"limits.event_bytes_max", "2000"}});
  auto daemon = StartWith(settings, kPatientLane);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Occupy(*daemon);
  const auto large = Begin(*daemon, Sized(1500));
  REQUIRE(WaitForQueue(*daemon, 1));
  CHECK(TryAppend(*daemon, Sized(1500)).info().limit_name() == "writer.queue_bytes_max");
  const auto small = Begin(*daemon, Sized(1));
  REQUIRE(WaitForQueue(*daemon, 2));
  CHECK(TryAppend(*daemon, Sized(1)).info().limit_name() == "writer.queue_appends_max");
}

void SeeBatches(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  const auto batches_of = [&](std::size_t bytes) {
    const double before = std::max(0.0, Value(*daemon, "eventstore_lane_batch_appends_count"));
    std::vector<std::unique_ptr<Call>> calls;
    {
      LockedHead nobody_commits(daemon->dsn());
      calls.push_back(Occupy(*daemon));
      for (int i = 0; i < 4; ++i) calls.push_back(Begin(*daemon, Sized(bytes)));
      REQUIRE(WaitForQueue(*daemon, 4));
      Eventually([] { return false; }, milliseconds(150));  // Slower than slow_commit_ms.
    }
    for (auto& call : calls) CHECK(call->Finish().ok());
    return Value(*daemon, "eventstore_lane_batch_appends_count") - before;
  };
  CHECK(batches_of(1) == 1 + 2);    // Two events a batch.
  CHECK(batches_of(700) == 1 + 4);  // One of that size a batch.
  CHECK(Value(*daemon, "eventstore_lane_slow_commits_total") >= 2);
  CHECK(daemon->WaitForLog("a batch of"));
  CHECK(Value(*daemon, "eventstore_lane_cache_streams") <= 3);  // Of ten.
}

void SeeLockTimeout(const Settings& changed) {
  auto daemon = StartWith(changed);
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Begin(*daemon, Sized(1));
  CHECK(WaitsAnew(daemon->dsn(), 3, seconds(4)));
}

void SeeMaxWait(const Settings& changed) {
  auto daemon = StartWith(changed, {{"writer.lock_timeout_ms", "100"}});
  LockedHead nobody_commits(daemon->dsn());
  const auto started = steady_clock::now();
  const CallStatus status = TryAppend(*daemon, Sized(1));
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(steady_clock::now() - started < seconds(8));
}

void SeeStatementTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, {{"writer.lock_timeout_ms", "600000"}});
  LockedHead nobody_commits(daemon->dsn());
  const auto held = Begin(*daemon, Sized(1));
  CHECK(WaitsAnew(daemon->dsn(), 3, seconds(8)));
}

// A daemon that hangs with the lock in its hands loses it soon.
void SeeIdleInTransactionTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  std::unique_ptr<Call> held;
  {
    LockedHead nobody_commits(daemon->dsn());
    held = Occupy(*daemon);
    daemon->child().Signal(SIGSTOP);
  }
  const auto started = steady_clock::now();
  { LockedHead free_again(daemon->dsn()); }
  CHECK(steady_clock::now() - started < seconds(4));
  daemon->child().Signal(SIGCONT);
  CHECK(held->Finish().ok());
  CHECK(GetHead(daemon->client()).position() == 1);
}

void SeeForeignEventsMax(const Settings& changed) {
  for (const bool forgets : {false, true}) {
    auto one = StartWith(forgets ? changed : Settings{});
    auto two = Daemon::Start({.dsn = one->dsn()});
    for (int i = 0; i < 10; ++i) MustAppend(one->client(), NewStream(), NewEvents(1));
    MustAppend(two->client(), NewStream(), NewEvents(3));
    MustAppend(one->client(), NewStream(), NewEvents(1));
    const double cached = Value(*one, "eventstore_lane_cache_streams");
    if (forgets) {
      CHECK(cached == 1);
    } else {
      CHECK(cached >= 11);
    }
  }
}

// What commits between the evaluation of a condition and the lane is more than it may look at.
void SeeConditionBounds(const Settings& changed) {
  auto daemon = StartWith(changed, kPatientLane);
  auto nobody_writes = std::make_unique<LockedHead>(daemon->dsn());
  auto first =
      daemon->client().Stream("AppendEvents", AppendRequest(NewStream(), Any(), NewEvents(2)));
  REQUIRE(
      Eventually([&] { return Value(*daemon, "eventstore_lane_queue_wait_seconds_count") == 1; }));
  v1::TransactRequest request;
  *request.add_appends() = AppendRequest(NewStream(), Any(), NewEvents(1));
  request.add_conditions()->add_query()->add_tags("x");
  auto second = daemon->client().Stream("Transact", request);
  REQUIRE(Eventually([&] { return Value(*daemon, "eventstore_lane_queue_appends") == 1; }));
  nobody_writes.reset();
  CHECK(first->Finish().ok());
  const CallStatus status = second->Finish();
  if (changed.at("writer.condition_evaluations_max") == "1") {
    CHECK(status.info().limit_name() == "writer.condition_evaluations_max");
  } else {
    CHECK(status.ok());
    CHECK(Value(*daemon, "eventstore_condition_reevaluations_total") == 1);
  }
}

}  // namespace

std::vector<Row> WriterRows() {
  return {
      {"write queue",
       {{"writer.queue_appends_max", "2"}, {"writer.queue_bytes_max", "2000"}},
       SeeWriteQueue},
      {"batches",
       {{"writer.batch_events_max", "2"},
        {"writer.batch_bytes_max", "1024"},
        {"writer.cache_streams_max", "3"},
        {"writer.slow_commit_ms", "100"}},
       SeeBatches},
      {"lock timeout", {{"writer.lock_timeout_ms", "100"}}, SeeLockTimeout},
      {"longest wait", {{"writer.max_wait_ms", "500"}}, SeeMaxWait},
      {"statement timeout", {{"writer.statement_timeout_ms", "200"}}, SeeStatementTimeout},
      {"hanging daemon",
       {{"writer.idle_in_transaction_timeout_ms", "200"}},
       SeeIdleInTransactionTimeout},
      {"foreign events", {{"writer.foreign_events_max", "0"}}, SeeForeignEventsMax},
      {"condition positions",
       {{"writer.condition_positions_max", "0"},
        {"writer.condition_evaluations_max", "1"},
        {"writer.condition_memory_positions_max", "0"}},
       SeeConditionBounds},
      {"condition comparisons",
       {{"writer.condition_comparisons_max", "1"},
        {"writer.condition_evaluations_max", "2"},
        {"writer.condition_memory_positions_max", "0"}},
       SeeConditionBounds},
  };
}

}  // namespace eventstore::testing
