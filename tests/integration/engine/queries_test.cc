// Queries of payloads, and the indexes that serve them, on a real PostgreSQL.
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "server/tables/payload_indexes_table.h"
#include "server/tables/query_table.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Clock = std::chrono::steady_clock;
using Positions = std::vector<std::int64_t>;

PayloadConditions Containing(const std::string& json) {
  PayloadConditions conditions;
  conditions.contains = json;
  return conditions;
}

PayloadConditions Equal(const std::string& path, const std::string& text) {
  PayloadConditions conditions;
  conditions.equals.push_back({*ParseFieldPath(path), text});
  return conditions;
}

StoreOptions Options(const std::string& conninfo) {
  StoreOptions options = SmallOptions(conninfo);
  options.daemon.heartbeat_ms = std::chrono::milliseconds(50);
  return options;
}

struct Querying {
  explicit Querying(const std::function<void(StoreOptions*)>& change = nullptr)
      : conninfo(CreateStoreDatabase()), sql(Connect(conninfo, "public")) {
    options = Options(conninfo);
    if (change) change(&options);
    store = std::make_unique<TestStore>(options);
  }

  Store& engine() { return **store; }
  void AppendPayload(const std::string& payload, const std::string& type = "Happened",
                     const std::string& content_type = "application/json") {
    auto request = Request(Stream(NewId()), Any(), NewIds(1));
    request.mutable_events(0)->set_payload(payload);
    request.mutable_events(0)->set_event_type(type);
    request.mutable_events(0)->set_content_type(content_type);
    const Answer answer = Append(engine(), request);
    INFO(answer.status());
    REQUIRE(answer.ok());
  }
  // Events by SQL: every one of `every` has {"customer": {"id": "rare"}}, the others a common one.
  void Fill(int count, int every) {
    const std::string n = std::to_string(count);
    Run(*sql,
        "BEGIN; INSERT INTO events (global_position, event_id, stream_key, aggregate_id,"
        " aggregate_type, event_type, version, timestamp, payload, created_at, size_bytes)"
        " SELECT p, gen_random_uuid(), p, 'id-' || p, 'Type', 'common', 1, now(),"
        " jsonb_build_object('customer', jsonb_build_object('id', CASE WHEN p % " +
            std::to_string(every) +
            " = 0 THEN 'rare' ELSE 'c' || p % 100 END), 'n', p),"
            " '2026-01-01', 100 FROM generate_series(1, " +
            n +
            ") p;"
            "UPDATE log_head SET last_position = " +
            n + ", last_created_at = '2026-02-01'; COMMIT");
  }
  absl::StatusOr<AllPage> Page(AllPageQuery query) {
    return AwaitDone<AllPage>([&](auto done) {
      engine().reader().QueryPage(query, Clock::now() + kPatience, std::move(done));
    });
  }
  // All positions that match, page by page; pages are counted.
  Positions Query(const PayloadConditions& conditions, AllPageQuery query = {}) {
    query.payload = std::make_shared<const PayloadConditions>(conditions);
    Positions found;
    pages = 0;
    while (true) {
      auto page = Page(query);
      INFO(page.status());
      REQUIRE(page.ok());
      ++pages;
      for (const v1::Event& event : page->events) found.push_back(event.global_position());
      if (page->at_end) return found;
      REQUIRE(page->position > query.after_position);
      query.after_position = page->position;
      query.window_positions = page->window_positions;
      if (query.end_position == 0) query.end_position = page->head.position;
      if (query.limit > 0) query.limit -= static_cast<std::int64_t>(page->events.size());
    }
  }
  absl::StatusOr<v1::PayloadIndex> Create(const std::string& name, const std::string& field) {
    v1::CreatePayloadIndexRequest request;
    request.set_name(name);
    request.set_field(field);
    auto response = AwaitDone<v1::CreatePayloadIndexResponse>([&](auto done) {
      engine().payload_indexes().CreatePayloadIndex(request, Clock::now() + kPatience,
                                                    std::move(done));
    });
    if (!response.ok()) return response.status();
    return response->index();
  }
  absl::Status Drop(const std::string& name) {
    v1::DropPayloadIndexRequest request;
    request.set_name(name);
    return AwaitDone<v1::DropPayloadIndexResponse>([&](auto done) {
             engine().payload_indexes().DropPayloadIndex(request, Clock::now() + kPatience,
                                                         std::move(done));
           })
        .status();
  }
  std::vector<v1::PayloadIndex> List() {
    auto response = AwaitDone<v1::ListPayloadIndexesResponse>([&](auto done) {
      engine().payload_indexes().ListPayloadIndexes({}, Clock::now() + kPatience, std::move(done));
    });
    REQUIRE(response.ok());
    return {response->indexes().begin(), response->indexes().end()};
  }
  bool Await(const std::function<bool()>& condition) {
    const auto deadline = Clock::now() + kPatience;
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  bool AwaitReady(const std::string& name) {
    return Await([&] {
      for (const v1::PayloadIndex& index : List()) {
        if (index.name() == name && index.state() == v1::PAYLOAD_INDEX_STATE_READY) return true;
      }
      return false;
    });
  }
  std::int64_t RealIndexes(bool valid = true) {
    return SelectInt(*sql,
                     "SELECT count(*) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid"
                     " WHERE c.relname ~ '^events_p[0-9]+_x[0-9]+$' AND x.indisvalid = " +
                         std::string(valid ? "true" : "false"));
  }
  std::int64_t Partitions() {
    return SelectInt(*sql, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass");
  }
  std::string PlanOf(const PayloadConditions& conditions, std::int64_t high) {
    tables::AllWindow window;
    window.high = high;
    pg::Params params;
    const std::string query = tables::QueryWindowSql(window, conditions, true, &params);
    auto result = sql->QueryOnce("EXPLAIN " + query, params, In(kPatience));
    INFO(result.status());
    REQUIRE(result.ok());
    std::string plan;
    for (int row = 0; row < result->rows(); ++row) {
      plan += std::string(result->Text(row, 0)) + "\n";
    }
    return plan;
  }

  std::string conninfo;
  std::unique_ptr<pg::Connection> sql;
  StoreOptions options;
  std::unique_ptr<TestStore> store;
  int pages = 0;
};

TEST_CASE("A payload matches what it contains", "[query]") {
  Querying q;
  q.AppendPayload("{\"customer\": {\"id\": 7, \"city\": \"Ulm\"}, \"tags\": [\"a\", \"b\"]}");
  q.AppendPayload("{\"customer\": {\"id\": 8, \"city\": \"Ulm\"}, \"tags\": [\"b\"]}");
  q.AppendPayload("[1, 2]");
  q.AppendPayload("\"text\"");
  q.AppendPayload("{\"customer\": {\"id\": 7}}", "Happened", "text/plain");
  CHECK(q.Query(Containing("{\"customer\": {\"city\": \"Ulm\"}}")) == Positions{1, 2});
  CHECK(q.Query(Containing("{\"customer\": {\"id\": 7}}")) == Positions{1});
  CHECK(q.Query(Containing("{\"tags\": [\"b\"]}")) == Positions{1, 2});
  CHECK(q.Query(Containing("{\"tags\": [\"a\"], \"customer\": {\"id\": 7.0}}")) == Positions{1});
  CHECK(q.Query(Containing("[2]")) == Positions{3});
  CHECK(q.Query(Containing("\"text\"")) == Positions{4});
  CHECK(q.Query(Containing("{\"customer\": {\"id\": \"7\"}}")).empty());
  // What is not JSON never matches, although its bytes would.
  CHECK(q.Query(Containing("{}")) == Positions{1, 2});
}

TEST_CASE("A field equals its text, wherever it lies", "[query]") {
  Querying q;
  q.AppendPayload("{\"a\": {\"b.c\": \"x\"}, \"n\": 7, \"t\": true, \"l\": [{\"k\": \"v\"}]}");
  q.AppendPayload("{\"a\": {\"b\": {\"c\": \"x\"}}, \"n\": \"7\", \"t\": null}");
  q.AppendPayload("{\"x'; DROP TABLE events; --\": \"'\\\"{},\\\\\"}");
  CHECK(q.Query(Equal("a.b\\.c", "x")) == Positions{1});
  CHECK(q.Query(Equal("a.b.c", "x")) == Positions{2});
  CHECK(q.Query(Equal("n", "7")) == Positions{1, 2});
  CHECK(q.Query(Equal("t", "true")) == Positions{1});
  CHECK(q.Query(Equal("t", "null")).empty());
  CHECK(q.Query(Equal("l.0.k", "v")) == Positions{1});
  CHECK(q.Query(Equal("x'; DROP TABLE events; --", "'\"{},\\")) == Positions{3});
  auto both = Equal("n", "7");
  both.equals.push_back({{"t"}, "true"});
  both.contains = "{\"a\": {}}";
  CHECK(q.Query(both) == Positions{1});
}

TEST_CASE("A long value is compared whole, with an index as without", "[query]") {
  Querying q;
  const std::string head(300, 'x');
  q.AppendPayload("{\"k\": \"" + head + "1\"}");
  q.AppendPayload("{\"k\": \"" + head + "2\"}");
  const std::string huge(20'000, 'y');
  for (const bool indexed : {false, true}) {
    INFO(indexed);
    if (indexed) {
      REQUIRE(q.Create("k", "k").ok());
      REQUIRE(q.AwaitReady("k"));
    }
    CHECK(q.Query(Equal("k", head + "2")) == Positions{2});
    CHECK(q.Query(Equal("k", head)).empty());
    // A value longer than an index takes must not make its append fail.
    q.AppendPayload("{\"k\": \"" + huge + std::to_string(indexed) + "\"}");
    CHECK(q.Query(Equal("k", huge + std::to_string(indexed))).size() == 1);
  }
}

TEST_CASE("The queries of the handbook are covered", "[query]") {
  Querying q;
  q.AppendPayload("{\"customer_id\": \"cust-123\", \"total\": 5}", "OrderPlaced");
  q.AppendPayload("{\"customer_id\": \"cust-123\"}", "OrderPaid");
  q.AppendPayload("{\"customer_id\": \"cust-9\"}", "OrderPlaced");
  CHECK(q.Query(Equal("customer_id", "cust-123")) == Positions{1, 2});
  CHECK(q.Query(Containing("{\"customer_id\": \"cust-123\"}")) == Positions{1, 2});
  v1::Filter filter;
  filter.add_event_types("OrderPlaced");
  AllPageQuery query;
  query.filter = *EventFilter::Make(filter, "filter", Limits());
  CHECK(q.Query(Equal("customer_id", "cust-123"), query) == Positions{1});
  // And as they stand there.
  CHECK(SelectInt(*q.sql,
                  "SELECT count(*) FROM events WHERE payload->>'customer_id' ="
                  " 'cust-123'") == 2);
}

TEST_CASE("A query combines with filters, times, positions and a limit", "[query]") {
  Querying q([](StoreOptions* options) { options->reader.page_events_max = 2; });
  for (int i = 0; i < 10; ++i) {
    auto request = Request(Stream(NewId(), i % 2 == 0 ? "Even" : "Odd"), Any(), NewIds(1));
    request.mutable_events(0)->set_payload("{\"k\": 1}");
    request.mutable_events(0)->mutable_timestamp()->set_seconds(1000 + i);
    request.mutable_events(0)->add_tags(i < 5 ? "early" : "late");
    REQUIRE(Append(q.engine(), request).ok());
  }
  const auto all = Containing("{\"k\": 1}");
  CHECK(q.Query(all) == Positions{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(q.pages >= 5);
  AllPageQuery query;
  query.after_position = 3;
  query.limit = 3;
  CHECK(q.Query(all, query) == Positions{4, 5, 6});
  query = AllPageQuery();
  query.from_timestamp_micros = 1'002'000'000;
  query.to_timestamp_micros = 1'005'000'000;
  CHECK(q.Query(all, query) == Positions{3, 4, 5});
  v1::Filter filter;
  filter.add_aggregate_types("Odd");
  filter.add_tags("late");
  query = AllPageQuery();
  query.filter = *EventFilter::Make(filter, "filter", Limits());
  CHECK(q.Query(all, query) == Positions{6, 8, 10});
}

TEST_CASE("A query ends at the head of its start", "[query]") {
  Querying q([](StoreOptions* options) { options->reader.page_events_max = 2; });
  for (int i = 0; i < 4; ++i) q.AppendPayload("{\"k\": 1}");
  AllPageQuery query;
  query.payload = std::make_shared<const PayloadConditions>(Containing("{\"k\": 1}"));
  auto page = q.Page(query);
  REQUIRE(page.ok());
  CHECK(page->head.position == 4);
  q.AppendPayload("{\"k\": 1}");
  query.after_position = page->position;
  query.end_position = page->head.position;
  page = q.Page(query);
  CHECK(page->at_end);
  CHECK(page->position == 4);
  query.after_position = 99;
  query.end_position = 0;
  CHECK(ReasonOf(q.Page(query).status()) == v1::ERROR_REASON_POSITION_AHEAD);
}

TEST_CASE("A statement that takes too long ends the query, and tells where to go on", "[query]") {
  Querying q([](StoreOptions* options) {
    options->query.statement_timeout_ms = std::chrono::milliseconds(100);
  });
  q.AppendPayload("{\"k\": 1}");
  AllPageQuery query;
  query.payload = std::make_shared<const PayloadConditions>(Containing("{\"k\": 1}"));
  CHECK(q.Page(query).ok());
  {
    // Whoever locks the table keeps the statement for longer than that.
    auto locker = Connect(q.conninfo, "public");
    Run(*locker, "BEGIN; LOCK TABLE event_tags IN ACCESS EXCLUSIVE MODE");
    v1::Filter filter;
    filter.add_tags("any");
    query.filter = *EventFilter::Make(filter, "filter", Limits());
    const auto page = q.Page(query);
    const v1::ErrorInfo detail = DetailOf(page.status());
    CHECK(detail.reason() == v1::ERROR_REASON_TOO_LARGE);
    CHECK(detail.limit_name() == "query.statement_timeout_ms");
    CHECK(detail.limit() == 100);
    CHECK(detail.value() >= 100);
    CHECK(detail.position() == 0);
    CHECK(detail.message().find("payload index") != std::string::npos);
    Run(*locker, "ROLLBACK");
  }
  CHECK(q.Page(query).ok());
  // The limit is the query's own: another statement on the same connections has longer.
  const auto timeouts = [&] {
    std::set<std::string> seen;
    for (int i = 0; i < 8; ++i) {
      auto lease = q.engine().pool().Acquire(In(kPatience));
      REQUIRE(lease.ok());
      auto shown = (*lease)->QueryOnce("SHOW statement_timeout", pg::Params(), In(kPatience));
      seen.insert(std::string(shown->Text(0, 0)));
    }
    return seen;
  };
  CHECK(timeouts().count("100ms") == 0);
}

TEST_CASE("An index is built on every partition, and on those that come", "[query][indexes]") {
  Querying q([](StoreOptions* options) {
    options->partitions.size_events = 1000;
    options->partitions.check_interval_ms = std::chrono::milliseconds(50);
  });
  const auto made = q.Create("by-customer", "customer.id");
  REQUIRE(made.ok());
  CHECK(made->field() == "customer.id");
  CHECK(made->partitions_total() == static_cast<std::int32_t>(q.Partitions()));
  REQUIRE(q.AwaitReady("by-customer"));
  CHECK(q.RealIndexes() == q.Partitions());
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.AwaitReady("any"));
  const std::int64_t before = q.Partitions();
  const std::int64_t claims = SelectInt(*q.sql, "SELECT sum(token)::bigint FROM payload_indexes");
  // Repeating it changes nothing.
  CHECK(q.Create("any", "")->state() == v1::PAYLOAD_INDEX_STATE_READY);
  for (int i = 0; i < 3; ++i) {
    auto request = Request(Stream(NewId()), Any(), NewIds(900));
    for (v1::NewEvent& event : *request.mutable_events()) {
      event.set_payload("{\"customer\": {\"id\": \"c" + std::to_string(i) + "\"}}");
    }
    REQUIRE(Append(q.engine(), request).ok());
  }
  REQUIRE(q.Await([&] { return q.Partitions() > before; }));
  CHECK(q.Await([&] { return q.RealIndexes() == 2 * q.Partitions(); }));
  // They came with the partitions: the builder had nothing to do.
  CHECK(SelectInt(*q.sql, "SELECT sum(token)::bigint FROM payload_indexes") == claims);
  CHECK(q.Query(Equal("customer.id", "c1")).size() == 900);
  CHECK(q.Query(Containing("{\"customer\": {\"id\": \"c2\"}}")).size() == 900);
  const auto list = q.List();
  REQUIRE(list.size() == 2);
  CHECK(list[0].name() == "any");
  CHECK(list[0].partitions_done() == list[0].partitions_total());
}

TEST_CASE("A partition that came without its index gets it", "[query][indexes]") {
  Querying q;
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.AwaitReady("any"));
  Run(*q.sql,
      "DO $$ DECLARE i text; BEGIN SELECT c.relname INTO i FROM pg_class c WHERE relname ~"
      " '^events_p1_x[0-9]+$'; EXECUTE 'DROP INDEX ' || i; END $$");
  CHECK(q.Await([&] { return q.RealIndexes() == q.Partitions(); }));
}

TEST_CASE("An index that a failed build left behind is built again", "[query][indexes]") {
  Querying q;
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.AwaitReady("any"));
  const std::int64_t oid =
      SelectInt(*q.sql, "SELECT oid::bigint FROM pg_class WHERE relname ~ '^events_p1_x[0-9]+$'");
  Run(*q.sql, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = " + std::to_string(oid));
  CHECK(q.Await([&] { return q.RealIndexes() == q.Partitions(); }));
  CHECK(q.RealIndexes(/*valid=*/false) == 0);
  CHECK(SelectInt(*q.sql, "SELECT count(*) FROM pg_class WHERE oid = " + std::to_string(oid)) == 0);
}

TEST_CASE("An index is dropped from every partition and then forgotten", "[query][indexes]") {
  Querying q;
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.AwaitReady("any"));
  REQUIRE(q.Drop("any").ok());
  CHECK(q.Await([&] { return q.List().empty(); }));
  CHECK(q.RealIndexes() == 0);
  CHECK(ReasonOf(q.Drop("any")) == v1::ERROR_REASON_NOT_FOUND);
}

TEST_CASE("A name stands for one index, and there are so many at most", "[query][indexes]") {
  Querying q;
  REQUIRE(q.Create("a", "x.y").ok());
  const auto other = q.Create("a", "x.z");
  CHECK(ReasonOf(other.status()) == v1::ERROR_REASON_ALREADY_EXISTS);
  CHECK(std::string(other.status().message()).find("x.y") != std::string::npos);
  for (int i = 1; i < 16; ++i) REQUIRE(q.Create("i" + std::to_string(i), "f").ok());
  CHECK(DetailOf(q.Create("one-more", "f").status()).limit_name() == "payload_indexes_max");
  CHECK(q.Create("a", "x.y").ok());
}

TEST_CASE("A build that cannot be done says why, and is tried again when asked",
          "[query][indexes]") {
  Querying q;
  // A name that is taken by something else.
  Run(*q.sql, "CREATE TABLE events_p1_x1 (a int)");
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.Await([&] { return q.List()[0].state() == v1::PAYLOAD_INDEX_STATE_FAILED; }));
  CHECK(q.List()[0].error().find("changed nothing: CREATE INDEX") != std::string::npos);
  CHECK(q.List()[0].error().find("events_p1_x1") != std::string::npos);
  Run(*q.sql, "DROP TABLE events_p1_x1");
  CHECK(q.Create("any", "")->state() == v1::PAYLOAD_INDEX_STATE_BUILDING);
  CHECK(q.AwaitReady("any"));
}

TEST_CASE("Of two daemons one builds, and another goes on when it dies", "[query][indexes]") {
  Querying q(
      [](StoreOptions* options) { options->daemon.expire_ms = std::chrono::milliseconds(300); });
  // A daemon that has the work and never comes back.
  Run(*q.sql,
      "INSERT INTO payload_indexes (name, builder, token, lease_until) VALUES"
      " ('any', gen_random_uuid(), 1, now() + interval '1 second')");
  TestStore second(q.options);
  CHECK(q.AwaitReady("any"));
  CHECK(SelectInt(*q.sql, "SELECT token FROM payload_indexes") >= 2);
  CHECK(SelectInt(*q.sql,
                  "SELECT (clock_timestamp() > created_at + interval '1 second')::int"
                  "::bigint FROM payload_indexes") == 1);
  CHECK(q.RealIndexes() == q.Partitions());
}

TEST_CASE("A daemon that stops leaves its build to be done anew", "[query][indexes]") {
  Querying q;
  q.AppendPayload("{}");
  // A build waits for whoever writes to the table.
  auto writer = Connect(q.conninfo, "public");
  Run(*writer, "BEGIN; UPDATE events SET size_bytes = size_bytes");
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.Await([&] {
    return SelectInt(*q.sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE query LIKE"
                     " 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'") > 0;
  }));
  CHECK(q.List()[0].state() == v1::PAYLOAD_INDEX_STATE_BUILDING);
  q.store = nullptr;
  Run(*writer, "ROLLBACK");
  q.store = std::make_unique<TestStore>(q.options);
  CHECK(q.AwaitReady("any"));
  CHECK(q.RealIndexes() == q.Partitions());
}

