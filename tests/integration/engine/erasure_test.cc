// Erasure, on one store: everything that it reaches.
#include <catch2/catch.hpp>

#include "server/tables/dead_letters_table.h"
#include "tests/integration/engine/changes.h"
#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

struct Bench {
  Bench() : conninfo(CreateStoreDatabase()), store(SmallOptions(conninfo)) {
    sql = Connect(conninfo, "public");
  }
  // Some events with content; their ids.
  std::vector<std::string> Fill(const v1::StreamId& stream, int events) {
    auto ids = NewIds(events);
    REQUIRE(Append(*store, Secrets(stream, ids)).ok());
    return ids;
  }
  std::int64_t Count(const std::string& sql_text) { return SelectInt(*sql, sql_text); }
  v1::Event Get(const std::string& id) {
    v1::GetEventRequest request;
    request.set_event_id(id);
    auto event = AwaitDone<v1::Event>([&](Done<v1::Event> done) {
      store->reader().GetEvent(request, In(kPatience), std::move(done));
    });
    REQUIRE(event.ok());
    return *event;
  }

  std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
};

void CheckErased(const v1::Event& event) {
  CHECK(event.erased());
  CHECK(event.payload().empty());
  CHECK(event.content_type() == "application/x-erased");
  CHECK_FALSE(HasSecret(event));
}

TEST_CASE("An erased event keeps its place and loses its content, for every reader", "[erasure]") {
  Bench bench;
  const auto ids = bench.Fill(Stream("s"), 4);
  const auto before = ReadStream(*bench.store, Stream("s"));
  REQUIRE(EraseVersions(*bench.store, Stream("s"), {2, 3}).value() == 2);
  const auto by_stream = ReadStream(*bench.store, Stream("s"));
  const auto all = ReadAll(*bench.store);
  REQUIRE(by_stream.size() == 4);
  REQUIRE(all.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const bool erased = i == 1 || i == 2;
    for (const v1::Event& event : {by_stream[i], all[i], bench.Get(ids[i])}) {
      CHECK(event.erased() == erased);
      CHECK(event.event_id() == before[i].event_id());
      CHECK(event.global_position() == before[i].global_position());
      CHECK(event.version() == before[i].version());
      CHECK(event.event_type() == before[i].event_type());
      CHECK(event.schema_version() == before[i].schema_version());
      CHECK(event.timestamp().seconds() == before[i].timestamp().seconds());
      CHECK(event.created_at().nanos() == before[i].created_at().nanos());
      if (erased) CheckErased(event);
      CHECK(HasSecret(event) == !erased);
    }
  }
  Follower follower(*bench.store);
  REQUIRE(follower.AwaitEvents(4));
  CheckErased(follower.Events()[1]);
  // No tag leads to it, and a retry of the append still gets its answer.
  AllPageQuery tagged;
  v1::Filter filter;
  filter.add_tags("secret");
  tagged.filter = *EventFilter::Make(filter, "filter", Limits());
  CHECK(ReadAll(*bench.store, tagged).size() == 2);
  CHECK(bench.Count("SELECT count(*) FROM event_tags") == 2);
  CHECK(Append(*bench.store, Secrets(Stream("s"), ids))->deduplicated());
  CHECK(Append(*bench.store, Stream("s"), Exact(4), NewIds(1)).ok());
}

TEST_CASE("A payload of another type than JSON is erased too", "[erasure]") {
  Bench bench;
  const auto ids = NewIds(1);
  auto request = Secrets(Stream("s"), ids);
  request.mutable_events(0)->set_content_type("text/plain");
  REQUIRE(Append(*bench.store, request).ok());
  CHECK(EraseIds(*bench.store, ids).value() == 1);
  CheckErased(bench.Get(ids[0]));
  CHECK(bench.Count("SELECT count(*) FROM events WHERE payload_binary IS NOT NULL") == 0);
}

