// What the contract says of ReadStream, and of looking up single things.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using Versions = std::vector<std::int64_t>;

namespace {

Client& Shared() { return SharedDaemon().client(); }

v1::ReadStreamRequest ReadRequest(const v1::StreamId& stream) {
  v1::ReadStreamRequest request;
  *request.mutable_stream() = stream;
  return request;
}

Versions Read(const v1::ReadStreamRequest& request) {
  const StreamRead read = ReadStream(Shared(), request);
  INFO(read.status.Text());
  REQUIRE(read.status.ok());
  REQUIRE(read.info_first);
  return VersionsOf(read.events);
}

// A stream with versions 1 to 10.
const v1::StreamId& TenEvents() {
  static const v1::StreamId stream = [] {
    auto made = NewStream();
    MustAppend(Shared(), made, NewEvents(4));
    MustAppend(Shared(), NewStream(), NewEvents(3));
    MustAppend(Shared(), made, NewEvents(6));
    return made;
  }();
  return stream;
}

}  // namespace

TEST_CASE("AStreamIsReadInVersionOrderWithItsInfoFirst") {
  const StreamRead read = ReadStream(Shared(), TenEvents());
  REQUIRE(read.status.ok());
  CHECK(read.info_first);
  CHECK(read.info.exists());
  CHECK(read.info.version() == 10);
  CHECK(read.info.first_version() == 1);
  CHECK_FALSE(read.info.deleted());
  CHECK(read.info.DebugString() == GetInfo(Shared(), TenEvents()).DebugString());
  CHECK(VersionsOf(read.events) == Versions{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(read.info.created_at().DebugString() == read.events.front().created_at().DebugString());
  CHECK(read.info.updated_at().DebugString() == read.events.back().created_at().DebugString());
}

TEST_CASE("BackwardsFromTheEnd") {
  auto request = ReadRequest(TenEvents());
  request.set_direction(v1::DIRECTION_BACKWARDS);
  CHECK(Read(request) == Versions{10, 9, 8, 7, 6, 5, 4, 3, 2, 1});
  request.set_limit(3);
  CHECK(Read(request) == Versions{10, 9, 8});
  request.set_from_version(6);
  CHECK(Read(request) == Versions{6, 5, 4});
  request.set_limit(0);
  request.set_to_version(4);
  CHECK(Read(request) == Versions{6, 5, 4});
}

TEST_CASE("FromPastTheEnd") {
  auto request = ReadRequest(TenEvents());
  request.set_from_version(11);
  CHECK(Read(request).empty());
  request.set_from_version(INT64_MAX);
  CHECK(Read(request).empty());
  request.set_direction(v1::DIRECTION_BACKWARDS);
  request.set_limit(2);
  CHECK(Read(request) == Versions{10, 9});
}

TEST_CASE("ForwardsFromTheMiddleWithALimit") {
  auto request = ReadRequest(TenEvents());
  request.set_from_version(4);
  request.set_limit(3);
  CHECK(Read(request) == Versions{4, 5, 6});
  request.set_limit(0);
  request.set_to_version(5);
  CHECK(Read(request) == Versions{4, 5});
  request.set_to_version(100);
  CHECK(Read(request) == Versions{4, 5, 6, 7, 8, 9, 10});
  request.set_limit(INT64_MAX);
  CHECK(Read(request).size() == 7);
}

TEST_CASE("AMissingStreamReadsAsNotExistingAndNoError") {
  const auto stream = NewStream();
  const StreamRead read = ReadStream(Shared(), stream);
  CHECK(read.status.ok());
  CHECK(read.info_first);
  CHECK_FALSE(read.info.exists());
  CHECK(read.info.version() == 0);
  CHECK(read.info.first_version() == 0);
  CHECK_FALSE(read.info.has_created_at());
  CHECK(read.info.stream().aggregate_id() == stream.aggregate_id());
  CHECK(read.events.empty());
}

TEST_CASE("ALongStreamComesWholeOverManyPagesAndMessages") {
  const auto stream = NewStream();
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    const auto events = NewEvents(700);
    MustAppend(Shared(), stream, events);
    for (const auto& event : events) ids.push_back(event.event_id());
  }
  const StreamRead read = ReadStream(Shared(), stream);
  CHECK(read.status.ok());
  CHECK(IdsOf(read.events) == ids);
  auto request = ReadRequest(stream);
  request.set_direction(v1::DIRECTION_BACKWARDS);
  std::reverse(ids.begin(), ids.end());
  CHECK(IdsOf(ReadStream(Shared(), request).events) == ids);
  request.set_limit(1501);
  CHECK(ReadStream(Shared(), request).events.size() == 1501);
}

TEST_CASE("AReadEndsAtTheHeadOfItsStartAlthoughAppendsGoOn") {
  auto daemon = Daemon::Start({.settings = {{"reader.page_events_max", "100"}}});
  const auto stream = NewStream();
  std::string filler(4000, 'x');
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < 500; ++i) events.push_back(NewEvent("Filled", "\"" + filler + "\""));
  std::int64_t head = 0;
  for (int i = 0; i < 12; ++i) {
    for (auto& event : events) event.set_event_id(NewUuid());
    head = MustAppend(daemon->client(), stream, events).last_position();
  }
  // 24 MB: more than gRPC and the server buffer for a client that does not read.
  Client reader(daemon->port());
  const auto of_stream = reader.Stream("ReadStream", ReadRequest(stream));
  const auto of_all = reader.Stream("ReadAll", v1::ReadAllRequest());
  const auto first_of_stream = ReadMessage<v1::ReadStreamResponse>(*of_stream);
  const auto first_of_all = ReadMessage<v1::ReadAllResponse>(*of_all);
  REQUIRE(first_of_stream.has_value());
  REQUIRE(first_of_all.has_value());
  CHECK(first_of_all->head_position() == head);
  for (int i = 0; i < 5; ++i) MustAppend(daemon->client(), stream, NewEvents(10));
  std::int64_t last_version = 0;
  while (auto message = ReadMessage<v1::ReadStreamResponse>(*of_stream)) {
    last_version = message->events().events().rbegin()->version();
  }
  CHECK(of_stream->Finish().ok());
  CHECK(last_version == 6000);
  std::int64_t last_position = 0;
  while (auto message = ReadMessage<v1::ReadAllResponse>(*of_all)) {
    last_position = message->events().position();
    CHECK(message->head_position() == head);
  }
  CHECK(of_all->Finish().ok());
  CHECK(last_position == head);
  CHECK(GetHead(daemon->client()).position() == head + 50);
}

