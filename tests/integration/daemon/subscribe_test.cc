// What the contract says of Subscribe, one rule a test.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

Client& Shared() { return SharedDaemon().client(); }

v1::SubscribeRequest ToStream(const v1::StreamId& stream) {
  v1::SubscribeRequest request;
  *request.mutable_stream() = stream;
  return request;
}

v1::SubscribeRequest ToType(const std::string& aggregate_type) {
  v1::SubscribeRequest request;
  request.mutable_filter()->add_aggregate_types(aggregate_type);
  return request;
}

std::vector<std::string> Ids(const std::vector<v1::NewEvent>& events) {
  std::vector<std::string> ids;
  for (const v1::NewEvent& event : events) ids.push_back(event.event_id());
  return ids;
}

}  // namespace

TEST_CASE("ConfirmedComesFirst") {
  const auto appended = MustAppend(Shared(), NewStream(), NewEvents(1));
  v1::SubscribeRequest request;
  request.set_after_position(appended.first_position());
  Subscriber subscriber(Shared(), request);
  const auto first = subscriber.Next();
  REQUIRE(first.has_value());
  REQUIRE(first->has_confirmed());
  CHECK(first->confirmed().start_position() == appended.first_position());
  CHECK(first->confirmed().position() == appended.first_position());
  CHECK(first->confirmed().epoch() == 1);
  CHECK(first->confirmed().subscription_id().size() == 36);
  CHECK(first->confirmed().store_id() == GetHead(Shared()).store_id());
  CHECK(subscriber.violation().empty());
}

TEST_CASE("FromTheBeginningHistoryInOrderThenExactlyOneCaughtUpThenLive") {
  const std::string type = UniqueName("History");
  std::vector<std::string> ids;
  const auto append = [&](int count) {
    const auto events = NewEvents(count);
    MustAppend(Shared(), NewStream(type), events);
    for (const std::string& id : Ids(events)) ids.push_back(id);
  };
  append(700);
  append(30);
  auto request = ToType(type);
  request.mutable_beginning();
  Subscriber subscriber(Shared(), request);
  std::vector<v1::Event> events;
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  events = subscriber.NextEvents(0);
  CHECK(IdsOf(events) == ids);
  for (int i = 0; i < 10; ++i) {
    append(3);
    for (const v1::Event& event : subscriber.NextEvents(3)) events.push_back(event);
    CHECK(IdsOf(events) == ids);
  }
  CHECK(subscriber.caught_up_count() == 1);
  CHECK(subscriber.fell_behind_count() == 0);
  CHECK(subscriber.violation() == "");
}

TEST_CASE("FromTheEndOnlyNewEvents") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(3));
  auto request = ToStream(stream);
  request.mutable_end();
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  const auto events = NewEvents(2);
  MustAppend(Shared(), stream, events);
  CHECK(IdsOf(subscriber.NextEvents(2)) == Ids(events));
  CHECK(subscriber.violation() == "");
}

TEST_CASE("AfterPositionIsExclusive") {
  const auto stream = NewStream();
  const auto appended = MustAppend(Shared(), stream, NewEvents(3));
  auto request = ToStream(stream);
  request.set_after_position(appended.first_position());
  request.set_epoch(1);
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  CHECK(VersionsOf(subscriber.NextEvents(0)) == std::vector<std::int64_t>{2, 3});
  CHECK(subscriber.violation() == "");
}

