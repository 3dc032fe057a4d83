// What the contract says of AppendEvents, one rule a test.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;
using v1::AppendEventsResponse;

namespace {

Client& Shared() { return SharedDaemon().client(); }

struct Appended {
  CallStatus status;
  AppendEventsResponse response;
};

Appended TryAppend(const v1::StreamId& stream, const v1::ExpectedVersion& expected,
                   const std::vector<v1::NewEvent>& events) {
  Appended result;
  result.status = Append(Shared(), AppendRequest(stream, expected, events), &result.response);
  return result;
}

void RequireConflict(const Appended& result, const v1::StreamId& stream,
                     const v1::ExpectedVersion& expected, std::int64_t actual) {
  INFO(result.status.Text());
  REQUIRE(result.status.code == absl::StatusCode::kAborted);
  REQUIRE(result.status.reason() == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(result.status.info().stream().aggregate_id() == stream.aggregate_id());
  CHECK(result.status.info().stream().aggregate_type() == stream.aggregate_type());
  CHECK(result.status.info().expected().SerializeAsString() == expected.SerializeAsString());
  CHECK(result.status.info().actual() == actual);
}

void RequireRefused(const Appended& result, v1::ErrorReason reason, const std::string& field) {
  INFO(result.status.Text());
  REQUIRE(result.status.code == absl::StatusCode::kInvalidArgument);
  REQUIRE(result.status.reason() == reason);
  CHECK(result.status.info().field() == field);
}

void RequireSame(const AppendEventsResponse& replay, const AppendEventsResponse& first) {
  CHECK(replay.deduplicated());
  AppendEventsResponse expected = first;
  expected.set_deduplicated(true);
  CHECK(replay.DebugString() == expected.DebugString());
}

}  // namespace

TEST_CASE("NoStreamOnANewStreamGivesVersionOne") {
  const auto result = TryAppend(NewStream(), NoStream(), NewEvents(1));
  INFO(result.status.Text());
  REQUIRE(result.status.ok());
  CHECK(result.response.first_version() == 1);
  CHECK(result.response.last_version() == 1);
  CHECK(result.response.first_position() == result.response.last_position());
  CHECK(result.response.has_created_at());
  CHECK_FALSE(result.response.deduplicated());
}

TEST_CASE("NoStreamOnAStreamWithTwoEventsConflictsWithActualTwo") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(2));
  RequireConflict(TryAppend(stream, NoStream(), NewEvents(1)), stream, NoStream(), 2);
  CHECK(GetInfo(Shared(), stream).version() == 2);
}

TEST_CASE("StreamExistsOnAMissingStreamConflictsWithActualZero") {
  const auto stream = NewStream();
  RequireConflict(TryAppend(stream, StreamExists(), NewEvents(1)), stream, StreamExists(), 0);
  CHECK_FALSE(GetInfo(Shared(), stream).exists());
}

TEST_CASE("Exact999AtOneConflictsWithBothNumbers") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(1));
  RequireConflict(TryAppend(stream, Exact(999), NewEvents(1)), stream, Exact(999), 1);
}

TEST_CASE("ExpectationsThatHoldAreTaken") {
  const auto stream = NewStream();
  CHECK(TryAppend(stream, Any(), NewEvents(1)).status.ok());
  CHECK(TryAppend(stream, Exact(1), NewEvents(2)).response.last_version() == 3);
  CHECK(TryAppend(stream, StreamExists(), NewEvents(1)).response.first_version() == 4);
  CHECK(TryAppend(stream, Any(), NewEvents(1)).response.first_version() == 5);
}

TEST_CASE("OfManyWritersWithTheSameExpectationOneWins") {
  const auto stream = NewStream();
  MustAppend(Shared(), stream, NewEvents(1));
  constexpr int kWriters = 20;
  const auto call = Shared().Start("AppendEventsStream");
  for (int i = 0; i < kWriters; ++i) {
    v1::AppendEventsStreamRequest request;
    request.set_correlation_id(static_cast<std::uint64_t>(i));
    *request.mutable_append() = AppendRequest(stream, Exact(1), NewEvents(1));
    REQUIRE(call->Write(request.SerializeAsString()));
  }
  call->WritesDone();
  int won = 0;
  int lost = 0;
  while (auto answer = ReadMessage<v1::AppendEventsStreamResponse>(*call)) {
    ++(answer->has_appended() ? won : lost);
  }
  CHECK(call->Finish().ok());
  CHECK(won == 1);
  CHECK(lost == kWriters - 1);
  CHECK(GetInfo(Shared(), stream).version() == 2);
}

