// Conditions of transactions: what they match, and when and where they are evaluated.
#include <catch2/catch.hpp>

#include "tests/integration/engine/transacting.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

TEST_CASE("A condition fails on what is stored, with the lowest position and all else",
          "[transact][conditions]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.writer.condition_memory_positions_max = GENERATE(0, 500);
  TestStore store(options);
  for (const char* tag : {"x", "y", "x"}) MustTransact(*store, TransactionOf({Tagged("s", {tag})}));
  v1::TransactRequest request = TransactionOf({Tagged("s", {}, Exact(9))});
  NoTags({"x"}, 0, &request);
  NoTags({"z"}, 0, &request);
  NoTags({"x"}, 1, &request);
  ExpectStream(Stream("t"), Exact(1), &request);
  const auto details = DetailsOf(Transact(*store, request).status());
  REQUIRE(details.size() == 4);
  CHECK(details[0].field() == "appends[0].expected_version");
  CHECK(details[0].actual() == 3);
  CHECK(details[1].field() == "checks[0].expected_version");
  CHECK(details[2].field() == "conditions[0]");
  CHECK(details[2].position() == 1);
  CHECK(details[2].epoch() == 1);
  CHECK(details[3].field() == "conditions[2]");
  CHECK(details[3].position() == 3);
  CHECK(ReadAll(*store).size() == 3);

  v1::TransactRequest holds = TransactionOf({Tagged("s", {"x"}, Exact(3))});
  NoTags({"x"}, 3, &holds);
  CHECK(PositionOf(MustTransact(*store, holds)) == 4);
}

TEST_CASE("Types, tags and tenants of a condition narrow each other", "[transact][conditions]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.writer.condition_memory_positions_max = GENERATE(0, 500);
  TestStore store(options);
  const std::string tenant = NewId();
  v1::AppendEventsRequest append = Request(Stream("s", "T", tenant), Any(), NewIds(1));
  append.mutable_events(0)->set_event_type("Enrolled");
  append.mutable_events(0)->add_tags("course:1");
  append.mutable_events(0)->add_tags("student:1");
  REQUIRE(Append(*store, append).ok());
  const auto fails = [&](const std::vector<std::string>& types,
                         const std::vector<std::string>& tags, const std::string& of = "") {
    v1::TransactRequest request = TransactionOf({Tagged("t", {})});
    v1::AppendCondition* condition = request.add_conditions();
    condition->set_tenant_id(of);
    if (!types.empty() || !tags.empty()) {
      v1::QueryItem* item = condition->add_query();
      for (const std::string& type : types) item->add_event_types(type);
      for (const std::string& tag : tags) item->add_tags(tag);
    }
    // After what earlier ones wrote: none of these has a tag or this type.
    const Transacted answer = Transact(*store, request);
    if (answer.ok()) return false;
    CHECK(ReasonOf(answer.status()) == v1::ERROR_REASON_CONDITION_FAILED);
    CHECK(DetailOf(answer.status()).position() == 1);
    return true;
  };
  CHECK(fails({}, {}));
  CHECK(fails({}, {}, tenant));
  CHECK_FALSE(fails({}, {}, NewId()));
  CHECK(fails({"Enrolled"}, {}));
  CHECK(fails({"Left", "Enrolled"}, {}));
  CHECK_FALSE(fails({"Left"}, {}));
  CHECK(fails({}, {"course:1"}));
  CHECK(fails({}, {"student:1", "course:1"}));
  CHECK_FALSE(fails({}, {"student:2", "course:1"}));
  CHECK(fails({"Enrolled"}, {"course:1", "student:1"}));
  CHECK_FALSE(fails({"Left"}, {"course:1"}));
  CHECK_FALSE(fails({"Enrolled"}, {"course:2"}));
  CHECK(fails({"Enrolled"}, {"course:1"}, tenant));
  CHECK_FALSE(fails({"Enrolled"}, {"course:1"}, NewId()));
  CHECK_FALSE(fails({}, {"course:1"}, NewId()));
  CHECK_FALSE(fails({"Enrolled"}, {}, NewId()));
}

