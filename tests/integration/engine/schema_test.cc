// The schema as other programs see it: its documentation, and the queries that people bring along.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::filesystem::path SchemaFolder() {
  return std::filesystem::path(EVENTSTORE_SOURCE_DIR) / "schema";
}

std::string Readme() { return ReadFile(SchemaFolder() / "README.md"); }

// The text below a heading such as "## `events`", up to the next one of its kind.
std::string Section(const std::string& readme, const std::string& table) {
  const std::size_t begin = readme.find("\n## `" + table + "`");
  if (begin == std::string::npos) return "";
  return readme.substr(begin, readme.find("\n## ", begin + 1) - begin);
}

// The ```sql blocks, in order.
std::vector<std::string> SqlBlocks(const std::string& readme) {
  const std::string fence = "```sql\n";
  std::vector<std::string> blocks;
  for (std::size_t at = readme.find(fence); at != std::string::npos; at = readme.find(fence, at)) {
    at += fence.size();
    blocks.push_back(readme.substr(at, readme.find("```", at) - at));
  }
  return blocks;
}

std::vector<std::string> Texts(pg::Connection& sql, const std::string& query) {
  const pg::Result result = Select(sql, query);
  std::vector<std::string> texts;
  for (int row = 0; row < result.rows(); ++row) texts.emplace_back(result.Text(row, 0));
  return texts;
}

TEST_CASE("The schema's documentation names every table, column and index", "[schema]") {
  const auto sql = Connect(CreateStoreDatabase(), "public");
  const std::string readme = Readme();
  const auto tables =
      Texts(*sql,
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p')");
  CHECK(tables.size() >= 12);
  for (const std::string& table : tables) {
    INFO(table);
    const std::string section = Section(readme, table);
    CHECK_FALSE(section.empty());
    for (const std::string& column :
         Texts(*sql, "SELECT attname::text FROM pg_attribute WHERE attrelid = '" + table +
                         "'::regclass AND attnum > 0 AND NOT attisdropped")) {
      INFO(column);
      CHECK(section.find('`' + column + '`') != std::string::npos);
    }
    if (table == "schema_migrations") continue;
    for (const std::string& index :
         Texts(*sql, "SELECT indexname::text FROM pg_indexes WHERE tablename = '" + table + "'")) {
      INFO(index);
      CHECK(section.find('`' + index) != std::string::npos);
    }
  }
}

TEST_CASE("The files run with psql, twice, and the daemon takes over what they made", "[schema]") {
  const std::string conninfo = CreateDatabase();
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(SchemaFolder())) {
    if (entry.path().extension() == ".sql") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() >= 4);
  const auto sql = Connect(conninfo);
  Run(*sql, "CREATE SCHEMA shop");
  for (int times = 0; times < 2; ++times) {
    for (const auto& file : files) {
      const std::string command = "PGOPTIONS='-c search_path=shop' psql \"" + conninfo +
                                  "\" -q -v ON_ERROR_STOP=1 -1 -f '" + file.string() +
                                  "' >/dev/null 2>&1";
      INFO(command);
      REQUIRE(std::system(command.c_str()) == 0);
    }
  }
  CHECK(SelectInt(*sql, "SELECT count(*) FROM shop.log_head") == 1);
  CHECK(SelectInt(*sql,
                  "SELECT count(*) FROM pg_class WHERE relnamespace ="
                  " 'public'::regnamespace") == 0);
  StoreOptions options = SmallOptions(conninfo);
  options.connection.schema = "shop";
  TestStore store(options);
  CHECK(Append(*store, Stream("s"), NoStream(), NewIds(2)).ok());
  CHECK(SelectInt(*sql, "SELECT count(*) FROM shop.events") == 2);
}

TEST_CASE("The columns that other event stores have are there, by name and type", "[schema]") {
  const auto sql = Connect(CreateStoreDatabase(), "public");
  const std::map<std::string, std::vector<std::pair<std::string, std::string>>> expected = {
      {"events",
       {{"global_position", "bigint"},
        {"event_id", "uuid"},
        {"aggregate_type", "character varying(255)"},
        {"event_type", "character varying(255)"},
        {"tenant_id", "uuid"},
        {"actor_id", "character varying(255)"},
        {"timestamp", "timestamp with time zone"},
        {"payload", "jsonb"},
        {"created_at", "timestamp with time zone"}}},
      {"event_outbox",
       {{"id", "uuid"},
        {"event_id", "uuid"},
        {"event_type", "character varying(255)"},
        {"aggregate_type", "character varying(255)"},
        {"tenant_id", "uuid"},
        {"event_data", "jsonb"},
        {"created_at", "timestamp with time zone"},
        {"published_at", "timestamp with time zone"},
        {"retry_count", "integer"},
        {"last_error", "text"},
        {"status", "character varying(20)"}}}};
  for (const auto& [table, columns] : expected) {
    for (const auto& [column, type] : columns) {
      INFO(table << "." << column);
      CHECK(Texts(*sql,
                  "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid ="
                  " '" +
                      table + "'::regclass AND attname = '" + column + "'") ==
            std::vector<std::string>{type});
    }
  }
}

