// The effects of keys: the reader, the hub, partitions, upkeep and groups.
#include <algorithm>
#include <csignal>

#include "tests/integration/daemon/config_effect.h"

namespace eventstore::testing {
namespace {

using Message = v1::SubscribeResponse;

void SeeReadQueue(const Settings& changed) {
  auto daemon = StartWith(changed, kQuiet);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; ++i) {
    calls.push_back(BeginHead(*daemon));
    REQUIRE(Eventually([&] { return Value(*daemon, "eventstore_read_queue_requests") == i; }));
  }
  CHECK(BeginHead(*daemon)->Finish().info().limit_name() == "reader.queue_requests_max");
}

void SeePages(const Settings& changed) {
  auto daemon = StartWith(changed);
  const auto stream = NewStream();
  MustAppend(daemon->client(), stream, NewEvents(20));
  const auto largest = [&](const v1::StreamId& of) {
    v1::ReadStreamRequest request;
    *request.mutable_stream() = of;
    const auto call = daemon->client().Stream("ReadStream", request);
    int most = 0;
    while (auto message = ReadMessage<v1::ReadStreamResponse>(*call)) {
      most = std::max(most, message->events().events_size());
    }
    CHECK(call->Finish().ok());
    return most;
  };
  CHECK(largest(stream) == 4);
  const auto wide = NewStream();
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < 8; ++i)
    events.push_back(NewEvent("Wide", "\"" + std::string(600, 'x') + "\""));
  MustAppend(daemon->client(), wide, events);
  CHECK(largest(wide) <= 2);
  MustAppend(daemon->client(), stream, NewEvents(970));
  daemon->Restart();  // so that nothing of it lies in memory
  v1::SubscribeRequest nothing;
  nothing.mutable_filter()->add_tags("none");
  nothing.set_checkpoint_interval(1);
  const double before = Value(*daemon, "eventstore_read_page_seconds_count");
  Subscriber subscriber(daemon->client(), nothing);
  REQUIRE(subscriber.ReadUntil(v1::SubscribeResponse::kCaughtUp));
  CHECK(Value(*daemon, "eventstore_read_page_seconds_count") - before >= 9);
}

void SeeReadTimeouts(const Settings& changed) {
  auto daemon = StartWith(changed);
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  const auto started = steady_clock::now();
  const CallStatus status = BeginHead(*daemon)->Finish();
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(steady_clock::now() - started < seconds(15));
}

