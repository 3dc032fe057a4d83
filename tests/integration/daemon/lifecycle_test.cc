// Truncating, deleting and erasing through the public door, also with several daemons.
#include <catch2/catch.hpp>

#include "tests/support/daemon_groups.h"

using namespace eventstore;
using namespace eventstore::testing;
using Message = v1::SubscribeResponse;

namespace {

constexpr char kSecret[] = "{\"name\":\"secret\"}";

CallStatus Delete(Client& client, const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                  bool permanent, v1::StreamInfo* info = nullptr) {
  v1::DeleteStreamRequest request;
  *request.mutable_stream() = stream;
  *request.mutable_expected_version() = expected;
  request.set_permanent(permanent);
  v1::DeleteStreamResponse response;
  CallStatus status = client.Unary("DeleteStream", request, &response);
  if (info != nullptr) *info = response.info();
  return status;
}

CallStatus Truncate(Client& client, const v1::StreamId& stream, std::int64_t before,
                    v1::StreamInfo* info = nullptr) {
  v1::TruncateStreamRequest request;
  *request.mutable_stream() = stream;
  request.set_before_version(before);
  v1::TruncateStreamResponse response;
  CallStatus status = client.Unary("TruncateStream", request, &response);
  if (info != nullptr) *info = response.info();
  return status;
}

// All events of a stream; how many that were.
std::int64_t Erase(Client& client, const v1::StreamId& stream) {
  v1::EraseEventsRequest request;
  *request.mutable_stream() = stream;
  request.set_reason("asked to be forgotten");
  request.set_erased_by("privacy desk");
  v1::EraseEventsResponse response;
  const CallStatus status = client.Unary("EraseEvents", request, &response);
  INFO(status.Text());
  CHECK(status.ok());
  return response.erased();
}

v1::SubscribeRequest Following(const v1::StreamId& stream) {
  v1::SubscribeRequest request;
  *request.mutable_stream() = stream;
  return request;
}

bool HasSecret(const google::protobuf::MessageLite& message) {
  return message.SerializeAsString().find("secret") != std::string::npos;
}

}  // namespace

TEST_CASE("AStreamIsTruncatedDeletedWrittenAgainAndDeletedForGood") {
  Daemon& daemon = SharedDaemon();
  Client& client = daemon.client();
  const auto stream = NewStream();
  MustAppend(client, stream, NewEvents(5));
  v1::StreamInfo info;
  REQUIRE(Truncate(client, stream, 3, &info).ok());
  CHECK(info.first_version() == 3);
  CHECK(VersionsOf(ReadStream(client, stream).events) == std::vector<std::int64_t>{3, 4, 5});
  CHECK(Truncate(client, stream, 6).info().field() == "before_version");
  CHECK(Delete(client, stream, Exact(4), false).info().actual() == 5);
  REQUIRE(Delete(client, stream, Exact(5), false, &info).ok());
  CHECK_FALSE(info.exists());
  CHECK(info.deleted());
  const StreamRead missing = ReadStream(client, stream);
  CHECK(missing.status.ok());
  CHECK_FALSE(missing.info.exists());
  CHECK(missing.events.empty());
  CHECK(Delete(client, stream, Any(), false).reason() == v1::ERROR_REASON_NOT_FOUND);
  v1::AppendEventsResponse appended;
  REQUIRE(Append(client, AppendRequest(stream, NoStream(), NewEvents(1)), &appended).ok());
  CHECK(appended.first_version() == 6);
  REQUIRE(Delete(client, stream, Any(), true, &info).ok());
  CHECK(info.permanently_deleted());
  CHECK(Append(client, AppendRequest(stream, Any(), NewEvents(1)), &appended).reason() ==
        v1::ERROR_REASON_STREAM_DELETED);
  CHECK(Delete(client, stream, Any(), true).ok());
  CHECK(daemon.Metric("eventstore_lifecycle_changes_total{kind=\"tombstone\",store=\"default\"}") >=
        1);
}

TEST_CASE("ATombstoneEndsTheStreamsSubscriptionsOnEveryDaemon") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto stream = NewStream();
  MustAppend(one->client(), stream, NewEvents(2));
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (Daemon* const daemon : {one.get(), two.get()}) {
    subscribers.push_back(std::make_unique<Subscriber>(daemon->client(), Following(stream)));
    REQUIRE(subscribers.back()->ReadUntil(Message::kCaughtUp));
  }
  REQUIRE(Delete(one->client(), stream, Any(), true).ok());
  for (const auto& subscriber : subscribers) {
    const CallStatus status = subscriber->call().Finish();
    INFO(status.Text());
    CHECK(status.reason() == v1::ERROR_REASON_STREAM_DELETED);
    CHECK(status.code == absl::StatusCode::kFailedPrecondition);
  }
  v1::AppendEventsResponse response;
  CHECK(Append(two->client(), AppendRequest(stream, Any(), NewEvents(1)), &response).reason() ==
        v1::ERROR_REASON_STREAM_DELETED);
}