TEST_CASE("A query uses the index that serves it", "[query][indexes][plans]") {
  Querying q;
  q.Fill(120'000, 40'000);
  REQUIRE(q.Create("by-customer", "customer.id").ok());
  REQUIRE(q.Create("any", "").ok());
  REQUIRE(q.AwaitReady("by-customer"));
  REQUIRE(q.AwaitReady("any"));
  Run(*q.sql, "SET enable_seqscan = off");
  const auto equal = Equal("customer.id", "rare");
  const auto contains = Containing("{\"customer\": {\"id\": \"rare\"}}");
  for (const bool analyzed : {false, true}) {
    INFO("analyzed: " << analyzed);
    if (analyzed) Run(*q.sql, "ANALYZE events");
    const std::string by_field = q.PlanOf(equal, 120'000);
    INFO(by_field);
    CHECK(by_field.find("events_p1_x1") != std::string::npos);
    const std::string by_gin = q.PlanOf(contains, 120'000);
    INFO(by_gin);
    CHECK(by_gin.find("events_p1_x2") != std::string::npos);
    CHECK(q.Query(equal) == Positions{40'000, 80'000, 120'000});
    CHECK(q.Query(contains) == Positions{40'000, 80'000, 120'000});
    CHECK(q.pages <= 4);
  }
  // Nobody else looks for payloads, so that what was used was used by the reader.
  q.store = nullptr;
  CHECK(q.Await([&] {
    return SelectInt(*q.sql,
                     "SELECT count(*) FROM pg_stat_user_indexes WHERE indexrelname ~"
                     " '^events_p1_x[12]$' AND idx_scan > 0") == 2;
  }));
}

}  // namespace
}  // namespace eventstore::engine