TEST_CASE("A condition counts what commits between its evaluation and the lane",
          "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  const bool other_daemon = GENERATE(false, true);
  const bool matches = GENERATE(true, false);
  TestStore store(ConditionsOnTables(conninfo));
  TestStore other(ConditionsOnTables(conninfo));
  v1::TransactRequest warm = TransactionOf({Tagged("s", {})});
  NoTags({"x"}, 0, &warm);
  MustTransact(*store, warm);
  HeadLock lock(conninfo);
  auto faster = Submit(other_daemon ? *other : *store, Tagged("f", {matches ? "x" : "y"}));
  REQUIRE(lock.AwaitWaiter());
  v1::TransactRequest request = TransactionOf({Tagged("s", {"x"})});
  NoTags({"x"}, 0, &request);
  auto evaluated = StartTransact(*store, request);
  REQUIRE(Eventually([&] {
    return store.Metric("eventstore_lane_queue_appends") > 0 ||
           (other_daemon && store.Metric("eventstore_condition_evaluation_seconds_count") > 1);
  }));
  lock.Release();
  const std::int64_t position = Await(faster)->first_position();
  const Transacted answer = AwaitTransact(evaluated);
  CHECK(answer.ok() == !matches);
  if (!answer.ok()) {
    CHECK(ReasonOf(answer.status()) == v1::ERROR_REASON_CONDITION_FAILED);
    CHECK(DetailOf(answer.status()).position() == position);
  }
  // Once it was evaluated, and the lane looked at the rest by itself.
  CHECK(store.Metric("eventstore_condition_evaluations_total") == 2);
  CHECK(store.Metric("eventstore_conditions_total") == 2);
}

TEST_CASE("Events of earlier transactions of the batch count, its own do not",
          "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  HeadLock lock(conninfo);
  auto waiting = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  std::vector<std::future<Transacted>> answers;
  for (int i = 0; i < 3; ++i) {
    v1::TransactRequest request = TransactionOf({Tagged("s", {"x"}), Tagged("t", {"x"})});
    NoTags({"x"}, 0, &request);
    answers.push_back(StartTransact(*store, request));
  }
  REQUIRE(Eventually([&] { return store.Metric("eventstore_lane_queue_appends") == 3; }));
  lock.Release();
  int won = 0;
  for (auto& future : answers) {
    const Transacted answer = AwaitTransact(future);
    if (answer.ok()) ++won;
    if (!answer.ok()) CHECK(DetailOf(answer.status()).position() == 2);
  }
  CHECK(won == 1);
  CHECK(ReadAll(*store).size() == 3);
}