TEST_CASE("FromTimestampStartsAtTheFirstEventStoredThen") {
  const auto stream = NewStream();
  const auto first = MustAppend(Shared(), stream, NewEvents(2));
  const auto second = MustAppend(Shared(), stream, NewEvents(2));
  REQUIRE(first.created_at().DebugString() != second.created_at().DebugString());
  auto request = ToStream(stream);
  *request.mutable_from_timestamp() = second.created_at();
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  CHECK(VersionsOf(subscriber.NextEvents(0)) == std::vector<std::int64_t>{3, 4});
  CHECK(subscriber.confirmed().start_position() < second.first_position());
  CHECK(subscriber.confirmed().start_position() >= first.last_position());

  request.mutable_from_timestamp()->set_seconds(4'000'000'000);  // In the year 2096.
  Subscriber later(Shared(), request);
  REQUIRE(later.ReadUntil(Message::kCaughtUp));
  CHECK(later.NextEvents(0).empty());
}

TEST_CASE("AStreamThatDoesNotExistYetWaitsAndThenDelivers") {
  const auto stream = NewStream();
  Subscriber subscriber(Shared(), ToStream(stream));
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  MustAppend(Shared(), NewStream(), NewEvents(5));
  const auto events = NewEvents(2);
  MustAppend(Shared(), stream, events);
  CHECK(IdsOf(subscriber.NextEvents(2)) == Ids(events));
  CHECK(subscriber.violation() == "");
}

TEST_CASE("AFilterThatMatchesNothingStillBringsCheckpoints") {
  auto request = ToType(UniqueName("Nothing"));
  request.set_checkpoint_interval(10);
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  for (int i = 0; i < 3; ++i) {
    const std::int64_t before = subscriber.position();
    MustAppend(Shared(), NewStream(), NewEvents(25));
    REQUIRE(subscriber.ReadUntil(Message::kCheckpoint));
    CHECK(subscriber.position() >= before + 10);
    CHECK(subscriber.position() <= GetHead(Shared()).position());
  }
  CHECK(subscriber.NextEvents(0).empty());
  CHECK(subscriber.violation() == "");
}

TEST_CASE("AFilterThatMatchesNothingInHistoryBringsCheckpointsOnTheWay") {
  // After a restart nothing of the history lies in memory.
  auto daemon = Daemon::Start({.settings = {{"reader.window_positions", "100"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(950));
  daemon->Restart();
  auto request = ToType(UniqueName("Nothing"));
  request.set_checkpoint_interval(150);
  Subscriber subscriber(daemon->client(), request);
  int checkpoints = 0;
  while (subscriber.caught_up_count() == 0) {
    const auto message = subscriber.Next();
    REQUIRE(message.has_value());
    if (message->has_checkpoint()) ++checkpoints;
  }
  CHECK(checkpoints >= 3);
  CHECK(checkpoints <= 6);
  CHECK(subscriber.position() == 950);
  CHECK(subscriber.violation() == "");
}

TEST_CASE("ACheckpointNeverPassesAPositionThatLaterGetsAMatchingEvent") {
  const std::string type = UniqueName("Checked");
  auto request = ToType(type);
  request.set_checkpoint_interval(1);
  request.mutable_end();
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kConfirmed));
  constexpr int kWriters = 4;
  constexpr int kAppends = 60;
  std::atomic<int> failed{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      Client client(SharedDaemon().port());
      for (int i = 0; i < kAppends; ++i) {
        v1::AppendEventsResponse response;
        const auto stream = NewStream((i + w) % 3 == 0 ? type : "Other");
        if (!Append(client, AppendRequest(stream, NoStream(), NewEvents(1)), &response).ok()) {
          ++failed;
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(failed == 0);
  // The subscriber itself notes every event at or before a position that was told.
  CHECK(subscriber.NextEvents(kWriters * kAppends / 3).size() == kWriters * kAppends / 3);
  CHECK(subscriber.violation() == "");
}

TEST_CASE("ASlowReaderFallsBehindCatchesUpAndMissesNothing") {
  auto daemon = Daemon::Start({.settings = {{"hub.ring_bytes_max", "65536"}}});
  Client slow(daemon->port());
  Subscriber subscriber(slow, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  // The client does not read while far more is written than the ring and all buffers hold.
  const std::string filler(4000, 'x');
  std::size_t count = 0;
  for (int i = 0; i < 12; ++i) {
    std::vector<v1::NewEvent> events;
    for (int k = 0; k < 500; ++k) events.push_back(NewEvent("Filled", "\"" + filler + "\""));
    MustAppend(daemon->client(), NewStream(), events);
    count += events.size();
  }
  REQUIRE(subscriber.ReadUntil(Message::kFellBehind));
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  const auto positions = PositionsOf(subscriber.NextEvents(count + 1));
  REQUIRE(positions.size() == count + 1);
  for (std::size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] != static_cast<std::int64_t>(i) + 1) FAIL("not position " << i + 1);
  }
  CHECK(subscriber.fell_behind_count() >= 1);
  CHECK(subscriber.violation() == "");
  CHECK(daemon->Metric("eventstore_subscribers_fell_behind_total").value_or(0) >= 1);
}

TEST_CASE("ASlowReaderHoldsUpNobodyElse") {
  auto daemon = Daemon::Start({.settings = {{"hub.ring_bytes_max", "65536"}}});
  Client slow(daemon->port());
  Subscriber stuck(slow, v1::SubscribeRequest());
  REQUIRE(stuck.ReadUntil(Message::kCaughtUp));
  Subscriber reading(daemon->client(), v1::SubscribeRequest());
  const std::string filler(4000, 'x');
  for (int i = 0; i < 20; ++i) {
    std::vector<v1::NewEvent> events;
    for (int k = 0; k < 100; ++k) events.push_back(NewEvent("Filled", "\"" + filler + "\""));
    MustAppend(daemon->client(), NewStream(), events);
    CHECK(reading.NextEvents(100).size() == 100);
  }
  CHECK(reading.violation() == "");
}

TEST_CASE("APositionBeyondTheHeadIsPositionAhead") {
  const std::int64_t head = GetHead(Shared()).position();
  v1::SubscribeRequest request;
  request.set_after_position(head + 1'000'000);
  Subscriber subscriber(Shared(), request);
  CHECK_FALSE(subscriber.Next().has_value());
  const CallStatus status = subscriber.call().Finish();
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kOutOfRange);
  CHECK(status.reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(status.info().value() == head + 1'000'000);
  CHECK(status.info().epoch() == 1);
  CHECK(status.info().position() >= head);
}

TEST_CASE("MaxBatchSizeBoundsAMessage") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(20));
  auto request = ToStream(stream);
  request.set_max_batch_size(3);
  Subscriber subscriber(Shared(), request);
  std::size_t seen = 0;
  const auto read = [&](std::size_t until) {
    while (seen < until) {
      const auto message = subscriber.Next();
      REQUIRE(message.has_value());
      CHECK(message->events().events_size() <= 3);
      seen += static_cast<std::size_t>(message->events().events_size());
    }
  };
  read(20);
  REQUIRE((subscriber.caught_up_count() == 1 || subscriber.ReadUntil(Message::kCaughtUp)));
  MustAppend(Shared(), stream, NewEvents(10));
  read(30);
  CHECK(seen == 30);
  CHECK(subscriber.violation() == "");
}

TEST_CASE("AStreamAndAFilterTogetherBothHold") {
  const auto stream = NewStream();
  const auto append = [&](const v1::StreamId& to, const std::string& type) {
    const auto events = NewEvents(1, type);
    MustAppend(Shared(), to, events);
    return events[0].event_id();
  };
  std::vector<std::string> ids;
  const auto append_all = [&] {
    append(stream, "Renamed");
    ids.push_back(append(stream, "Paid"));
    append(NewStream(), "Paid");
  };
  for (int i = 0; i < 5; ++i) append_all();
  auto request = ToStream(stream);
  request.mutable_filter()->add_event_types("Paid");
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(Message::kCaughtUp));
  CHECK(IdsOf(subscriber.NextEvents(0)) == ids);
  ids.clear();
  for (int i = 0; i < 5; ++i) append_all();
  CHECK(IdsOf(subscriber.NextEvents(5)) == ids);
  CHECK(subscriber.violation() == "");
}

TEST_CASE("AFilterOfAnotherTenantThanTheStreamIsAnInvalidRequest") {
  auto request = ToStream(NewStream());
  request.mutable_filter()->set_tenant_id(NewUuid());
  Subscriber subscriber(Shared(), request);
  CHECK_FALSE(subscriber.Next().has_value());
  const CallStatus status = subscriber.call().Finish();
  CHECK(status.code == absl::StatusCode::kInvalidArgument);
  CHECK(status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(status.info().field() == "filter.tenant_id");
}

TEST_CASE("ResumingAfterTheLastPositionContinuesWithoutGapOrRepetition") {
  const std::string type = UniqueName("Resumed");
  std::vector<std::string> ids;
  std::vector<std::string> seen;
  std::int64_t position = 0;
  for (int round = 0; round < 5; ++round) {
    const auto events = NewEvents(7);
    MustAppend(Shared(), NewStream(type), events);
    for (const std::string& id : Ids(events)) ids.push_back(id);
    auto request = ToType(type);
    request.set_max_batch_size(2);
    request.set_after_position(position);
    request.set_epoch(1);
    Subscriber subscriber(Shared(), request);
    for (const v1::Event& event : subscriber.NextEvents(4)) seen.push_back(event.event_id());
    position = subscriber.position();
    CHECK(subscriber.violation() == "");
  }
  auto request = ToType(type);
  request.set_after_position(position);
  Subscriber rest(Shared(), request);
  REQUIRE(rest.ReadUntil(Message::kCaughtUp));
  for (const v1::Event& event : rest.NextEvents(0)) seen.push_back(event.event_id());
  CHECK(seen == ids);
}

TEST_CASE("IdleLiveSubscribersAddNoStatements") {
  // The daemon's own upkeep is silenced, so that what is counted is the subscribers'.
  auto daemon = Daemon::Start({.settings = {{"daemon.heartbeat_ms", "600000"},
                                            {"daemon.expire_ms", "3600000"},
                                            {"hub.poll_interval_ms", "600000"},
                                            {"partitions.check_interval_ms", "3600000"}}});
  MustAppend(daemon->client(), NewStream(), NewEvents(10));
  auto counter = Connect(SharedPostgres().conninfo());  // Not in the database that it counts.
  const std::string name = daemon->dsn().substr(daemon->dsn().rfind('=') + 1);
  const auto commits = [&] {
    auto result = counter->QueryOnce(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1",
        pg::Params().Text(name), In(kPatience));
    REQUIRE(result.ok());
    return result->Int64(0, 0);
  };
  // A server process that is idle again reports what it did after at most 10 seconds.
  constexpr std::chrono::seconds kReported{11};
  const auto settle = [&] {
    std::int64_t last = commits();
    Deadline quiet = In(kReported);
    Eventually([&] {
      const std::int64_t now = commits();
      // The lane looks after its connection now and then: that is no burst.
      if (now > last + 5) quiet = In(kReported);
      last = std::max(last, now);
      return std::chrono::steady_clock::now() >= quiet;
    });
  };
  const auto count_over_period = [&] {
    const std::int64_t before = commits();
    Eventually([] { return false; }, std::chrono::seconds(8));
    return commits() - before;
  };
  settle();
  const std::int64_t without = count_over_period();
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (int i = 0; i < 50; ++i) {
    auto request = i % 2 == 0 ? v1::SubscribeRequest() : ToType("Order");
    subscribers.push_back(std::make_unique<Subscriber>(daemon->client(), request));
    REQUIRE(subscribers.back()->ReadUntil(Message::kCaughtUp));
    subscribers.back()->NextEvents(0);
  }
  settle();
  const std::int64_t with = count_over_period();
  INFO("without subscribers " << without << " transactions, with 50 of them " << with);
  CHECK(with <= without + 5);
  // They are live all the same.
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  for (auto& subscriber : subscribers) CHECK(subscriber->NextEvents(1).size() == 1);
}
