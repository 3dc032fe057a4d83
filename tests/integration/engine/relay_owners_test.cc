// Relays of several daemons, and others who publish from the same table.
#include <catch2/catch.hpp>

#include "server/tables/outbox_relay.h"
#include "tests/integration/engine/relay_support.h"

namespace eventstore::testing {
namespace {

TEST_CASE("Of two daemons one publishes, and the other goes on when it stops") {
  OutboxDatabase database;
  MemoryBroker of_first, of_second;
  TestRelays first(RelayOptions(database.conninfo(), &of_first));
  REQUIRE(Eventually([&] { return first.Owns(); }));
  TestRelays second(RelayOptions(database.conninfo(), &of_second));
  for (int i = 0; i < 20; ++i) {
    database.Add(StreamNames(5));
    first->NoticeCommit();
    second->NoticeCommit();
  }
  REQUIRE(database.AwaitPublished(100));
  CHECK(of_first.Count() == 100);
  CHECK(of_second.Count() == 0);
  CHECK(database.Token() == 1);
  first.Stop();  // gives the lease back
  database.Add({"s0"}, 3);
  REQUIRE(database.AwaitPublished(103));
  CHECK(of_second.Count() == 3);
  CHECK(database.Token() == 2);
}

TEST_CASE("A frozen owner is replaced, and what it says afterwards does not count") {
  OutboxDatabase database;
  MemoryBroker of_first, of_second;
  TestRelays first(RelayOptions(database.conninfo(), &of_first));
  REQUIRE(Eventually([&] { return first.Owns(); }));
  of_first.Hold(true);
  database.Add({"a"}, 3);
  first->NoticeCommit();
  REQUIRE(Eventually([&] { return of_first.Waiting() == 1; }));
  TestRelays second(RelayOptions(database.conninfo(), &of_second));
  // Its lease ends, and so does its transaction, which has the rows.
  REQUIRE(database.AwaitPublished(3));
  CHECK(of_second.VersionsOf("a") == UpTo(3));
  CHECK(database.Token() == 2);
  database.Add({"a"});
  of_first.Hold(false);
  REQUIRE(Eventually([&] { return of_first.Waiting() == 0; }));
  second->NoticeCommit();
  REQUIRE(database.AwaitPublished(4));
  CHECK(of_second.VersionsOf("a") == UpTo(4));
  CHECK(Eventually([&] { return !first.Owns(); }));
  CHECK(database.Token() == 2);
}

TEST_CASE("An owner's mark with an old token changes nothing") {
  OutboxDatabase database;
  database.Add({"a"}, 2);
  const auto old = Connect(database.conninfo(), "public");
  const Uuid first = MakeUuidV7(), second = MakeUuidV7();
  auto taken = tables::TakeOutboxLease(*old, kSinkName, first, milliseconds(1), In(kPatience));
  REQUIRE((taken.ok() && taken->has_value()));
  tables::OutboxLease lease{kSinkName, first, (*taken)->token};
  REQUIRE(Eventually([&] {  // the lease of a millisecond has ended
    auto next = tables::TakeOutboxLease(*database, kSinkName, second, kPatience, In(kPatience));
    return next.ok() && next->has_value();
  }));
  auto seen = tables::LookAtOutboxStreams(*old, kSinkName, {{1, 10}}, false, In(kPatience));
  REQUIRE((seen.ok() && seen->size() == 2));
  auto rows = tables::LockOutboxRows(*old, {(*seen)[0].id}, In(kPatience));
  REQUIRE((rows.ok() && rows->size() == 1));
  auto marked = tables::MarkOutboxRows(*old, lease, {{(*rows)[0].id}, {}, 5}, In(kPatience));
  REQUIRE(marked.ok());
  CHECK_FALSE(*marked);
  CHECK(database.Count("status = 'pending'") == 2);
  auto renewed = tables::RenewOutboxLease(*old, lease, kPatience, "running", "", In(kPatience));
  CHECK((renewed.ok() && !renewed->has_value()));
  CHECK(tables::ReleaseOutboxLease(*old, lease, In(kPatience)).ok());
  CHECK(database.Text("SELECT daemon::text FROM outbox_sinks") == FormatUuid(second));
}

TEST_CASE("A stream whose first entry is claimed waits; others do not") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a", "b"}, 3);
  Run(*database,
      "UPDATE event_outbox SET status = 'claimed', claim_token = gen_random_uuid(),"
      " claimed_until = now() + interval '1 hour' WHERE global_position = 1");
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(database.AwaitPublished(3));
  CHECK(broker.VersionsOf("a").empty());
  CHECK(broker.VersionsOf("b") == UpTo(3));
  Run(*database,
      "UPDATE event_outbox SET status = 'published', published_at = now(),"
      " claim_token = NULL, claimed_until = NULL WHERE status = 'claimed'");
  REQUIRE(database.AwaitPublished(6));
  CHECK(broker.VersionsOf("a") == std::vector<int>{2, 3});
}

TEST_CASE("A claim that has ended is published by the relay, although nobody claims any more") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a"}, 3);
  Run(*database,
      "UPDATE event_outbox SET status = 'claimed', claim_token = gen_random_uuid(),"
      " claimed_until = now() + interval '300 ms' WHERE global_position <= 2");
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sweep_interval_ms = milliseconds(100);
  TestRelays relays(options);
  REQUIRE(database.AwaitPublished(3));
  CHECK(broker.VersionsOf("a") == UpTo(3));
  CHECK(database.Count("claim_token IS NOT NULL") == 0);
}

