// What a relay publishes, in which order, and what it does about failures.
#include <catch2/catch.hpp>

#include "tests/integration/engine/relay_support.h"

namespace eventstore::testing {
namespace {

TEST_CASE("Every entry is published once, in the order of its stream") {
  OutboxDatabase database;
  MemoryBroker broker;
  const std::vector<std::string> streams = StreamNames(20);
  database.Add(streams, 20);
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].batch_events_max = 37;  // ends within a round of the streams
  TestRelays relays(options);
  REQUIRE(database.AwaitPublished(400));
  CHECK(broker.Count() == 400);
  for (const std::string& stream : streams) CHECK(broker.VersionsOf(stream) == UpTo(20));
  CHECK(broker.LargestBatch() <= 37);
  CHECK(database.Count("published_at IS NULL OR next_attempt_at IS NOT NULL") == 0);
  CHECK(relays.Metric("eventstore_outbox_published_total") == 400);
  CHECK(relays.Metric("eventstore_outbox_publish_latency_seconds_count") == 400);
  CHECK(relays.Metric("eventstore_outbox_relay_state", "running") == 1);
}

TEST_CASE("A commit is published at once, without a sweep") {
  OutboxDatabase database;
  MemoryBroker broker;
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(Eventually([&] { return relays.Owns(); }));
  std::vector<milliseconds> times;
  for (std::size_t i = 1; i <= 21; ++i) {
    database.Add({"a"});
    const auto start = std::chrono::steady_clock::now();
    relays->NoticeCommit();
    REQUIRE(Eventually([&] { return broker.Count() == i; }));
    times.push_back(
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start));
  }
  std::sort(times.begin(), times.end());
  INFO("median " << times[10].count() << " ms");
  CHECK(times[10] < milliseconds(100));
}

TEST_CASE("A refused event holds its own stream only, and goes first when it is taken") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.Refuse("a/2");
  database.Add({"a", "b"}, 4);
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].attempts_max = 1'000;
  TestRelays relays(options);
  REQUIRE(database.AwaitPublished(5));
  REQUIRE(Eventually([&] { return database.Count("retry_count > 2") == 1; }));
  CHECK(broker.VersionsOf("a") == UpTo(1));
  CHECK(broker.VersionsOf("b") == UpTo(4));
  CHECK(database.Text("SELECT last_error FROM event_outbox WHERE retry_count > 0") ==
        "no such queue");
  CHECK(relays.Metric("eventstore_outbox_refused_total") > 2);
  CHECK(relays.Metric("eventstore_outbox_retries_total") > 1);
  broker.Refuse("a/2", false);
  REQUIRE(database.AwaitPublished(8));
  CHECK(broker.VersionsOf("a") == UpTo(4));
}

TEST_CASE("The fifth refusal fails an event; its stream waits until it is retried") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.Refuse("a/2");
  database.Add({"a", "b"}, 3);
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(Eventually([&] { return database.Count("status = 'failed'") == 1; }));
  CHECK(database.Count("status = 'failed' AND retry_count = 5 AND next_attempt_at IS NULL") == 1);
  CHECK(relays.Metric("eventstore_outbox_refused_total") == 5);
  database.Add({"a", "b"});
  relays->NoticeCommit();
  REQUIRE(database.AwaitPublished(5));
  CHECK(broker.VersionsOf("a") == UpTo(1));
  broker.Refuse("a/2", false);
  Run(*database,
      "UPDATE event_outbox SET status = 'pending', retry_count = 0"
      " WHERE status = 'failed'");
  relays->NoticeChange();
  REQUIRE(database.AwaitPublished(8));
  CHECK(broker.VersionsOf("a") == UpTo(4));
}

TEST_CASE("With on_failed continue the stream goes on behind a failed event") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.Refuse("a/2");
  database.Add({"a"}, 4);
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].continue_after_failed = true;
  options.outbox.sinks[0].attempts_max = 2;
  TestRelays relays(options);
  REQUIRE(database.AwaitPublished(3));
  CHECK(broker.VersionsOf("a") == std::vector<int>{1, 3, 4});
  CHECK(database.Count("status = 'failed' AND retry_count = 2") == 1);
}

TEST_CASE("A broker that is away stops the sink and counts no attempts") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.SetAway(true);
  database.Add({"a", "b"}, 3);
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(
      Eventually([&] { return database.Text("SELECT state FROM outbox_sinks") == "unavailable"; }));
  CHECK(database.Text("SELECT last_error FROM outbox_sinks") == "connection refused");
  CHECK(relays.Metric("eventstore_outbox_relay_state", "unavailable") == 1);
  database.Add({"a"});
  relays->NoticeCommit();
  broker.SetAway(false);
  REQUIRE(database.AwaitPublished(7));
  CHECK(broker.VersionsOf("a") == UpTo(4));
  CHECK(broker.Count() == 7);
  CHECK(database.Count("retry_count > 0 OR last_error IS NOT NULL") == 0);
  CHECK(Eventually([&] {
    return database.Text("SELECT state || coalesce(last_error, '') FROM outbox_sinks") == "running";
  }));
}