// A store with 3 partitions of 20 events, of which 30 are filled: customers, types, tenants, times.
struct Filled {
  Filled() : conninfo(CreateStoreDatabase()), sql(Connect(conninfo, "public")) {
    StoreOptions options = SmallOptions(conninfo);
    options.partitions.size_events = 20;
    options.partitions.size_events_max = 20;
    options.partitions.ahead_min = 1;
    options.partitions.lead_seconds = std::chrono::seconds(0);
    store = std::make_unique<TestStore>(options);
    for (int i = 0; i < 10; ++i) {
      auto request = Request(Stream("11111111-0000-4000-8000-00000000000" + std::to_string(i % 4),
                                    i % 2 == 0 ? "Order" : "Cart"),
                             Any(), NewIds(3));
      for (v1::NewEvent& event : *request.mutable_events()) {
        event.set_payload(R"({"customer_id": "cust-)" + std::to_string(120 + i % 5) + "\"}");
        if (i == 0) event.mutable_timestamp()->set_seconds(1'500'000'000);  // in 2017
      }
      Answer answer = Append(**store, request);
      REQUIRE(Eventually([&] {
        if (!answer.ok()) answer = Append(**store, request);
        return answer.ok();
      }));
    }
  }
  std::string conninfo;
  std::unique_ptr<pg::Connection> sql;
  std::unique_ptr<TestStore> store;
};

TEST_CASE("Health, JSON, maintenance and archive queries run as people have them",
          "[schema][queries]") {
  Filled filled;
  pg::Connection& sql = *filled.sql;
  CHECK(SelectInt(sql, "SELECT COUNT(*) AS n FROM events") == 30);
  const pg::Result by_type =
      Select(sql,
             "SELECT aggregate_type, COUNT(*) AS n FROM events GROUP BY aggregate_type"
             " ORDER BY n DESC, aggregate_type");
  CHECK(by_type.rows() == 2);
  CHECK(by_type.Int64(0, 1) == 15);
  const pg::Result by_day =
      Select(sql,
             "SELECT DATE(timestamp)::text AS day, COUNT(*) AS n FROM events WHERE timestamp >="
             " CURRENT_DATE - INTERVAL '7 days' GROUP BY DATE(timestamp) ORDER BY day DESC");
  REQUIRE(by_day.rows() >= 1);
  std::int64_t recent = 0;
  for (int row = 0; row < by_day.rows(); ++row) recent += by_day.Int64(row, 1);
  CHECK(recent == 27);
  CHECK(Select(sql,
               "SELECT aggregate_id, aggregate_type, COUNT(*) AS n FROM events GROUP BY"
               " aggregate_id, aggregate_type ORDER BY n DESC LIMIT 10")
            .Int64(0, 2) == 9);
  CHECK(SelectInt(sql, "SELECT COUNT(*) FROM events WHERE payload->>'customer_id' = 'cust-123'") ==
        6);
  CHECK(Select(sql,
               "SELECT event_id, event_type, payload FROM events"
               " WHERE payload @> '{\"customer_id\": \"cust-120\"}'")
            .rows() == 6);
  // An index on the parent without CONCURRENTLY, as of old; JSONB as a whole, too.
  Run(sql, "CREATE INDEX idx_customer ON events ((payload->>'customer_id'))");
  Run(sql, "CREATE INDEX idx_payload ON events USING GIN (payload)");
  for (const char* upkeep : {"VACUUM ANALYZE events", "REINDEX TABLE events", "ANALYZE events"}) {
    Run(sql, upkeep);
  }
  // Loading an aggregate, in order.
  CHECK(Select(sql,
               "SELECT version FROM events WHERE aggregate_id ="
               " '11111111-0000-4000-8000-000000000000' AND aggregate_type = 'Order'"
               " ORDER BY version")
            .rows() == 9);
  // Archiving row by row runs.
  Run(sql, "CREATE TABLE events_archive (LIKE events INCLUDING ALL)");
  Run(sql,
      "INSERT INTO events_archive SELECT * FROM events"
      " WHERE timestamp < NOW() - INTERVAL '1 year'");
  CHECK(SelectInt(sql, "SELECT count(*) FROM events_archive") == 3);
  Run(sql, "DELETE FROM events WHERE timestamp < NOW() - INTERVAL '1 year'");
  CHECK(SelectInt(sql, "SELECT COUNT(*) FROM events") == 27);
  // Appends go on with all of it.
  CHECK(Append(**filled.store, Stream("s"), Any(), NewIds(1)).ok());
}