TEST_CASE("ADeletionOfOneDaemonIsKnownToTheOthersNextAppend") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto stream = NewStream();
  for (Daemon* const daemon : {one.get(), two.get(), one.get()}) {
    MustAppend(daemon->client(), stream, NewEvents(1));
  }
  REQUIRE(Delete(two->client(), stream, Exact(3), false).ok());
  v1::AppendEventsResponse response;
  const CallStatus stale =
      Append(one->client(), AppendRequest(stream, Exact(3), NewEvents(1)), &response);
  CHECK(stale.reason() == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(stale.info().actual() == 0);
  REQUIRE(Append(one->client(), AppendRequest(stream, NoStream(), NewEvents(1)), &response).ok());
  CHECK(response.first_version() == 4);
}

TEST_CASE("ATruncationOfOneDaemonBoundsTheOthersReadsAndSubscriptions") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto stream = NewStream();
  MustAppend(one->client(), stream, NewEvents(5));
  Subscriber live(two->client(), Following(stream));
  REQUIRE(live.ReadUntil(Message::kCaughtUp));
  REQUIRE(Truncate(one->client(), stream, 4).ok());
  CHECK(VersionsOf(ReadStream(two->client(), stream).events) == std::vector<std::int64_t>{4, 5});
  Subscriber late(two->client(), Following(stream));
  CHECK(VersionsOf(late.NextEvents(2)) == std::vector<std::int64_t>{4, 5});
  MustAppend(two->client(), stream, NewEvents(1));
  CHECK(VersionsOf(late.NextEvents(1)) == std::vector<std::int64_t>{6});
  CHECK(live.NextEvents(6).size() == 6);
  CHECK(live.caught_up_count() == 1);
  CHECK(live.violation() == "");
}

TEST_CASE("WhatOneDaemonErasedTheOthersSubscribersAndReadersDoNotGet") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const auto stream = NewStream();
  MustAppend(two->client(), stream, {NewEvent("Named", kSecret), NewEvent("Named", kSecret)});
  Subscriber live(two->client(), v1::SubscribeRequest());
  CHECK(HasSecret(live.NextEvents(2)[0]));
  REQUIRE(live.ReadUntil(Message::kCaughtUp));
  CHECK(two->Metric("eventstore_ring_events").value_or(0) > 0);
  REQUIRE(Erase(one->client(), stream) == 2);
  CHECK(Eventually([&] { return two->Metric("eventstore_ring_events").value_or(9) == 0; }));
  Subscriber late(two->client(), v1::SubscribeRequest());
  for (const v1::Event& event : late.NextEvents(2)) {
    CHECK(event.erased());
    CHECK(event.content_type() == "application/x-erased");
    CHECK_FALSE(HasSecret(event));
  }
  for (const v1::Event& event : ReadStream(two->client(), stream).events) {
    CHECK_FALSE(HasSecret(event));
  }
  // Who was live stays so and misses nothing.
  MustAppend(one->client(), stream, NewEvents(1));
  CHECK(live.NextEvents(1).size() == 1);
  CHECK(live.violation() == "");
}

TEST_CASE("AGroupGivesAnErasedEventWithoutItsContentAgain") {
  auto one = Daemon::Start();
  auto two = Daemon::Start({.dsn = one->dsn()});
  const std::string group = UniqueName("g");
  v1::ConsumerGroupSettings settings;
  settings.set_lanes(1);
  SetMillis(20, settings.mutable_backoff_min());
  SetMillis(50, settings.mutable_backoff_max());
  CreateGroup(one->client(), group, settings);
  // The member's daemon is not the one that erases.
  Consumer consumer(two->client(), group, /*max_in_flight=*/1);
  REQUIRE(consumer.WaitForLanes(1));
  const auto stream = NewStream();
  MustAppend(one->client(), stream, {NewEvent("Named", kSecret), NewEvent("Named", kSecret)});
  const auto first = consumer.NextEvents(1);
  REQUIRE(first.size() == 1);
  CHECK(HasSecret(first[0]));
  // The second one waits in the group's memory.
  REQUIRE(Erase(one->client(), stream) == 2);
  REQUIRE(Eventually([&] { return two->Metric("eventstore_ring_events").value_or(9) == 0; }));
  REQUIRE(consumer.Nack(first[0], v1::NACK_ACTION_RETRY, "again"));
  for (int i = 0; i < 2; ++i) {
    const auto next = consumer.NextEvents(1);
    REQUIRE(next.size() == 1);
    CHECK(next[0].event().erased());
    CHECK(next[0].event().version() == i + 1);
    CHECK_FALSE(HasSecret(next[0].event()));
    REQUIRE(consumer.Ack(next));
  }
  CHECK(WaitForLagZero(one->client(), group));
}
