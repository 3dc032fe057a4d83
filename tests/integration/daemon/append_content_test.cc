// What is stored is what was sent: every field of an event, and appends over one call.
#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

Client& Shared() { return SharedDaemon().client(); }

v1::NewEvent FullEvent() {
  v1::NewEvent event =
      NewEvent("OrderPlaced", R"({"total": 12.50, "items": ["tea", "Käse 🧀"]})");
  event.set_content_type("application/json");
  event.mutable_timestamp()->set_seconds(1'600'000'000);
  event.mutable_timestamp()->set_nanos(123'456'000);
  event.set_actor_id("user-7");
  event.set_correlation_id("checkout-42");
  event.set_causation_id("command-9");
  (*event.mutable_metadata())["ip"] = "10.0.0.1";
  (*event.mutable_metadata())["straße \"1\""] = "";
  event.set_schema_version(3);
  event.add_tags("order:42");
  event.add_tags("customer:7");
  event.add_tags("order:42");
  return event;
}

v1::Event ReadOne(const v1::StreamId& stream) {
  const StreamRead read = ReadStream(Shared(), stream);
  INFO(read.status.Text());
  REQUIRE(read.status.ok());
  REQUIRE(read.events.size() == 1);
  return read.events[0];
}

// The stored event in the words of the request, with JSON left out.
v1::NewEvent AsSent(const v1::Event& event) {
  v1::NewEvent sent;
  sent.set_event_id(event.event_id());
  sent.set_event_type(event.event_type());
  sent.set_content_type(event.content_type());
  *sent.mutable_timestamp() = event.timestamp();
  sent.set_actor_id(event.actor_id());
  sent.set_correlation_id(event.correlation_id());
  sent.set_causation_id(event.causation_id());
  *sent.mutable_metadata() = event.metadata();
  sent.set_schema_version(event.schema_version());
  *sent.mutable_tags() = event.tags();
  return sent;
}

// Whether the database takes two JSON texts for the same value.
bool SameJson(const std::string& a, const std::string& b) {
  auto connection = Connect(SharedDaemon().dsn());
  auto result = connection->QueryOnce("SELECT $1::text::jsonb = $2::text::jsonb",
                                      pg::Params().Text(a).Text(b), In(kPatience));
  return result.ok() && result->Bool(0, 0);
}

}  // namespace

TEST_CASE("EveryFieldComesBackAsItWasSent") {
  auto stream = NewStream();
  stream.set_tenant_id(NewUuid());
  v1::NewEvent sent = FullEvent();
  const auto appended = MustAppend(Shared(), stream, {sent});
  const v1::Event stored = ReadOne(stream);
  CHECK(stored.stream().DebugString() == stream.DebugString());
  CHECK(stored.version() == 1);
  CHECK(stored.global_position() == appended.first_position());
  CHECK(stored.created_at().DebugString() == appended.created_at().DebugString());
  INFO(stored.payload());
  CHECK(SameJson(stored.payload(), sent.payload()));
  sent.clear_payload();
  sent.clear_tags();  // They come back sorted, each once.
  sent.add_tags("customer:7");
  sent.add_tags("order:42");
  INFO(AsSent(stored).DebugString() << " is not " << sent.DebugString());
  CHECK(google::protobuf::util::MessageDifferencer::Equals(AsSent(stored), sent));

  v1::GetEventRequest by_id;
  by_id.set_event_id(sent.event_id());
  v1::GetEventResponse found;
  REQUIRE(Shared().Unary("GetEvent", by_id, &found).ok());
  CHECK(google::protobuf::util::MessageDifferencer::Equals(found.event(), stored));
}

TEST_CASE("ALiveSubscriberGetsTheSameEventAsAReader") {
  auto stream = NewStream();
  stream.set_tenant_id(NewUuid());
  v1::SubscribeRequest request;
  *request.mutable_stream() = stream;
  Subscriber subscriber(Shared(), request);
  REQUIRE(subscriber.ReadUntil(v1::SubscribeResponse::kCaughtUp));
  MustAppend(Shared(), stream, {FullEvent()});
  auto live = subscriber.NextEvents(1);
  REQUIRE(live.size() == 1);
  v1::Event stored = ReadOne(stream);
  CHECK(SameJson(live[0].payload(), stored.payload()));
  live[0].clear_payload();
  stored.clear_payload();
  INFO(live[0].DebugString() << " is not " << stored.DebugString());
  CHECK(google::protobuf::util::MessageDifferencer::Equals(live[0], stored));
}

TEST_CASE("TenantsWithTheSameNamesHaveStreamsOfTheirOwn") {
  auto without = NewStream();
  auto one = without;
  auto two = without;
  one.set_tenant_id(NewUuid());
  two.set_tenant_id(NewUuid());
  MustAppend(Shared(), without, NewEvents(1));
  MustAppend(Shared(), one, NewEvents(2));
  MustAppend(Shared(), two, NewEvents(3));
  CHECK(GetInfo(Shared(), without).version() == 1);
  CHECK(GetInfo(Shared(), one).version() == 2);
  CHECK(GetInfo(Shared(), two).version() == 3);
}

