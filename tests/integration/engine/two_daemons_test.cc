// Two stores on one database, as two daemons have them.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "server/telemetry/logging.h"
#include "tests/integration/engine/follower.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

TEST_CASE("Interleaved appends of two daemons see each other's versions", "[daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  // The second one's cache is cleared rather than repaired when the first wrote more than this.
  const std::int64_t foreign_events_max = GENERATE(10'000, 2);
  StoreOptions options = SmallOptions(conninfo);
  options.writer.foreign_events_max = foreign_events_max;
  TestStore one(options);
  TestStore two(options);
  std::int64_t version = 0;
  for (int round = 0; round < 10; ++round) {
    for (TestStore* store : {&one, &two}) {
      const auto expected = version == 0 ? NoStream() : Exact(version);
      const auto answer = Must(Append(**store, Stream("s"), expected, NewIds(1 + round % 3)));
      CHECK(answer.first_version() == version + 1);
      version = answer.last_version();
      // What it believed before is refused, with the truth.
      CHECK(DetailOf(Append(**store, Stream("s"), expected, NewIds(1)).status()).actual() ==
            version);
    }
  }
  // A stream that one daemon remembers and the other appends to only now and then.
  Must(Append(*one, Stream("rare"), NoStream(), NewIds(1)));
  for (int i = 0; i < 5; ++i) Must(Append(*two, Stream("s"), Any(), NewIds(1)));
  Must(Append(*two, Stream("rare"), Exact(1), NewIds(1)));
  CHECK(Must(Append(*one, Stream("rare"), Exact(2), NewIds(1))).last_version() == 3);
  CHECK(one.Metric("eventstore_lane_foreign_events_total") > 0);

  const std::vector<v1::Event> events = ReadAll(*two);
  for (std::size_t i = 0; i < events.size(); ++i) {
    REQUIRE(events[i].global_position() == static_cast<std::int64_t>(i) + 1);
  }
}

TEST_CASE("Both daemons race for a version and one wins each time", "[daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  for (std::int64_t version = 0; version < 25; ++version) {
    const auto expected = version == 0 ? NoStream() : Exact(version);
    std::vector<std::future<Answer>> answers;
    for (TestStore* store : {&one, &two}) {
      answers.push_back(Submit(**store, Request(Stream("s"), expected, NewIds(1))));
    }
    int won = 0;
    for (auto& future : answers) {
      const Answer answer = Await(future);
      if (answer.ok()) ++won;
      if (!answer.ok()) CHECK(DetailOf(answer.status()).actual() == version + 1);
    }
    REQUIRE(won == 1);
  }
}

TEST_CASE("A replay through the other daemon returns the first result", "[daemons][replay]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  const std::vector<std::string> ids = NewIds(3);
  // Both at once: one of them writes, the other one sees it.
  std::vector<std::future<Answer>> answers;
  for (TestStore* store : {&one, &two, &one, &two}) {
    answers.push_back(Submit(**store, Request(Stream("s"), NoStream(), ids)));
  }
  int written = 0;
  for (auto& future : answers) {
    const auto answer = Must(Await(future));
    CHECK(answer.first_position() == 1);
    CHECK(answer.last_version() == 3);
    if (!answer.deduplicated()) ++written;
  }
  CHECK(written == 1);
  CHECK(ReasonOf(Append(*two, Stream("t"), Any(), ids).status()) ==
        v1::ERROR_REASON_DUPLICATE_EVENT_ID);
}

TEST_CASE("A revision makes every daemon look up the streams that it names", "[daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  for (const char* id : {"gone", "kept"}) {
    Must(Append(*one, Stream(id), NoStream(), NewIds(1)));
    Must(Append(*two, Stream(id), Exact(1), NewIds(1)));
  }
  const bool named = GENERATE(true, false);
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      std::string("BEGIN; UPDATE streams SET tombstoned = true WHERE aggregate_id = 'gone';"
                  "UPDATE log_head SET revision = revision + 1;"
                  "INSERT INTO log_changes (revision, stream_key, kind) SELECT h.revision, ") +
          (named ? "s.stream_key" : "NULL") +
          ", 'delete' FROM log_head h, streams s WHERE s.aggregate_id = 'gone'; COMMIT");
  for (TestStore* store : {&one, &two}) {
    CHECK(ReasonOf(Append(**store, Stream("gone"), Any(), NewIds(1)).status()) ==
          v1::ERROR_REASON_STREAM_DELETED);
    CHECK(Append(**store, Stream("kept"), StreamExists(), NewIds(1)).ok());
  }
}