TEST_CASE("AProducerThatDiesInTheMiddleOfARequestLeavesNothingVisible") {
  const auto stream = NewStream();
  // The whole message never arrives: its last bytes are cut off, and then the client is gone.
  const std::string bytes = AppendRequest(stream, Any(), NewEvents(3)).SerializeAsString();
  {
    Client doomed(SharedDaemon().port());
    const auto call = doomed.Start("AppendEvents");
    call->Cancel();
    CHECK(call->Finish().code == absl::StatusCode::kCancelled);
    std::string response;
    const CallStatus cut = doomed.Raw("AppendEvents", bytes.substr(0, bytes.size() - 2), &response);
    INFO(cut.Text());
    CHECK(cut.code == absl::StatusCode::kInvalidArgument);
  }
  MustAppend(Shared(), NewStream(), NewEvents(1));  // The lane went past whatever there was.
  const StreamRead read = ReadStream(Shared(), stream);
  CHECK(read.status.ok());
  CHECK_FALSE(read.info.exists());
  CHECK(read.events.empty());
}

TEST_CASE("AnAppendWithoutEventsIsAnInvalidRequest") {
  RequireRefused(TryAppend(NewStream(), Any(), {}), v1::ERROR_REASON_INVALID_REQUEST, "events");
}

TEST_CASE("AnUnsetExpectedVersionIsAnInvalidRequest") {
  const auto stream = NewStream();
  RequireRefused(TryAppend(stream, v1::ExpectedVersion(), NewEvents(1)),
                 v1::ERROR_REASON_INVALID_REQUEST, "expected_version");
  CHECK_FALSE(GetInfo(Shared(), stream).exists());
}

TEST_CASE("TheSameIdsAgainReturnTheFirstResultWhateverVersionTheyExpect") {
  const auto stream = NewStream();
  const auto events = NewEvents(3);
  const auto first = TryAppend(stream, NoStream(), events);
  REQUIRE(first.status.ok());
  MustAppend(Shared(), stream, NewEvents(2));
  for (const auto& expected : {Any(), NoStream(), StreamExists(), Exact(1), Exact(999)}) {
    const auto again = TryAppend(stream, expected, events);
    INFO(again.status.Text());
    REQUIRE(again.status.ok());
    RequireSame(again.response, first.response);
  }
  CHECK(GetInfo(Shared(), stream).version() == 5);
}

TEST_CASE("AReplayNeedNotRepeatThePayload") {
  const auto stream = NewStream();
  auto events = NewEvents(1);
  const auto first = TryAppend(stream, NoStream(), events);
  events[0].set_payload("{\"other\": true}");
  RequireSame(TryAppend(stream, NoStream(), events).response, first.response);
  CHECK(ReadStream(Shared(), stream).events.at(0).payload().find("number") != std::string::npos);
}

TEST_CASE("AConsecutiveSubsetOfAnEarlierAppendIsAReplay") {
  const auto stream = NewStream();
  const auto events = NewEvents(4);
  const auto first = TryAppend(stream, NoStream(), events);
  REQUIRE(first.status.ok());
  const auto again = TryAppend(stream, Exact(1), {events[1], events[2]});
  INFO(again.status.Text());
  REQUIRE(again.status.ok());
  CHECK(again.response.deduplicated());
  CHECK(again.response.first_version() == 2);
  CHECK(again.response.last_version() == 3);
  CHECK(again.response.first_position() == first.response.first_position() + 1);
  CHECK(again.response.last_position() == first.response.first_position() + 2);
  REQUIRE(again.response.event_ids_size() == 2);
  CHECK(again.response.event_ids(0) == events[1].event_id());
}

TEST_CASE("AReplayOverTwoAppendsThatFollowEachOtherIsAReplay") {
  const auto stream = NewStream();
  const auto events = NewEvents(4);
  MustAppend(Shared(), stream, {events[0], events[1]});
  MustAppend(Shared(), NewStream(), NewEvents(1));  // Their positions are apart.
  MustAppend(Shared(), stream, {events[2], events[3]});
  const auto again = TryAppend(stream, NoStream(), events);
  INFO(again.status.Text());
  REQUIRE(again.status.ok());
  CHECK(again.response.deduplicated());
  CHECK(again.response.first_version() == 1);
  CHECK(again.response.last_version() == 4);
}

