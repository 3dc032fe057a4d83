// Truncation and deletion, on one store.
#include <catch2/catch.hpp>

#include "tests/integration/engine/changes.h"
#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Versions64 = std::vector<std::int64_t>;

struct Bench {
  Bench() : conninfo(CreateStoreDatabase()), store(SmallOptions(conninfo)) {
    sql = Connect(conninfo, "public");
  }
  void Fill(const v1::StreamId& stream, int events) {
    REQUIRE(Append(*store, stream, Any(), NewIds(events)).ok());
  }
  void Snapshot(const std::string& id, int version) {
    Run(*sql, "INSERT INTO snapshots (aggregate_id, aggregate_type, version, state) VALUES ('" +
                  id + "', 'Order', " + std::to_string(version) + ", '{}')");
  }
  std::int64_t Snapshots() { return SelectInt(*sql, "SELECT count(*) FROM snapshots"); }
  std::int64_t Revision() { return SelectInt(*sql, "SELECT revision FROM log_head"); }

  std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
};

SubscriptionQuery Following(const v1::StreamId& stream) {
  SubscriptionQuery query;
  query.stream = stream;
  return query;
}

TEST_CASE("A truncated stream is read from its first version on, both ways", "[lifecycle]") {
  Bench bench;
  const v1::StreamId stream = Stream("s");
  bench.Fill(stream, 10);
  const auto info = Truncate(*bench.store, stream, 4);
  REQUIRE(info.ok());
  CHECK(info->version() == 10);
  CHECK(info->first_version() == 4);
  CHECK(info->exists());
  CHECK(Versions(ReadStream(*bench.store, stream)) == Versions64{4, 5, 6, 7, 8, 9, 10});
  CHECK(Versions(ReadStream(*bench.store, stream, true)) == Versions64{10, 9, 8, 7, 6, 5, 4});
  StreamPageQuery below;
  below.stream = stream;
  below.from_version = 1;
  below.to_version = 3;
  CHECK(ReadPage(*bench.store, below)->events.empty());
  below.to_version = 5;
  CHECK(Versions(ReadPage(*bench.store, below)->events) == Versions64{4, 5});
  // The store's history stays, numbering goes on, and its versions are what writers expect.
  CHECK(ReadAll(*bench.store).size() == 10);
  CHECK(Append(*bench.store, stream, Exact(10), NewIds(1))->first_version() == 11);
  CHECK(SelectInt(*bench.sql, "SELECT count(*) FROM streams WHERE truncated_at IS NOT NULL") == 1);
  CHECK(SelectInt(*bench.sql,
                  "SELECT count(*) FROM log_changes JOIN streams USING (stream_key)"
                  " WHERE kind = 'truncate' AND revision = 1") == 1);
  CHECK(bench.store.Metric("eventstore_lifecycle_changes_total") == 1);
}

TEST_CASE("A truncation that hides nothing more changes nothing", "[lifecycle]") {
  Bench bench;
  bench.Fill(Stream("s"), 5);
  REQUIRE(Truncate(*bench.store, Stream("s"), 3).ok());
  CHECK(bench.Revision() == 1);
  for (const std::int64_t before : {1, 2, 3}) {
    CHECK(Truncate(*bench.store, Stream("s"), before)->first_version() == 3);
  }
  CHECK(bench.Revision() == 1);
  CHECK(bench.store.Metric("eventstore_lifecycle_changes_total") == 1);
}

TEST_CASE("A truncation needs a stream, and leaves its last event", "[lifecycle]") {
  Bench bench;
  CHECK(ReasonOf(Truncate(*bench.store, Stream("s"), 1).status()) == v1::ERROR_REASON_NOT_FOUND);
  bench.Fill(Stream("s"), 5);
  const auto beyond = Truncate(*bench.store, Stream("s"), 6);
  CHECK(DetailOf(beyond.status()).field() == "before_version");
  CHECK(Truncate(*bench.store, Stream("s"), 5)->first_version() == 5);
  REQUIRE(Delete(*bench.store, Stream("s"), Any()).ok());
  CHECK(ReasonOf(Truncate(*bench.store, Stream("s"), 5).status()) == v1::ERROR_REASON_NOT_FOUND);
  REQUIRE(Delete(*bench.store, Stream("s"), Any(), true).ok());
  CHECK(ReasonOf(Truncate(*bench.store, Stream("s"), 5).status()) ==
        v1::ERROR_REASON_STREAM_DELETED);
}

TEST_CASE("A truncation deletes the snapshots that nothing completes any more", "[lifecycle]") {
  Bench bench;
  bench.Fill(Stream("s"), 9);
  bench.Fill(Stream("other"), 9);
  for (const int version : {3, 4, 5}) bench.Snapshot("s", version);
  bench.Snapshot("other", 1);
  // With 5 as the first version left, a snapshot of 4 can still be completed.
  REQUIRE(Truncate(*bench.store, Stream("s"), 5).ok());
  CHECK(SelectInt(*bench.sql, "SELECT min(version) FROM snapshots WHERE aggregate_id = 's'") == 4);
  CHECK(bench.Snapshots() == 3);
}