TEST_CASE("A read after an acknowledged append sees it through any daemon", "[daemons][fresh]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  for (int i = 1; i <= 20; ++i) {
    TestStore& writer = i % 2 == 0 ? one : two;
    TestStore& reader = i % 2 == 0 ? two : one;
    const auto answer = Must(Append(*writer, Stream("s"), Any(), NewIds(1)));
    const auto head = AwaitDone<tables::Head>(
        [&](Done<tables::Head> done) { reader->reader().GetHead(In(kPatience), std::move(done)); });
    REQUIRE(head.ok());
    CHECK(head->position == answer.last_position());
    CHECK(ReadAll(*reader).size() == static_cast<std::size_t>(i));
    CHECK(ReadStream(*reader, Stream("s")).size() == static_cast<std::size_t>(i));
  }
}

TEST_CASE("A subscription from the end begins after every acknowledged append",
          "[daemons][fresh]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore one(SmallOptions(conninfo));
  TestStore two(SmallOptions(conninfo));
  // Whatever the other daemon's ring has heard of so far.
  for (int i = 0; i < 50; ++i) {
    const auto answer = Must(Append(*one, Stream("s"), Any(), NewIds(1)));
    SubscriptionQuery query;
    query.start = SubscriptionQuery::FromEnd{};
    Follower follower(*two, query);
    REQUIRE(follower.AwaitKind(Kind::kConfirmed));
    CHECK(follower.Messages().front().position == answer.last_position());
  }
}

TEST_CASE("Random appends through two daemons give one history without gaps or doubles",
          "[daemons][random]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.writer.cache_streams_max = 4;  // so that look-ups and evictions mix
  options.writer.foreign_events_max = 5;
  TestStore one(options);
  TestStore two(options);
  std::atomic<std::int64_t> written{0};
  std::atomic<int> unexpected{0};
  std::vector<std::thread> clients;
  for (std::uint64_t c = 0; c < 6; ++c) {
    clients.emplace_back([&, c] {
      std::mt19937_64 random(seed + c);
      std::vector<v1::AppendEventsRequest> sent;
      for (int i = 0; i < 60; ++i) {
        Store& store = random() % 2 == 0 ? *one : *two;
        if (!sent.empty() && random() % 4 == 0) {  // a retry of something that was written
          const Answer again = Append(store, sent[random() % sent.size()]);
          if (!again.ok() || !again->deduplicated()) ++unexpected;
          continue;
        }
        const v1::StreamId stream = Stream("s" + std::to_string(random() % 8));
        const auto expected =
            random() % 2 == 0 ? Any() : Exact(1 + static_cast<std::int64_t>(random() % 30));
        const auto request = Request(stream, expected, NewIds(1 + static_cast<int>(random() % 3)));
        const Answer answer = Append(store, request);
        if (answer.ok()) {
          if (answer->deduplicated()) ++unexpected;
          written += request.events_size();
          sent.push_back(request);
        } else if (ReasonOf(answer.status()) != v1::ERROR_REASON_VERSION_CONFLICT) {
          ++unexpected;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(unexpected == 0);
  const auto sql = Connect(conninfo, "public");
  CHECK(SelectInt(*sql, "SELECT last_position FROM log_head") == written);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM events") == written);
  CHECK(SelectInt(*sql, "SELECT max(global_position) FROM events") == written);
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM event_ids JOIN events USING (event_id,"
                  " global_position, stream_key, version, created_at)") == written);
  // Each stream's row agrees with its events, whose versions have no gaps.
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM streams s JOIN (SELECT stream_key, aggregate_id, count(*)"
                  " AS n, min(version) AS low, max(version) AS high, min(global_position) AS first,"
                  " max(global_position) AS last FROM events GROUP BY 1, 2) e"
                  " USING (stream_key, aggregate_id) WHERE NOT (s.version = n AND low = 1"
                  " AND high = n AND s.first_position = first AND s.last_position = last)") == 0);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM streams") ==
        SelectInt(*sql, "SELECT count(DISTINCT stream_key) FROM events"));
}

}  // namespace
}  // namespace eventstore::engine