TEST_CASE("A slow condition does not hold the lane", "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(ConditionsOnTables(conninfo));
  REQUIRE(Append(*store, Stream("s"), NoStream(), NewIds(1)).ok());
  // The evaluation of the condition waits for the table of tags until this commits.
  const auto sql = Connect(conninfo, "public");
  Run(*sql, "BEGIN; LOCK TABLE event_tags IN ACCESS EXCLUSIVE MODE");
  v1::TransactRequest request = TransactionOf({Request(Stream("t"), NoStream(), NewIds(1))});
  NoTags({"x"}, 0, &request);
  auto slow = StartTransact(*store, request);
  for (int version = 1; version <= 20; ++version) {
    REQUIRE(Append(*store, Stream("s"), Exact(version), NewIds(1)).ok());
  }
  CHECK(slow.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
  Run(*sql, "COMMIT");
  const Transacted answer = AwaitTransact(slow);
  REQUIRE(answer.ok());
  CHECK(PositionOf(*answer) == 22);
}

TEST_CASE("Past the bound a condition is evaluated afresh, a bounded number of times",
          "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  const bool once = GENERATE(false, true);
  StoreOptions options = ConditionsOnTables(conninfo);
  if (GENERATE(true, false)) {
    options.writer.condition_positions_max = 0;
  } else {
    options.writer.condition_comparisons_max = 1;
  }
  options.writer.condition_evaluations_max = once ? 1 : 3;
  TestStore store(options);
  HeadLock lock(conninfo);
  auto waiting = Submit(*store, Request(Stream("w"), Any(), NewIds(2)));
  REQUIRE(lock.AwaitWaiter());
  v1::TransactRequest request = TransactionOf({Tagged("s", {"x"})});
  NoTags({"x"}, 0, &request);
  auto evaluated = StartTransact(*store, request);
  REQUIRE(Eventually([&] { return store.Metric("eventstore_lane_queue_appends") == 1; }));
  lock.Release();
  const Transacted answer = AwaitTransact(evaluated);
  if (once) {
    CHECK(ReasonOf(answer.status()) == v1::ERROR_REASON_OVERLOADED);
    CHECK(DetailOf(answer.status()).limit_name() == "writer.condition_evaluations_max");
    CHECK(DetailOf(answer.status()).limit() == 1);
  } else {
    REQUIRE(answer.ok());
    CHECK(PositionOf(*answer) == 3);
    CHECK(store.Metric("eventstore_condition_reevaluations_total") == 1);
  }
}

TEST_CASE("After the epoch changed a condition is evaluated afresh", "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(ConditionsOnTables(conninfo));
  REQUIRE(Append(*store, Stream("s"), NoStream(), NewIds(1)).ok());
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "BEGIN; UPDATE log_head SET epoch = 2;"
      "INSERT INTO log_epochs (epoch, first_position) VALUES (2, 2)");
  v1::TransactRequest request = TransactionOf({Tagged("s", {"x"}, Exact(1))});
  NoTags({"x"}, 1, &request)->set_epoch(1);
  auto evaluated = StartTransact(*store, request);
  REQUIRE(Eventually([&] {  // the lane has it, and waits for the head
    return SelectInt(*sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                     " AND wait_event_type = 'Lock'") > 0;
  }));
  Run(*sql, "COMMIT");
  const Transacted answer = AwaitTransact(evaluated);
  REQUIRE(answer.ok());
  CHECK(store.Metric("eventstore_condition_reevaluations_total") == 1);
}

TEST_CASE("Conditions on the newest events are evaluated in memory", "[transact][conditions]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.writer.condition_memory_positions_max = 3;
  TestStore store(options);
  for (const char* tag : {"a", "b", "c", "d", "e"}) {
    MustTransact(*store, TransactionOf({Tagged("s", {tag})}));
  }
  const auto evaluations = [&] { return store.Metric("eventstore_condition_evaluations_total"); };
  const auto transact = [&](const std::string& tag, std::int64_t after) {
    v1::TransactRequest request = TransactionOf({Tagged("t", {})});
    NoTags({tag}, after, &request)->set_epoch(1);
    return Transact(*store, request);
  };
  REQUIRE(Eventually([&] { return store->hub().Remembered().end_position == 5; }));
  CHECK(transact("x", 5).ok());  // position 6
  REQUIRE(Eventually([&] { return store->hub().Remembered().end_position == 6; }));
  CHECK(transact("c", 3).ok());  // 7
  CHECK(evaluations() == 0);
  REQUIRE(Eventually([&] { return store->hub().Remembered().end_position == 7; }));
  // What fails is told by the tables, and so is what reaches back further.
  const Transacted failed = transact("e", 4);
  CHECK(ReasonOf(failed.status()) == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(DetailOf(failed.status()).position() == 5);
  CHECK(evaluations() == 1);
  CHECK(transact("x", 3).ok());
  CHECK(evaluations() == 2);
}

TEST_CASE("A position beyond its epoch's end is ahead", "[transact][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  MustTransact(*store, TransactionOf({Tagged("s", {}), Tagged("s", {})}));
  const auto refused = [&](std::int64_t position, std::int64_t epoch) {
    v1::TransactRequest request = TransactionOf({Tagged("s", {})});
    NoTags({"x"}, 0, &request);
    NoTags({"x"}, position, &request)->set_epoch(epoch);
    return DetailOf(Transact(*store, request).status());
  };
  const v1::ErrorInfo ahead = refused(3, 0);
  CHECK(ahead.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(ahead.field() == "conditions[1].after_position");
  CHECK(ahead.index() == 1);
  CHECK(refused(1, 7).reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(refused(2, 1).reason() == v1::ERROR_REASON_UNSPECIFIED);
}

}  // namespace
}  // namespace eventstore::engine
