// Commits whose answer was lost, and batches that PostgreSQL refuses.
#include <catch2/catch.hpp>

#include "server/telemetry/logging.h"
#include "tests/integration/engine/follower.h"
#include "tests/support/proxy.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using std::chrono::milliseconds;

v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

bool Ready(const std::future<Answer>& answer) {
  return answer.wait_for(milliseconds(0)) == std::future_status::ready;
}

// Makes COMMITs of the lane wait, at their very end, for an advisory lock that `holder` takes.
void HoldCommits(pg::Connection& holder) {
  Run(holder,
      "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
      " 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';"
      "CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON lane_batches DEFERRABLE INITIALLY DEFERRED"
      " FOR EACH ROW WHEN (OLD.last_batch <> NEW.last_batch) EXECUTE FUNCTION hold();"
      "SELECT pg_advisory_lock(42)");
}

// The process of the lane whose COMMIT is held.
std::int64_t HeldLane(pg::Connection& observer) {
  const std::string sql =
      "SELECT coalesce(max(pid), 0)::bigint FROM pg_locks WHERE locktype = 'advisory'"
      " AND NOT granted AND database = (SELECT oid FROM pg_database"
      " WHERE datname = current_database())";
  std::int64_t pid = 0;
  Eventually([&] { return (pid = SelectInt(observer, sql)) != 0; });
  return pid;
}

TEST_CASE("A commit whose answer was lost is answered as it was, exactly once", "[doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  Proxy proxy(SharedPostgres());
  TestStore store(SmallOptions(proxy.Through(conninfo)));
  Follower follower(*store);
  std::int64_t version = Must(Append(*store, Stream("s"), NoStream(), NewIds(1))).last_version();
  // Lost on the way there: rolled back and written again. Lost on the way back: it had happened.
  for (const auto what : {Proxy::AtCommit::kLoseAnswer, Proxy::AtCommit::kLose,
                          Proxy::AtCommit::kHangUp, Proxy::AtCommit::kLoseAnswer}) {
    const int before = proxy.triggered();
    proxy.Arm(what);
    const auto answer = Must(Append(*store, Stream("s"), Exact(version), NewIds(3)));
    CHECK(proxy.triggered() == before + 1);
    CHECK_FALSE(answer.deduplicated());
    CHECK(answer.first_version() == version + 1);
    version = answer.last_version();
    ++version;
    CHECK(Must(Append(*store, Stream("s"), Exact(version - 1), NewIds(1))).last_version() ==
          version);
  }
  CHECK(store.Metric("eventstore_lane_in_doubt_total") == 4);
  const auto events = ReadAll(*store);
  REQUIRE(events.size() == 17);
  CHECK(events.back().global_position() == 17);
  REQUIRE(follower.AwaitEvents(17));
  CHECK(Positions(follower.Events()) == Positions(events));
}

TEST_CASE("Every append of a batch in doubt gets its own answer", "[doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  const auto what = GENERATE(Proxy::AtCommit::kLoseAnswer, Proxy::AtCommit::kLose);
  Proxy proxy(SharedPostgres());
  TestStore store(SmallOptions(proxy.Through(conninfo)));
  Must(Append(*store, Stream("s"), NoStream(), NewIds(1)));
  HeadLock lock(conninfo);
  auto first = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  const auto ids = NewIds(2);
  auto good = Submit(*store, Request(Stream("s"), Exact(1), ids));
  auto conflict = Submit(*store, Request(Stream("s"), Exact(1), NewIds(1)));
  auto replay = Submit(*store, Request(Stream("s"), Exact(1), ids));
  auto fresh = Submit(*store, Request(Stream("t"), NoStream(), NewIds(2)));
  lock.Release();
  Must(Await(first));
  // Whichever of the two batches was hit, the answers are these.
  proxy.Arm(what);
  CHECK(Must(Await(good)).last_version() == 3);
  CHECK(DetailOf(Await(conflict).status()).actual() == 3);
  CHECK(Must(Await(replay)).last_version() == 3);
  CHECK(Must(Await(fresh)).last_version() == 2);
  CHECK(ReadAll(*store).size() == 6);
}

