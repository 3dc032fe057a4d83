// Many subscriptions at once: what they cost, and that each gets what it asked for.
#include <catch2/catch.hpp>
#include <map>
#include <regex>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

// AddressSanitizer keeps what was freed, to find who uses it still: memory tells nothing then.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsFreed = true;
#else
constexpr bool kKeepsFreed = false;
#endif

// Subscribers over a few connections, each to a stream of its own, and live.
struct Crowd {
  Crowd(Daemon& daemon, int count) {
    constexpr int kConnections = 10;
    for (int i = 0; i < kConnections; ++i) {
      clients.push_back(std::make_unique<Client>(daemon.port()));
    }
    for (int i = 0; i < count; ++i) {
      streams.push_back(NewStream());
      v1::SubscribeRequest request;
      *request.mutable_stream() = streams.back();
      subscribers.push_back(std::make_unique<Subscriber>(
          *clients[static_cast<std::size_t>(i % kConnections)], request));
    }
    for (auto& subscriber : subscribers) REQUIRE(subscriber->ReadUntil(Message::kCaughtUp));
  }
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<v1::StreamId> streams;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
};

double Memory(Daemon& daemon) {
  return daemon.Metric("eventstore_process_resident_memory_bytes").value_or(0);
}

double Wakes(Daemon& daemon) {
  return daemon.Metric("eventstore_subscription_wakes_total").value_or(0);
}

// Writes far more than what gRPC and the daemon hold back for a client that does not read.
void FillBeyondBuffers(Daemon& daemon) {
  const std::string filler(4000, 'x');
  for (int i = 0; i < 12; ++i) {
    std::vector<v1::NewEvent> events;
    for (int k = 0; k < 500; ++k) events.push_back(NewEvent("Filled", "\"" + filler + "\""));
    MustAppend(daemon.client(), NewStream(), events);
  }
}

}  // namespace

TEST_CASE("AThousandIdleSubscriptionsTakeLittleMemoryAndStayLive") {
  auto daemon = Daemon::Start();
  MustAppend(daemon->client(), NewStream(), NewEvents(10));
  Crowd few(*daemon, 20);  // What the first ones need once is not counted.
  const double before = Memory(*daemon);
  Crowd crowd(*daemon, 1000);
  const double each = (Memory(*daemon) - before) / 1000;
  INFO("bytes for each of them: " << each);
  CHECK(each > 0);
  CHECK(each <= 100 * 1024);
  const double wakes = Wakes(*daemon);
  MustAppend(daemon->client(), crowd.streams[500], NewEvents(1));
  CHECK(crowd.subscribers[500]->NextEvents(1).size() == 1);
  CHECK(Wakes(*daemon) == wakes + 1);
  for (auto& subscriber : crowd.subscribers) CHECK(subscriber->violation() == "");
}

TEST_CASE("TwoHundredReadersOfStreamsOfTheirOwnEachGetTheirsAndMemoryIsBounded") {
  auto daemon = Daemon::Start({.settings = {{"hub.ring_bytes_max", "1048576"}}});
  Crowd crowd(*daemon, 200);
  const double wakes = Wakes(*daemon);
  const double before = Memory(*daemon);
  std::vector<std::vector<std::string>> ids(crowd.streams.size());
  constexpr std::size_t kRounds = 10;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < crowd.streams.size(); ++i) {
      const auto events = NewEvents(1);
      MustAppend(daemon->client(), crowd.streams[i], events);
      ids[i].push_back(events[0].event_id());
    }
  }
  for (std::size_t i = 0; i < crowd.streams.size(); ++i) {
    CHECK(IdsOf(crowd.subscribers[i]->NextEvents(kRounds)) == ids[i]);
    CHECK(crowd.subscribers[i]->fell_behind_count() == 0);
    CHECK(crowd.subscribers[i]->violation() == "");
  }
  // No commit woke anybody but the reader of its stream.
  CHECK(Wakes(*daemon) - wakes <= static_cast<double>(kRounds * crowd.streams.size()));
  CHECK((kKeepsFreed || Memory(*daemon) - before <= 32 << 20));
}

TEST_CASE("AHundredIdleSubscriptionsRunNoStatementMoreOftenThanOnceASecond") {
  auto daemon = Daemon::Start({.settings = {{"pool.echo", "true"}, {"log.level", "debug"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(10));
  Crowd crowd(*daemon, 100);
  const std::size_t begin = daemon->Log().size();
  constexpr int kSeconds = 10;
  Eventually([] { return false; }, std::chrono::seconds(kSeconds));
  const std::string log = daemon->Log().substr(begin);
  std::map<std::string, int> counts;
  const std::regex statement("SQL (script: .*|[a-z_]+):?");
  for (std::sregex_iterator found(log.begin(), log.end(), statement), end; found != end; ++found) {
    ++counts[(*found)[1]];
  }
  CHECK_FALSE(counts.empty());  // the upkeep at least: otherwise the log shows nothing
  for (const auto& [name, count] : counts) {
    INFO(name << ": " << count << " times in " << kSeconds << " seconds");
    CHECK(count <= kSeconds + 1);
  }
}

TEST_CASE("AReaderThatStopsReadingIsSeenAsStuckNamedInTheLogAndForgottenWhenItReadsOn") {
  auto daemon = Daemon::Start({.settings = {{"hub.ring_bytes_max", "65536"}}});  // so: history
  FillBeyondBuffers(*daemon);
  Client slow(daemon->port());
  Subscriber subscriber(slow, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kConfirmed));
  const auto metric = [&](const char* name) { return daemon->Metric(name).value_or(-1); };
  REQUIRE(Eventually([&] { return metric("eventstore_subscriber_stuck_seconds_max") >= 2; }));
  CHECK(metric("eventstore_subscriber_stalled_seconds_max") >= 2);
  CHECK(metric("eventstore_catch_up_positions_left") > 0);
  CHECK(metric("eventstore_catch_up_seconds_max") >= 2);
  REQUIRE(daemon->WaitForLog("subscription " + subscriber.confirmed().subscription_id() +
                             ": is behind and has got no further"));
  CHECK(Eventually([&] { return metric("eventstore_subscribers_stuck") == 1; }));
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  CHECK(subscriber.NextEvents(0).size() == 6000);
  CHECK(Eventually([&] { return metric("eventstore_subscriber_stuck_seconds_max") == 0; }));
  CHECK(metric("eventstore_subscribers_stuck") == 0);
  CHECK(metric("eventstore_catch_up_positions_left") == 0);
  CHECK(metric("eventstore_catch_up_positions_total") >= 6000);
}
