// The relay in its store: from an append to the broker, and beside OutboxService.
#include <catch2/catch.hpp>
#include <thread>

#include "tests/integration/engine/outboxing.h"
#include "tests/integration/engine/relay_support.h"

namespace eventstore::testing {
namespace {

bool IsIdle(OutboxDesk& desk) {
  return Eventually([&] { return desk.Count("status <> 'published'") == 0; });
}

TEST_CASE("An append on an idle store is at the broker within milliseconds") {
  MemoryBroker broker;
  OutboxDesk desk(RelayOutbox(&broker));
  std::vector<milliseconds> times;
  for (std::size_t i = 1; i <= 21; ++i) {
    desk.Fill("a", 1);
    const auto answered = std::chrono::steady_clock::now();
    REQUIRE(Eventually([&] { return broker.Count() == i; }));
    times.push_back(
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - answered));
  }
  std::sort(times.begin(), times.end());
  INFO("median " << times[10].count() << " ms");
  CHECK(times[10] < milliseconds(100));
  CHECK(broker.VersionsOf("a") == UpTo(21));
}

TEST_CASE("An append on one daemon is published by the other one, which has the relay") {
  MemoryBroker of_first, of_second;
  OutboxDesk first(RelayOutbox(&of_first));
  REQUIRE(Eventually([&] { return first.Count("true") == 0 && first.store->available(); }));
  first.Fill("a", 1);
  REQUIRE(Eventually([&] { return of_first.Count() == 1; }));
  OutboxDesk second(RelayOutbox(&of_second), first.conninfo);
  second.Fill("a", 5);
  REQUIRE(Eventually([&] { return of_first.Count() == 6; }));
  CHECK(of_first.VersionsOf("a") == UpTo(6));
  CHECK(of_second.Count() == 0);
}

TEST_CASE("Claims and the relay share a sink, each entry goes once, and streams stay in order") {
  MemoryBroker broker;
  OutboxDesk desk(RelayOutbox(&broker));
  const std::vector<std::string> streams = StreamNames(10);
  std::size_t claimed = 0;
  for (int i = 1; i <= 30; ++i) {
    for (const std::string& stream : streams) {
      REQUIRE(Append(*desk.store, Stream(stream), Any(), NewIds(3)).ok());
      if (i % 3 != 0) continue;
      const v1::ClaimOutboxResponse claim = desk.Claim(20, kPatience, kSinkName);
      for (const v1::OutboxEntry& entry : claim.entries()) broker.Take(entry.event());
      if (claim.entries().empty()) continue;
      claimed += static_cast<std::size_t>(claim.entries_size());
      CHECK(desk.Complete(claim.claim_token(), IdsOf(claim)).skipped() == 0);
    }
  }
  REQUIRE(IsIdle(desk));
  INFO(claimed << " by claims");
  CHECK(broker.Count() == 900);
  for (const std::string& stream : streams) CHECK(broker.VersionsOf(stream) == UpTo(90));
}

TEST_CASE("Pausing, resuming and retrying by OutboxService reach the relay at once") {
  MemoryBroker broker;
  OutboxDesk desk(RelayOutbox(&broker));
  desk.Fill("a", 1);
  REQUIRE(IsIdle(desk));
  v1::PauseOutboxRequest pause;
  pause.set_sink(kSinkName);
  pause.set_paused(true);
  CHECK(desk.Must(&engine::Outbox::PauseOutbox, pause).changed());
  REQUIRE(Eventually([&] {
    const auto stats = desk.Must(&engine::Outbox::GetOutboxStats, v1::GetOutboxStatsRequest());
    return stats.stats(0).relay() == v1::RELAY_STATE_PAUSED;
  }));
  // A call that changes nothing: the relay has read `paused` when its lease is renewed next.
  const std::string renewed = "SELECT extract(epoch FROM updated_at)::bigint FROM outbox_sinks";
  const std::int64_t before = SelectInt(*desk.sql, renewed);
  REQUIRE(Eventually([&] { return SelectInt(*desk.sql, renewed) > before + 1; }));
  desk.Fill("a", 2);
  CHECK(broker.Count() == 1);
  pause.set_paused(false);
  broker.Refuse("a/2");
  CHECK(desk.Must(&engine::Outbox::PauseOutbox, pause).changed());
  REQUIRE(Eventually([&] { return desk.Count("status = 'failed'") == 1; }));
  broker.Refuse("a/2", false);
  v1::RetryOutboxRequest retry;
  retry.mutable_filter()->set_status(v1::OUTBOX_STATUS_FAILED);
  CHECK(desk.Must(&engine::Outbox::RetryOutbox, retry).retried() == 1);
  REQUIRE(IsIdle(desk));
  CHECK(broker.VersionsOf("a") == UpTo(3));
}

TEST_CASE("A store that drains ends its batch, gives its sinks back, and loses nothing") {
  MemoryBroker of_first, of_second;
  auto first = std::make_unique<OutboxDesk>(RelayOutbox(&of_first));
  const std::string conninfo = first->conninfo;
  for (const std::string& stream : StreamNames(20)) first->Fill(stream, 5);
  first = nullptr;
  const auto sql = Connect(conninfo, "public");
  CHECK(SelectInt(*sql, "SELECT count(*) FROM outbox_sinks WHERE daemon IS NOT NULL") == 0);
  OutboxDesk second(RelayOutbox(&of_second), conninfo);
  REQUIRE(IsIdle(second));
  CHECK(of_first.Count() + of_second.Count() == 100);
}

}  // namespace
}  // namespace eventstore::testing
