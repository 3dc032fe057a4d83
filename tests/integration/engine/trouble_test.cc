// Hung daemons, servers that change, histories that were rewound.
#include <catch2/catch.hpp>

#include "tests/integration/engine/follower.h"
#include "tests/support/proxy.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using std::chrono::milliseconds;

v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

StoreOptions Named(const std::string& conninfo, const std::string& name) {
  StoreOptions options = SmallOptions(conninfo);
  options.connection.application_name = name;
  options.hub.poll_interval_ms = std::chrono::minutes(10);
  return options;
}

void Terminate(pg::Connection& sql, const std::string& name) {
  Run(sql,
      "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
      " WHERE datname = current_database() AND application_name = '" +
          name + "'");
}

// As a failover to a replica that had not received the newest events leaves it behind.
void LoseEventsAfter(pg::Connection& sql, std::int64_t position) {
  const std::string last = std::to_string(position);
  Run(sql,
      "BEGIN; SELECT FROM log_head FOR UPDATE;"
      "DELETE FROM events WHERE global_position > " +
          last +
          ";"
          "DELETE FROM event_ids WHERE global_position > " +
          last +
          ";"
          "UPDATE streams s SET version = e.version, last_position = e.last FROM (SELECT "
          "stream_key,"
          " max(version) AS version, max(global_position) AS last FROM events GROUP BY 1) e"
          " WHERE e.stream_key = s.stream_key;"
          "DELETE FROM streams s WHERE NOT EXISTS"
          " (SELECT FROM events e WHERE e.stream_key = s.stream_key);"
          "UPDATE log_head SET last_position = " +
          last + ", timeline = timeline + 100; COMMIT");
}

