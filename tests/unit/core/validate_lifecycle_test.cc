// What the lifecycle requests must be.
#include "server/core/validate_lifecycle.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "server/core/erased_event.h"
#include "server/core/errors.h"

namespace eventstore {
namespace {

constexpr char kId[] = "0190b2c4-0000-7000-8000-0000000000ee";
constexpr char kUpperId[] = "0190B2C4-0000-7000-8000-0000000000EE";
constexpr char kOtherId[] = "0190b2c4-0000-7000-8000-0000000000aa";

v1::StreamId Stream() {
  v1::StreamId stream;
  stream.set_aggregate_type("T");
  stream.set_aggregate_id("s");
  return stream;
}

v1::EraseEventsRequest EraseStream() {
  v1::EraseEventsRequest request;
  *request.mutable_stream() = Stream();
  request.set_reason("r");
  request.set_erased_by("b");
  return request;
}

v1::EraseEventsRequest EraseIds() {
  v1::EraseEventsRequest request = EraseStream();
  request.clear_stream();
  request.add_event_ids(kId);
  return request;
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const v1::ErrorInfo& detail : DetailsOf(status)) fields.push_back(detail.field());
  return fields;
}

using Fields = std::vector<std::string>;

TEST_CASE("ATruncationNamesAStreamAndAVersionFromOneOn") {
  v1::TruncateStreamRequest request;
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"stream", "before_version"});
  *request.mutable_stream() = Stream();
  request.set_before_version(-1);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"before_version"});
  request.set_before_version(1);
  CHECK(Validate({}, &request).ok());
}

TEST_CASE("ADeletionNeedsAnExpectationThatAStreamCanMeet") {
  v1::DeleteStreamRequest request;
  *request.mutable_stream() = Stream();
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"expected_version"});
  request.mutable_expected_version()->mutable_no_stream();
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"expected_version"});
  request.mutable_expected_version()->set_exact(0);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"expected_version.exact"});
  request.mutable_expected_version()->set_exact(1);
  CHECK(Validate({}, &request).ok());
  request.mutable_expected_version()->mutable_stream_exists();
  CHECK(Validate({}, &request).ok());
  request.mutable_expected_version()->mutable_any();
  CHECK(Validate({}, &request).ok());
}

TEST_CASE("AnErasureNamesEventsByStreamOrById") {
  v1::EraseEventsRequest request = EraseStream();
  CHECK(Validate({}, &request).ok());
  request = EraseIds();
  CHECK(Validate({}, &request).ok());
  request.clear_event_ids();
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"stream"});
  request = EraseStream();
  request.add_event_ids(kId);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"event_ids"});
  request = EraseIds();
  request.add_versions(1);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"versions"});
}

TEST_CASE("AnErasureSaysWhoAndWhy") {
  v1::EraseEventsRequest request = EraseStream();
  request.clear_reason();
  request.clear_erased_by();
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"reason", "erased_by"});
  request.set_reason(std::string(1'024, 'r'));
  request.set_erased_by(std::string(255, 'b'));
  CHECK(Validate({}, &request).ok());
  request.set_reason(std::string(1'025, 'r'));
  request.set_erased_by(std::string(256, 'b'));
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"reason", "erased_by"});
}

TEST_CASE("ErasedVersionsAndIdsAreSortedAndEachOnce") {
  v1::EraseEventsRequest request = EraseStream();
  for (const std::int64_t version : {3, 1, 3}) request.add_versions(version);
  REQUIRE(Validate({}, &request).ok());
  REQUIRE(request.versions_size() == 2);
  CHECK(request.versions(0) == 1);
  request.add_versions(0);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"versions[2]"});
  request = EraseIds();
  request.add_event_ids(kUpperId);
  request.add_event_ids(kOtherId);
  REQUIRE(Validate({}, &request).ok());
  REQUIRE(request.event_ids_size() == 2);
  CHECK(request.event_ids(0) == kOtherId);
  CHECK(request.event_ids(1) == kId);
  request.add_event_ids("x");
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"event_ids[2]"});
}

TEST_CASE("MoreThanAThousandNamedEventsAreTooLarge") {
  v1::EraseEventsRequest request = EraseStream();
  for (int i = 1; i <= 1'000; ++i) request.add_versions(i);
  CHECK(Validate({}, &request).ok());
  request.add_versions(1'001);
  const auto details = DetailsOf(Validate({}, &request));
  REQUIRE(details.size() == 1);
  CHECK(details[0].reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(details[0].limit() == 1'000);
}

TEST_CASE("TheTenantOfAnErasureIsThatOfItsStream") {
  v1::EraseEventsRequest request = EraseStream();
  request.mutable_stream()->set_tenant_id(kUpperId);
  REQUIRE(Validate({}, &request).ok());
  CHECK(request.tenant_id() == kId);
  CHECK(Validate({}, &request).ok());
  request.set_tenant_id(kOtherId);
  CHECK(FieldsOf(Validate({}, &request)) == Fields{"tenant_id"});
}

TEST_CASE("AnErasedEventKeepsWhatNamesIt") {
  v1::Event event;
  event.set_global_position(7);
  event.set_version(3);
  event.set_event_id(kId);
  event.set_event_type("Happened");
  event.set_schema_version(2);
  *event.mutable_stream() = Stream();
  v1::Event expected = event;
  expected.set_content_type("application/x-erased");
  expected.set_erased(true);
  event.set_payload("p");
  event.set_content_type("text/plain");
  event.set_actor_id("a");
  event.set_correlation_id("c");
  event.set_causation_id("c");
  (*event.mutable_metadata())["k"] = "v";
  event.add_tags("t");
  EraseContent(&event);
  CHECK(event.SerializeAsString() == expected.SerializeAsString());
}

}  // namespace
}  // namespace eventstore
