// What an append writes into the outbox.
#include <catch2/catch.hpp>
#include <future>

#include "server/tables/outbox_entry.h"
#include "tests/integration/engine/changes.h"
#include "tests/integration/engine/outboxing.h"
#include "tests/integration/engine/transacting.h"
#include "tests/support/proxy.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using std::chrono::milliseconds;

// Two sinks: "orders" by either of two routes, "tagged" by a tag.
OutboxOptions TwoSinks() {
  OutboxOptions options = Bus();
  options.sinks[0].options.name = "orders";
  options.sinks.push_back(options.sinks[0]);
  options.sinks[1].options.name = "tagged";
  options.routes = {{.sink = "orders", .aggregate_types = {"Order"}},
                    {.sink = "orders", .event_types = {"Happened"}},
                    {.sink = "tagged", .tags = {"vip"}}};
  return options;
}

// Long enough for base64 of several lines.
std::string BinaryPayload() {
  std::string bytes(110, 'x');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  return bytes;
}

TEST_CASE("An entry holds the whole event, as a reader gets it", "[outbox]") {
  OutboxDesk desk;
  const std::string tenant = "0190b2c4-0000-7000-8000-0000000000aa";
  auto request = Request(Stream("s", "Order", tenant), Any(), NewIds(2));
  v1::NewEvent& event = *request.mutable_events(0);
  event.set_payload(R"({"n": 1.50, "text": "ü\u0001\"", "deep": [[null, true]], "big": 1e30})");
  event.mutable_timestamp()->set_seconds(-62'135'596'800);
  event.set_actor_id("me");
  event.set_correlation_id("c\"1");
  event.set_causation_id("c2");
  (*event.mutable_metadata())["k\n"] = "v";
  event.add_tags("b");
  event.add_tags("a");
  event.set_schema_version(3);
  request.mutable_events(1)->set_payload(BinaryPayload());
  request.mutable_events(1)->set_content_type("application/octet-stream");
  REQUIRE(Append(*desk.store, request).ok());
  desk.Fill("lone", 1);
  const auto events = ReadAll(*desk.store);
  REQUIRE(events.size() == 3);
  const auto listed = desk.List();
  REQUIRE(listed.entries_size() == 3);
  for (int i = 0; i < 3; ++i) {
    INFO(i);
    const v1::OutboxEntry& entry = listed.entries(i);
    CHECK(entry.event().SerializeAsString().size() > 0);
    CHECK(entry.event().DebugString() == events[static_cast<std::size_t>(i)].DebugString());
    CHECK(entry.sink() == "bus");
    CHECK(entry.status() == v1::OUTBOX_STATUS_PENDING);
    CHECK(entry.created_at().DebugString() == entry.event().created_at().DebugString());
    CHECK_FALSE(entry.has_published_at());
  }
  CHECK(desk.Count("event_data ? 'payload_base64'") == 1);
  CHECK(desk.Count("event_data->>'tenant_id' = '" + tenant + "'") == 2);
  CHECK(desk.Count("jsonb_typeof(event_data->'tenant_id') = 'null' AND tenant_id IS NULL") == 1);
  CHECK(desk.Count("EXISTS (SELECT FROM events e WHERE e.global_position ="
                   " event_outbox.global_position AND e.stream_key = event_outbox.stream_key"
                   " AND e.event_id = event_outbox.event_id)") == 3);
}

TEST_CASE("An event goes to each sink once, and where no route matches nowhere", "[outbox]") {
  OutboxDesk desk(TwoSinks());
  REQUIRE(Append(*desk.store, Stream("both"), Any(), NewIds(2)).ok());
  auto other = Request(Stream("x", "Cart"), Any(), NewIds(3));
  for (v1::NewEvent& event : *other.mutable_events()) event.set_event_type("Filled");
  other.mutable_events(1)->add_tags("vip");
  other.mutable_events(1)->add_tags("old");
  REQUIRE(Append(*desk.store, other).ok());
  CHECK(desk.Count("sink = 'orders'") == 2);
  CHECK(desk.Count("sink = 'tagged' AND event_data->'tags' = '[\"old\", \"vip\"]'") == 1);
  CHECK(desk.Count() == 3);
}

TEST_CASE("Nothing is written while the outbox is off", "[outbox]") {
  OutboxOptions options = Bus();
  options.enabled = false;
  OutboxDesk desk(options);
  desk.Fill("s", 1);
  REQUIRE(Append(*desk.store, Stream("s"), Any(), NewIds(3)).ok());
  CHECK(desk.Count() == 0);
}

