// Partitions of the events table, made ahead.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "server/tables/partitions_table.h"
#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

StoreOptions TinyPartitions(const std::string& conninfo, std::int64_t size, int ahead) {
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = size;
  options.partitions.size_events_max = size;
  options.partitions.ahead_min = ahead;
  options.partitions.lead_seconds = std::chrono::seconds(0);
  return options;
}

// The attached partitions; fails unless they follow each other from 1 on.
std::vector<tables::Partition> Contiguous(pg::Connection& sql) {
  const auto partitions = tables::ReadPartitions(sql, In(kPatience));
  REQUIRE(partitions.ok());
  std::int64_t next = 1;
  for (const tables::Partition& partition : *partitions) {
    CHECK(partition.first_position == next);
    CHECK(partition.end_position > partition.first_position);
    next = partition.end_position;
  }
  return *partitions;
}

TEST_CASE("Partitions lie ready ahead, each with its indexes and without its check",
          "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(TinyPartitions(conninfo, 1000, 3), /*housekeeper=*/false);
  const auto sql = Connect(conninfo, "public");
  CHECK(Contiguous(*sql).size() == 4);  // the one in use, and three
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM pg_constraint c JOIN pg_inherits i"
                  " ON i.inhrelid = c.conrelid WHERE c.contype = 'c'") == 0);
  for (const char* definition :
       {"UNIQUE INDEX % btree (global_position)", "UNIQUE INDEX % btree (stream_key, version)",
        "INDEX % btree (aggregate_type, global_position)",
        "INDEX % btree (event_type, global_position)",
        "INDEX % btree (tenant_id, global_position) WHERE (tenant_id IS NOT NULL)",
        "INDEX % brin (\"timestamp\", created_at)"}) {
    INFO(definition);
    CHECK(SelectInt(*sql,
                    std::string("SELECT count(DISTINCT tablename) FROM pg_indexes"
                                " WHERE tablename LIKE 'events\\_p%' AND indexdef LIKE 'CREATE ") +
                        definition + "'") == 4);
  }
  // Upkeep with nothing to do makes none.
  REQUIRE(store->Maintain(In(kPatience), true).ok());
  CHECK(Contiguous(*sql).size() == 4);
  Must(Append(*store, Stream("s"), Any(), NewIds(1)));
  REQUIRE(store->Maintain(In(kPatience), true).ok());
  CHECK(Contiguous(*sql).size() == 4);
}

TEST_CASE("Batches run across partitions, and new ones are made in time", "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(TinyPartitions(conninfo, 40, 5));
  std::int64_t next = 1;
  for (int i = 0; i < 60; ++i) {
    // Now and then one append covers several partitions.
    const auto request = Request(Stream("s"), Any(), NewIds(i % 20 == 10 ? 110 : 7));
    Answer answer = Append(*store, request);
    // Faster than any housekeeper: then it says so, and nothing was written.
    REQUIRE(Eventually([&] {
      if (answer.ok()) return true;
      CHECK(ReasonOf(answer.status()) == v1::ERROR_REASON_STORE_UNAVAILABLE);
      answer = Append(*store, request);
      return answer.ok();
    }));
    REQUIRE(answer->first_position() == next);
    next = answer->last_position() + 1;
  }
  const auto sql = Connect(conninfo, "public");
  for (const tables::Partition& partition : Contiguous(*sql)) {
    const std::int64_t filled = std::max<std::int64_t>(
        0, std::min(partition.end_position, next) - partition.first_position);
    CHECK(SelectInt(*sql, "SELECT count(*) FROM " + partition.name) == filled);
  }
  CHECK(static_cast<std::int64_t>(ReadAll(*store).size()) == next - 1);
  CHECK(static_cast<std::int64_t>(ReadStream(*store, Stream("s")).size()) == next - 1);
}

TEST_CASE("An open reader of the parent stalls neither inserts nor new partitions",
          "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(TinyPartitions(conninfo, 10, 2), /*housekeeper=*/false);
  Must(Append(*store, Stream("s"), Any(), NewIds(5)));
  const auto reader = Connect(conninfo, "public");
  Run(*reader, "BEGIN; SELECT count(*) FROM events");
  const auto sql = Connect(conninfo, "public");
  const std::size_t before = Contiguous(*sql).size();
  for (int i = 0; i < 10; ++i) {
    Must(Append(*store, Stream("s"), Any(), NewIds(5)));
    REQUIRE(store->Maintain(In(kPatience), true).ok());
  }
  CHECK(Contiguous(*sql).size() > before + 3);
  Run(*reader, "COMMIT");
}

