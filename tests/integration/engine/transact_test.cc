// Transactions: several appends with checks, replays, a checkpoint and snapshots.
#include <catch2/catch.hpp>

#include "tests/integration/engine/transacting.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

TEST_CASE("A transaction stores all of its events in a row, or none", "[transact]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  v1::TransactRequest request =
      TransactionOf({Tagged("a", {"x"}, NoStream()), Request(Stream("b"), NoStream(), NewIds(2)),
                     Request(Stream("a"), Exact(1), NewIds(1))});
  ExpectStream(Stream("c"), NoStream(), &request);
  const auto response = MustTransact(*store, request);
  REQUIRE(response.results_size() == 3);
  CHECK(response.results(1).first_position() == 2);
  CHECK(response.results(2).first_version() == 2);
  CHECK_FALSE(response.deduplicated());
  CHECK(Positions(ReadAll(*store)) == std::vector<std::int64_t>{1, 2, 3, 4});

  v1::TransactRequest bad = TransactionOf(
      {Request(Stream("c"), NoStream(), NewIds(1)), Request(Stream("a"), Exact(1), NewIds(1))});
  ExpectStream(Stream("b"), Exact(7), &bad);
  const auto details = DetailsOf(Transact(*store, bad).status());
  REQUIRE(details.size() == 2);
  CHECK(details[0].field() == "appends[1].expected_version");
  CHECK(details[0].actual() == 2);
  CHECK(details[1].field() == "checks[0].expected_version");
  CHECK(details[1].actual() == 2);
  CHECK(ReadAll(*store).size() == 4);
  CHECK(store.Metric("eventstore_transactions_total") == 2);
}

