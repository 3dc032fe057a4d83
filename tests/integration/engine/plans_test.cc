// What the planner makes of the statements, and what an old snapshot does to the lane.
#include <catch2/catch.hpp>

#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

constexpr std::int64_t kFilled = 50'000;

// Waits until `sql` is the only session: a backend reports what it did when it ends, at the latest.
void AwaitAlone(pg::Connection& sql) {
  REQUIRE(Eventually([&] {
    return SelectInt(sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                     " AND datname = current_database()"
                     " AND backend_type = 'client backend'") == 0;
  }));
}

// Events without statistics: nobody analyzes the tables.
void FillBySql(const std::string& conninfo, std::int64_t count) {
  const std::string n = std::to_string(count);
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "BEGIN; INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version,"
      " first_position, last_position, created_at, updated_at)"
      " SELECT 1000 + k, 'Order', 'f' || k, 10, k * 10 + 1, k * 10 + 10, now(), now()"
      " FROM generate_series(0, " +
          n +
          " / 10 - 1) k;"
          "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
          " event_type, version, timestamp, payload, created_at, size_bytes)"
          " SELECT p, gen_random_uuid(), 1000 + (p - 1) / 10, 'f' || (p - 1) / 10, 'Order', "
          "'Filled',"
          " (p - 1) % 10 + 1, now(), '{}', now(), 100 FROM generate_series(1, " +
          n +
          ") p;"
          "INSERT INTO event_ids SELECT event_id, global_position, stream_key, version, created_at"
          " FROM events; UPDATE log_head SET last_position = " +
          n + ", last_created_at = now(); COMMIT");
}

struct Scans {
  std::int64_t sequential;  // of streams, event_ids, event_tags and events
  std::int64_t index_rows;  // index entries that were read of all of them
};

Scans ReadScans(const std::string& conninfo) {
  const auto sql = Connect(conninfo, "public");
  const std::string tables =
      " (relname IN ('streams', 'event_ids', 'event_tags') OR relname LIKE 'events%')";
  return {SelectInt(*sql,
                    "SELECT coalesce(sum(seq_scan), 0)::bigint FROM pg_stat_user_tables"
                    " WHERE" +
                        tables),
          SelectInt(*sql,
                    "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM"
                    " pg_stat_user_indexes WHERE" +
                        tables)};
}

// Appends to old and new streams, and reads of them.
void Work(Store& store, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    auto request = Request(Stream("f" + std::to_string(i * 7)), Any(), NewIds(3));
    request.mutable_events(0)->add_tags("tag");
    REQUIRE(Append(store, request).ok());
    REQUIRE(Append(store, request)->deduplicated());
    REQUIRE(Append(store, Stream("n" + std::to_string(i)), NoStream(), NewIds(1)).ok());
    REQUIRE_FALSE(ReadStream(store, request.stream()).empty());
    REQUIRE_FALSE(ReadStream(store, request.stream(), /*backwards=*/true).empty());
    v1::GetEventRequest get;
    get.set_event_id(request.events(0).event_id());
    REQUIRE(AwaitDone<v1::Event>([&](Done<v1::Event> done) {
              store.reader().GetEvent(get, In(kPatience), std::move(done));
            }).ok());
  }
}

TEST_CASE("Appends and stream reads look rows up by index, on an empty and on a full store",
          "[plans]") {
  const std::string conninfo = CreateStoreDatabase();
  const bool full = GENERATE(false, true);
  constexpr int kRounds = 40;
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "ALTER TABLE streams SET (autovacuum_enabled = off);"
      "ALTER TABLE event_ids SET (autovacuum_enabled = off)");
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 10'000;
  options.partitions.ahead_min = 8;
  options.partitions.lead_seconds = std::chrono::seconds(0);
  { TestStore made(options, /*housekeeper=*/false); }  // makes the partitions
  if (full) FillBySql(conninfo, kFilled);
  { TestStore made(options, /*housekeeper=*/false); }  // the building of their indexes is no scan
  AwaitAlone(*sql);
  const Scans before = ReadScans(conninfo);
  {
    TestStore store(options, /*housekeeper=*/false);
    Work(*store, kRounds);
  }
  AwaitAlone(*sql);
  const Scans after = ReadScans(conninfo);
  CHECK(after.sequential == before.sequential);
  // A round reads some dozens of rows; walking through one index once would be thousands.
  const std::int64_t rows = after.index_rows - before.index_rows;
  INFO("index entries read: " << rows);
  CHECK(rows > kRounds);
  CHECK(rows < kRounds * 200);
}

TEST_CASE("Following a long stream reads each of its events once", "[plans][hub]") {
  const std::string conninfo = CreateStoreDatabase();
  constexpr int kEvents = 3000;
  {
    TestStore store(SmallOptions(conninfo), /*housekeeper=*/false);
    for (int i = 0; i < kEvents; i += 500) {
      REQUIRE(Append(*store, Stream("long"), Any(), NewIds(500)).ok());
    }
  }
  AwaitAlone(*Connect(conninfo));
  const Scans before = ReadScans(conninfo);
  {
    TestStore store(SmallOptions(conninfo), /*housekeeper=*/false);
    SubscriptionQuery query;
    query.stream = Stream("long");
    Follower follower(*store, query);
    REQUIRE(follower.AwaitEvents(kEvents));
    REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  }
  AwaitAlone(*Connect(conninfo));
  const Scans after = ReadScans(conninfo);
  CHECK(after.index_rows - before.index_rows >= kEvents);
  CHECK(after.index_rows - before.index_rows < 2 * kEvents);
}

// Batches that one client after the other gets through in a while.
double BatchesPerSecond(Store& store) {
  const auto started = std::chrono::steady_clock::now();
  int batches = 0;
  for (; std::chrono::steady_clock::now() - started < std::chrono::milliseconds(1500); ++batches) {
    REQUIRE(Append(store, Stream("s"), Any(), NewIds(1)).ok());
  }
  return batches / 1.5;
}

TEST_CASE("An old open snapshot does not slow the lane down", "[plans][snapshot]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  (void)BatchesPerSecond(*store);  // warm
  const auto old = Connect(conninfo, "public");
  // A busy machine may spoil a measurement; a lane that slows down spoils every one.
  double before = 0;
  double with = 0;
  for (int tries = 0; tries < 4; ++tries) {
    before = BatchesPerSecond(*store);
    Run(*old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM log_head");
    (void)BatchesPerSecond(*store);
    with = BatchesPerSecond(*store);
    Run(*old, "COMMIT");
    if (with * 2 > before) break;
  }
  INFO(before << " batches a second before, " << with << " with an old snapshot");
  CHECK(with * 2 > before);
}

}  // namespace
}  // namespace eventstore::engine