TEST_CASE("A head that another session holds too long delays appends but freezes nothing",
          "[trouble]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.writer.lock_timeout_ms = milliseconds(150);
  options.writer.max_wait_ms = milliseconds(1'000);
  TestStore store(options);
  {
    HeadLock lock(conninfo);
    const auto started = std::chrono::steady_clock::now();
    CHECK(ReasonOf(Append(*store, Stream("s"), Any(), NewIds(1)).status()) ==
          v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(std::chrono::steady_clock::now() - started >= milliseconds(1'000));
    // One that has waited for less goes on when the head is free.
    auto patient = Submit(*store, Request(Stream("s"), Any(), NewIds(1)));
    REQUIRE(lock.AwaitWaiter());
    lock.Release();
    CHECK(Must(Await(patient)).last_position() == 1);
  }
  CHECK(Must(Append(*store, Stream("s"), Exact(1), NewIds(1))).last_position() == 2);
}

TEST_CASE("A daemon that hangs before its COMMIT is ended by the server, and others go on",
          "[trouble][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  Proxy proxy(SharedPostgres());
  StoreOptions hanging = SmallOptions(proxy.Through(conninfo));
  hanging.writer.idle_in_transaction_timeout_ms = milliseconds(300);
  TestStore one(hanging, /*housekeeper=*/false);
  TestStore two(SmallOptions(conninfo));
  proxy.Arm(Proxy::AtCommit::kSwallow);
  auto hung = Submit(*one, Request(Stream("s"), Any(), NewIds(1)));
  REQUIRE(Eventually([&] { return proxy.triggered() == 1; }));
  CHECK(Must(Append(*two, Stream("s"), NoStream(), NewIds(1))).last_position() == 1);
  // What hung was rolled back, and is written when its daemon is back.
  CHECK(Must(Await(hung)).last_position() == 2);
  CHECK(ReadAll(*two).size() == 2);
}

TEST_CASE("Another server raises the epoch; readers beyond its history are told",
          "[trouble][epoch]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(Named(conninfo, "one"));
  const auto ids = NewIds(3);
  Must(Append(*store, Stream("a"), NoStream(), ids));
  Must(Append(*store, Stream("b"), NoStream(), NewIds(2)));
  Follower beyond(*store);
  Follower before(*store, {}, /*held=*/true);
  before.Allow(1);
  REQUIRE(beyond.AwaitEvents(5));
  REQUIRE(before.AwaitKind(Kind::kConfirmed));

  const auto sql = Connect(conninfo, "public");
  LoseEventsAfter(*sql, 3);
  Terminate(*sql, "one");
  // The cache knew b at version 2.
  const auto answer = Must(Append(*store, Stream("b"), NoStream(), NewIds(1)));
  CHECK(answer.first_position() == 4);
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 2);
  CHECK(SelectInt(*sql, "SELECT first_position FROM log_epochs WHERE epoch = 2") == 4);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM log_epochs") == 2);

  REQUIRE(beyond.AwaitEnd());
  const v1::ErrorInfo ahead = DetailOf(beyond.End());
  CHECK(ahead.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(ahead.value() == 5);
  CHECK(ahead.position() == 3);
  CHECK(ahead.epoch() == 2);
  // A reader within the common history goes on, and its positions carry the new epoch.
  before.Allow(INT64_MAX);
  REQUIRE(before.AwaitEvents(4));
  CHECK(Positions(before.Events()) == std::vector<std::int64_t>{1, 2, 3, 4});
  CHECK(before.Messages().back().epoch == 2);
  // The same for reads, by the epoch that their positions came with.
  const auto read = [&](std::int64_t after, std::int64_t epoch) {
    AllPageQuery query;
    query.after_position = after;
    query.epoch = epoch;
    return ReadPage(*store, query);
  };
  CHECK(read(3, 1)->events.size() == 1);
  CHECK(read(4, 2)->events.empty());
  CHECK(read(4, 0).ok());
  CHECK(DetailOf(read(4, 1).status()).position() == 3);
  CHECK(ReasonOf(read(5, 0).status()) == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(ReasonOf(read(1, 7).status()) == v1::ERROR_REASON_POSITION_AHEAD);  // never known here
  // Replays of what survived are answered as before.
  CHECK(Must(Append(*store, Stream("a"), NoStream(), ids)).deduplicated());
}

TEST_CASE("Tables that were restored in place raise the epoch as well", "[trouble][epoch]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(Named(conninfo, "one"));
  Must(Append(*store, Stream("a"), NoStream(), NewIds(5)));
  Follower beyond(*store);
  REQUIRE(beyond.AwaitEvents(5));
  const auto sql = Connect(conninfo, "public");
  LoseEventsAfter(*sql, 2);
  Run(*sql, "UPDATE log_head SET timeline = timeline - 100");
  CHECK(Must(Append(*store, Stream("a"), Exact(2), NewIds(1))).last_position() == 3);
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 2);
  CHECK(SelectInt(*sql, "SELECT first_position FROM log_epochs WHERE epoch = 2") == 3);
  REQUIRE(beyond.AwaitEnd());
  CHECK(ReasonOf(beyond.End()) == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(DetailOf(beyond.End()).position() == 2);
  CHECK(Must(Append(*store, Stream("a"), Exact(3), NewIds(1))).last_position() == 4);
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 2);
}

TEST_CASE("A second failover that loses the first one's epoch gets a number of its own",
          "[trouble][epoch]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(Named(conninfo, "one"));
  Must(Append(*store, Stream("a"), NoStream(), NewIds(5)));
  const auto sql = Connect(conninfo, "public");
  LoseEventsAfter(*sql, 2);
  Terminate(*sql, "one");
  Must(Append(*store, Stream("a"), Exact(2), NewIds(2)));
  REQUIRE(SelectInt(*sql, "SELECT epoch FROM log_head") == 2);
  Follower beyond(*store);
  REQUIRE(beyond.AwaitEvents(4));
  // The next server has neither these two events nor the epoch that they were written in.
  LoseEventsAfter(*sql, 2);
  Run(*sql, "DELETE FROM log_epochs WHERE epoch = 2; UPDATE log_head SET epoch = 1");
  Terminate(*sql, "one");
  CHECK(Must(Append(*store, Stream("a"), Exact(2), NewIds(1))).last_position() == 3);
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 3);
  CHECK(SelectInt(*sql, "SELECT first_position FROM log_epochs WHERE epoch = 3") == 3);
  REQUIRE(beyond.AwaitEnd());
  CHECK(ReasonOf(beyond.End()) == v1::ERROR_REASON_POSITION_AHEAD);
  // Tables of an older epoch, put back on the same server, are another history too.
  Run(*sql, "DELETE FROM log_epochs WHERE epoch > 1; UPDATE log_head SET epoch = 1");
  Must(Append(*store, Stream("a"), Exact(3), NewIds(1)));
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 4);
}

TEST_CASE("Equal heads that hide different histories send no append to another stream",
          "[trouble][epoch]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(Named(conninfo, "one"));
  TestStore two(Named(conninfo, "two"));
  for (TestStore* store : {&one, &two}) {
    Must(Append(**store, Stream("a"), Any(), NewIds(1)));
    Must(Append(**store, Stream("b"), Any(), NewIds(1)));
  }
  const auto sql = Connect(conninfo, "public");
  // The other history has as many events, but the two streams' keys are swapped.
  Run(*sql,
      "BEGIN; SELECT FROM log_head FOR UPDATE;"
      "UPDATE events SET aggregate_id = CASE aggregate_id WHEN 'a' THEN 'b' ELSE 'a' END;"
      "UPDATE streams SET aggregate_id = 'x' WHERE aggregate_id = 'a';"
      "UPDATE streams SET aggregate_id = 'a' WHERE aggregate_id = 'b';"
      "UPDATE streams SET aggregate_id = 'b' WHERE aggregate_id = 'x';"
      "UPDATE log_head SET timeline = timeline + 100; COMMIT");
  Terminate(*sql, "one");
  // The first finds out by its new connection, the second by the epoch that the first raised.
  CHECK(Must(Append(*one, Stream("a"), Exact(2), NewIds(1))).last_position() == 5);
  CHECK(Must(Append(*two, Stream("b"), Exact(2), NewIds(1))).last_position() == 6);
  CHECK(Must(Append(*two, Stream("a"), Exact(3), NewIds(1))).last_position() == 7);
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM events e JOIN streams s USING (stream_key)"
                  " WHERE e.aggregate_id <> s.aggregate_id") == 0);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM log_epochs") == 2);
}