TEST_CASE("PositionsReadEqualPositionsThatTheAppendReturned") {
  const auto stream = NewStream();
  const auto one = MustAppend(Shared(), stream, NewEvents(2));
  const auto two = MustAppend(Shared(), stream, NewEvents(1));
  const std::vector<std::int64_t> told = {one.first_position(), one.last_position(),
                                          two.first_position()};
  CHECK(PositionsOf(ReadStream(Shared(), stream).events) == told);
  v1::ReadAllRequest request;
  request.set_after_position(one.first_position() - 1);
  request.mutable_filter()->add_aggregate_id_prefixes(stream.aggregate_id());
  CHECK(PositionsOf(ReadAll(Shared(), request).events) == told);
}

TEST_CASE("ATimeWindowIsInclusiveAtItsStartAndExclusiveAtItsEnd") {
  const auto stream = NewStream();
  auto events = NewEvents(5);
  for (int i = 0; i < 5; ++i) {
    // Not in the order of the versions: the domain's clock is the domain's.
    events[static_cast<std::size_t>(i)].mutable_timestamp()->set_seconds(1'000'000'000 +
                                                                         (i * 3) % 5);
  }
  MustAppend(Shared(), stream, events);  // seconds 0, 3, 1, 4, 2
  auto request = ReadRequest(stream);
  request.mutable_from_timestamp()->set_seconds(1'000'000'001);
  CHECK(Read(request) == Versions{2, 3, 4, 5});
  request.mutable_to_timestamp()->set_seconds(1'000'000'003);
  CHECK(Read(request) == Versions{3, 5});
  request.clear_from_timestamp();
  CHECK(Read(request) == Versions{1, 3, 5});
  request.set_limit(2);
  CHECK(Read(request) == Versions{1, 3});
  request.set_direction(v1::DIRECTION_BACKWARDS);
  CHECK(Read(request) == Versions{5, 3});

  v1::ReadAllRequest all;
  all.mutable_filter()->add_aggregate_id_prefixes(stream.aggregate_id());
  all.mutable_from_timestamp()->set_seconds(1'000'000'003);
  all.mutable_to_timestamp()->set_seconds(1'000'000'005);
  CHECK(VersionsOf(ReadAll(Shared(), all).events) == Versions{2, 4});
}

TEST_CASE("WhatIsAcknowledgedIsReadAtOnce") {
  const auto stream = NewStream();
  for (std::int64_t version = 1; version <= 20; ++version) {
    const auto appended = MustAppend(Shared(), stream, NewEvents(1));
    CHECK(GetInfo(Shared(), stream).version() == version);
    CHECK(GetHead(Shared()).position() >= appended.last_position());
    auto request = ReadRequest(stream);
    request.set_from_version(version);
    CHECK(Read(request) == Versions{version});
  }
}

TEST_CASE("GetEventFindsAnEventOfItsTenantOnly") {
  auto stream = NewStream();
  stream.set_tenant_id(NewUuid());
  const auto events = NewEvents(1);
  MustAppend(Shared(), stream, events);
  v1::GetEventRequest request;
  request.set_event_id(events[0].event_id());
  v1::GetEventResponse response;
  REQUIRE(Shared().Unary("GetEvent", request, &response).ok());
  CHECK(response.event().event_id() == events[0].event_id());
  CHECK(response.event().stream().tenant_id() == stream.tenant_id());
  request.set_tenant_id(stream.tenant_id());
  CHECK(Shared().Unary("GetEvent", request, &response).ok());
  request.set_tenant_id(NewUuid());
  const CallStatus other = Shared().Unary("GetEvent", request, &response);
  CHECK(other.code == absl::StatusCode::kNotFound);
  CHECK(other.reason() == v1::ERROR_REASON_NOT_FOUND);
  CHECK(other.message.find(stream.tenant_id()) == std::string::npos);
}

TEST_CASE("GetEventOfAnUnknownIdIsNotFound") {
  v1::GetEventRequest request;
  request.set_event_id(NewUuid());
  v1::GetEventResponse response;
  const CallStatus status = Shared().Unary("GetEvent", request, &response);
  INFO(status.Text());
  CHECK(status.code == absl::StatusCode::kNotFound);
  CHECK(status.reason() == v1::ERROR_REASON_NOT_FOUND);
  CHECK_FALSE(status.info().field().empty());
  CHECK(status.message.find(request.event_id()) != std::string::npos);
}

TEST_CASE("GetHeadTellsPositionEpochStoreAndTime") {
  auto daemon = Daemon::Start();
  const auto empty = GetHead(daemon->client());
  CHECK(empty.position() == 0);
  CHECK(empty.epoch() == 1);
  CHECK(empty.store_id().size() == 36);
  CHECK_FALSE(empty.has_created_at());
  const auto appended = MustAppend(daemon->client(), NewStream(), NewEvents(3));
  const auto head = GetHead(daemon->client());
  CHECK(head.position() == 3);
  CHECK(head.store_id() == empty.store_id());
  CHECK(head.created_at().DebugString() == appended.created_at().DebugString());
}

TEST_CASE("ListStreamsPagesThroughAllInOrderEachOnce") {
  const std::string type = UniqueName("Listed");
  const std::string tenant = NewUuid();
  std::set<std::string> names;
  for (int i = 0; i < 25; ++i) {
    auto stream = NewStream(type);
    stream.set_aggregate_id((i < 10 ? "a-" : "b-") + stream.aggregate_id());
    if (i % 5 == 0) stream.set_tenant_id(tenant);
    MustAppend(Shared(), stream, NewEvents(1 + i % 3));
    names.insert(stream.tenant_id() + "/" + stream.aggregate_id());
  }
  const auto list = [&](v1::ListStreamsRequest request) {
    std::vector<std::string> found;
    for (int page = 0; page < 1000; ++page) {
      v1::ListStreamsResponse response;
      const CallStatus status = Shared().Unary("ListStreams", request, &response);
      INFO(status.Text());
      REQUIRE(status.ok());
      CHECK(response.streams_size() <= (request.page_size() > 0 ? request.page_size() : 100));
      for (const auto& info : response.streams()) {
        CHECK(info.exists());
        CHECK(info.version() >= 1);
        CHECK(info.has_created_at());
        found.push_back(info.stream().tenant_id() + "/" + info.stream().aggregate_id());
      }
      request.set_page_token(response.next_page_token());
      if (response.next_page_token().empty()) return found;
    }
    FAIL("the pages do not end");
    return found;
  };
  v1::ListStreamsRequest request;
  request.set_aggregate_type(type);
  request.set_page_size(7);
  auto found = list(request);
  CHECK(std::is_sorted(found.begin(), found.end()));
  CHECK(found.size() == names.size());
  CHECK(std::set<std::string>(found.begin(), found.end()) == names);

  request.set_aggregate_id_prefix("a-");
  CHECK(list(request).size() == 10);
  request.set_tenant_id(tenant);
  CHECK(list(request).size() == 2);
  request.clear_aggregate_id_prefix();
  request.set_page_size(1);
  CHECK(list(request).size() == 5);
  request.clear_aggregate_type();
  request.set_page_size(0);
  CHECK(list(request).size() == 5);
  request.set_tenant_id(NewUuid());
  CHECK(list(request).empty());
}

TEST_CASE("APageTokenThatTheServerDidNotMakeIsAnInvalidRequest") {
  v1::ListStreamsRequest request;
  v1::ListStreamsResponse response;
  for (const std::string token : {"!", "bm9uc2Vuc2U", "////", "MDAw"}) {
    request.set_page_token(token);
    const CallStatus status = Shared().Unary("ListStreams", request, &response);
    INFO(token << ": " << status.Text());
    CHECK(status.code == absl::StatusCode::kInvalidArgument);
    CHECK(status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
    CHECK(status.info().field() == "page_token");
  }
}
