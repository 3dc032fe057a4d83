#include "server/core/validation.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

constexpr char kTenant[] = "0189f7a5-6b1c-7def-8000-00ff10a9bcde";
constexpr char kTenantUpper[] = "0189F7A5-6B1C-7DEF-8000-00FF10A9BCDE";

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> fields;
  if (!status.ok()) CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  for (const v1::ErrorInfo& detail : DetailsOf(status)) {
    CHECK(detail.reason() == v1::ERROR_REASON_INVALID_REQUEST);
    CHECK(detail.message().find(detail.field()) == 0);
    fields.push_back(detail.field());
  }
  return fields;
}

using Paths = std::vector<std::string>;

v1::ReadStreamRequest StreamRead() {
  v1::ReadStreamRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("42");
  return request;
}

TEST_CASE("AStreamReadIsNormalized") {
  v1::ReadStreamRequest request = StreamRead();
  request.mutable_stream()->set_tenant_id(kTenantUpper);
  request.mutable_from_timestamp()->set_nanos(1999);
  REQUIRE(ValidateReadStream(Limits(), &request).ok());
  CHECK(request.direction() == v1::DIRECTION_FORWARDS);
  CHECK(request.stream().tenant_id() == kTenant);
  CHECK(request.from_timestamp().nanos() == 1000);
}

TEST_CASE("EveryBadFieldOfAStreamReadIsNamed") {
  v1::ReadStreamRequest request;
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"stream"});
  request = StreamRead();
  request.mutable_stream()->clear_aggregate_id();
  request.set_direction(static_cast<v1::Direction>(9));
  request.set_from_version(-1);
  request.set_to_version(std::numeric_limits<std::int64_t>::min());
  request.set_limit(-7);
  request.mutable_from_timestamp()->set_nanos(-1);
  request.mutable_to_timestamp()->set_seconds(std::numeric_limits<std::int64_t>::max());
  CHECK(Fields(ValidateReadStream(Limits(), &request)) ==
        Paths{"stream.aggregate_id", "direction", "from_version", "to_version", "limit",
              "from_timestamp", "to_timestamp"});
}

TEST_CASE("TheLastVersionToReadDoesNotComeBeforeTheFirst") {
  v1::ReadStreamRequest request = StreamRead();
  struct Row {
    v1::Direction direction;
    std::int64_t from;
    std::int64_t to;
    bool good;
  };
  const Row row =
      GENERATE(Row{v1::DIRECTION_FORWARDS, 3, 5, true}, Row{v1::DIRECTION_FORWARDS, 5, 5, true},
               Row{v1::DIRECTION_FORWARDS, 5, 3, false}, Row{v1::DIRECTION_FORWARDS, 5, 0, true},
               Row{v1::DIRECTION_FORWARDS, 0, 3, true}, Row{v1::DIRECTION_UNSPECIFIED, 5, 3, false},
               Row{v1::DIRECTION_BACKWARDS, 5, 3, true}, Row{v1::DIRECTION_BACKWARDS, 5, 5, true},
               Row{v1::DIRECTION_BACKWARDS, 3, 5, false}, Row{v1::DIRECTION_BACKWARDS, 0, 3, true},
               Row{v1::DIRECTION_BACKWARDS, 3, 0, true});
  request.set_direction(row.direction);
  request.set_from_version(row.from);
  request.set_to_version(row.to);
  CAPTURE(row.direction, row.from, row.to);
  CHECK(Fields(ValidateReadStream(Limits(), &request)) ==
        (row.good ? Paths{} : Paths{"to_version"}));
}

TEST_CASE("ATimeWindowIsNotEmpty") {
  v1::ReadStreamRequest request = StreamRead();
  request.mutable_from_timestamp()->set_seconds(10);
  request.mutable_to_timestamp()->set_seconds(10);
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"to_timestamp"});
  request.mutable_to_timestamp()->set_nanos(999);  // cut off
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"to_timestamp"});
  request.mutable_to_timestamp()->set_nanos(1000);
  CHECK(ValidateReadStream(Limits(), &request).ok());
  request.mutable_to_timestamp()->set_seconds(9);
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"to_timestamp"});

  v1::ReadAllRequest all;
  *all.mutable_from_timestamp() = request.from_timestamp();
  *all.mutable_to_timestamp() = request.to_timestamp();
  CHECK(Fields(ValidateReadAll(Limits(), &all)) == Paths{"to_timestamp"});
  all.clear_from_timestamp();
  CHECK(ValidateReadAll(Limits(), &all).ok());
}

TEST_CASE("EveryBadFieldOfAReadOfAllIsNamed") {
  v1::ReadAllRequest request;
  request.set_direction(static_cast<v1::Direction>(-1));
  request.set_after_position(-1);
  request.set_epoch(-1);
  request.set_limit(-1);
  CHECK(Fields(ValidateReadAll(Limits(), &request)) ==
        Paths{"direction", "after_position", "epoch", "limit"});
  request.Clear();
  request.mutable_filter()->add_tags("");
  CHECK(Fields(ValidateReadAll(Limits(), &request)) == Paths{"filter.tags[0]"});
}