void SeeQueryTimeout(const Settings& changed) {
  auto daemon = StartWith(changed);
  v1::QueryEventsRequest request;
  request.set_payload_contains("{}");
  CHECK(daemon->client().Stream("QueryEvents", request)->Finish().ok());
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  const CallStatus status = daemon->client().Stream("QueryEvents", request)->Finish();
  INFO(status.Text());
  CHECK(status.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(status.info().limit_name() == "query.statement_timeout_ms");
  CHECK(status.info().limit() == 200);
}

void SeeHub(const Settings& changed) {
  auto daemon = StartWith(changed);
  Client slow(daemon->port());
  Subscriber subscriber(slow, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  const CallStatus second = daemon->client().Stream("Subscribe", v1::SubscribeRequest())->Finish();
  CHECK(second.info().limit_name() == "hub.subscriptions_max");
  for (int i = 0; i < 12; ++i) {
    std::vector<v1::NewEvent> events;
    for (int k = 0; k < 500; ++k) {
      events.push_back(NewEvent("Filled", "\"" + std::string(4000, 'x') + "\""));
    }
    MustAppend(daemon->client(), NewStream(), events);
  }
  CHECK(Eventually([&] { return Value(*daemon, "eventstore_subscribers_dropped_slow_total") == 1; },
                   seconds(20)));
  CHECK(Value(*daemon, "eventstore_ring_bytes") < 4'000'000);  // Of 24 MB.
}

// Upkeep in short intervals shows as transactions.
void SeeUpkeepInterval(const Settings& changed) {
  Settings settings = changed;
  settings.insert(kQuiet.begin(), kQuiet.end());
  auto daemon = StartWith(settings);
  const std::int64_t before = Transactions(daemon->dsn());
  CHECK(Eventually([&] { return Transactions(daemon->dsn()) >= before + 40; }, seconds(20)));
}

std::int64_t Partitions(const std::string& dsn, const std::string& what) {
  return QueryNumber(dsn, "SELECT " + what +
                              "::bigint FROM (SELECT (regexp_matches(pg_get_expr(c.relpartbound,"
                              " c.oid), 'FROM \\(''?(\\d+)''?\\) TO \\(''?(\\d+)'))::bigint[] AS b"
                              " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE"
                              " i.inhparent = 'events'::regclass) bounds");
}

void SeePartitions(const Settings& changed) {
  auto daemon = StartWith(changed, {{"partitions.check_interval_ms", "200"}});
  CHECK(Partitions(daemon->dsn(), "min(b[2])") == 1001);
  CHECK(Partitions(daemon->dsn(), "count(*)") >= 1 + 3);
  for (int i = 0; i < 6; ++i) MustAppend(daemon->client(), NewStream(), NewEvents(1000));
  // The rate of writes asks for larger ones, up to the maximum, but not for many.
  CHECK(Eventually([&] { return Partitions(daemon->dsn(), "max(b[2] - b[1])") == 2000; }));
  CHECK(Partitions(daemon->dsn(), "count(*)") < 100);
}

void SeePartitionLockTimeout(const Settings& changed) {
  auto daemon = StartWith(changed, {{"partitions.check_interval_ms", "200"},
                                    {"partitions.size_events", "1000"},
                                    {"partitions.lead_seconds", "1"}});
  const LockedHead nobody_attaches(daemon->dsn(),
                                   "LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE");
  MustAppend(daemon->client(), NewStream(), NewEvents(1000));
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CHECK(Eventually([&] {
    return QueryNumber(daemon->dsn(),
                       "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                       " clock_timestamp() - query_start > interval '1 second'") > 0;
  }));
}

void SeeHeartbeat(const Settings& changed) {
  auto one = StartWith(changed);
  auto two = Daemon::Start({.dsn = one->dsn(), .settings = changed});
  std::set<std::int64_t> beats;
  CHECK(Eventually(
      [&] {
        beats.insert(QueryNumber(one->dsn(),
                                 "SELECT max((extract(epoch FROM heartbeat_at) * 1000000)::bigint)"
                                 " FROM daemons"));
        return beats.size() >= 6;
      },
      seconds(4)));
  // By now each has counted the other; that it is alone again is told anew.
  const std::string alone = "0 other daemons serve it";
  const std::size_t before = one->Log().rfind(alone);
  two->child().Signal(SIGKILL);
  CHECK(Eventually([&] { return one->Log().rfind(alone) != before; }, seconds(10)));
}

// One stream, so one lane: with room for one event only the first comes before its ack is durable.
void SeeGroups(const Settings& changed) {
  auto daemon = StartWith(changed);
  CreateGroup(daemon->client(), "g");
  const std::vector<v1::NewEvent> big = {NewEvent("Big", "\"" + std::string(1'500, 'x') + "\""),
                                         NewEvent("Big")};
  MustAppend(daemon->client(), NewStream(), big);
  Consumer consumer(daemon->client(), "g");
  auto events = consumer.NextEvents(2, milliseconds(1'500));
  REQUIRE(events.size() == 1);
  consumer.Ack(events);
  CHECK(consumer.NextEvents(1).size() == 1);
  // The second member is one too many.
  Consumer refused(daemon->client(), "g");
  CHECK_FALSE(refused.Next().has_value());
  const CallStatus status = refused.call().Finish();
  CHECK(status.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(status.info().limit_name() == "groups.members_max");
}

// An ack right after a flush waits for the next one.
void SeeGroupFlush(const Settings& changed) {
  auto daemon = StartWith(changed);
  CreateGroup(daemon->client(), "g");
  Consumer consumer(daemon->client(), "g");
  REQUIRE(consumer.WaitForLanes(16));
  steady_clock::duration longest{0};
  for (int i = 0; i < 6; ++i) {
    MustAppend(daemon->client(), NewStream(), NewEvents(1));
    const auto started = steady_clock::now();
    consumer.Ack(consumer.NextEvents(1));
    CHECK(Eventually([&] { return GetGroup(daemon->client(), "g").lag_positions() == 0; }));
    longest = std::max(longest, steady_clock::now() - started);
  }
  CHECK(longest > milliseconds(300));
}

}  // namespace

std::vector<Row> ReaderRows() {
  return {
      {"read queue", {{"reader.threads", "1"}, {"reader.queue_requests_max", "2"}}, SeeReadQueue},
      {"pages",
       {{"reader.page_events_max", "4"},
        {"reader.page_bytes_max", "1024"},
        {"reader.window_positions", "100"}},
       SeePages},
      {"read statement timeout", {{"reader.statement_timeout_ms", "200"}}, SeeReadTimeouts},
      {"longest read wait", {{"reader.max_wait_ms", "300"}}, SeeReadTimeouts},
      {"query statement timeout", {{"query.statement_timeout_ms", "200"}}, SeeQueryTimeout},
      {"hub",
       {{"hub.ring_bytes_max", "65536"},
        {"hub.subscriptions_max", "1"},
        {"hub.stall_timeout_ms", "500"}},
       SeeHub},
      {"poll", {{"hub.poll_interval_ms", "50"}}, SeeUpkeepInterval},
      {"partition checks", {{"partitions.check_interval_ms", "50"}}, SeeUpkeepInterval},
      {"partitions",
       {{"partitions.size_events", "1000"},
        {"partitions.size_events_max", "2000"},
        {"partitions.ahead_min", "3"},
        {"partitions.lead_seconds", "5"}},
       SeePartitions},
      {"partition lock", {{"partitions.lock_timeout_ms", "30000"}}, SeePartitionLockTimeout},
      {"heartbeat", {{"daemon.heartbeat_ms", "100"}, {"daemon.expire_ms", "600"}}, SeeHeartbeat},
      {"groups", {{"groups.members_max", "1"}, {"groups.lane_bytes_max", "1024"}}, SeeGroups},
      {"group flush", {{"groups.flush_interval_ms", "1000"}}, SeeGroupFlush},
  };
}

}  // namespace eventstore::testing
