// What happens at the limits of queues, pools and patience: a named error, never growth.
#include <catch2/catch.hpp>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

// The write lane waits for its lock as long as a test needs.
Settings Patient(Settings more) {
  more.insert({{"writer.lock_timeout_ms", "600000"},
               {"writer.statement_timeout_ms", "600000"},
               {"writer.max_wait_ms", "600000"}});
  return more;
}

v1::AppendEventsRequest OneEvent(std::size_t bytes = 2) {
  v1::NewEvent event = NewEvent("Filled", "\"" + std::string(bytes - 2, 'x') + "\"");
  return AppendRequest(NewStream(), Any(), {event});
}

void CheckOverloaded(const CallStatus& status, const std::string& limit_name, std::int64_t limit) {
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kResourceExhausted);
  REQUIRE(status.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(status.info().limit_name() == limit_name);
  CHECK(status.info().limit() == limit);
  CHECK(status.info().has_retry_delay());
  CHECK(status.details_bytes > 0);
  CHECK(status.details_bytes <= 4096);
}

CallStatus OverOneCallOfMany(Client& client, const v1::AppendEventsRequest& append) {
  v1::AppendEventsStreamRequest request;
  *request.mutable_append() = append;
  const auto call = client.Stream("AppendEventsStream", request);
  const auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call);
  REQUIRE(answer.has_value());
  return StatusOf(answer->error().code(), answer->error().message(),
                  answer->error().SerializeAsString());
}

CallStatus Head(Client& client) {
  v1::GetHeadResponse response;
  return client.Unary("GetHead", v1::GetHeadRequest(), &response);
}

// Writes far more than what gRPC and the daemon hold back for a client that does not read.
void Fill(Daemon& daemon) {
  for (int i = 0; i < 12; ++i) {
    std::vector<v1::NewEvent> events;
    const std::string filler(4000, 'x');
    for (int k = 0; k < 500; ++k) events.push_back(NewEvent("Filled", "\"" + filler + "\""));
    MustAppend(daemon.client(), NewStream(), events);
  }
}

}  // namespace

TEST_CASE("AFullWriteQueueIsOverloadedAndWhatWaitsIsWritten") {
  auto daemon = Daemon::Start({.settings = Patient({{"writer.queue_appends_max", "1"}})});
  Client& client = daemon->client();
  std::unique_ptr<Call> in_lane;
  std::unique_ptr<Call> in_queue;
  {
    LockedHead nobody_commits(daemon->dsn());
    in_lane = client.Stream("AppendEvents", OneEvent());
    REQUIRE(WaitForBlockedSessions(daemon->dsn(), 1));
    in_queue = client.Stream("AppendEvents", OneEvent());
    REQUIRE(Eventually([&] { return daemon->Metric("eventstore_lane_queue_appends") == 1.0; }));
    v1::AppendEventsResponse response;
    CheckOverloaded(Append(client, OneEvent(), &response), "writer.queue_appends_max", 1);
    CheckOverloaded(OverOneCallOfMany(client, OneEvent()), "writer.queue_appends_max", 1);
    CHECK(daemon->Metric("eventstore_append_overloaded_total") == 2.0);
  }
  CHECK(in_lane->Finish().ok());
  CHECK(in_queue->Finish().ok());
  CHECK(GetHead(client).position() == 2);
}

TEST_CASE("AWriteQueueThatIsFullOfBytesIsOverloaded") {
  auto daemon = Daemon::Start({.settings = Patient({{"writer.queue_bytes_max", "1024"},
                                                    {"limits.request_bytes_max", "1024"},
                                                    {"limits.event_bytes_max", "1024"}})});
  LockedHead nobody_commits(daemon->dsn());
  const auto in_lane = daemon->client().Stream("AppendEvents", OneEvent());
  REQUIRE(WaitForBlockedSessions(daemon->dsn(), 1));
  const auto in_queue = daemon->client().Stream("AppendEvents", OneEvent(700));
  REQUIRE(Eventually([&] { return daemon->Metric("eventstore_lane_queue_appends") == 1.0; }));
  v1::AppendEventsResponse response;
  CheckOverloaded(Append(daemon->client(), OneEvent(700), &response), "writer.queue_bytes_max",
                  1024);
}

TEST_CASE("AFullReadQueueIsOverloaded") {
  auto daemon =
      Daemon::Start({.settings = {{"reader.threads", "1"}, {"reader.queue_requests_max", "1"}}});
  Client& client = daemon->client();
  std::unique_ptr<Call> reading;
  std::unique_ptr<Call> in_queue;
  {
    LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
    reading = client.Stream("GetHead", v1::GetHeadRequest());
    REQUIRE(WaitForBlockedSessions(daemon->dsn(), 1));
    // The thread may still be on its way to the database with the first.
    REQUIRE(Eventually([&] { return daemon->Metric("eventstore_read_queue_requests") == 0.0; }));
    in_queue = client.Stream("GetHead", v1::GetHeadRequest());
    REQUIRE(Eventually([&] { return daemon->Metric("eventstore_read_queue_requests") == 1.0; }));
    CheckOverloaded(Head(client), "reader.queue_requests_max", 1);
    CheckOverloaded(client.Stream("ReadAll", v1::ReadAllRequest())->Finish(),
                    "reader.queue_requests_max", 1);
  }
  CHECK(reading->Finish().ok());
  CHECK(in_queue->Finish().ok());
}