TEST_CASE("A daemon that starts after a failover serves live readers at once", "[trouble][epoch]") {
  const std::string conninfo = CreateStoreDatabase();
  {
    TestStore store(Named(conninfo, "one"));
    Must(Append(*store, Stream("a"), Any(), NewIds(5)));
  }
  const auto sql = Connect(conninfo, "public");
  LoseEventsAfter(*sql, 2);
  TestStore store(Named(conninfo, "one"));
  REQUIRE(Eventually([&] { return SelectInt(*sql, "SELECT epoch FROM log_head") == 2; }));
  SubscriptionQuery query;
  query.start = SubscriptionQuery::AfterPosition{2, 1};
  Follower follower(*store, query);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  Must(Append(*store, Stream("a"), Exact(2), NewIds(1)));
  REQUIRE(follower.AwaitEvents(1));
  CHECK(follower.Messages().back().epoch == 2);
}

TEST_CASE("The same server does not raise the epoch when it restarts", "[trouble][restart]") {
  const auto server = StartPostgres();
  const std::string conninfo = CreateStoreDatabase(*server);
  TestStore store(SmallOptions(conninfo));
  Must(Append(*store, Stream("a"), NoStream(), NewIds(1)));
  Follower follower(*store);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  for (const bool crash : {false, true}) {
    REQUIRE(server->Stop(crash).ok());
    auto waiting = Submit(*store, Request(Stream("a"), StreamExists(), NewIds(1)));
    REQUIRE(server->Restart().ok());
    Must(Await(waiting));
  }
  REQUIRE(follower.AwaitEvents(3));
  CHECK(Positions(follower.Events()) == std::vector<std::int64_t>{1, 2, 3});
  REQUIRE(Eventually([&] { return store->available(); }));
  const auto sql = Connect(conninfo, "public");
  CHECK(SelectInt(*sql, "SELECT epoch FROM log_head") == 1);
  CHECK(store.Metric("eventstore_lane_reconnects_total") >= 2);
}

}  // namespace
}  // namespace eventstore::engine
