// Several daemons on one store: one order, one truth.
#include <catch2/catch.hpp>
#include <csignal>
#include <map>
#include <set>
#include <thread>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

// Counts a stream up by exact versions until `count` of its appends won; others win in between.
// Returns the ids that were stored; fewer if something else than a conflict happened.
std::vector<std::string> AppendExactly(Client& client, const v1::StreamId& stream, int count) {
  std::vector<std::string> ids;
  std::int64_t version = 0;
  while (static_cast<int>(ids.size()) < count) {
    const auto events = NewEvents(1);
    v1::AppendEventsResponse response;
    const CallStatus status =
        Append(client, AppendRequest(stream, version == 0 ? NoStream() : Exact(version), events),
               &response);
    if (status.ok()) {
      if (response.last_version() != version + 1) return ids;
      version = response.last_version();
      ids.push_back(events[0].event_id());
    } else if (status.reason() == v1::ERROR_REASON_VERSION_CONFLICT &&
               status.info().actual() != version) {
      version = status.info().actual();
    } else {
      return ids;
    }
  }
  return ids;
}

}  // namespace

TEST_CASE("TwoDaemonsOnOneStoreBothAppendBothSubscribeInOneOrder") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  CHECK(GetHead(one->client()).store_id() == GetHead(two->client()).store_id());
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (Daemon* daemon : {one.get(), two.get()}) {
    subscribers.push_back(std::make_unique<Subscriber>(daemon->client(), v1::SubscribeRequest()));
    REQUIRE(subscribers.back()->ReadUntil(Message::kCaughtUp));
  }
  constexpr int kAppends = 80;
  const auto contested = NewStream();
  const auto own = NewStream();
  std::vector<std::vector<std::string>> stored(4);
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      Client client((w % 2 == 0 ? one : two)->port());
      auto stream = w < 2 ? contested : own;
      if (w >= 2) stream.set_aggregate_type("Own" + std::to_string(w));
      stored[static_cast<std::size_t>(w)] = AppendExactly(client, stream, kAppends);
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::set<std::string> ids;
  for (const auto& part : stored) {
    CHECK(part.size() == kAppends);
    ids.insert(part.begin(), part.end());
  }
  CHECK(ids.size() == 4 * kAppends);
  CHECK(GetInfo(one->client(), contested).version() == 2 * kAppends);
  CHECK(GetInfo(two->client(), contested).version() == 2 * kAppends);

  std::vector<std::vector<std::string>> seen;
  for (auto& subscriber : subscribers) {
    const auto events = subscriber->NextEvents(4 * kAppends);
    seen.push_back(IdsOf(events));
    CHECK(std::set<std::string>(seen.back().begin(), seen.back().end()) == ids);
    CHECK(events.size() == 4 * kAppends);
    CHECK(events.back().global_position() == 4 * kAppends);
    CHECK(subscriber->violation() == "");
  }
  CHECK(seen[0] == seen[1]);
  CHECK(IdsOf(ReadAll(two->client(), {}).events) == seen[0]);
}

TEST_CASE("WhatOneDaemonAcknowledgedTheOtherShowsAtOnce") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto stream = NewStream();
  for (std::int64_t version = 1; version <= 20; ++version) {
    Client& writer = (version % 2 == 0 ? one : two)->client();
    Client& reader = (version % 2 == 0 ? two : one)->client();
    v1::AppendEventsResponse response;
    const CallStatus status = Append(
        writer, AppendRequest(stream, version == 1 ? NoStream() : Exact(version - 1), NewEvents(1)),
        &response);
    INFO(status.Text());
    REQUIRE(status.ok());
    CHECK(GetInfo(reader, stream).version() == version);
    CHECK(GetHead(reader).position() == version);
    CHECK(ReadStream(reader, stream).events.size() == static_cast<std::size_t>(version));
    v1::SubscribeRequest request;
    request.set_after_position(version - 1);
    Subscriber subscriber(reader, request);
    CHECK(subscriber.NextEvents(1).size() == 1);
  }
  // A replay is one on whatever daemon.
  const auto events = NewEvents(2);
  const auto first = MustAppend(one->client(), stream, events);
  const auto replay = MustAppend(two->client(), stream, events);
  CHECK(replay.deduplicated());
  CHECK(replay.first_position() == first.first_position());
}

TEST_CASE("ALiveSubscriberIsToldOfTheOtherDaemonsEventsWithoutWaitingForThePoll") {
  const Settings slow_poll = {{"hub.poll_interval_ms", "600000"}};
  auto one = Daemon::Start({.settings = slow_poll});
  auto two = Daemon::Start({.dsn = one->dsn(), .settings = slow_poll});
  Subscriber subscriber(two->client(), v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  // A daemon learns of another by its heartbeat at the latest; from then on every commit is told.
  MustAppend(one->client(), NewStream(), NewEvents(1));
  CHECK(subscriber.NextEvents(1, std::chrono::seconds(30)).size() == 1);
  for (int i = 0; i < 20; ++i) {
    MustAppend(one->client(), NewStream(), NewEvents(1));
    CHECK(subscriber.NextEvents(1, std::chrono::seconds(10)).size() == 1);
  }
}

TEST_CASE("KillingOneDaemonLeavesTheOtherWorkingAndLosesNothingAcknowledged") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto doomed_stream = NewStream();
  std::vector<std::string> acknowledged;
  std::thread doomed_writer([&] {
    Client client(one->port());
    while (true) {
      const auto events = NewEvents(1);
      v1::AppendEventsResponse response;
      const auto request = AppendRequest(doomed_stream, Any(), events);
      if (!Append(client, request, &response, std::chrono::seconds(10)).ok()) return;
      acknowledged.push_back(events[0].event_id());
    }
  });
  Subscriber subscriber(two->client(), v1::SubscribeRequest());
  CHECK(subscriber.NextEvents(50).size() >= 50);
  one->child().Signal(SIGKILL);
  CHECK(one->child().WaitExit() == 128 + SIGKILL);
  doomed_writer.join();
  const auto survivors = NewStream();
  for (int i = 0; i < 20; ++i) MustAppend(two->client(), survivors, NewEvents(1));
  CHECK(GetInfo(two->client(), survivors).version() == 20);
  const auto found = IdsOf(ReadStream(two->client(), doomed_stream).events);
  const std::set<std::string> stored(found.begin(), found.end());
  for (const std::string& id : acknowledged) CHECK(stored.count(id) == 1);
  CHECK(subscriber.ReadUntil(Message::kEvents));
  Eventually([&] {
    return subscriber.position() >= GetHead(two->client()).position() ||
           !subscriber.Next(std::chrono::seconds(5)).has_value();
  });
  CHECK(subscriber.position() == GetHead(two->client()).position());
  CHECK(subscriber.violation() == "");
}