TEST_CASE("AReadOfAllIsNormalized") {
  v1::ReadAllRequest request;
  request.mutable_filter()->set_tenant_id(kTenantUpper);
  REQUIRE(ValidateReadAll(Limits(), &request).ok());
  CHECK(request.direction() == v1::DIRECTION_FORWARDS);
  CHECK(request.filter().tenant_id() == kTenant);
  request.set_direction(v1::DIRECTION_BACKWARDS);
  request.set_after_position(std::numeric_limits<std::int64_t>::max());
  REQUIRE(ValidateReadAll(Limits(), &request).ok());
  CHECK(request.direction() == v1::DIRECTION_BACKWARDS);
}

TEST_CASE("ASubscriptionGetsItsDefaults") {
  v1::SubscribeRequest request;
  REQUIRE(ValidateSubscribe(Limits(), &request).ok());
  CHECK(request.has_beginning());
  CHECK(request.max_batch_size() == 500);
  CHECK(request.checkpoint_interval() == 10'000);
  CHECK_FALSE(request.has_filter());
  CHECK_FALSE(request.has_stream());

  Limits small;
  small.batch_events_max = 100;
  request.Clear();
  request.mutable_end();
  REQUIRE(ValidateSubscribe(small, &request).ok());
  CHECK(request.has_end());
  CHECK(request.max_batch_size() == 100);
}

TEST_CASE("ASubscriptionKeepsWhatItAsksFor") {
  v1::SubscribeRequest request;
  request.set_after_position(0);
  request.set_max_batch_size(1000);
  request.set_checkpoint_interval(1);
  request.mutable_filter()->set_tenant_id(kTenantUpper);
  REQUIRE(ValidateSubscribe(Limits(), &request).ok());
  CHECK(request.start_case() == v1::SubscribeRequest::kAfterPosition);
  CHECK(request.max_batch_size() == 1000);
  CHECK(request.checkpoint_interval() == 1);
  CHECK(request.filter().tenant_id() == kTenant);
}

TEST_CASE("EveryBadFieldOfASubscriptionIsNamed") {
  v1::SubscribeRequest request;
  request.set_after_position(-1);
  request.set_epoch(-2);
  request.set_max_batch_size(1001);
  request.set_checkpoint_interval(-1);
  request.mutable_stream()->set_aggregate_type("Order");
  CHECK(Fields(ValidateSubscribe(Limits(), &request)) ==
        Paths{"after_position", "epoch", "stream.aggregate_id", "max_batch_size",
              "checkpoint_interval"});
  const auto message = std::string(DetailsOf(ValidateSubscribe(Limits(), &request))[3].message());
  CHECK(message == "max_batch_size: is 1001; it must be 1 to 1000, or 0 for the default, 500");

  request.Clear();
  request.set_max_batch_size(-1);
  request.mutable_from_timestamp()->set_nanos(-1);
  CHECK(Fields(ValidateSubscribe(Limits(), &request)) == Paths{"from_timestamp", "max_batch_size"});
  request.Clear();
  request.mutable_filter()->set_event_type_regex("(");
  CHECK(Fields(ValidateSubscribe(Limits(), &request)) == Paths{"filter.event_type_regex"});
}

TEST_CASE("ASubscriptionMayHaveAStreamAndAFilterOfItsTenant") {
  v1::SubscribeRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("42");
  CHECK(ValidateSubscribe(Limits(), &request).ok());
  request.mutable_filter()->add_event_types("OrderPlaced");
  CHECK(ValidateSubscribe(Limits(), &request).ok());
  request.mutable_filter()->set_tenant_id(kTenantUpper);
  CHECK(Fields(ValidateSubscribe(Limits(), &request)) == Paths{"filter.tenant_id"});
  request.mutable_stream()->set_tenant_id(kTenant);
  CHECK(ValidateSubscribe(Limits(), &request).ok());
}

TEST_CASE("AListOfStreamsGetsItsDefaultsAndItsTenantInLowerCase") {
  v1::ListStreamsRequest request;
  request.set_tenant_id(kTenantUpper);
  REQUIRE(ValidateListStreams(Limits(), &request).ok());
  CHECK(request.page_size() == 100);
  CHECK(request.tenant_id() == kTenant);
  request.set_page_size(1000);
  REQUIRE(ValidateListStreams(Limits(), &request).ok());
  CHECK(request.page_size() == 1000);
  Limits small;
  small.page_size_max = 10;
  request.set_page_size(0);
  REQUIRE(ValidateListStreams(small, &request).ok());
  CHECK(request.page_size() == 10);
}

TEST_CASE("EveryBadFieldOfAListOfStreamsIsNamed") {
  v1::ListStreamsRequest request;
  request.set_aggregate_type("\xff");
  request.set_tenant_id("acme");
  request.set_aggregate_id_prefix(std::string("\0", 1));
  request.set_page_size(1001);
  request.set_page_token(std::string(5000, 'x'));
  CHECK(Fields(ValidateListStreams(Limits(), &request)) ==
        Paths{"aggregate_type", "tenant_id", "aggregate_id_prefix", "page_size", "page_token"});
  request.Clear();
  request.set_page_size(-1);
  request.set_page_token(std::string("\0", 1));
  CHECK(Fields(ValidateListStreams(Limits(), &request)) == Paths{"page_size", "page_token"});
  request.Clear();
  request.set_aggregate_type(std::string(256, 'x'));
  const auto details = DetailsOf(ValidateListStreams(Limits(), &request));
  REQUIRE(details.size() == 1);
  CHECK(details[0].reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(details[0].limit_name() == "name_bytes_max");
}

TEST_CASE("AStreamsNameIsCheckedAndItsTenantNormalized") {
  v1::StreamId stream;
  CHECK(Fields(ValidateStreamId("stream", Limits(), &stream)) ==
        Paths{"stream.aggregate_type", "stream.aggregate_id"});
  stream.set_aggregate_type("Order");
  stream.set_aggregate_id("caf\xc3\xa9 42");
  stream.set_tenant_id(kTenantUpper);
  REQUIRE(ValidateStreamId("stream", Limits(), &stream).ok());
  CHECK(stream.tenant_id() == kTenant);
}

TEST_CASE("ATenantIdIsOptional") {
  std::string tenant;
  CHECK(ValidateTenantId("tenant_id", &tenant).ok());
  CHECK(tenant.empty());
  tenant = kTenantUpper;
  CHECK(ValidateTenantId("tenant_id", &tenant).ok());
  CHECK(tenant == kTenant);
  tenant = GENERATE("acme", "00000000-0000-0000-0000-000000000000");
  CHECK(Fields(ValidateTenantId("tenant_id", &tenant)) == Paths{"tenant_id"});
}

struct Time {
  std::int64_t seconds;
  std::int32_t nanos;
  std::int64_t micros;
};

TEST_CASE("TimesBecomeMicrosecondsAndComeBack") {
  const Time time =
      GENERATE(Time{0, 0, 0}, Time{1, 999, 1'000'000}, Time{1, 1000, 1'000'001},
               Time{-1, 999'999'000, -1}, Time{-1, 0, -1'000'000},
               Time{-2, 500'000'000, -1'500'000}, Time{-62'135'596'800, 0, -62'135'596'800'000'000},
               Time{253'402'300'799, 999'999'999, 253'402'300'799'999'999});
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(time.seconds);
  timestamp.set_nanos(time.nanos);
  std::int64_t micros = 0;
  REQUIRE(ToUnixMicros(timestamp, &micros));
  CHECK(micros == time.micros);
  google::protobuf::Timestamp back;
  FromUnixMicros(micros, &back);
  CHECK(back.seconds() == time.seconds);
  CHECK(back.nanos() == time.nanos / 1000 * 1000);
}

TEST_CASE("TimesOutsideOfProtobufsRangeAreNone") {
  const Time time =
      GENERATE(Time{-62'135'596'801, 0, 0}, Time{253'402'300'800, 0, 0}, Time{0, -1, 0},
               Time{0, 1'000'000'000, 0}, Time{std::numeric_limits<std::int64_t>::min(), 0, 0},
               Time{std::numeric_limits<std::int64_t>::max(), 999'999'999, 0});
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(time.seconds);
  timestamp.set_nanos(time.nanos);
  std::int64_t micros = 0;
  CHECK_FALSE(ToUnixMicros(timestamp, &micros));
}

TEST_CASE("AReadFromASnapshotTakesNothingElseThatSaysWhereToStart") {
  v1::ReadStreamRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("1");
  request.set_from_snapshot(true);
  request.set_snapshot_schema_version(2);
  request.set_to_version(9);
  request.set_limit(5);
  CHECK(ValidateReadStream(Limits(), &request).ok());
  request.set_direction(v1::DIRECTION_BACKWARDS);
  request.set_from_version(9);
  request.mutable_from_timestamp()->set_seconds(1);
  request.mutable_to_timestamp()->set_seconds(2);
  request.set_snapshot_schema_version(-1);
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"snapshot_schema_version",
                                                                "direction", "from_version",
                                                                "from_timestamp", "to_timestamp"});
}

TEST_CASE("ASnapshotsSchemaVersionWithoutASnapshotIsRefused") {
  v1::ReadStreamRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("1");
  request.set_snapshot_schema_version(2);
  CHECK(Fields(ValidateReadStream(Limits(), &request)) == Paths{"snapshot_schema_version"});
}

}  // namespace
}  // namespace eventstore