TEST_CASE("A softly deleted stream reads as missing, and goes on with the next version",
          "[lifecycle]") {
  Bench bench;
  const v1::StreamId stream = Stream("s");
  bench.Fill(stream, 3);
  bench.Snapshot("s", 3);
  bench.Snapshot("other", 3);
  const auto deleted = Delete(*bench.store, stream, Exact(3));
  REQUIRE(deleted.ok());
  CHECK_FALSE(deleted->exists());
  CHECK(deleted->deleted());
  CHECK_FALSE(deleted->permanently_deleted());
  CHECK(deleted->version() == 0);
  CHECK(deleted->first_version() == 0);
  CHECK(bench.Snapshots() == 1);
  CHECK(ReadStream(*bench.store, stream).empty());
  CHECK(ReadStream(*bench.store, stream, true).empty());
  CHECK(ReadAll(*bench.store).size() == 3);

  for (const auto& expected : {StreamExists(), Exact(3)}) {
    const auto refused = Append(*bench.store, stream, expected, NewIds(1));
    CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_VERSION_CONFLICT);
    CHECK(DetailOf(refused.status()).actual() == 0);
  }
  const bool lone = GENERATE(true, false);  // one event has a statement of its own
  const auto again = Append(*bench.store, stream, NoStream(), NewIds(lone ? 1 : 2));
  REQUIRE(again.ok());
  CHECK(again->first_version() == 4);
  CHECK(ReasonOf(Append(*bench.store, stream, NoStream(), NewIds(1)).status()) ==
        v1::ERROR_REASON_VERSION_CONFLICT);
  const v1::StreamInfo info = Info(*bench.store, stream);
  CHECK(info.exists());
  CHECK_FALSE(info.deleted());
  CHECK(info.first_version() == 4);
  CHECK(info.version() == again->last_version());
  CHECK(Versions(ReadStream(*bench.store, stream)).front() == 4);
  CHECK(Append(*bench.store, stream, Exact(info.version()), NewIds(1)).ok());
}