TEST_CASE("A lock that cannot be had is tried again later while there is room", "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = TinyPartitions(conninfo, 10, 2);
  options.partitions.lock_timeout_ms = std::chrono::milliseconds(50);
  TestStore store(options, /*housekeeper=*/false);
  Must(Append(*store, Stream("s"), Any(), NewIds(12)));
  const auto sql = Connect(conninfo, "public");
  const std::size_t before = Contiguous(*sql).size();
  // What ANALYZE or VACUUM of the parent holds.
  Run(*sql, "BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE");
  CHECK(store->Maintain(In(kPatience), true).ok());
  Must(Append(*store, Stream("s"), Any(), NewIds(1)));
  CHECK(Contiguous(*sql).size() == before);
  Run(*sql, "COMMIT");
  CHECK(store->Maintain(In(kPatience), true).ok());
  CHECK(Contiguous(*sql).size() > before);
  // Nothing half made stayed behind.
  CHECK(SelectInt(*sql, "SELECT count(*) FROM pg_class WHERE relname ~ '^events_p[0-9]+$'") ==
        static_cast<std::int64_t>(Contiguous(*sql).size()));
}

TEST_CASE("A burst makes a bounded number of partitions at a time", "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = TinyPartitions(conninfo, 10, 100);
  TestStore store(options, /*housekeeper=*/false);
  const auto sql = Connect(conninfo, "public");
  const std::size_t first = Contiguous(*sql).size();
  CHECK(first >= 8);
  CHECK(first <= 32);
  REQUIRE(Eventually([&] {
    REQUIRE(store->Maintain(In(kPatience), true).ok());
    return Contiguous(*sql).size() == 101;
  }));
}

TEST_CASE("A table that is in a partition's way is named", "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  const auto sql = Connect(conninfo, "public");
  Run(*sql, "CREATE TABLE events_p1 (nothing int)");
  telemetry::Metrics metrics("test");
  const auto store = Store::Open(SmallOptions(conninfo), &metrics, In(kPatience));
  REQUIRE_FALSE(store.ok());
  CHECK(telemetry::MessageOf(store.status()).find("events_p1") != std::string_view::npos);
}

TEST_CASE("Running out of partitions is a named error, and asks for upkeep", "[partitions]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(TinyPartitions(conninfo, 10, 1), /*housekeeper=*/false);
  std::atomic<int> wanted{0};
  store->OnMaintenanceWanted([&] { ++wanted; });
  Must(Append(*store, Stream("s"), NoStream(), NewIds(9)));
  CHECK(wanted == 0);
  Must(Append(*store, Stream("s"), Exact(9), NewIds(9)));
  CHECK(wanted > 0);
  const auto request = Request(Stream("s"), Exact(18), NewIds(3));
  const absl::Status refused = Append(*store, request).status();
  CHECK(ReasonOf(refused) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(telemetry::MessageOf(refused).find("partition") != std::string_view::npos);
  REQUIRE(store->Maintain(In(kPatience), true).ok());
  CHECK(Must(Append(*store, request)).last_position() == 21);
  store->OnMaintenanceWanted(nullptr);
}

TEST_CASE("Daemons that make the same partitions at once all succeed", "[partitions][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  const StoreOptions options = TinyPartitions(conninfo, 10, 8);
  std::atomic<int> made{0};
  std::vector<std::thread> daemons;
  for (int i = 0; i < 5; ++i) {
    daemons.emplace_back([&] {
      PartitionPlanner planner(options.partitions);
      const auto connection = Connect(conninfo, "public");
      for (std::int64_t head = 0; head < 50; head += 10) {
        const auto end = planner.Ensure(*connection, head, In(kPatience));
        if (end.ok() && *end > head + 80) ++made;
      }
    });
  }
  for (std::thread& daemon : daemons) daemon.join();
  CHECK(made == 25);
  const auto sql = Connect(conninfo, "public");
  const auto partitions = Contiguous(*sql);
  CHECK(partitions.size() >= 13);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM pg_class WHERE relname ~ '^events_p[0-9]+$'") ==
        static_cast<std::int64_t>(partitions.size()));
}

}  // namespace
}  // namespace eventstore::engine