TEST_CASE("BinaryPayloadsAreByteExact") {
  std::string bytes(256, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  const auto stream = NewStream();
  v1::NewEvent event = NewEvent("Scanned", bytes + bytes);
  event.set_content_type("application/octet-stream");
  v1::NewEvent empty = NewEvent("Scanned", "");
  empty.set_content_type("application/x-protobuf");
  MustAppend(Shared(), stream, {event, empty});
  const StreamRead read = ReadStream(Shared(), stream);
  REQUIRE(read.events.size() == 2);
  CHECK(read.events[0].payload() == bytes + bytes);
  CHECK(read.events[0].content_type() == "application/octet-stream");
  CHECK(read.events[1].payload().empty());
}

TEST_CASE("JsonIsEqualAsAValue") {
  const std::vector<std::string> texts = {
      R"({"b": 1, "a": [true, null, "\u00e9\n"], "c": {"d": -0.5e3}})",
      "[]",
      "\"text\"",
      "12345678901234567890.123456789",
      "null",
      R"({"emoji": "\ud83e\uddc0", "deep": [[[[[]]]]]})",
  };
  const auto stream = NewStream();
  std::vector<v1::NewEvent> events;
  for (const std::string& text : texts) events.push_back(NewEvent("Any", text));
  MustAppend(Shared(), stream, events);
  const StreamRead read = ReadStream(Shared(), stream);
  REQUIRE(read.events.size() == texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO(texts[i] << " came back as " << read.events[i].payload());
    CHECK(SameJson(read.events[i].payload(), texts[i]));
  }
}

TEST_CASE("WhatIsAbsentGetsItsDefault") {
  const auto stream = NewStream();
  const auto appended = MustAppend(Shared(), stream, NewEvents(1));
  const v1::Event stored = ReadOne(stream);
  CHECK(stored.timestamp().DebugString() == appended.created_at().DebugString());
  CHECK(stored.content_type() == "application/json");
  CHECK(stored.schema_version() == 1);
  CHECK(stored.actor_id().empty());
  CHECK(stored.correlation_id().empty());
  CHECK(stored.causation_id().empty());
  CHECK(stored.metadata().empty());
  CHECK(stored.tags().empty());
  CHECK(stored.stream().tenant_id().empty());
}

TEST_CASE("PositionsOfOneAppendAreConsecutiveAndDenseOverAppends") {
  auto daemon = Daemon::Start();
  std::int64_t position = 0;
  for (int count = 1; count <= 5; ++count) {
    const auto appended = MustAppend(daemon->client(), NewStream(), NewEvents(count));
    CHECK(appended.first_position() == position + 1);
    CHECK(appended.last_position() == position + count);
    CHECK(appended.event_ids_size() == count);
    position += count;
  }
  // What failed took no position.
  v1::AppendEventsResponse response;
  CHECK_FALSE(
      Append(daemon->client(), AppendRequest(NewStream(), Exact(7), NewEvents(1)), &response).ok());
  CHECK(MustAppend(daemon->client(), NewStream(), NewEvents(1)).first_position() == position + 1);
}

TEST_CASE("OverOneCallManyAppendsAreInFlightAndFailuresInTheMiddleFailAlone") {
  const auto call = Shared().Start("AppendEventsStream");
  constexpr int kAppends = 300;
  std::vector<v1::StreamId> streams;
  for (int i = 0; i < kAppends; ++i) {
    streams.push_back(NewStream());
    v1::AppendEventsStreamRequest request;
    request.set_correlation_id(static_cast<std::uint64_t>(1000 + i));
    *request.mutable_append() = AppendRequest(streams.back(), NoStream(), NewEvents(2));
    if (i % 10 == 3) *request.mutable_append()->mutable_expected_version() = Exact(5);
    if (i % 10 == 5) request.mutable_append()->mutable_events(1)->set_payload("{broken");
    if (i % 10 == 7) request.clear_append();
    REQUIRE(call->Write(request.SerializeAsString()));
  }
  call->WritesDone();
  std::map<std::uint64_t, v1::AppendEventsStreamResponse> answers;
  while (auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call)) {
    CHECK(answers.emplace(answer->correlation_id(), *answer).second);
  }
  const CallStatus status = call->Finish();
  INFO(status.Text());
  CHECK(status.ok());
  REQUIRE(answers.size() == kAppends);
  for (int i = 0; i < kAppends; ++i) {
    const auto& answer = answers.at(static_cast<std::uint64_t>(1000 + i));
    INFO(i << ": " << answer.ShortDebugString());
    const bool good = i % 10 != 3 && i % 10 != 5 && i % 10 != 7;
    REQUIRE(answer.has_appended() == good);
    if (good) {
      CHECK(answer.appended().first_version() == 1);
    } else {
      const CallStatus error = StatusOf(answer.error().code(), answer.error().message(),
                                        answer.error().SerializeAsString());
      CHECK(error.reason() == (i % 10 == 3   ? v1::ERROR_REASON_VERSION_CONFLICT
                               : i % 10 == 5 ? v1::ERROR_REASON_INVALID_EVENT
                                             : v1::ERROR_REASON_INVALID_REQUEST));
    }
    if (i < 20) CHECK(GetInfo(Shared(), streams[static_cast<std::size_t>(i)]).exists() == good);
  }
}

TEST_CASE("AppendsToOneStreamOverOneCallKeepTheirOrder") {
  const auto call = Shared().Start("AppendEventsStream");
  const auto stream = NewStream();
  std::vector<std::string> ids;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    v1::AppendEventsStreamRequest request;
    request.set_correlation_id(i);
    const auto events = NewEvents(1);
    ids.push_back(events[0].event_id());
    // Each relies on the one before it, which has no answer yet.
    *request.mutable_append() = AppendRequest(
        stream, i == 1 ? NoStream() : Exact(static_cast<std::int64_t>(i) - 1), events);
    REQUIRE(call->Write(request.SerializeAsString()));
  }
  call->WritesDone();
  int appended = 0;
  while (auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call)) {
    INFO(answer->ShortDebugString());
    CHECK(answer->has_appended());
    ++appended;
  }
  CHECK(appended == 100);
  CHECK(IdsOf(ReadStream(Shared(), stream).events) == ids);
}
