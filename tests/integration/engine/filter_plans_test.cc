// What filtered pages read of the tables, field by field, with and without statistics.
#include <catch2/catch.hpp>

#include "server/tables/events_table.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

constexpr std::int64_t kEvents = 200'000;
constexpr std::int64_t kRareEvery = 20'000;  // and so 10 matches
constexpr char kRareTenant[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
constexpr char kCommonTenant[] = "6ba7b811-9dad-11d1-80b4-00c04fd430c8";

// Streams of ten events. One event in 20,000 has everything rare; one in ten the tag `often`.
void FillWithRareOnes(pg::Connection& sql) {
  Run(sql,
      "BEGIN; CREATE TEMPORARY TABLE filled ON COMMIT DROP AS SELECT p, (p - 1) / 10 AS k,"
      " p % 20000 = 7 AS rare FROM generate_series(1, 200000) p;"
      "INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version, first_position,"
      " last_position, created_at, updated_at) SELECT 1000 + k, 'Type' || k % 10, 'id-' || k, 10, "
      "p,"
      " p + 9, now(), now() FROM filled WHERE p % 10 = 1;"
      "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
      " event_type, tenant_id, version, timestamp, payload, created_at, size_bytes)"
      " SELECT p, gen_random_uuid(), 1000 + k, CASE WHEN rare THEN 'rare-' ELSE 'id-' END || k,"
      " CASE WHEN rare THEN 'Rare' ELSE 'Type' || k % 10 END,"
      " CASE WHEN rare THEN 'seldom.' || p % 3 ELSE 'common.' || p % 20 END,"
      " CASE WHEN rare THEN '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid"
      "  ELSE '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid END,"
      " (p - 1) % 10 + 1, now(), '{}', '2026-01-01 00:00:00+00'::timestamptz + p * interval '1 "
      "second', 100"
      " FROM filled;"
      "INSERT INTO event_tags SELECT 'rare', p FROM filled WHERE rare;"
      "INSERT INTO event_tags SELECT 'often', p FROM filled WHERE rare OR p % 10 = 0;"
      "UPDATE log_head SET last_position = 200000, last_created_at = '2026-02-01'; COMMIT");
}

struct Case {
  std::string name;
  std::function<void(v1::Filter*)> set;
  std::int64_t rows_max;             // that may be read of the tables, over the whole store
  std::int64_t rows_max_unanalyzed;  // where the planner knows nothing
  std::int64_t matches = kEvents / kRareEvery;
};

std::vector<Case> Cases() {
  const auto seldom = [](v1::Filter* f) {
    for (int i = 0; i < 3; ++i) f->add_event_types("seldom." + std::to_string(i));
  };
  return {
      {"event type", seldom, 100, 100},
      {"aggregate type", [](auto* f) { f->add_aggregate_types("Rare"); }, 100, 100},
      {"event type prefix", [](auto* f) { f->add_event_type_prefixes("seldom."); }, 100, 100},
      {"prefixes",
       [](auto* f) {
         f->add_event_type_prefixes("seldom.");
         f->add_event_type_prefixes("never.");
       },
       100, 100},
      {"tag", [](auto* f) { f->add_tags("rare"); }, 100, 100},
      {"tenant", [](auto* f) { f->set_tenant_id(kRareTenant); }, 100, 100},
      {"nothing", [](auto* f) { f->add_event_types("never"); }, 100, 100, 0},
      {"type and event type",
       [&](auto* f) {
         f->add_aggregate_types("Rare");
         seldom(f);
       },
       100, 100},
      {"common type and rare event type",
       [](auto* f) {
         f->add_aggregate_types("Type1");
         f->add_event_types("seldom.1");
       },
       100, kEvents, 0},
      {"rare type and common event type",
       [](auto* f) {
         f->add_aggregate_types("Rare");
         f->add_event_types("common.1");
       },
       100, kEvents, 0},
      {"rare and common tag",
       [](auto* f) {
         f->add_tags("rare");
         f->add_tags("often");
       },
       200, kEvents},
      {"common tenant and rare event type",
       [](auto* f) {
         f->set_tenant_id(kCommonTenant);
         f->add_event_types("seldom.1");
       },
       100, kEvents, 0},
      {"type and id prefix",
       [](auto* f) {
         f->add_aggregate_types("Rare");
         f->add_aggregate_id_prefixes("rare-");
       },
       100, 100},
      // No index has it first: every event is looked at, once.
      {"id prefix", [](auto* f) { f->add_aggregate_id_prefixes("rare-"); }, kEvents + 100,
       kEvents + 100},
  };
}

// Pages through the store as the reader does. How many rows of the tables that took.
std::int64_t RowsRead(pg::Connection& sql, const EventFilter& filter, std::size_t* matches) {
  constexpr std::int64_t kWindow = 50'000;
  // What this session did and has not reported yet, so the difference is what was done here.
  const auto count = [&sql] {
    return SelectInt(
        sql,
        "SELECT (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint"
        " FROM pg_stat_xact_user_tables WHERE relname LIKE 'event%'");
  };
  Run(sql, "BEGIN");
  const std::int64_t before = count();
  for (std::int64_t low = 1; low <= kEvents; low += kWindow) {
    tables::AllWindow window;
    window.low = low;
    window.high = low + kWindow - 1;
    window.filter = &filter;
    const auto rows = tables::ReadAllWindow(sql, window, In(kPatience));
    if (!rows.ok()) throw std::runtime_error(std::string(rows.status().message()));
    *matches += rows->events.size();
  }
  const std::int64_t read = count() - before;
  Run(sql, "COMMIT");
  return read;
}

TEST_CASE("A filter that matches little reads little, on an empty and on a full store", "[plans]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 150'000;  // so that it lies in two
  { TestStore made(options, /*housekeeper=*/false); }
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT relid FROM pg_partition_tree('events')"
      " WHERE isleaf LOOP EXECUTE 'ALTER TABLE ' || t || ' SET (autovacuum_enabled = off)';"
      " END LOOP; END $$; ALTER TABLE event_tags SET (autovacuum_enabled = off)");
  const auto check = [&](const std::string& state, bool analyzed, bool full) {
    for (const Case& one : Cases()) {
      v1::Filter proto;
      one.set(&proto);
      const auto filter = EventFilter::Make(proto, "filter", Limits());
      REQUIRE(filter.ok());
      std::size_t matches = 0;
      const std::int64_t rows = RowsRead(*sql, **filter, &matches);
      INFO(state << ", " << one.name << ": " << rows << " rows read");
      CHECK(static_cast<std::int64_t>(matches) == (full ? one.matches : 0));
      CHECK(rows <= (analyzed ? one.rows_max : one.rows_max_unanalyzed));
    }
  };
  check("empty", /*analyzed=*/true, /*full=*/false);
  FillWithRareOnes(*sql);
  check("without statistics", /*analyzed=*/false, /*full=*/true);
  Run(*sql, "ANALYZE");
  check("analyzed", /*analyzed=*/true, /*full=*/true);
}