TEST_CASE("All of a stream is erased, also what is hidden", "[erasure]") {
  Bench bench;
  bench.Fill(Stream("s"), 3);
  bench.Fill(Stream("other"), 1);
  REQUIRE(Truncate(*bench.store, Stream("s"), 3).ok());
  SECTION("of a truncated one") {}
  SECTION("of a deleted one") { REQUIRE(Delete(*bench.store, Stream("s"), Any()).ok()); }
  SECTION("of one that was deleted for good") {
    REQUIRE(Delete(*bench.store, Stream("s"), Any(), true).ok());
  }
  CHECK(EraseVersions(*bench.store, Stream("s")).value() == 3);
  const auto all = ReadAll(*bench.store);
  for (std::size_t i = 0; i < 3; ++i) CheckErased(all[i]);
  CHECK(HasSecret(all[3]));
}

TEST_CASE("The audit names who, when, why and which", "[erasure]") {
  Bench bench;
  const auto ids = bench.Fill(Stream("s"), 2);
  REQUIRE(EraseIds(*bench.store, {ids[1]}).ok());
  CHECK(bench.Count("SELECT count(*) FROM erasures") == 1);
  CHECK(bench.Count("SELECT count(*) FROM erasures a JOIN events e USING (event_id,"
                    " global_position, stream_key, version) JOIN log_head h"
                    " ON h.revision = a.revision WHERE e.version = 2"
                    " AND a.reason = 'asked to be forgotten' AND a.erased_by = 'privacy desk'"
                    " AND a.erased_at BETWEEN now() - interval '1 hour' AND now()"
                    " AND e.erased_at IS NOT NULL") == 1);
  CHECK(bench.Count("SELECT count(*) FROM log_changes WHERE kind = 'erase'") == 1);
}

TEST_CASE("What is erased already is not counted, and changes nothing", "[erasure]") {
  Bench bench;
  const auto ids = bench.Fill(Stream("s"), 3);
  CHECK(EraseIds(*bench.store, {ids[0]}).value() == 1);
  CHECK(EraseVersions(*bench.store, Stream("s"), {1, 2}).value() == 1);
  const std::int64_t revision = bench.Count("SELECT revision FROM log_head");
  CHECK(revision == 2);
  CHECK(EraseIds(*bench.store, {ids[0], ids[1]}).value() == 0);
  CHECK(bench.Count("SELECT revision FROM log_head") == revision);
  CHECK(bench.Count("SELECT count(*) FROM erasures") == 2);
  CHECK(bench.store.Metric("eventstore_events_erased_total") == 2);
}

TEST_CASE("One event that does not exist, or is not here, erases nothing", "[erasure]") {
  Bench bench;
  const std::string tenant = NewId();
  const auto ids = bench.Fill(Stream("s"), 2);
  const auto theirs = bench.Fill(Stream("s", "Order", tenant), 1);
  const auto not_found = v1::ERROR_REASON_NOT_FOUND;
  CHECK(ReasonOf(EraseVersions(*bench.store, Stream("none")).status()) == not_found);
  CHECK(ReasonOf(EraseVersions(*bench.store, Stream("s"), {1, 3}).status()) == not_found);
  CHECK(ReasonOf(EraseIds(*bench.store, {ids[0], NewId()}).status()) == not_found);
  CHECK(ReasonOf(EraseIds(*bench.store, {theirs[0], ids[0]}, tenant).status()) == not_found);
  CHECK(bench.Count("SELECT count(*) FROM events WHERE erased_at IS NOT NULL") == 0);
  CHECK(EraseIds(*bench.store, theirs, tenant).value() == 1);
  // As if the first partition had been archived.
  Run(*bench.sql,
      "DELETE FROM events WHERE global_position = 1;"
      "UPDATE log_head SET first_position = 2");
  const auto archived = v1::ERROR_REASON_ARCHIVED;
  CHECK(ReasonOf(EraseIds(*bench.store, ids).status()) == archived);
  CHECK(ReasonOf(EraseVersions(*bench.store, Stream("s"), {1, 2}).status()) == archived);
  CHECK(ReasonOf(EraseVersions(*bench.store, Stream("s")).status()) == archived);
  CHECK(EraseVersions(*bench.store, Stream("s"), {2}).value() == 1);
}