TEST_CASE("A replay and a conflict write no entry", "[outbox]") {
  OutboxDesk desk;
  const auto ids = NewIds(1);
  REQUIRE(Append(*desk.store, Stream("s"), NoStream(), ids).ok());
  CHECK(Append(*desk.store, Stream("s"), NoStream(), ids)->deduplicated());
  CHECK_FALSE(Append(*desk.store, Stream("s"), NoStream(), NewIds(2)).ok());
  CHECK(desk.Count() == 1);
  // In one batch with an append that is stored.
  HeadLock lock(desk.conninfo);
  auto first = Submit(*desk.store, Request(Stream("t"), NoStream(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  auto good = Submit(*desk.store, Request(Stream("s"), Exact(1), NewIds(2)));
  auto bad = Submit(*desk.store, Request(Stream("s"), Exact(1), NewIds(2)));
  auto replay = Submit(*desk.store, Request(Stream("s"), NoStream(), ids));
  lock.Release();
  CHECK(Await(first).ok());
  CHECK(Await(good).ok());
  CHECK(ReasonOf(Await(bad).status()) == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(Await(replay)->deduplicated());
  CHECK(desk.Count() == 4);
  CHECK(SelectInt(*desk.sql, "SELECT count(DISTINCT event_id) FROM event_outbox") == 4);
}

TEST_CASE("A transaction's entries come with it, over all its streams", "[outbox]") {
  OutboxDesk desk;
  v1::TransactRequest request;
  *request.add_appends() = Tagged("a", {"x"});
  *request.add_appends() = Tagged("b", {}, NoStream());
  MustTransact(*desk.store, request);
  CHECK(desk.Count() == 2);
  *request.mutable_appends(0) = Tagged("a", {});
  *request.mutable_appends(1) = Tagged("b", {}, NoStream());
  CHECK_FALSE(Transact(*desk.store, request).ok());
  CHECK(desk.Count() == 2);
}

TEST_CASE("A batch whose commit was in doubt has its entries once", "[outbox][doubt]") {
  const std::string conninfo = CreateStoreDatabase();
  Proxy proxy(SharedPostgres());
  OutboxDesk desk(Bus(), proxy.Through(conninfo));
  desk.Fill("s", 1);
  for (const auto what : {Proxy::AtCommit::kLoseAnswer, Proxy::AtCommit::kLose}) {
    proxy.Arm(what);
    REQUIRE(Append(*desk.store, Stream("s"), Any(), NewIds(2)).ok());
  }
  const auto sql = Connect(conninfo, "public");
  CHECK(SelectInt(*sql, "SELECT count(*) FROM event_outbox") == 5);
  CHECK(SelectInt(*sql, "SELECT count(DISTINCT global_position) FROM event_outbox") == 5);
}

TEST_CASE("A store with routes that are none does not open", "[outbox]") {
  OutboxOptions options = Bus();
  options.routes[0].sink = "nowhere";
  StoreOptions store = SmallOptions(CreateStoreDatabase());
  store.outbox = options;
  telemetry::Metrics metrics("test");
  const auto opened = Store::Open(store, &metrics, In(kPatience));
  CHECK(ReasonOf(opened.status()) == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(DetailOf(opened.status()).field() == "outbox.routes[0].sink");
}

TEST_CASE("An erased event keeps its place in the outbox and can still be published",
          "[outbox][erasure]") {
  OutboxDesk desk;
  auto request = Request(Stream("s"), Any(), NewIds(2));
  request.mutable_events(0)->set_payload("{\"name\": \"secret\"}");
  request.mutable_events(0)->set_actor_id("secret");
  request.mutable_events(0)->add_tags("secret");
  (*request.mutable_events(0)->mutable_metadata())["k"] = "secret";
  REQUIRE(Append(*desk.store, request).ok());
  Run(*desk.sql, "UPDATE event_outbox SET last_error = 'secret' WHERE global_position = 1");
  REQUIRE(EraseVersions(*desk.store, Stream("s"), {1}).value() == 1);
  CHECK(desk.Count("event_outbox::text LIKE '%secret%'") == 0);
  const auto claimed = desk.Claim();
  REQUIRE(claimed.entries_size() == 2);
  const auto events = ReadAll(*desk.store);
  CHECK(claimed.entries(0).event().erased());
  CHECK(claimed.entries(0).event().content_type() == "application/x-erased");
  CHECK(claimed.entries(0).event().DebugString() == events[0].DebugString());
  CHECK(claimed.entries(1).event().DebugString() == events[1].DebugString());
}

TEST_CASE("An erasure waits for whoever publishes the event, and no append waits for the erasure",
          "[outbox][erasure]") {
  OutboxDesk desk;
  desk.Fill("s", 1);
  // As the relay does while the broker has not answered.
  const auto publisher = Connect(desk.conninfo, "public");
  Run(*publisher, "BEGIN; SELECT id FROM event_outbox WHERE status = 'pending' FOR UPDATE");
  auto erased =
      std::async(std::launch::async, [&] { return EraseVersions(*desk.store, Stream("s"), {1}); });
  const auto is_waiting = [&desk] {
    return SelectInt(*desk.sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                     " AND datname = current_database()") == 1;
  };
  REQUIRE(Eventually(is_waiting));
  desk.Fill("other", 5);
  CHECK(is_waiting());
  Run(*publisher, "UPDATE event_outbox SET status = 'published'; COMMIT");
  CHECK(erased.get().value() == 1);
  CHECK(desk.Count("event_data ? 'erased'") == 1);
}

}  // namespace
}  // namespace eventstore::engine