TEST_CASE("An entry that cannot be read is an attempt, and stops its stream only") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a", "b"}, 2);
  Run(*database, "UPDATE event_outbox SET event_data = '[]' WHERE global_position = 1");
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(Eventually([&] { return database.Count("status = 'failed'") == 1; }));
  REQUIRE(database.AwaitPublished(2));
  CHECK(broker.VersionsOf("b") == UpTo(2));
  CHECK(broker.VersionsOf("a").empty());
  CHECK_THAT(database.Text("SELECT last_error FROM event_outbox WHERE status = 'failed'"),
             Catch::Matchers::Contains("event_data"));
}

TEST_CASE("A sink that is paused publishes nothing until it is resumed") {
  OutboxDatabase database;
  MemoryBroker broker;
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(Eventually([&] { return relays.Owns(); }));
  // Nobody tells the relay: it looks by itself.
  Run(*database, "UPDATE outbox_sinks SET paused = true");
  REQUIRE(Eventually([&] { return relays.Metric("eventstore_outbox_relay_state", "paused") == 1; },
                     seconds(3)));
  database.Add({"a"}, 3);
  relays->NoticeCommit();
  relays->NoticeChange();
  // It renews its lease meanwhile, so it has had the time.
  const std::string renewed = "SELECT updated_at::text FROM outbox_sinks";
  const std::string before = database.Text(renewed);
  REQUIRE(Eventually([&] { return database.Text(renewed) != before; }));
  CHECK(broker.Count() == 0);
  Run(*database, "UPDATE outbox_sinks SET paused = false");
  relays->NoticeChange();
  REQUIRE(database.AwaitPublished(3));
}

TEST_CASE("What was published long ago is deleted, whatever its sink") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a"}, 2'500);
  Run(*database,
      "UPDATE event_outbox SET status = 'published', sink = 'gone',"
      " published_at = now() - interval '1 hour' WHERE global_position <= 2400");
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.retention_seconds = seconds(600);
  TestRelays relays(options);
  REQUIRE(Eventually([&] { return database.Count("sink = 'gone'") == 0; }));
  REQUIRE(database.AwaitPublished(100));
  CHECK(database.Count("true") == 100);
}

TEST_CASE("The outbox' figures tell what waits and what failed") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.SetAway(true);
  database.Add({"a"}, 3);
  Run(*database, "UPDATE event_outbox SET created_at = now() - interval '1 hour'");
  Run(*database, "UPDATE event_outbox SET status = 'failed' WHERE global_position = 1");
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(Eventually([&] { return relays.Metric("eventstore_outbox_pending") == 2; }));
  CHECK(relays.Metric("eventstore_outbox_failed") == 1);
  CHECK(relays.Metric("eventstore_outbox_oldest_pending_age_seconds") >= 3'600);
}

TEST_CASE("A stream that waits with thousands of entries does not starve the others") {
  OutboxDatabase database;
  MemoryBroker broker;
  broker.Refuse("blocked/1");
  for (int i = 0; i < 3; ++i) database.Add({"blocked"}, 2'000);
  database.Add({"a", "b"}, 5);
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].attempts_max = 1;
  options.outbox.sinks[0].batch_events_max = 50;
  options.outbox.sweep_interval_ms = milliseconds(50);
  TestRelays relays(options);
  REQUIRE(database.AwaitPublished(10));
  for (int i = 0; i < 20; ++i) database.Add({"blocked", "a"}, 10);
  const auto start = std::chrono::steady_clock::now();
  database.Add({"b"});
  relays->NoticeCommit();
  REQUIRE(Eventually([&] { return broker.VersionsOf("b") == UpTo(6); }));
  const auto took = std::chrono::steady_clock::now() - start;
  INFO(std::chrono::duration_cast<milliseconds>(took).count() << " ms");
  CHECK(took < seconds(2));
  CHECK(broker.VersionsOf("blocked").empty());
  // Every one of them is published once the first is, although the scan has passed them.
  broker.Refuse("blocked/1", false);
  Run(*database,
      "UPDATE event_outbox SET status = 'pending', retry_count = 0"
      " WHERE status = 'failed'");
  relays->NoticeChange();
  REQUIRE(
      Eventually([&] { return database.Count("status = 'pending'") == 0; }, milliseconds(60'000)));
  CHECK(broker.VersionsOf("a") == UpTo(205));
  CHECK(broker.Count() == 6'200 + 205 + 6);
}

}  // namespace
}  // namespace eventstore::testing