TEST_CASE("A deletion needs the expected version", "[lifecycle]") {
  Bench bench;
  const v1::StreamId stream = Stream("s");
  CHECK(ReasonOf(Delete(*bench.store, stream, Any()).status()) == v1::ERROR_REASON_NOT_FOUND);
  bench.Fill(stream, 3);
  const auto conflict = Delete(*bench.store, stream, Exact(2));
  CHECK(ReasonOf(conflict.status()) == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(DetailOf(conflict.status()).actual() == 3);
  CHECK(bench.Revision() == 0);
  REQUIRE(Delete(*bench.store, stream, StreamExists()).ok());
  CHECK(ReasonOf(Delete(*bench.store, stream, Any()).status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(ReasonOf(Delete(*bench.store, stream, Exact(3), true).status()) ==
        v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(bench.Revision() == 1);
  REQUIRE(Delete(*bench.store, stream, Any(), true)->permanently_deleted());
  CHECK(bench.Revision() == 2);
  // A repeat with `any` is answered, and changes nothing.
  CHECK(Delete(*bench.store, stream, Any(), true)->permanently_deleted());
  CHECK(ReasonOf(Delete(*bench.store, stream, StreamExists(), true).status()) ==
        v1::ERROR_REASON_STREAM_DELETED);
  CHECK(ReasonOf(Delete(*bench.store, stream, Any()).status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(bench.Revision() == 2);
}

TEST_CASE("A tombstone refuses every append for ever, but answers replays", "[lifecycle]") {
  Bench bench;
  const auto ids = NewIds(2);
  REQUIRE(Append(*bench.store, Stream("s"), Any(), ids).ok());
  REQUIRE(Delete(*bench.store, Stream("s"), Any(), true).ok());
  for (const auto& expected : {Any(), NoStream(), StreamExists(), Exact(2)}) {
    CHECK(ReasonOf(Append(*bench.store, Stream("s"), expected, NewIds(1)).status()) ==
          v1::ERROR_REASON_STREAM_DELETED);
  }
  CHECK(Append(*bench.store, Stream("s"), Any(), ids)->deduplicated());
  CHECK(ReadStream(*bench.store, Stream("s")).empty());
  CHECK(ReadAll(*bench.store).size() == 2);
}

TEST_CASE("A follower of a stream gets nothing that was truncated before", "[lifecycle][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 6);
  REQUIRE(Truncate(*bench.store, Stream("s"), 5).ok());
  Follower follower(*bench.store, Following(Stream("s")));
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  bench.Fill(Stream("s"), 1);
  REQUIRE(follower.AwaitEvents(3));
  CHECK(Versions(follower.Events()) == Versions64{5, 6, 7});
  // The whole store is another matter.
  Follower all(*bench.store);
  REQUIRE(all.AwaitEvents(7));
}

TEST_CASE("A follower that lags in the ring skips what is truncated meanwhile",
          "[lifecycle][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 1);
  Follower follower(*bench.store, Following(Stream("s")), /*held=*/true);
  follower.Allow(3);  // confirmed, the first event, caught up
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  bench.Fill(Stream("s"), 5);
  REQUIRE(Truncate(*bench.store, Stream("s"), 4).ok());
  bench.Fill(Stream("s"), 1);
  follower.Allow(INT64_MAX);
  REQUIRE(follower.AwaitEvents(5));
  CHECK(Versions(follower.Events()) == Versions64{1, 4, 5, 6, 7});
  CHECK(follower.Count(Kind::kCaughtUp) == 1);
  CHECK(follower.Count(Kind::kFellBehind) == 0);
}

TEST_CASE("A follower does not give pages of history that were hidden meanwhile",
          "[lifecycle][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 20);
  SubscriptionQuery query = Following(Stream("s"));
  query.batch_events_max = 5;
  Follower follower(*bench.store, query, /*held=*/true);
  follower.Allow(2);  // confirmed, and the first of four messages that were read at once
  REQUIRE(follower.AwaitEvents(5));
  REQUIRE(Truncate(*bench.store, Stream("s"), 19).ok());
  follower.Allow(INT64_MAX);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  CHECK(Versions(follower.Events()) == Versions64{1, 2, 3, 4, 5, 19, 20});
}

TEST_CASE("A tombstone ends the stream's followers, live or not, and no others",
          "[lifecycle][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 3);
  Follower live(*bench.store, Following(Stream("s")));
  SubscriptionQuery from_end = Following(Stream("s"));
  from_end.start = SubscriptionQuery::FromEnd{};
  Follower at_end(*bench.store, from_end);
  Follower slow(*bench.store, Following(Stream("s")), /*held=*/true);
  Follower other(*bench.store, Following(Stream("other")));
  Follower all(*bench.store);
  for (Follower* const follower : {&live, &at_end, &other, &all}) {
    REQUIRE(follower->AwaitKind(Kind::kCaughtUp));
  }
  REQUIRE(Delete(*bench.store, Stream("s"), Any(), true).ok());
  slow.Allow(INT64_MAX);
  // And whoever comes later.
  Follower late(*bench.store, from_end);
  for (Follower* const follower : {&live, &at_end, &slow, &late}) {
    REQUIRE(follower->AwaitEnd());
    CHECK(ReasonOf(follower->End()) == v1::ERROR_REASON_STREAM_DELETED);
  }
  CHECK(slow.Events().empty());
  bench.Fill(Stream("other"), 1);
  REQUIRE(other.AwaitEvents(1));
  REQUIRE(all.AwaitEvents(4));
  CHECK(other.End().ok());
}

TEST_CASE("A follower of a softly deleted stream goes on with what is written then",
          "[lifecycle][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 3);
  Follower live(*bench.store, Following(Stream("s")));
  REQUIRE(live.AwaitEvents(3));
  REQUIRE(Delete(*bench.store, Stream("s"), Any()).ok());
  Follower late(*bench.store, Following(Stream("s")));
  REQUIRE(late.AwaitKind(Kind::kCaughtUp));
  bench.Fill(Stream("s"), 2);
  REQUIRE(live.AwaitEvents(5));
  REQUIRE(late.AwaitEvents(2));
  CHECK(Versions(late.Events()) == Versions64{4, 5});
  CHECK(Versions(live.Events()) == Versions64{1, 2, 3, 4, 5});
}

TEST_CASE("A change waits for the head and gives up without a trace", "[lifecycle]") {
  Bench bench;
  bench.Fill(Stream("s"), 3);
  {
    HeadLock lock(bench.conninfo);
    v1::DeleteStreamRequest request;
    *request.mutable_stream() = Stream("s");
    *request.mutable_expected_version() = Any();
    const auto refused =
        AwaitDone<v1::DeleteStreamResponse>([&](Done<v1::DeleteStreamResponse> done) {
          bench.store->lifecycle().DeleteStream(request, In(std::chrono::milliseconds(300)),
                                                std::move(done));
        });
    CHECK_FALSE(refused.ok());
    lock.Release();
  }
  CHECK(bench.Revision() == 0);
  CHECK(ReadStream(*bench.store, Stream("s")).size() == 3);
  CHECK(Delete(*bench.store, Stream("s"), Any()).ok());
}

}  // namespace
}  // namespace eventstore::engine
