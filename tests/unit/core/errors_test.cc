#include "server/core/errors.h"

#include <absl/strings/cord.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "google/rpc/status.pb.h"

#include "server/core/json_check.h"

namespace eventstore {
namespace {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

v1::ErrorInfo Only(const absl::Status& status) {
  const std::vector<v1::ErrorInfo> details = DetailsOf(status);
  REQUIRE(details.size() == 1);
  CHECK(details[0].message() == Message(status));
  CHECK(CodeOf(details[0].reason()) == status.code());
  CHECK_FALSE(details[0].truncated());
  CHECK(details[0].total() == 0);
  return details[0];
}

google::rpc::Status Packed(const absl::Status& status) {
  google::rpc::Status packed;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.Status");
  REQUIRE(payload.has_value());
  REQUIRE(packed.ParseFromString(std::string(*payload)));
  return packed;
}

v1::StreamId Stream(std::string type, std::string id, std::string tenant = "") {
  v1::StreamId stream;
  stream.set_aggregate_type(std::move(type));
  stream.set_aggregate_id(std::move(id));
  stream.set_tenant_id(std::move(tenant));
  return stream;
}

v1::ErrorInfo Invalid(std::string message) {
  v1::ErrorInfo detail;
  detail.set_reason(v1::ERROR_REASON_INVALID_EVENT);
  detail.set_message(std::move(message));
  return detail;
}

TEST_CASE("A separate status has all that the other has", "[errors]") {
  const absl::Status status = TooLarge("events", "request_events_max", 1000, 1001);
  const absl::Status copy = Separate(status);
  CHECK(copy == status);
  REQUIRE(DetailsOf(copy).size() == 1);
  CHECK(DetailsOf(copy)[0].limit() == 1000);
  CHECK(Separate(absl::OkStatus()).ok());
}

TEST_CASE("EveryReasonHasItsCode") {
  using Code = absl::StatusCode;
  const std::vector<std::pair<v1::ErrorReason, Code>> table = {
      {v1::ERROR_REASON_VERSION_CONFLICT, Code::kAborted},
      {v1::ERROR_REASON_CONDITION_FAILED, Code::kAborted},
      {v1::ERROR_REASON_DUPLICATE_EVENT_ID, Code::kAlreadyExists},
      {v1::ERROR_REASON_STREAM_DELETED, Code::kFailedPrecondition},
      {v1::ERROR_REASON_INVALID_EVENT, Code::kInvalidArgument},
      {v1::ERROR_REASON_INVALID_REQUEST, Code::kInvalidArgument},
      {v1::ERROR_REASON_TOO_LARGE, Code::kInvalidArgument},
      {v1::ERROR_REASON_OVERLOADED, Code::kResourceExhausted},
      {v1::ERROR_REASON_STORE_UNAVAILABLE, Code::kUnavailable},
      {v1::ERROR_REASON_POSITION_AHEAD, Code::kOutOfRange},
      {v1::ERROR_REASON_ARCHIVED, Code::kOutOfRange},
      {v1::ERROR_REASON_SLOW_CONSUMER, Code::kAborted},
      {v1::ERROR_REASON_NOT_FOUND, Code::kNotFound},
      {v1::ERROR_REASON_ALREADY_EXISTS, Code::kAlreadyExists},
      {v1::ERROR_REASON_UNAUTHENTICATED, Code::kUnauthenticated},
      {v1::ERROR_REASON_PERMISSION_DENIED, Code::kPermissionDenied},
  };
  for (const auto& [reason, code] : table) {
    CAPTURE(v1::ErrorReason_Name(reason));
    CHECK(CodeOf(reason) == code);
  }
  // A reason that is added to the contract needs a line above; "unspecified" is never used.
  CHECK(static_cast<int>(table.size()) == v1::ErrorReason_descriptor()->value_count() - 1);
}

TEST_CASE("VersionConflictsSayWhatIsThereAndWhatWasExpected") {
  const v1::StreamId stream = Stream("Order", "42");
  v1::ExpectedVersion expected;
  expected.set_exact(2);
  const absl::Status status = VersionConflict(stream, expected, 3);
  const v1::ErrorInfo detail = Only(status);
  CHECK(Message(status) ==
        "stream Order/42 is at version 3, not at the expected 2; reload it and decide again");
  CHECK(detail.reason() == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(detail.stream().aggregate_type() == "Order");
  CHECK(detail.expected().exact() == 2);
  CHECK(detail.actual() == 3);

  CHECK(Message(VersionConflict(stream, expected, 0)) ==
        "stream Order/42 has no events, not the expected 2; reload it and decide again");
  expected.mutable_no_stream();
  CHECK(Message(VersionConflict(stream, expected, 2)) ==
        "stream Order/42 is at version 2, but was expected to have none; reload it and decide "
        "again");
  expected.mutable_stream_exists();
  CHECK(Message(VersionConflict(stream, expected, 0)) ==
        "stream Order/42 has no events, but was expected to have some; reload it and decide "
        "again");
}

TEST_CASE("EachShorthandFillsTheFieldsThatTheContractNames") {
  v1::ErrorInfo detail = Only(InvalidRequest("stream.tenant_id", "why"));
  CHECK(detail.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(detail.field() == "stream.tenant_id");
  CHECK_FALSE(detail.has_index());

  detail = Only(InvalidEvent(0, "events[0].payload", "why"));
  CHECK(detail.reason() == v1::ERROR_REASON_INVALID_EVENT);
  CHECK(detail.has_index());
  CHECK(detail.index() == 0);

  detail = Only(TooLarge("events[7]", "event_bytes_max", 100, 101, 7));
  CHECK(detail.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(detail.message() == "events[7] is too large: 101, but event_bytes_max is 100");
  CHECK(detail.limit_name() == "event_bytes_max");
  CHECK(detail.limit() == 100);
  CHECK(detail.value() == 101);
  CHECK(detail.index() == 7);
  CHECK_FALSE(Only(TooLarge("", "request_bytes_max", 1, 2)).has_index());

  detail = Only(Overloaded("queue_appends_max", 10, std::chrono::milliseconds(2500), "full"));
  CHECK(detail.limit_name() == "queue_appends_max");
  CHECK(detail.limit() == 10);
  CHECK(detail.retry_delay().seconds() == 2);
  CHECK(detail.retry_delay().nanos() == 500'000'000);

  CHECK(Only(StoreUnavailable("away")).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);

  const v1::StreamId stream = Stream("Order", "42");
  detail = Only(DuplicateEventId("an-id", &stream, 9, 1, "why"));
  CHECK(detail.event_id() == "an-id");
  CHECK(detail.stream().aggregate_id() == "42");
  CHECK(detail.position() == 9);
  CHECK(detail.index() == 1);
  CHECK_FALSE(Only(DuplicateEventId("an-id", nullptr, 0, -1, "why")).has_stream());

  CHECK(Only(StreamDeleted(stream)).stream().aggregate_id() == "42");

  detail = Only(PositionAhead(50, 2, 30, 3, 40));
  CHECK(detail.value() == 50);
  CHECK(detail.position() == 30);
  CHECK(detail.epoch() == 3);
  CHECK(detail.limit() == 40);

  CHECK(Only(Archived(77, "archived")).position() == 77);

  detail = Only(SlowConsumer(5, 1, std::chrono::milliseconds(30000)));
  CHECK(detail.position() == 5);
  CHECK(detail.epoch() == 1);

  detail = Only(NotFound("event", "some-id"));
  CHECK(detail.field() == "event");
  CHECK(detail.message() == "there is no event some-id");
}

TEST_CASE("AnErrorCarriesTheRichStatusReadyForTheTrailer") {
  const absl::Status status = InvalidRequest("limit", "is -1");
  const google::rpc::Status packed = Packed(status);
  CHECK(packed.code() == 3);
  CHECK(packed.message() == "is -1");
  REQUIRE(packed.details_size() == 1);
  CHECK(packed.details(0).type_url() == "type.googleapis.com/eventstore.v1.ErrorInfo");
}

TEST_CASE("AStatusOfOthersHasNoDetails") {
  CHECK(DetailsOf(absl::OkStatus()).empty());
  CHECK(DetailsOf(absl::InternalError("theirs")).empty());
  absl::Status garbled = absl::InternalError("theirs");
  garbled.SetPayload("type.googleapis.com/google.rpc.Status", absl::Cord("\xff\xff"));
  CHECK(DetailsOf(garbled).empty());
}

TEST_CASE("SeveralProblemsKeepTheirOrder") {
  const absl::Status status = MakeError({Invalid("first"), Invalid("second"), Invalid("third")});
  const auto details = DetailsOf(status);
  REQUIRE(details.size() == 3);
  CHECK(Message(status) == "first");
  CHECK(details[2].message() == "third");
  CHECK_FALSE(details[0].truncated());
}

TEST_CASE("DetailsBeyondTheRoomAreCountedAndLeftOut") {
  std::vector<v1::ErrorInfo> many;
  for (int i = 0; i < 500; ++i) many.push_back(Invalid("problem " + std::to_string(i)));
  const absl::Status status = MakeError(many);
  CHECK(Packed(status).ByteSizeLong() <= kErrorDetailsBytesMax);
  const auto details = DetailsOf(status);
  CHECK(details.size() > 20);
  CHECK(details.size() < 500);
  CHECK(details[0].truncated());
  CHECK(details[0].total() == 500);
  CHECK_FALSE(details[1].truncated());
  CHECK(details.back().message() == "problem " + std::to_string(details.size() - 1));
}

TEST_CASE("ACallerMayKnowOfMoreProblemsThanItLists") {
  std::vector<v1::ErrorInfo> few = {Invalid("one"), Invalid("two")};
  few[0].set_total(70);
  const auto details = DetailsOf(MakeError(few));
  REQUIRE(details.size() == 2);
  CHECK(details[0].total() == 70);
  CHECK(details[0].truncated());
}

TEST_CASE("LongTextsAreCutBetweenCharacters") {
  // Characters of 3 bytes, at all three alignments.
  const int offset = GENERATE(0, 1, 2);
  std::string text(offset, 'x');
  for (int i = 0; i < 4000; ++i) text += "\xe2\x82\xac";
  v1::ErrorInfo detail = Invalid(text);
  detail.set_field(text);
  detail.set_event_id(text);
  detail.set_limit_name(text);
  *detail.mutable_stream() = Stream(text, text, text);
  const absl::Status status = MakeError({detail, detail, detail, detail});
  CHECK(Packed(status).ByteSizeLong() <= kErrorDetailsBytesMax);
  const auto details = DetailsOf(status);
  REQUIRE(details.size() >= 1);
  CHECK(details[0].truncated());
  CHECK(details[0].total() == 4);
  CHECK(IsCleanUtf8(details[0].message()));
  CHECK(IsCleanUtf8(details[0].field()));
  CHECK(IsCleanUtf8(details[0].stream().aggregate_id()));
  CHECK(details[0].message().size() > 500);
  CHECK(text.compare(0, details[0].message().size(), details[0].message()) == 0);
  CHECK(Message(status).size() <= 512);
}

TEST_CASE("ATextThatIsNotUtf8IsMadeSendable") {
  const auto details = DetailsOf(MakeError(Invalid(std::string("bad \xff\0 text", 11))));
  REQUIRE(details.size() == 1);
  CHECK(details[0].message() == "bad ?? text");
}

}  // namespace
}  // namespace eventstore