TEST_CASE("A commit that still hangs is waited for under the head lock", "[doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  Proxy proxy(SharedPostgres());
  TestStore store(SmallOptions(proxy.Through(conninfo)));
  const auto holder = Connect(conninfo, "public");
  const auto observer = Connect(conninfo, "public");
  HoldCommits(*holder);
  proxy.Arm(Proxy::AtCommit::kHangUp);
  auto answer = Submit(*store, Request(Stream("s"), NoStream(), NewIds(2)));
  const std::int64_t lane = HeldLane(*observer);
  REQUIRE(lane != 0);
  REQUIRE(proxy.triggered() == 1);
  // The lane is back, and waits for the head that the hanging commit holds.
  REQUIRE(Eventually([&] {
    return SelectInt(*observer,
                     "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                     " AND wait_event IN ('transactionid', 'tuple')"
                     " AND datname = current_database()") > 0;
  }));
  CHECK_FALSE(Ready(answer));
  const bool committed = GENERATE(true, false);
  if (!committed) {
    Run(*observer, "SELECT pg_terminate_backend(" + std::to_string(lane) + ")");
  }
  Run(*holder, "SELECT pg_advisory_unlock(42)");
  CHECK(Must(Await(answer)).last_version() == 2);
  CHECK(SelectInt(*observer, "SELECT count(*) FROM events") == 2);
  CHECK(SelectInt(*observer, "SELECT count(*) FROM event_ids") == 2);
}

TEST_CASE("A backend that is killed in its COMMIT rolled back, and the batch is written anew",
          "[doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const auto holder = Connect(conninfo, "public");
  const auto observer = Connect(conninfo, "public");
  HoldCommits(*holder);
  auto answer = Submit(*store, Request(Stream("s"), NoStream(), NewIds(2)));
  const std::int64_t lane = HeldLane(*observer);
  REQUIRE(lane != 0);
  Run(*observer, "SELECT pg_terminate_backend(" + std::to_string(lane) + ")");
  REQUIRE(Eventually([&] {
    const std::int64_t next = HeldLane(*observer);
    return next != 0 && next != lane;
  }));
  Run(*holder, "SELECT pg_advisory_unlock(42)");
  CHECK(Must(Await(answer)).first_position() == 1);
  CHECK(SelectInt(*observer, "SELECT count(*) FROM events") == 2);
}