TEST_CASE("Where to start from a time is found by a search, not by a scan", "[plans]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 150'000;
  { TestStore made(options, /*housekeeper=*/false); }
  FillWithRareOnes(*Connect(conninfo, "public"));
  const auto rows_read = [&] {  // once every session has reported, at its end at the latest
    const auto sql = Connect(conninfo, "public");
    REQUIRE(Eventually([&] {
      return SelectInt(*sql,
                       "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                       " AND datname = current_database()"
                       " AND backend_type = 'client backend'") == 0;
    }));
    return SelectInt(*sql,
                     "SELECT (sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)))::bigint"
                     " FROM pg_stat_user_tables WHERE relname LIKE 'events%'");
  };
  { TestStore once(options, /*housekeeper=*/false); }
  const std::int64_t before = rows_read();
  {
    TestStore store(options, /*housekeeper=*/false);
    const auto found = AwaitDone<Reader::PositionInStore>([&](Done<Reader::PositionInStore> done) {
      store->reader().FindPositionBefore((1'767'225'600 + 123'456) * std::int64_t{1'000'000},
                                         In(kPatience), std::move(done));
    });
    REQUIRE(found.ok());
    CHECK(found->position == 123'455);
  }
  const std::int64_t rows = rows_read() - before;
  INFO("rows read: " << rows);
  CHECK(rows >= 10);
  CHECK(rows <= 60);
}

}  // namespace
}  // namespace eventstore::engine
