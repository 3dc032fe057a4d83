// What evaluating a condition reads of the tables, on an empty and on a full store.
#include <catch2/catch.hpp>
#include <functional>

#include "server/tables/condition_query.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

// 200,000 events in two partitions. One in 20,000 has the type and tag `rare`, one in two the tag
// `often` and the type `common`.
// Rows of tags say the type, or do not where an older release wrote them.
void Fill(pg::Connection& sql, bool with_types) {
  const std::string type =
      with_types ? "CASE WHEN rare THEN 'rare' WHEN often THEN 'common' ELSE 'other' END" : "NULL";
  Run(sql,
      "BEGIN; CREATE TEMPORARY TABLE filled ON COMMIT DROP AS SELECT p, p % 20000 = 7 AS rare,"
      " p % 2 = 0 AS often FROM generate_series(1, 200000) p;"
      "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
      " event_type, tenant_id, version, timestamp, payload, created_at, size_bytes)"
      " SELECT p, gen_random_uuid(), p, 'id', 'T', CASE WHEN rare THEN 'rare' WHEN often THEN"
      " 'common' ELSE 'other' END, CASE WHEN rare THEN"
      " '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid END, 1, now(), '{}', now(), 100 FROM filled;"
      "INSERT INTO event_tags SELECT 'rare', p, " +
          type +
          " FROM filled WHERE rare;"
          "INSERT INTO event_tags SELECT 'often', p, " +
          type +
          " FROM filled WHERE often OR rare;"
          "INSERT INTO event_tags SELECT 'tag-' || p % 1000, p, " +
          type +
          " FROM filled;"
          "UPDATE log_head SET last_position = 200000, last_created_at = now(); COMMIT");
}

struct Case {
  std::string name;
  std::vector<std::string> types;
  std::vector<std::string> tags;
  std::int64_t after;
  std::int64_t match;  // on the full store
  std::int64_t rows_max;
  std::string tenant = "";
};

std::vector<Case> Cases() {
  const std::string rare_tenant = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
  return {
      {"rare tag", {}, {"rare"}, 0, 7, 60},
      {"rare tag from the end on", {}, {"rare"}, 180'007, 0, 60},
      {"no such tag", {}, {"none"}, 0, 0, 60},
      {"common tag", {}, {"often"}, 0, 2, 60},
      {"common tag from the end on", {}, {"often"}, 199'998, 200'000, 60},
      // Up to a thousand entries are counted to find out which is rare.
      {"rare and common tag", {}, {"often", "rare"}, 0, 7, 3'000},
      {"common and no such tag", {}, {"often", "none"}, 0, 0, 3'000},
      {"rare type", {"rare"}, {}, 0, 7, 60},
      {"rare type from the middle on", {"rare"}, {}, 100'000, 100'007, 60},
      {"no such type", {"none"}, {}, 0, 0, 60},
      {"common type", {"common"}, {}, 0, 2, 60},
      {"common type from the end on", {"common"}, {}, 199'999, 200'000, 60},
      {"types", {"none", "rare", "neither"}, {}, 20'007, 40'007, 60},
      {"rare type, common tag", {"rare"}, {"often"}, 7, 20'007, 4'000},
      {"common type, rare tag", {"common"}, {"rare"}, 0, 0, 4'000},
      {"no such type, common tag", {"none"}, {"often"}, 0, 0, 4'000},
      {"common type, no such tag", {"common"}, {"none"}, 0, 0, 60},
      {"type and a tag of two hundred", {"common"}, {"tag-500"}, 190'000, 190'500, 4'000},
      {"tenant", {}, {}, 7, 20'007, 60, rare_tenant},
      {"tenant and common tag", {"rare"}, {"often"}, 7, 20'007, 4'000, rare_tenant},
  };
}

std::int64_t RowsRead(pg::Connection& sql, const Case& one, std::int64_t* match) {
  v1::AppendCondition condition;
  v1::QueryItem* item = condition.add_query();
  for (const std::string& type : one.types) item->add_event_types(type);
  for (const std::string& tag : one.tags) item->add_tags(tag);
  condition.set_tenant_id(one.tenant);
  const auto count = [&sql] {
    return SelectInt(
        sql,
        "SELECT (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint"
        " FROM pg_stat_xact_user_tables WHERE relname LIKE 'event%'");
  };
  Run(sql, "BEGIN");
  const std::int64_t before = count();
  const std::vector<tables::ConditionProbe> probes = {{&condition, one.after}};
  tables::ConditionSearch search(probes);
  while (!search.done()) {
    pg::Pipeline pipeline(&sql);
    search.AddTo(&pipeline);
    const auto outcome = pipeline.Run(In(kPatience));
    if (!outcome.status.ok()) throw std::runtime_error(std::string(outcome.status.message()));
    search.Take(outcome.results);
  }
  *match = search.matches().positions.at(0);
  const std::int64_t read = count() - before;
  Run(sql, "COMMIT");
  return read;
}

TEST_CASE("A condition reads by the index of what is rare, whatever the planner knows",
          "[plans][conditions]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 150'000;
  { TestStore made(options, /*housekeeper=*/false); }
  const auto admin = Connect(conninfo, "public");
  Run(*admin,
      "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT relid FROM pg_partition_tree('events')"
      " WHERE isleaf LOOP EXECUTE 'ALTER TABLE ' || t || ' SET (autovacuum_enabled = off)';"
      " END LOOP; END $$; ALTER TABLE event_tags SET (autovacuum_enabled = off)");
  // As a reader plans them, afresh or once for all, and as the lane does.
  const bool with_types = GENERATE(true, false);
  const std::string mode = GENERATE(as<std::string>(), "force_custom_plan", "force_generic_plan");
  pg::ConnectionOptions connection;
  connection.conninfo = conninfo;
  connection.schema = "public";
  connection.settings = {{"enable_seqscan", "off"}, {"plan_cache_mode", mode}};
  auto opened = pg::Connection::Open(connection, In(kPatience));
  REQUIRE(opened.ok());
  pg::Connection& sql = **opened;
  const auto check = [&](const std::string& state, bool full) {
    for (const Case& one : Cases()) {
      std::int64_t match = 0;
      const std::int64_t rows = RowsRead(sql, one, &match);
      INFO(mode << (with_types ? ", types, " : ", ") << state << ", " << one.name << ": " << rows
                << " rows read");
      CHECK(match == (full ? one.match : 0));
      CHECK(rows <= one.rows_max);
    }
  };
  check("empty", /*full=*/false);
  Fill(*admin, with_types);
  check("without statistics", /*full=*/true);
  Run(*admin, "ANALYZE");
  check("analyzed", /*full=*/true);
}

}  // namespace
}  // namespace eventstore::engine