TEST_CASE("While the database does not come back a commit in doubt is not acknowledged",
          "[doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  Proxy proxy(SharedPostgres());
  StoreOptions options = SmallOptions(proxy.Through(conninfo));
  options.writer.max_wait_ms = milliseconds(700);
  TestStore store(options, /*housekeeper=*/false);
  const auto what = GENERATE(Proxy::AtCommit::kLoseAnswer, Proxy::AtCommit::kLose);
  const auto request = Request(Stream("s"), NoStream(), NewIds(2));
  proxy.Arm(what);
  proxy.Refuse(true);
  CHECK(ReasonOf(Append(*store, request).status()) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(ReasonOf(Append(*store, request).status()) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK_FALSE(store->available());
  proxy.Refuse(false);
  REQUIRE(Eventually([&] { return store->available(); }));
  const auto answer = Must(Append(*store, request));  // a retry with the same ids is safe
  CHECK(answer.deduplicated() == (what == Proxy::AtCommit::kLoseAnswer));
  CHECK(answer.last_position() == 2);
  CHECK(ReadAll(*store).size() == 2);
}

TEST_CASE("A commit that gave up waiting for its replica is not acknowledged before it is safe",
          "[doubt][replica]") {
  const auto server = StartPostgres();
  const std::string conninfo = CreateStoreDatabase(*server);
  const auto admin = Connect(conninfo, "public");
  StoreOptions options = SmallOptions(conninfo);
  options.writer.max_wait_ms = milliseconds(60'000);
  TestStore store(options, /*housekeeper=*/false);
  Must(Append(*store, Stream("s"), NoStream(), NewIds(1)));
  Run(*admin, "SET synchronous_commit = local");
  Run(*admin, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  Run(*admin, "SELECT pg_reload_conf()");
  const auto waiting_lane = [&](std::int64_t other_than) {
    const std::string sql =
        "SELECT coalesce(max(pid), 0)::bigint FROM pg_stat_activity"
        " WHERE wait_event = 'SyncRep' AND pid <> " +
        std::to_string(other_than);
    std::int64_t pid = 0;
    Eventually([&] { return (pid = SelectInt(*admin, sql)) != 0; });
    return pid;
  };
  REQUIRE(Eventually([&] {
    return SelectInt(*admin,
                     "SELECT count(*) FROM pg_settings WHERE name ="
                     " 'synchronous_standby_names' AND setting = 'nobody'") == 1;
  }));
  auto answer = Submit(*store, Request(Stream("s"), Exact(1), NewIds(2)));
  const std::int64_t first = waiting_lane(0);
  REQUIRE(first != 0);
  Run(*admin, "SELECT pg_cancel_backend(" + std::to_string(first) + ")");
  // It signs on anew, and that commit waits for the replica as well.
  REQUIRE(waiting_lane(first) != 0);
  CHECK_FALSE(Ready(answer));
  CHECK(store.Metric("eventstore_lane_in_doubt_total") == 1);
  Run(*admin, "ALTER SYSTEM RESET synchronous_standby_names");
  Run(*admin, "SELECT pg_reload_conf()");
  CHECK(Must(Await(answer)).last_version() == 3);
  CHECK(SelectInt(*admin, "SELECT count(*) FROM events") == 3);
}

// --- what PostgreSQL refuses ---

// A payload that is no JSON, past validation.
ValidatedAppend Poison(const v1::StreamId& stream, int events = 1) {
  ValidatedAppend append = Validated(Request(stream, Any(), NewIds(events)));
  append.request.mutable_events(events - 1)->set_payload("{\"broken\": ");
  return append;
}

TEST_CASE("An append that PostgreSQL refuses fails alone", "[poison]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  HeadLock lock(conninfo);
  auto first = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  std::vector<std::future<Answer>> good;
  std::vector<std::future<Answer>> bad;
  for (int i = 0; i < 10; ++i) {
    good.push_back(Submit(*store, Request(Stream("s"), Any(), NewIds(2))));
    if (i % 4 == 1) bad.push_back(Submit(*store, Poison(Stream("s"), 3)));
  }
  lock.Release();
  Must(Await(first));
  std::int64_t version = 0;
  for (auto& answer : good) {
    const auto response = Must(Await(answer));
    CHECK(response.first_version() == version + 1);
    version = response.last_version();
  }
  for (auto& answer : bad) {
    const absl::Status status = Await(answer).status();
    const v1::ErrorInfo detail = DetailOf(status);
    CHECK(detail.reason() == v1::ERROR_REASON_INVALID_EVENT);
    CHECK(detail.index() == 2);
    CHECK(detail.field() == "events[2].payload");
  }
  CHECK(ReadAll(*store).back().global_position() == 21);
  CHECK(store.Metric("eventstore_lane_poisoned_appends_total") == 3);
  // Alone in its batch, too, and nothing is wrong afterwards.
  CHECK(ReasonOf(Append(*store, Stream("s"), Exact(1), NewIds(1)).status()) ==
        v1::ERROR_REASON_VERSION_CONFLICT);
  auto lonely = Submit(*store, Poison(Stream("s")));
  CHECK(ReasonOf(Await(lonely).status()) == v1::ERROR_REASON_INVALID_EVENT);
  CHECK(Must(Append(*store, Stream("s"), Exact(20), NewIds(1))).last_position() == 22);
}

TEST_CASE("An append that only a constraint of the table refuses fails alone", "[poison]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const auto sql = Connect(conninfo, "public");
  Run(*sql, "ALTER TABLE events_p1 ADD CONSTRAINT no_bad CHECK (event_type <> 'Bad')");
  HeadLock lock(conninfo);
  auto first = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  std::vector<std::future<Answer>> good;
  std::vector<std::future<Answer>> bad;
  for (int i = 0; i < 6; ++i) {
    good.push_back(Submit(*store, Request(Stream("s" + std::to_string(i)), NoStream(), NewIds(1))));
    if (i % 3 != 0) continue;
    auto request = Request(Stream("s"), Any(), NewIds(1));
    request.mutable_events(0)->set_event_type("Bad");
    bad.push_back(Submit(*store, request));
  }
  lock.Release();
  Must(Await(first));
  for (auto& answer : good) CHECK(Must(Await(answer)).last_version() == 1);
  for (auto& answer : bad) {
    CHECK(ReasonOf(Await(answer).status()) == v1::ERROR_REASON_INVALID_EVENT);
  }
  CHECK(ReadAll(*store).size() == 7);
}

TEST_CASE("What the store itself cannot do is the server's error and never hangs the lane",
          "[poison]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const auto sql = Connect(conninfo, "public");
  const auto batch_of_three = [&](bool with_poison) {
    HeadLock lock(conninfo);
    // Two events: the one statement that writes a single one names every table, and so fails
    // before it waits.
    auto first = Submit(*store, Request(Stream("w"), Any(), NewIds(2)));
    REQUIRE(lock.AwaitWaiter());
    std::vector<std::future<Answer>> answers;
    for (int i = 0; i < 2; ++i) {
      answers.push_back(Submit(*store, Request(Stream("s"), Any(), NewIds(1))));
    }
    if (with_poison) answers.push_back(Submit(*store, Poison(Stream("s"))));
    lock.Release();
    (void)Await(first);
    std::vector<absl::StatusCode> codes;
    for (auto& answer : answers) codes.push_back(Await(answer).status().code());
    return codes;
  };
  using absl::StatusCode;
  // First a batch with a culprit that is found ...
  CHECK(batch_of_three(true) ==
        std::vector<StatusCode>{StatusCode::kOk, StatusCode::kOk, StatusCode::kInvalidArgument});
  // ... then one for which nobody in it is to blame.
  Run(*sql, "ALTER TABLE event_ids RENAME TO event_ids_away");
  CHECK(batch_of_three(false) == std::vector<StatusCode>(2, StatusCode::kInternal));
  Run(*sql, "ALTER TABLE event_ids_away RENAME TO event_ids");
  CHECK(batch_of_three(false) == std::vector<StatusCode>(2, StatusCode::kOk));
}

TEST_CASE("Tables that contradict each other are an internal error, not the client's", "[poison]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  Must(Append(*store, Stream("s"), NoStream(), NewIds(1)));
  const auto sql = Connect(conninfo, "public");
  // Somebody moved a stream by hand, past the log: the cache is wrong, and the guard finds it.
  Run(*sql, "UPDATE streams SET version = 5");
  CHECK(Must(Append(*store, Stream("s"), Any(), NewIds(1))).last_version() == 6);
  // A trigger that swallows every change of the head cannot be got around.
  Run(*sql,
      "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
      "CREATE TRIGGER swallow BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION swallow()");
  CHECK(Append(*store, Stream("s"), Any(), NewIds(1)).status().code() ==
        absl::StatusCode::kInternal);
  CHECK(Must(Append(*store, Stream("new"), Any(), NewIds(1))).last_version() == 1);
}

}  // namespace
}  // namespace eventstore::engine