TEST_CASE("OldIdsAmongNewOnesAreDuplicatesAndNothingIsWritten") {
  const auto stream = NewStream();
  const auto events = NewEvents(2);
  const auto first = MustAppend(Shared(), stream, events);
  const auto fresh = NewEvents(1).front();
  // Mixed; in another order; with a hole.
  const auto more = NewEvents(1).front();
  for (const auto& mixed : std::vector<std::vector<v1::NewEvent>>{
           {events[0], fresh}, {fresh, events[1]}, {events[1], events[0]}}) {
    const auto result = TryAppend(stream, Any(), mixed);
    INFO(result.status.Text());
    REQUIRE(result.status.code == absl::StatusCode::kAlreadyExists);
    REQUIRE(result.status.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    const auto& info = result.status.info();
    const bool is_first = info.event_id() == events[0].event_id();
    CHECK((is_first || info.event_id() == events[1].event_id()));
    CHECK(info.position() == first.first_position() + (is_first ? 0 : 1));
  }
  CHECK(GetInfo(Shared(), stream).version() == 2);
  CHECK(TryAppend(stream, Exact(2), {fresh, more}).response.last_version() == 4);
}

TEST_CASE("TheSameIdInAnotherStreamIsADuplicateAndNothingIsWritten") {
  const auto stream = NewStream();
  const auto other = NewStream();
  const auto events = NewEvents(1);
  const auto first = MustAppend(Shared(), stream, events);
  const auto result = TryAppend(other, NoStream(), events);
  INFO(result.status.Text());
  REQUIRE(result.status.code == absl::StatusCode::kAlreadyExists);
  REQUIRE(result.status.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
  CHECK(result.status.info().event_id() == events[0].event_id());
  CHECK(result.status.info().position() == first.first_position());
  CHECK(result.status.info().stream().aggregate_id() == stream.aggregate_id());
  CHECK_FALSE(GetInfo(Shared(), other).exists());
}

TEST_CASE("TheSameIdTwiceInOneRequestIsAnInvalidRequest") {
  auto events = NewEvents(2);
  events[1].set_event_id(events[0].event_id());
  RequireRefused(TryAppend(NewStream(), Any(), events), v1::ERROR_REASON_INVALID_REQUEST,
                 "events[1].event_id");
}

TEST_CASE("IdsOnSomeEventsOnlyAreAnInvalidRequest") {
  auto events = NewEvents(3);
  events[1].clear_event_id();
  RequireRefused(TryAppend(NewStream(), Any(), events), v1::ERROR_REASON_INVALID_REQUEST,
                 "events[1].event_id");
}

TEST_CASE("WithoutIdsTheServerMakesThemAndTellsThem") {
  const auto stream = NewStream();
  auto events = NewEvents(3);
  for (auto& event : events) event.clear_event_id();
  const auto first = TryAppend(stream, Any(), events);
  REQUIRE(first.status.ok());
  const auto second = TryAppend(stream, Any(), events);  // Not a retry: it appends again.
  CHECK_FALSE(second.response.deduplicated());
  CHECK(second.response.first_version() == 4);
  std::vector<std::string> told(first.response.event_ids().begin(),
                                first.response.event_ids().end());
  told.insert(told.end(), second.response.event_ids().begin(), second.response.event_ids().end());
  CHECK(told == IdsOf(ReadStream(Shared(), stream).events));
  CHECK(std::set<std::string>(told.begin(), told.end()).size() == 6);
  for (const std::string& id : told) CHECK(id.at(14) == '7');  // UUIDv7
}

TEST_CASE("OneEventOverTheSizeLimitIsTooLargeAndNamed") {
  const auto stream = NewStream();
  auto events = NewEvents(3);
  events[1].set_payload("\"" + std::string(1 << 20, 'x') + "\"");
  const auto result = TryAppend(stream, Any(), events);
  INFO(result.status.Text().substr(0, 500));
  REQUIRE(result.status.code == absl::StatusCode::kInvalidArgument);
  REQUIRE(result.status.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(result.status.info().limit_name() == "event_bytes_max");
  CHECK(result.status.info().limit() == 1 << 20);
  CHECK(result.status.info().value() > 1 << 20);
  CHECK(result.status.info().index() == 1);
  CHECK_FALSE(GetInfo(Shared(), stream).exists());
}

TEST_CASE("AnExpiredDeadlineWritesNothing") {
  const auto stream = NewStream();
  auto daemon = Daemon::Start();
  {
    LockedHead nobody_commits(daemon->dsn());
    AppendEventsResponse response;
    // The first holds the lane; the second's deadline passes in the queue.
    const auto holder =
        daemon->client().Stream("AppendEvents", AppendRequest(NewStream(), Any(), NewEvents(1)));
    REQUIRE(WaitForBlockedSessions(daemon->dsn(), 1));
    const CallStatus status = Append(daemon->client(), AppendRequest(stream, Any(), NewEvents(1)),
                                     &response, std::chrono::milliseconds(300));
    INFO(status.Text());
    CHECK(status.code == absl::StatusCode::kDeadlineExceeded);
  }
  MustAppend(daemon->client(), NewStream(), NewEvents(1));
  CHECK_FALSE(GetInfo(daemon->client(), stream).exists());
}