TEST_CASE("An erasure has a bound", "[erasure]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.limits.erase_events_max = 3;
  TestStore store(options);
  const auto ids = NewIds(4);
  REQUIRE(Append(*store, Secrets(Stream("s"), ids)).ok());
  for (const auto& refused : {EraseVersions(*store, Stream("s")), EraseIds(*store, ids),
                              EraseVersions(*store, Stream("s"), {1, 2, 3, 4})}) {
    CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_TOO_LARGE);
    CHECK(DetailOf(refused.status()).limit_name() == "erase_events_max");
    CHECK(DetailOf(refused.status()).limit() == 3);
  }
  CHECK(EraseVersions(*store, Stream("s"), {1, 2, 3}).value() == 3);
}

TEST_CASE("An erasure reaches outbox, dead letters, groups' errors and snapshots", "[erasure]") {
  Bench bench;
  const auto ids = bench.Fill(Stream("s"), 2);
  const auto others = bench.Fill(Stream("other"), 1);
  Run(*bench.sql,
      "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, event_data,"
      " last_error) SELECT event_id, event_type, aggregate_id, aggregate_type, payload, 'secret'"
      " FROM events;"
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message, error_stacktrace, resolution_note) SELECT event_id, 'p', event_type,"
      " payload, 'secret', 'secret', 'secret' FROM events;"
      "INSERT INTO snapshots (aggregate_id, aggregate_type, version, state)"
      " VALUES ('s', 'Order', 1, '\"secret\"'), ('other', 'Order', 1, '\"secret\"');"
      "INSERT INTO consumer_groups (name, settings) VALUES ('g', '{}');"
      "INSERT INTO consumer_group_lanes (group_key, lane) SELECT group_key, 0 FROM consumer_groups;"
      "INSERT INTO consumer_group_retries (group_key, lane, position, attempts, due_at, error)"
      " SELECT group_key, 0, global_position, 1, now(), 'secret' FROM consumer_groups, events");
  REQUIRE(EraseIds(*bench.store, {ids[0]}).ok());
  const std::vector<std::string> tables = {"event_outbox", "dead_letter_queue", "snapshots",
                                           "consumer_group_retries", "events"};
  const auto secrets = [&](const std::string& table) {
    return bench.Count("SELECT count(*) FROM " + table + " t WHERE t::text LIKE '%secret%'");
  };
  for (const std::string& table : tables) {
    INFO(table);
    // All snapshots of the stream are gone; the rest is of one event.
    CHECK(secrets(table) == (table == "snapshots" ? 1 : 2));
  }
  CHECK(bench.Count("SELECT count(*) FROM dead_letter_queue"
                    " WHERE event_data = '{\"erased\": true}'") == 1);
  // An entry keeps the event's place: it is published still.
  CHECK(bench.Count("SELECT count(*) FROM event_outbox o JOIN events e USING (event_id)"
                    " WHERE o.event_data @> jsonb_build_object('erased', true, 'event_id',"
                    " e.event_id, 'version', e.version, 'global_position', e.global_position)") ==
        1);
  // A dead letter that comes later copies nothing.
  v1::DeadLetter letter;
  letter.set_event_id(ids[0]);
  letter.set_projection_name("q");
  letter.set_error_message("cannot read it");
  pg::Pipeline pipeline(bench.sql.get());
  tables::AddUpsertDeadLetters(&pipeline, {letter});
  REQUIRE(pipeline.Run(In(kPatience)).status.ok());
  CHECK(bench.Count("SELECT count(*) FROM dead_letter_queue"
                    " WHERE projection_name = 'q' AND event_data = '{\"erased\": true}'") == 1);
}

