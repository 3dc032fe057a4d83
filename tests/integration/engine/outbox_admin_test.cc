// The outbox as people look at it and act on it.
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/integration/engine/outboxing.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Positions = std::vector<std::int64_t>;

// Sets the states of the first entries: published, failed, claimed, not due.
void MixStates(OutboxDesk& desk) {
  Run(*desk.sql,
      "UPDATE event_outbox SET status = 'published', published_at = '2020-01-01'"
      " WHERE global_position = 1;"
      "UPDATE event_outbox SET status = 'failed', retry_count = 5, last_error = 'no topic'"
      " WHERE global_position = 2;"
      "UPDATE event_outbox SET status = 'claimed', claim_token = gen_random_uuid(),"
      " claimed_by = 'me', claimed_until = now() + interval '1 day' WHERE global_position = 3;"
      "UPDATE event_outbox SET next_attempt_at = now() + interval '1 day', retry_count = 1"
      " WHERE global_position = 4");
}

OutboxOptions TwoSinks() {
  OutboxOptions options = Bus();
  options.sinks.push_back(options.sinks[0]);
  options.sinks[1].options.name = "hook";
  options.sinks[1].options.type = "webhook";
  options.sinks[1].options.settings["url"] = "http://127.0.0.1:9/";
  return options;
}

