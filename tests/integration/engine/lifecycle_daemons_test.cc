// Changes that one daemon makes, and what another one does that remembers otherwise.
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

#include "tests/integration/engine/changes.h"
#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Versions64 = std::vector<std::int64_t>;

struct TwoDaemons {
  explicit TwoDaemons(std::chrono::milliseconds poll = std::chrono::milliseconds(100))
      : conninfo(CreateStoreDatabase()), one(Options(poll)), two(Options(poll)) {
    sql = Connect(conninfo, "public");
  }
  StoreOptions Options(std::chrono::milliseconds poll) const {
    StoreOptions options = SmallOptions(conninfo);
    options.hub.poll_interval_ms = poll;
    return options;
  }
  // Appends through both, so that both lanes remember the stream at its newest version.
  void Remember(const v1::StreamId& stream) {
    for (TestStore* const store : {&one, &two, &one}) {
      REQUIRE(Append(**store, stream, Any(), NewIds(1)).ok());
    }
  }

  std::string conninfo;
  TestStore one;
  TestStore two;
  std::unique_ptr<pg::Connection> sql;
};

SubscriptionQuery Following(const v1::StreamId& stream) {
  SubscriptionQuery query;
  query.stream = stream;
  return query;
}

TEST_CASE("An append after another daemon's deletion does not trust the stale cache",
          "[lifecycle][daemons]") {
  TwoDaemons daemons;
  daemons.Remember(Stream("s"));
  REQUIRE(Delete(*daemons.two, Stream("s"), Exact(3)).ok());
  // The first one wrote last, and believes version 3.
  CHECK(DetailOf(Append(*daemons.one, Stream("s"), Exact(3), NewIds(1)).status()).actual() == 0);
  CHECK(Append(*daemons.one, Stream("s"), NoStream(), NewIds(1))->first_version() == 4);
  // And the other one's cache knows that it is there again.
  CHECK(Append(*daemons.two, Stream("s"), Exact(4), NewIds(1)).ok());
  CHECK(Versions(ReadStream(*daemons.two, Stream("s"))) == Versions64{4, 5});
}

TEST_CASE("A stream that is deleted and written again elsewhere is seen as it is",
          "[lifecycle][daemons]") {
  TwoDaemons daemons;
  daemons.Remember(Stream("s"));
  REQUIRE(Delete(*daemons.two, Stream("s"), Any()).ok());
  // This one looks it up while it is deleted, and remembers that.
  CHECK_FALSE(Append(*daemons.one, Stream("s"), StreamExists(), NewIds(1)).ok());
  REQUIRE(Append(*daemons.one, Stream("t"), Any(), NewIds(1)).ok());
  REQUIRE(Append(*daemons.two, Stream("s"), NoStream(), NewIds(1)).ok());
  CHECK(DetailOf(Append(*daemons.one, Stream("s"), NoStream(), NewIds(1)).status()).actual() == 4);
  CHECK(Append(*daemons.one, Stream("s"), StreamExists(), NewIds(1))->first_version() == 5);
}