TEST_CASE("A dead letter that is being written while its event is erased is erased too",
          "[erasure]") {
  Bench bench;
  const auto ids = bench.Fill(Stream("s"), 1);
  v1::DeadLetter letter;
  letter.set_event_id(ids[0]);
  letter.set_projection_name("q");
  letter.set_error_message("no");
  Run(*bench.sql, "BEGIN");
  pg::Pipeline pipeline(bench.sql.get());
  tables::AddUpsertDeadLetters(&pipeline, {letter});
  REQUIRE(pipeline.Run(In(kPatience)).status.ok());
  auto erased = std::async(std::launch::async, [&] { return EraseIds(*bench.store, ids); });
  const auto observer = Connect(bench.conninfo, "public");
  REQUIRE(Eventually([&] {
    return SelectInt(*observer,
                     "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                     " AND query LIKE 'UPDATE events%'") > 0;
  }));
  Run(*bench.sql, "COMMIT");
  CHECK(erased.get().value() == 1);
  CHECK(bench.Count("SELECT count(*) FROM dead_letter_queue"
                    " WHERE event_data = '{\"erased\": true}'") == 1);
}

TEST_CASE("A live subscriber that lags does not get what was erased meanwhile", "[erasure][hub]") {
  Bench bench;
  Follower follower(*bench.store, {}, /*held=*/true);
  follower.Allow(2);  // confirmed and caught up
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  bench.Fill(Stream("s"), 3);
  REQUIRE(Eventually([&] { return bench.store.Metric("eventstore_ring_events") == 3; }));
  REQUIRE(EraseVersions(*bench.store, Stream("s"), {2}).ok());
  CHECK(bench.store.Metric("eventstore_ring_events") == 0);
  follower.Allow(INT64_MAX);
  REQUIRE(follower.AwaitEvents(3));
  const auto events = follower.Events();
  CHECK(HasSecret(events[0]));
  CheckErased(events[1]);
  CHECK(HasSecret(events[2]));
  // It was told that it reads history, and is live again afterwards.
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp, 2));
  bench.Fill(Stream("s"), 1);
  REQUIRE(follower.AwaitEvents(4));
}

TEST_CASE("Messages of history that were read and not given are read again", "[erasure][hub]") {
  Bench bench;
  bench.Fill(Stream("s"), 20);
  SubscriptionQuery query;
  query.batch_events_max = 5;
  if (GENERATE(true, false)) query.stream = Stream("s");
  Follower follower(*bench.store, query, /*held=*/true);
  follower.Allow(2);
  REQUIRE(follower.AwaitEvents(5));
  REQUIRE(EraseVersions(*bench.store, Stream("s"), {3, 7, 20}).ok());
  follower.Allow(INT64_MAX);
  REQUIRE(follower.AwaitEvents(20));
  const auto events = follower.Events();
  std::vector<std::int64_t> erased;
  for (std::size_t i = 0; i < 20; ++i) {
    CHECK(events[i].global_position() == static_cast<std::int64_t>(i) + 1);
    if (events[i].erased()) erased.push_back(events[i].version());
  }
  CHECK(erased == std::vector<std::int64_t>{7, 20});  // the third was on its way
}

TEST_CASE("Ten thousand events of a stream are erased in one transaction", "[erasure]") {
  Bench bench;
  for (int i = 0; i < 10; ++i) bench.Fill(Stream("s"), 1'000);
  CHECK(EraseVersions(*bench.store, Stream("s")).value() == 10'000);
  CHECK(bench.Count("SELECT count(*) FROM events WHERE erased_at IS NULL") == 0);
  CHECK(bench.Count("SELECT count(*) FROM event_tags") == 0);
}

}  // namespace
}  // namespace eventstore::engine