TEST_CASE("An outbox worker's statements run as people have them", "[schema][queries]") {
  const std::string conninfo = CreateStoreDatabase();
  const auto sql = Connect(conninfo, "public");
  const auto other = Connect(conninfo, "public");
  Run(*sql,
      "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type,"
      " event_data) SELECT gen_random_uuid(), 'T', gen_random_uuid(), 'A', '{}'"
      " FROM generate_series(1, 3)");
  const std::string claim =
      "SELECT id, event_id, event_type, event_data FROM event_outbox WHERE status = 'pending'"
      " ORDER BY created_at ASC LIMIT 2 FOR UPDATE SKIP LOCKED";
  Run(*sql, "BEGIN");
  const pg::Result mine = Select(*sql, claim);
  CHECK(mine.rows() == 2);
  CHECK(Select(*other, claim).rows() == 1);
  const auto finish = [&](int row, const std::string& change) {
    const auto done = sql->QueryOnce("UPDATE event_outbox SET " + change + " WHERE id = $1",
                                     pg::Params().Uuid(mine.Uuid(row, 0)), In(kPatience));
    REQUIRE(done.ok());
    CHECK(done->affected() == 1);
  };
  finish(0, "status = 'published', published_at = NOW()");
  finish(1,
         "retry_count = retry_count + 1, last_error = 'x',"
         " status = CASE WHEN retry_count >= 5 THEN 'failed' ELSE 'pending' END");
  Run(*sql, "COMMIT");
  CHECK(SelectInt(*sql, "SELECT count(*) FROM event_outbox WHERE status = 'pending'") == 2);
  CHECK_FALSE(sql->RunScript("UPDATE event_outbox SET status = 'lost'", In(kPatience)).ok());
}

TEST_CASE("What cannot run as it is stands in the documentation, with what runs instead",
          "[schema][queries]") {
  Filled filled;
  pg::Connection& sql = *filled.sql;
  const std::string readme = Readme();
  const auto documented = [&](const std::string& text) {
    INFO(text);
    CHECK(readme.find(text) != std::string::npos);
  };
  documented("`pg_total_relation_size('events')`");
  CHECK(SelectInt(sql, "SELECT pg_total_relation_size('events')") == 0);
  documented("tablename = 'events'");
  CHECK_FALSE(sql.QueryOnce("SELECT idx_scan FROM pg_stat_user_indexes WHERE tablename = 'events'",
                            {}, In(kPatience))
                  .ok());
  documented("`CREATE INDEX CONCURRENTLY ... ON events`");
  CHECK_FALSE(
      sql.RunScript("CREATE INDEX CONCURRENTLY i ON events (actor_id)", In(kPatience)).ok());
  documented("`aggregate_id = $1`");
  const Uuid id = *ParseUuid("11111111-0000-4000-8000-000000000000");
  const std::string by_id = "SELECT version FROM events WHERE aggregate_id = ";
  CHECK_FALSE(sql.QueryOnce(by_id + "$1", pg::Params().Uuid(id), In(kPatience)).ok());
  CHECK(sql.QueryOnce(by_id + "$1::text", pg::Params().Uuid(id), In(kPatience))->rows() == 9);
  CHECK_FALSE(sql.RunScript("ALTER TABLE events ADD UNIQUE (aggregate_id, aggregate_type, version)",
                            In(kPatience))
                  .ok());

  const std::vector<std::string> blocks = SqlBlocks(readme);
  REQUIRE(blocks.size() == 4);  // sizes, index usage, an index, archiving
  const pg::Result sizes = Select(sql, blocks[0].substr(0, blocks[0].rfind(';')));
  REQUIRE(sizes.rows() == 1);
  for (int column = 0; column < 3; ++column) CHECK(sizes.Text(0, column) != "0 bytes");
  CHECK(Select(sql, blocks[1].substr(0, blocks[1].rfind(';'))).rows() >= 12);

  // The first statement for each partition, the second once, the third for each.
  std::vector<std::string> statements;
  std::stringstream lines(blocks[2]);
  for (std::string line; std::getline(lines, line);) statements.push_back(line);
  REQUIRE(statements.size() == 3);
  const auto for_each_partition = [&](const std::string& statement) {
    for (const std::string& partition :
         Texts(sql, "SELECT relid::regclass::text FROM pg_partition_tree('events') WHERE isleaf")) {
      std::string changed = statement;
      for (std::size_t at = 0; (at = changed.find("events_p1", at)) != std::string::npos;) {
        changed.replace(at, 9, partition);
        at += partition.size();
      }
      Run(sql, changed);
    }
  };
  const std::string valid =
      "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid ="
      " 'idx_events_payload_customer_id'::regclass";
  for_each_partition(statements[0]);
  Run(sql, statements[1]);
  CHECK(SelectInt(sql, valid) == 0);
  for_each_partition(statements[2]);
  CHECK(SelectInt(sql, valid) == 1);

  std::string archive = blocks[3];
  const std::string example = "10000001";
  REQUIRE(archive.find(example) != std::string::npos);
  archive.replace(archive.find(example), example.size(), "21");
  Run(sql, archive);
  AllPageQuery query;
  CHECK(ReasonOf(ReadPage(**filled.store, query).status()) == v1::ERROR_REASON_ARCHIVED);
  query.after_position = 20;
  CHECK(ReadAll(**filled.store, query).size() == 10);
  CHECK(Append(**filled.store, Stream("s"), Any(), NewIds(1)).ok());
}

}  // namespace
}  // namespace eventstore::engine