TEST_CASE("AWaitPastThePoolTimeoutIsOverloaded") {
  auto daemon = Daemon::Start({.settings = {{"reader.threads", "2"},
                                            {"pool.pool_size", "1"},
                                            {"pool.max_overflow", "0"},
                                            {"pool.pool_timeout", "1"}}});
  Client& client = daemon->client();
  LockedHead nobody_reads(daemon->dsn(), LockedHead::kAgainstReaders);
  const auto holder = client.Stream("GetHead", v1::GetHeadRequest());
  REQUIRE(Eventually([&] { return daemon->Metric("eventstore_pool_checked_out") == 1.0; }));
  const auto started = std::chrono::steady_clock::now();
  const CallStatus status = Head(client);
  CHECK(std::chrono::steady_clock::now() - started >= std::chrono::milliseconds(900));
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kResourceExhausted);
  CHECK(status.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(status.info().limit_name() == "pool.pool_timeout");
  CHECK(status.info().has_retry_delay());
  CHECK(daemon->Metric("eventstore_pool_timeouts_total").value_or(0) >= 1);
  CHECK(daemon->Metric("eventstore_pool_exhausted_total").value_or(0) >= 1);
  CHECK(daemon->WaitForLog("the connection pool ran dry"));
}

TEST_CASE("OneSubscriptionTooManyIsOverloaded") {
  auto daemon = Daemon::Start({.settings = {{"hub.subscriptions_max", "2"}}});
  auto one = std::make_unique<Subscriber>(daemon->client(), v1::SubscribeRequest());
  Subscriber two(daemon->client(), v1::SubscribeRequest());
  REQUIRE(one->ReadUntil(Message::kCaughtUp));
  REQUIRE(two.ReadUntil(Message::kCaughtUp));
  CheckOverloaded(daemon->client().Stream("Subscribe", v1::SubscribeRequest())->Finish(),
                  "hub.subscriptions_max", 2);
  one.reset();  // Whoever leaves makes room.
  CHECK(Eventually([&] {
    Subscriber three(daemon->client(), v1::SubscribeRequest());
    return three.ReadUntil(Message::kCaughtUp);
  }));
}

TEST_CASE("ASubscriberThatTakesNothingForTooLongIsASlowConsumer") {
  auto daemon = Daemon::Start({.settings = {{"hub.stall_timeout_ms", "1000"}}});
  Fill(*daemon);
  Client slow(daemon->port());
  Subscriber subscriber(slow, v1::SubscribeRequest());
  REQUIRE(subscriber.ReadUntil(Message::kEvents));
  REQUIRE(Eventually(
      [&] { return daemon->Metric("eventstore_subscribers_dropped_slow_total") == 1.0; }));
  subscriber.NextEvents(6001);
  const CallStatus status = subscriber.call().Finish();
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kAborted);
  REQUIRE(status.reason() == v1::ERROR_REASON_SLOW_CONSUMER);
  CHECK(status.info().position() > 0);
  CHECK(status.info().position() <= subscriber.position());
  CHECK(status.info().position() < 6000);
  CHECK(status.info().epoch() == 1);
  CHECK(subscriber.violation() == "");
  // It goes on where it was told, and misses nothing.
  v1::SubscribeRequest again;
  again.set_after_position(status.info().position());
  again.set_epoch(status.info().epoch());
  Subscriber resumed(slow, again);
  REQUIRE(resumed.ReadUntil(Message::kCaughtUp));
  const auto positions = PositionsOf(resumed.NextEvents(0));
  CHECK(positions.front() == status.info().position() + 1);
  CHECK(positions.back() == 6000);
}

TEST_CASE("AReaderThatTakesNothingForTooLongIsASlowConsumer") {
  auto daemon = Daemon::Start({.settings = {{"hub.stall_timeout_ms", "1000"}}});
  Fill(*daemon);
  Client slow(daemon->port());
  const auto call = slow.Stream("ReadAll", v1::ReadAllRequest());
  REQUIRE(ReadMessage<v1::ReadAllResponse>(*call).has_value());
  REQUIRE(daemon->WaitForLog("SLOW_CONSUMER", std::chrono::milliseconds(1)) == false);
  Eventually([] { return false; }, std::chrono::milliseconds(3000));
  std::int64_t position = 0;
  while (auto message = ReadMessage<v1::ReadAllResponse>(*call)) {
    position = message->events().position();
  }
  const CallStatus status = call->Finish();
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kAborted);
  CHECK(status.reason() == v1::ERROR_REASON_SLOW_CONSUMER);
  CHECK(status.info().position() <= position);
  CHECK(position < 6000);
}
