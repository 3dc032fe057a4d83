// How fast a group is, next to ReadAll in the same run. Hidden: run it by its tag,
// "[groups-bench]".
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr int kRequests = 120;
constexpr int kEventsPerRequest = 1'000;
constexpr int kMembers = 8;

double SecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("HowFastAGroupIsNextToReadAll", "[.][groups-bench]") {
  auto daemon = Daemon::Start();
  const std::string json = "{\"data\":\"" + std::string(230, 'x') + "\"}";
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < kEventsPerRequest; ++i) events.push_back(NewEvent("Bench", json));
  for (int i = 0; i < kRequests; ++i) {
    for (v1::NewEvent& event : events) event.set_event_id(NewUuid());
    MustAppend(daemon->client(), NewStream(), events);
  }
  constexpr double kTotal = static_cast<double>(kRequests) * kEventsPerRequest;
  auto start = steady_clock::now();
  CHECK(ReadAll(daemon->client(), {}).events.size() == static_cast<std::size_t>(kTotal));
  const double read_all = kTotal / SecondsSince(start);

  CreateGroup(daemon->client(), "g");
  std::atomic<std::int64_t> got{0};
  std::vector<std::thread> members;
  start = steady_clock::now();
  for (int i = 0; i < kMembers; ++i) {
    members.emplace_back([&] {
      Client client(daemon->port());
      Consumer consumer(client, "g");
      while (got < static_cast<std::int64_t>(kTotal)) {
        const auto batch = consumer.NextEvents(1, milliseconds(200));
        got += static_cast<std::int64_t>(batch.size());
        if (!batch.empty()) consumer.Ack(batch);
      }
      (void)consumer.Leave();
    });
  }
  for (std::thread& member : members) member.join();
  const double group = kTotal / SecondsSince(start);
  CHECK(WaitForLagZero(daemon->client(), "g"));
  WARN("ReadAll " << static_cast<int>(read_all) << " events/s; a group with " << kMembers
                  << " members " << static_cast<int>(group) << " events/s, "
                  << static_cast<int>(100 * group / read_all) << " %; delivered again: "
                  << daemon->Metric("eventstore_group_events_redelivered_total").value_or(-1)
                  << ", read from tables: "
                  << daemon->Metric("eventstore_events_read_total").value_or(-1));
  // Rebalancing: from a member's coming until it has its share.
  Consumer first(daemon->client(), "g");
  REQUIRE(first.WaitForLanes(16));
  start = steady_clock::now();
  Client other(daemon->port());
  Consumer second(other, "g");
  REQUIRE(second.WaitForLanes(8));
  WARN("a second member had its share after " << static_cast<int>(1000 * SecondsSince(start))
                                              << " ms");
}