TEST_CASE("A row that somebody else has locked is skipped with what is behind it in its stream") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a", "b"}, 3);
  const auto other = Connect(database.conninfo(), "public");
  Run(*other, "BEGIN; SELECT FROM event_outbox WHERE global_position = 3 FOR UPDATE");
  TestRelays relays(RelayOptions(database.conninfo(), &broker));
  REQUIRE(database.AwaitPublished(4));
  CHECK(broker.VersionsOf("a") == UpTo(1));
  Run(*other, "ROLLBACK");
  REQUIRE(database.AwaitPublished(6));
  CHECK(broker.VersionsOf("a") == UpTo(3));
  CHECK(broker.Count() == 6);
}

// The tutorial's worker: its statements, on a session of its own.
class TutorialWorker {
 public:
  explicit TutorialWorker(const std::string& conninfo) : connection_(Connect(conninfo, "public")) {}

  // One round. Each id that it publishes is added to `published`.
  void Round(std::vector<std::string>* published) {
    Run(*connection_, "BEGIN");
    const pg::Result pending = Select(*connection_,
                                      "SELECT id, event_id, event_type, event_data"
                                      " FROM event_outbox WHERE status = 'pending'"
                                      " ORDER BY created_at ASC LIMIT 100"
                                      " FOR UPDATE SKIP LOCKED");
    for (int row = 0; row < pending.rows(); ++row) {
      const std::string id = FormatUuid(pending.Uuid(row, 0));
      published->push_back(id);
      Run(*connection_,
          "UPDATE event_outbox SET status = 'published', published_at = NOW()"
          " WHERE id = '" +
              id + "'");
    }
    Run(*connection_, "COMMIT");
  }

 private:
  const std::unique_ptr<pg::Connection> connection_;
};

TEST_CASE("TheTutorialsWorkerRunsBesideTheRelay, and no row is published by both") {
  OutboxDatabase database;
  MemoryBroker broker;
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].batch_events_max = 20;
  TestRelays relays(options);
  REQUIRE(Eventually([&] { return relays.Owns(); }));
  TutorialWorker tutorial(database.conninfo());
  std::vector<std::string> by_worker;
  const std::vector<std::string> streams = StreamNames(25);
  for (int i = 1; i <= 15; ++i) {
    database.Add(streams, 8);
    relays->NoticeCommit();
    tutorial.Round(&by_worker);  // a hundred at the most, at the same time as the relay
    REQUIRE(database.AwaitPublished(200 * i));
  }
  const std::vector<std::string> by_relay = broker.Received();
  INFO("worker " << by_worker.size() << ", relay " << by_relay.size());
  CHECK(by_worker.size() + by_relay.size() == 3'000);
  CHECK(std::set<std::string>(by_relay.begin(), by_relay.end()).size() == by_relay.size());
  CHECK_FALSE(by_worker.empty());
  CHECK_FALSE(by_relay.empty());
  for (const std::string& stream : streams) {
    const std::vector<int> versions = broker.VersionsOf(stream);
    CHECK(std::is_sorted(versions.begin(), versions.end()));
  }
}

TEST_CASE("Connections that are cut in the middle lose nothing and change no order") {
  OutboxDatabase database;
  MemoryBroker broker;
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  options.outbox.sinks[0].batch_events_max = 25;
  TestRelays relays(options);
  const std::vector<std::string> streams = StreamNames(25);
  const std::string cut =
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname ="
      " current_database() AND pid <> pg_backend_pid()";
  std::int64_t cuts = 0;
  for (int i = 0; i < 40; ++i) {
    database.Add(streams);
    relays->NoticeCommit();
    const std::size_t before = broker.Count();
    REQUIRE(Eventually([&] { return broker.Count() > before; }));
    cuts += SelectInt(*database, cut);
  }
  REQUIRE(database.AwaitPublished(1'000));
  CHECK(cuts > 20);
  for (const std::string& stream : streams) CHECK(broker.VersionsOf(stream) == UpTo(40));
}

TEST_CASE("A stop interrupts what is published and gives the lease back") {
  OutboxDatabase database;
  MemoryBroker broker;
  database.Add({"a"}, 2);
  engine::StoreOptions options = RelayOptions(database.conninfo(), &broker);
  broker.Hold(true);
  TestRelays relays(options);
  REQUIRE(Eventually([&] { return broker.Waiting() == 1; }));
  const auto start = std::chrono::steady_clock::now();
  relays->Stop(In(milliseconds(100)));
  CHECK(std::chrono::steady_clock::now() - start < seconds(2));
  CHECK(database.Count("status = 'published'") == 2);  // the broker had acknowledged them
  CHECK(database.Text("SELECT daemon::text FROM outbox_sinks").empty());
  CHECK(database.Text("SELECT state FROM outbox_sinks") == "idle");
}

}  // namespace
}  // namespace eventstore::testing