Positions ListPositions(OutboxDesk& desk, const v1::OutboxFilter& filter, int page_size = 100) {
  v1::ListOutboxRequest request;
  *request.mutable_filter() = filter;
  request.set_page_size(page_size);
  Positions positions;
  do {
    const auto page = desk.List(request);
    CHECK(page.entries_size() <= page_size);
    for (const std::int64_t position : PositionsOf(page)) positions.push_back(position);
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return positions;
}

TEST_CASE("Entries are listed by position, a page at a time, by filter", "[outbox_admin]") {
  OutboxDesk desk;
  for (const char* stream : {"a", "a", "b", "a", "b", "c", "c"}) desk.Fill(stream, 1);
  MixStates(desk);
  v1::OutboxFilter filter;
  for (const int size : {1, 2, 7, 100}) {
    CHECK(ListPositions(desk, filter, size) == Positions{1, 2, 3, 4, 5, 6, 7});
  }
  for (const auto& [status, expected] : std::vector<std::pair<v1::OutboxStatus, Positions>>{
           {v1::OUTBOX_STATUS_PUBLISHED, {1}},
           {v1::OUTBOX_STATUS_FAILED, {2}},
           {v1::OUTBOX_STATUS_CLAIMED, {3}},
           {v1::OUTBOX_STATUS_PENDING, {4, 5, 6, 7}}}) {
    filter.set_status(status);
    CHECK(ListPositions(desk, filter, 2) == expected);
  }
  filter.Clear();
  *filter.mutable_stream() = Stream("b");
  CHECK(ListPositions(desk, filter) == Positions{3, 5});
  filter.mutable_stream()->set_tenant_id("0190b2c4-0000-7000-8000-0000000000aa");
  CHECK(ListPositions(desk, filter).empty());
  filter.Clear();
  filter.add_event_types("Nothing");
  CHECK(ListPositions(desk, filter).empty());
  filter.add_event_types("Happened");
  filter.set_sink("bus");
  CHECK(ListPositions(desk, filter).size() == 7);
  v1::ListOutboxRequest foreign;
  foreign.set_page_size(1);
  foreign.set_page_token("bm8");
  CHECK(ReasonOf(desk.Call(&Outbox::ListOutbox, foreign).status()) ==
        v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("A retry makes failed entries pending and waiting ones due", "[outbox_admin]") {
  OutboxDesk desk;
  desk.Fill("a", 5);
  MixStates(desk);
  std::atomic<int> woken{0};
  desk.store->outbox().OnChanged([&woken] { ++woken; });
  v1::RetryOutboxRequest request;
  request.mutable_filter()->set_status(v1::OUTBOX_STATUS_FAILED);
  auto retried = desk.Must(&Outbox::RetryOutbox, request);
  CHECK(retried.retried() == 1);
  CHECK(retried.next_after_id().empty());
  CHECK(woken == 1);
  CHECK(desk.Count("global_position = 2 AND status = 'pending' AND retry_count = 0") == 1);
  CHECK(desk.Count("next_attempt_at IS NOT NULL") == 1);
  request.mutable_filter();
  CHECK(desk.Must(&Outbox::RetryOutbox, request).retried() == 0);
  request.mutable_filter()->Clear();
  CHECK(desk.Must(&Outbox::RetryOutbox, request).retried() == 1);
  CHECK(desk.Count("global_position = 4 AND next_attempt_at IS NULL AND retry_count = 1") == 1);
  CHECK(desk.Count("status = 'claimed'") == 1);
}

TEST_CASE("What may set entries free wakes the relays", "[outbox_admin]") {
  OutboxDesk desk(TwoSinks());
  std::atomic<int> woken{0};
  desk.store->outbox().OnChanged([&woken] { ++woken; });
  desk.Fill("a", 2);
  const auto claimed = desk.Claim();
  (void)desk.List();
  CHECK(woken == 0);
  desk.Complete(claimed.claim_token(), {claimed.entries(0).id()});
  CHECK(woken == 1);
  desk.Fail(claimed.claim_token(), {claimed.entries(1).id()});
  CHECK(woken == 2);
  v1::PauseOutboxRequest pause;
  pause.set_sink("hook");
  pause.set_paused(true);
  desk.Must(&Outbox::PauseOutbox, pause);
  CHECK(woken == 3);
}

TEST_CASE("A retry by ids changes nothing where one does not exist", "[outbox_admin]") {
  OutboxDesk desk;
  desk.Fill("a", 3);
  MixStates(desk);
  const auto ids = IdsOf(desk.List());
  v1::RetryOutboxRequest request;
  request.mutable_ids()->add_ids(ids[1]);
  request.mutable_ids()->add_ids(NewId());
  const auto missing = desk.Call(&Outbox::RetryOutbox, request);
  CHECK(ReasonOf(missing.status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(desk.Count("status = 'failed'") == 1);
  *request.mutable_ids()->mutable_ids(1) = ids[0];  // published: left alone
  CHECK(desk.Must(&Outbox::RetryOutbox, request).retried() == 1);
  CHECK(desk.Count("status = 'failed'") == 0);
}

TEST_CASE("A long retry goes on where it stopped", "[outbox_admin]") {
  OutboxDesk desk;
  Run(*desk.sql,
      "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, event_data,"
      " sink, global_position, status) SELECT gen_random_uuid(), 'T', 'x', 'Order', '{}', 'bus',"
      " p / 3, 'failed' FROM generate_series(1, 2500) p");
  v1::RetryOutboxRequest request;
  request.mutable_filter();
  int calls = 0;
  std::int64_t retried = 0;
  do {
    const auto response = desk.Must(&Outbox::RetryOutbox, request);
    retried += response.retried();
    request.set_after_id(response.next_after_id());
    ++calls;
  } while (!request.after_id().empty());
  CHECK(retried == 2'500);
  CHECK(calls == 3);
}

TEST_CASE("The stats tell of every sink that is configured or has entries", "[outbox_admin]") {
  const std::string conninfo = CreateStoreDatabase();
  Run(*Connect(conninfo, "public"),
      "INSERT INTO outbox_sinks (sink, daemon, lease_until, state) VALUES ('hook',"
      " '0190b2c4-0000-7000-8000-0000000000aa', now() + interval '1 day', 'running')");
  OutboxDesk desk(TwoSinks(), conninfo);
  desk.Fill("a", 5);
  MixStates(desk);
  Run(*desk.sql, "UPDATE event_outbox SET sink = 'old' WHERE global_position = 5");
  const auto stats = desk.Must(&Outbox::GetOutboxStats, v1::GetOutboxStatsRequest());
  REQUIRE(stats.stats_size() == 3);
  CHECK_FALSE(stats.truncated());
  const v1::OutboxStats& bus = stats.stats(0);
  CHECK(bus.sink() == "bus");
  CHECK(bus.type() == "worker");
  CHECK(bus.relay() == v1::RELAY_STATE_NONE);
  CHECK(bus.pending() == 1);
  CHECK(bus.claimed() == 1);
  CHECK(bus.failed() == 1);
  const auto events = ReadAll(*desk.store);
  CHECK(bus.oldest_pending_at().DebugString() == events[2].created_at().DebugString());
  CHECK(stats.stats(1).sink() == "hook");
  CHECK(stats.stats(1).relay() == v1::RELAY_STATE_RUNNING);
  CHECK_FALSE(stats.stats(1).has_oldest_pending_at());
  CHECK(stats.stats(2).sink() == "old");
  CHECK(stats.stats(2).type().empty());
  CHECK(stats.stats(2).pending() == 1);
  v1::GetOutboxStatsRequest one;
  one.set_sink("hook");
  CHECK(desk.Must(&Outbox::GetOutboxStats, one).stats_size() == 1);
}

TEST_CASE("The stats tell what the relay of a sink does", "[outbox_admin]") {
  OutboxOptions options = TwoSinks();
  options.enabled = false;  // no relay of our own
  OutboxDesk desk(options);
  v1::GetOutboxStatsRequest request;
  request.set_sink("hook");
  const auto relay = [&](const std::string& change) {
    Run(*desk.sql,
        "INSERT INTO outbox_sinks (sink) VALUES ('hook') ON CONFLICT DO NOTHING;"
        "UPDATE outbox_sinks SET " +
            change);
    return desk.Must(&Outbox::GetOutboxStats, request).stats(0);
  };
  const std::string held =
      "daemon = '0190b2c4-0000-7000-8000-0000000000aa',"
      " lease_until = now() + interval '1 day', last_error = 'refused', ";
  auto stats = relay(held + "state = 'running'");
  CHECK(stats.relay() == v1::RELAY_STATE_RUNNING);
  CHECK(stats.daemon() == "0190b2c4-0000-7000-8000-0000000000aa");
  CHECK(stats.last_error().empty());
  stats = relay(held + "state = 'unavailable'");
  CHECK(stats.relay() == v1::RELAY_STATE_UNAVAILABLE);
  CHECK(stats.last_error() == "refused");
  CHECK(relay("paused = true").relay() == v1::RELAY_STATE_PAUSED);
  stats = relay("paused = false, lease_until = now() - interval '1 second'");
  CHECK(stats.relay() == v1::RELAY_STATE_UNOWNED);
  CHECK(stats.daemon().empty());
}

TEST_CASE("A relay is paused once and resumed once; workers have none", "[outbox_admin]") {
  OutboxDesk desk(TwoSinks());
  v1::PauseOutboxRequest request;
  request.set_sink("hook");
  const auto changes = [&](bool paused) {
    request.set_paused(paused);
    return desk.Must(&Outbox::PauseOutbox, request).changed();
  };
  CHECK_FALSE(changes(false));
  CHECK(changes(true));
  CHECK_FALSE(changes(true));
  CHECK(SelectInt(*desk.sql, "SELECT count(*) FROM outbox_sinks WHERE paused") == 1);
  CHECK(changes(false));
  CHECK_FALSE(changes(false));
  request.set_sink("bus");
  CHECK(ReasonOf(desk.Call(&Outbox::PauseOutbox, request).status()) ==
        v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("A purge deletes what was published before, of a sink or of all", "[outbox_admin]") {
  OutboxDesk desk;
  desk.Fill("a", 5);
  Run(*desk.sql,
      "UPDATE event_outbox SET status = 'published', published_at = timestamptz '2020-01-01 UTC'"
      " + global_position * interval '1 day', sink = CASE WHEN global_position = 2 THEN 'old'"
      " ELSE sink END WHERE global_position < 5");
  v1::PurgeOutboxRequest request;
  request.mutable_published_before()->set_seconds(1'578'182'400);  // 2020-01-05
  request.set_sink("bus");
  auto purged = desk.Must(&Outbox::PurgeOutbox, request);
  CHECK(purged.purged() == 2);
  CHECK_FALSE(purged.has_more());
  request.clear_sink();
  CHECK(desk.Must(&Outbox::PurgeOutbox, request).purged() == 1);
  CHECK(desk.Count() == 2);
}

TEST_CASE("Claims, lists and counts of 200,000 entries read what they need by index",
          "[outbox_admin][plans]") {
  const bool is_analyzed = GENERATE(false, true);
  CAPTURE(is_analyzed);
  std::string conninfo;
  {
    OutboxDesk desk;
    conninfo = desk.conninfo;
    Run(*desk.sql,
        "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, event_data,"
        " sink, global_position, stream_key, status, published_at) SELECT gen_random_uuid(), 'T',"
        " 'x', 'Order', '{}', 'bus', p, p % 1000, CASE WHEN p <= 190000 THEN 'published'"
        " ELSE 'pending' END, CASE WHEN p <= 190000 THEN now() END"
        " FROM generate_series(1, 200000) p");
    if (is_analyzed) Run(*desk.sql, "ANALYZE event_outbox");
    for (int i = 0; i < 10; ++i) {
      const auto claimed = desk.Claim(100);
      REQUIRE(claimed.entries_size() == 100);
      CHECK(claimed.entries(0).event().global_position() == 190'001 + 100 * i);
      CHECK(desk.Complete(claimed.claim_token(), IdsOf(claimed)).completed() == 100);
    }
    v1::ListOutboxRequest list;
    list.set_page_size(10);
    list.mutable_filter()->set_status(v1::OUTBOX_STATUS_PENDING);
    CHECK(PositionsOf(desk.List(list))[0] == 191'001);
    const auto stats = desk.Must(&Outbox::GetOutboxStats, v1::GetOutboxStatsRequest());
    CHECK(stats.stats(0).pending() == 9'000);
  }
  // A backend reports what it did when it ends, at the latest.
  const auto sql = Connect(conninfo, "public");
  REQUIRE(Eventually([&] {
    return SelectInt(*sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                     " AND datname = current_database()"
                     " AND backend_type = 'client backend'") == 0;
  }));
  CHECK(SelectInt(*sql,
                  "SELECT seq_tup_read FROM pg_stat_user_tables"
                  " WHERE relname = 'event_outbox'") == 0);
  // A walk through one whole index for each of the claims would be two million.
  CHECK(SelectInt(*sql,
                  "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes"
                  " WHERE relname = 'event_outbox'") < 400'000);
}

}  // namespace
}  // namespace eventstore::engine