TEST_CASE("A rejected transaction disturbs nobody in its batch", "[transact]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  REQUIRE(Append(*store, Stream("s"), NoStream(), NewIds(1)).ok());
  HeadLock lock(conninfo);
  auto waiting = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  // These share the next batch.
  auto first = Submit(*store, Request(Stream("s"), Exact(1), NewIds(1)));
  auto rejected = StartTransact(
      *store, TransactionOf({Tagged("s", {"x"}, Exact(2)), Tagged("s", {"x"}, Exact(2))}));
  auto second = Submit(*store, Request(Stream("s"), Exact(2), NewIds(1)));
  lock.Release();
  CHECK(Await(waiting)->first_position() == 2);
  CHECK(Await(first)->first_position() == 3);
  const Transacted answer = AwaitTransact(rejected);
  REQUIRE(ReasonOf(answer.status()) == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(DetailOf(answer.status()).index() == 1);
  CHECK(Await(second)->first_position() == 4);
  CHECK(Positions(ReadAll(*store)) == std::vector<std::int64_t>{1, 2, 3, 4});
}

TEST_CASE("A repeated transaction returns the first result, whatever it expects",
          "[transact][replay]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  v1::TransactRequest request =
      TransactionOf({Tagged("a", {"x"}, NoStream()), Tagged("b", {"x"}, NoStream())});
  NoTags({"x"}, 0, &request);  // its own events match it from now on
  ExpectStream(Stream("c"), NoStream(), &request);
  const auto first = MustTransact(*store, request);
  MustTransact(*store, TransactionOf({Tagged("c", {"x"}, NoStream())}));
  TestStore other(SmallOptions(conninfo));
  for (TestStore* daemon : {&store, &other}) {
    const auto again = MustTransact(**daemon, request);
    CHECK(again.deduplicated());
    REQUIRE(again.results_size() == 2);
    CHECK(again.results(0).deduplicated());
    CHECK(again.results(1).first_position() == first.results(1).first_position());
    CHECK(again.results(1).created_at().SerializeAsString() ==
          first.results(1).created_at().SerializeAsString());
  }
  CHECK(store.Metric("eventstore_append_replays_total") == 1);
  // A part of it, or more than it, is none.
  v1::TransactRequest more = request;
  *more.add_appends() = Tagged("a", {});
  CHECK(ReasonOf(Transact(*store, more).status()) == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
  v1::TransactRequest elsewhere = request;
  *elsewhere.mutable_appends(1)->mutable_stream() = Stream("d");
  CHECK(ReasonOf(Transact(*store, elsewhere).status()) == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
  CHECK(ReadAll(*store).size() == 3);
}

TEST_CASE("Repeats that race write once", "[transact][replay]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.writer.condition_memory_positions_max = GENERATE(0, 500);
  TestStore store(options);
  for (int round = 0; round < 20; ++round) {
    v1::TransactRequest request = TransactionOf({Tagged("a", {"r" + std::to_string(round)})});
    NoTags({"r" + std::to_string(round)}, 0, &request);
    std::vector<std::future<Transacted>> answers;
    for (int i = 0; i < 4; ++i) answers.push_back(StartTransact(*store, request));
    int written = 0;
    for (auto& future : answers) {
      const Transacted answer = AwaitTransact(future);
      INFO(telemetry::MessageOf(answer.status()));
      REQUIRE(answer.ok());
      CHECK(PositionOf(*answer) == round + 1);
      if (!answer->deduplicated()) ++written;
    }
    CHECK(written == 1);
  }
}

v1::SaveCheckpointRequest CheckpointAt(std::int64_t position) {
  v1::SaveCheckpointRequest checkpoint;
  checkpoint.set_projection_name("manager");
  checkpoint.set_position(position);
  return checkpoint;
}

v1::Checkpoint StoredCheckpoint(TestStore& store) {
  v1::GetCheckpointRequest request;
  request.set_projection_name("manager");
  request.mutable_stale_after()->set_seconds(60);
  const auto got = AwaitDone<v1::GetCheckpointResponse>([&](Done<v1::GetCheckpointResponse> done) {
    store->projections().GetCheckpoint(request, In(kPatience), std::move(done));
  });
  REQUIRE(got.ok());
  return got->status().checkpoint();
}

TEST_CASE("A checkpoint is saved with the events, by compare-and-set", "[transact][checkpoint]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  TestStore other(SmallOptions(conninfo));
  REQUIRE(Append(*store, Stream("in"), NoStream(), NewIds(3)).ok());
  v1::TransactRequest request = TransactionOf({Tagged("out", {})});
  *request.mutable_checkpoint() = CheckpointAt(1);
  request.mutable_checkpoint()->set_expected_position(0);
  request.mutable_checkpoint()->set_last_event_type("Happened");
  request.mutable_checkpoint()->set_events_processed(1);
  const auto first = MustTransact(*store, request);
  CHECK(first.checkpoint().position() == 1);
  CHECK(first.checkpoint().SerializeAsString() == StoredCheckpoint(store).SerializeAsString());
  // Done already, by whoever repeats the work with other ids.
  v1::TransactRequest again = TransactionOf({Tagged("out", {})});
  *again.mutable_checkpoint() = request.checkpoint();
  const v1::ErrorInfo moved = DetailOf(Transact(*other, again).status());
  CHECK(moved.reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(moved.field() == "checkpoint.expected_position");
  CHECK(moved.position() == 1);
  again.mutable_checkpoint()->clear_expected_position();
  CHECK(DetailOf(Transact(*other, again).status()).field() == "checkpoint.position");
  CHECK(ReadAll(*store).size() == 4);
  again.mutable_checkpoint()->set_position(2);
  CHECK(MustTransact(*other, again).checkpoint().events_processed() == 2);
}

TEST_CASE("Rivals for one checkpoint write once per position", "[transact][checkpoint]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  REQUIRE(Append(*one, Stream("in"), NoStream(), NewIds(20)).ok());
  for (std::int64_t position = 1; position <= 20; ++position) {
    std::vector<std::future<Transacted>> answers;
    for (TestStore* store : {&one, &two, &one, &two}) {
      v1::TransactRequest request = TransactionOf({Tagged("out", {})});
      *request.mutable_checkpoint() = CheckpointAt(position);
      request.mutable_checkpoint()->set_expected_position(position - 1);
      answers.push_back(StartTransact(**store, request));
    }
    int won = 0;
    for (auto& future : answers) {
      const Transacted answer = AwaitTransact(future);
      if (answer.ok()) ++won;
      if (!answer.ok()) {
        CHECK(ReasonOf(answer.status()) == v1::ERROR_REASON_CONDITION_FAILED);
      }
    }
    REQUIRE(won == 1);
  }
  CHECK(ReadStream(*one, Stream("out")).size() == 20);
}

TEST_CASE("A transaction without events takes no position", "[transact][checkpoint]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  REQUIRE(Append(*store, Stream("in"), NoStream(), NewIds(2)).ok());
  v1::TransactRequest request;
  *request.mutable_checkpoint() = CheckpointAt(2);
  ExpectStream(Stream("in"), Exact(1), &request);
  CHECK(ReasonOf(Transact(*store, request).status()) == v1::ERROR_REASON_VERSION_CONFLICT);
  request.mutable_checks(0)->mutable_expected_version()->set_exact(2);
  const auto response = MustTransact(*store, request);
  CHECK(response.results().empty());
  CHECK_FALSE(response.deduplicated());
  CHECK(StoredCheckpoint(store).position() == 2);
  CHECK(Append(*store, Stream("in"), Exact(2), NewIds(1))->first_position() == 3);
}

TEST_CASE("Snapshots are saved with the events and trimmed", "[transact][snapshots]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const auto sql = Connect(conninfo, "public");
  const auto snapshot = [](std::int64_t version, const std::string& state, int keep,
                           v1::TransactRequest* request) {
    v1::SaveSnapshotRequest* added = request->add_snapshots();
    *added->mutable_stream() = Stream("s");
    added->set_version(version);
    added->set_state(state);
    added->set_keep_versions(keep);
    return added;
  };
  v1::TransactRequest first = TransactionOf({Request(Stream("s"), NoStream(), NewIds(3))});
  snapshot(2, R"({"n": 2})", 2, &first);
  snapshot(3, std::string("\0\xff", 2), 2, &first)->set_content_type("application/x-state");
  const auto saved = MustTransact(*store, first);
  REQUIRE(saved.snapshots_saved_size() == 2);
  CHECK(saved.snapshots_saved(0));
  CHECK(saved.snapshots_saved(1));
  CHECK(SelectInt(*sql, "SELECT count(*) FROM snapshots") == 2);
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM snapshots WHERE version = 3 AND state IS NULL"
                  " AND state_binary = '\\x00ff' AND content_type = 'application/x-state'"
                  " AND size_bytes = 2") == 1);
  CHECK(SelectInt(*sql, "SELECT (state->>'n')::bigint FROM snapshots WHERE version = 2") == 2);
  // No newer one is replaced; and of those that are kept the oldest goes.
  v1::TransactRequest second;
  snapshot(1, "{}", 1, &second);
  CHECK_FALSE(MustTransact(*store, second).snapshots_saved(0));
  v1::TransactRequest third = TransactionOf({Request(Stream("s"), Exact(3), NewIds(1))});
  snapshot(5, "{}", 1, &third);
  CHECK(ReasonOf(Transact(*store, third).status()) == v1::ERROR_REASON_INVALID_REQUEST);
  third.mutable_snapshots(0)->set_version(4);
  CHECK(MustTransact(*store, third).snapshots_saved(0));
  CHECK(SelectInt(*sql, "SELECT sum(version)::bigint FROM snapshots") == 4);
}

TEST_CASE("A cancelled transaction is not written", "[transact]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  HeadLock lock(conninfo);
  auto waiting = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  auto transaction = ValidateTransaction(TransactionOf({Tagged("s", {})}), Limits());
  auto promise = std::make_shared<std::promise<Transacted>>();
  auto answer = promise->get_future();
  const auto cancel = store->transactor().Submit(
      *std::move(transaction), Deadline::max(),
      [promise](Transacted result) { promise->set_value(std::move(result)); });
  cancel();
  lock.Release();
  CHECK(absl::IsCancelled(AwaitTransact(answer).status()));
  CHECK(Await(waiting).ok());
  CHECK(ReadAll(*store).size() == 1);
}

}  // namespace
}  // namespace eventstore::engine