TEST_CASE("A tombstone of one daemon holds at once for the other's lane, and ends its followers",
          "[lifecycle][daemons]") {
  const bool told = GENERATE(true, false);  // by NOTIFY, or found by the poll alone
  TwoDaemons daemons(told ? std::chrono::milliseconds(60'000) : std::chrono::milliseconds(100));
  daemons.Remember(Stream("s"));
  Follower live(*daemons.one, Following(Stream("s")));
  REQUIRE(live.AwaitEvents(3));
  REQUIRE(live.AwaitKind(Kind::kCaughtUp));
  REQUIRE(Delete(*daemons.two, Stream("s"), Any(), true).ok());
  CHECK(ReasonOf(Append(*daemons.one, Stream("s"), Any(), NewIds(1)).status()) ==
        v1::ERROR_REASON_STREAM_DELETED);
  REQUIRE(live.AwaitEnd());
  CHECK(ReasonOf(live.End()) == v1::ERROR_REASON_STREAM_DELETED);
}

TEST_CASE("A truncation of one daemon bounds the other's readers and followers",
          "[lifecycle][daemons]") {
  TwoDaemons daemons(std::chrono::seconds(60));
  daemons.Remember(Stream("s"));
  Follower held(*daemons.one, Following(Stream("s")), /*held=*/true);
  held.Allow(3);
  REQUIRE(held.AwaitKind(Kind::kCaughtUp));
  for (int i = 0; i < 5; ++i) {
    REQUIRE(Append(*daemons.one, Stream("s"), Exact(3 + i), NewIds(1)).ok());
  }
  REQUIRE(Truncate(*daemons.two, Stream("s"), 7).ok());
  CHECK(Versions(ReadStream(*daemons.one, Stream("s"))) == Versions64{7, 8});
  CHECK(Append(*daemons.one, Stream("s"), Exact(8), NewIds(1))->first_version() == 9);
  // The lane's commit told the hub of the revision, at the latest.
  Follower all(*daemons.one);
  REQUIRE(all.AwaitEvents(9));
  CHECK(Eventually([&] {
    Follower late(*daemons.one, Following(Stream("s")));
    return late.AwaitEvents(3) && Versions(late.Events()) == Versions64{7, 8, 9};
  }));
  held.Allow(INT64_MAX);
  REQUIRE(Eventually([&] {
    const auto events = held.Events();
    return !events.empty() && events.back().version() == 9;
  }));
}

TEST_CASE("The other daemon's ring gives nothing that was erased", "[erasure][daemons]") {
  const bool told = GENERATE(true, false);
  TwoDaemons daemons(told ? std::chrono::milliseconds(60'000) : std::chrono::milliseconds(100));
  Follower live(*daemons.one);
  Follower held(*daemons.one, {}, /*held=*/true);
  held.Allow(2);
  REQUIRE(held.AwaitKind(Kind::kCaughtUp));
  const auto ids = NewIds(3);
  REQUIRE(Append(*daemons.one, Secrets(Stream("s"), ids)).ok());
  REQUIRE(live.AwaitEvents(3));
  CHECK(daemons.one.Metric("eventstore_ring_events") == 3);
  REQUIRE(EraseIds(*daemons.two, ids).value() == 3);
  REQUIRE(Eventually([&] { return daemons.one.Metric("eventstore_ring_events") == 0; }));
  held.Allow(INT64_MAX);
  REQUIRE(held.AwaitEvents(3));
  for (const v1::Event& event : held.Events()) {
    CHECK(event.erased());
    CHECK_FALSE(HasSecret(event));
  }
  // It goes on live, without gaps.
  REQUIRE(Append(*daemons.two, Stream("s"), Exact(3), NewIds(1)).ok());
  REQUIRE(held.AwaitEvents(4));
  REQUIRE(live.AwaitEvents(4));
}

TEST_CASE("A subscription that begins after another daemon's erasure gets nothing of it",
          "[erasure][daemons]") {
  TwoDaemons daemons(std::chrono::seconds(60));
  Follower live(*daemons.one);
  for (std::size_t round = 1; round <= 30; ++round) {
    const auto ids = NewIds(1);
    const auto appended = Append(*daemons.one, Secrets(Stream("s"), ids));
    REQUIRE(appended.ok());
    REQUIRE(live.AwaitEvents(round));
    REQUIRE(EraseIds(*daemons.two, ids).ok());
    // Whatever this daemon's ring has heard of so far.
    SubscriptionQuery query;
    query.start = SubscriptionQuery::AfterPosition{appended->last_position() - 1, 0};
    Follower follower(*daemons.one, query);
    REQUIRE(follower.AwaitEvents(1));
    CHECK_FALSE(HasSecret(follower.Events()[0]));
  }
}

TEST_CASE("A batch that committed before an erasure does not come to the ring after it",
          "[erasure][hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  const auto ids = NewIds(2);
  REQUIRE(Append(*store, Secrets(Stream("s"), ids)).ok());
  REQUIRE(EraseIds(*store, ids).ok());
  const auto late = NewIds(1);
  REQUIRE(Append(*store, Secrets(Stream("s"), late)).ok());
  // What the lane would hand on late: the event that follows, as it was before another erasure.
  CommittedBatch batch;
  batch.epoch = 1;
  batch.revision = 0;
  batch.events = {ReadAll(*store).back()};
  REQUIRE(HasSecret(batch.events[0]));
  batch.events[0].set_global_position(4);
  REQUIRE(EraseIds(*store, late).ok());
  Follower live(*store);  // it gets from the ring what comes next
  REQUIRE(live.AwaitKind(Kind::kCaughtUp));
  store->hub().Publish(batch);
  REQUIRE(Append(*store, Stream("s"), Any(), NewIds(1)).ok());
  REQUIRE(live.AwaitEvents(4));
  for (const v1::Event& event : live.Events()) CHECK_FALSE(HasSecret(event));
}

// What the clients of the random test do and learn.
struct RandomWorld {
  static constexpr int kStreams = 6;
  std::atomic<std::int64_t> written{0};
  std::atomic<std::int64_t> changes{0};
  std::atomic<std::int64_t> erased{0};
  std::atomic<int> unexpected{0};

  v1::StreamId AnyStream(std::mt19937_64* random) const {
    return Stream("s" + std::to_string((*random)() % kStreams));
  }
  void Append(Store& store, std::mt19937_64* random) {
    const int count = 1 + static_cast<int>((*random)() % 3);
    auto request = Secrets(AnyStream(random), NewIds(count));
    const auto exact = 1 + static_cast<std::int64_t>((*random)() % 40);
    const v1::ExpectedVersion choices[] = {Any(), NoStream(), StreamExists(), Exact(exact)};
    *request.mutable_expected_version() = choices[(*random)() % 4];
    if ((*random)() % 2 == 0) request.mutable_events(0)->clear_tags();  // may go alone
    const Answer answer = testing::Append(store, request);
    if (answer.ok()) {
      written += count;
    } else if (ReasonOf(answer.status()) != v1::ERROR_REASON_VERSION_CONFLICT) {
      ++unexpected;
    }
  }
  void Change(Store& store, std::mt19937_64* random) {
    const v1::StreamId stream = AnyStream(random);
    absl::Status status;
    switch ((*random)() % 4) {
      case 0:
        status = Delete(store, stream, Any()).status();
        break;
      case 1: {
        const auto answer =
            EraseVersions(store, stream, {1 + static_cast<std::int64_t>((*random)() % 20)});
        if (answer.ok()) erased += *answer;
        status = answer.status();
        break;
      }
      default: {
        const std::int64_t version = Info(store, stream).version();
        status = Truncate(store, stream, std::max<std::int64_t>(1, version - 2)).status();
        break;
      }
    }
    if (status.ok()) ++changes;
    const v1::ErrorReason reason = ReasonOf(status);
    const bool normal = status.ok() || reason == v1::ERROR_REASON_NOT_FOUND ||
                        reason == v1::ERROR_REASON_INVALID_REQUEST;
    if (!normal) ++unexpected;
  }
};

TEST_CASE("Appends that race with changes through two daemons keep one dense history",
          "[lifecycle][daemons][random]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  TwoDaemons daemons;
  RandomWorld world;
  Follower follower_one(*daemons.one);
  Follower follower_two(*daemons.two);
  std::vector<std::thread> clients;
  for (std::uint64_t c = 0; c < 6; ++c) {
    clients.emplace_back([&, c] {
      std::mt19937_64 random(seed + c);
      for (int i = 0; i < 80; ++i) {
        Store& store = random() % 2 == 0 ? *daemons.one : *daemons.two;
        random() % 4 == 0 ? world.Change(store, &random) : world.Append(store, &random);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(world.unexpected == 0);
  CHECK(world.changes > 0);
  const auto written = static_cast<std::size_t>(world.written.load());
  CHECK(SelectInt(*daemons.sql, "SELECT last_position FROM log_head") == world.written);
  CHECK(SelectInt(*daemons.sql, "SELECT count(*) FROM events") == world.written);
  CHECK(SelectInt(*daemons.sql, "SELECT count(*) FROM erasures") == world.erased);
  CHECK(SelectInt(*daemons.sql, "SELECT count(*) FROM events WHERE erased_at IS NOT NULL") ==
        world.erased);
  CHECK(SelectInt(*daemons.sql,
                  "SELECT count(*) FROM events WHERE erased_at IS NOT NULL AND (payload IS NOT"
                  " NULL OR tags IS NOT NULL OR metadata IS NOT NULL)") == 0);
  // Versions have no gaps, whatever was hidden in between.
  CHECK(SelectInt(*daemons.sql,
                  "SELECT count(*) FROM streams s JOIN (SELECT stream_key, count(*) AS n,"
                  " min(version) AS low, max(version) AS high FROM events GROUP BY 1) e"
                  " USING (stream_key) WHERE NOT (s.version = n AND low = 1 AND high = n"
                  " AND s.first_version <= n + 1)") == 0);
  // Each change has a revision of its own, and nothing else has.
  CHECK(SelectInt(*daemons.sql,
                  "SELECT h.revision - count(DISTINCT c.revision) FROM log_head h"
                  " LEFT JOIN log_changes c ON true GROUP BY h.revision") == 0);
  // Both followers saw everything, once and in order.
  for (Follower* const follower : {&follower_one, &follower_two}) {
    REQUIRE(follower->AwaitEvents(written));
    const auto positions = Positions(follower->Events());
    REQUIRE(positions.size() == written);
    for (std::size_t i = 0; i < written; ++i) {
      REQUIRE(positions[i] == static_cast<std::int64_t>(i) + 1);
    }
  }
  // And the caches agree with the tables, on both.
  for (int s = 0; s < RandomWorld::kStreams; ++s) {
    for (TestStore* const store : {&daemons.one, &daemons.two}) {
      const v1::StreamId stream = Stream("s" + std::to_string(s));
      const v1::StreamInfo info = Info(**store, stream);
      const auto expected = info.exists() ? Exact(info.version()) : NoStream();
      CHECK(Append(**store, stream, expected, NewIds(1)).ok());
    }
  }
}

}  // namespace
}  // namespace eventstore::engine
