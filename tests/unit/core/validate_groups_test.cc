// What the consumer group service refuses, and what it fills in.
#include "server/core/validate_groups.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

using Settings = v1::ConsumerGroupSettings;

v1::CreateConsumerGroupRequest Create() {
  v1::CreateConsumerGroupRequest request;
  request.set_name("g");
  return request;
}

std::string FieldOf(const absl::Status& status) {
  const auto details = DetailsOf(status);
  return details.empty() ? "" : details[0].field();
}

TEST_CASE("ANewGroupGetsAllDefaults") {
  auto request = Create();
  REQUIRE(ValidateCreateGroup({}, &request).ok());
  const Settings& settings = request.settings();
  CHECK(settings.lanes() == 16);
  CHECK(settings.member_in_flight_max() == 1'000);
  CHECK(settings.lane_in_flight_max() == 500);
  CHECK(settings.ack_timeout().seconds() == 30);
  CHECK(settings.max_attempts() == 5);
  CHECK(settings.backoff_min().nanos() == 500'000'000);
  CHECK(settings.backoff_max().seconds() == 60);
  CHECK(settings.on_failure() == v1::ON_FAILURE_PARK);
  CHECK(settings.unsettled_span_max() == 1'000);
  CHECK(settings.lease_duration().seconds() == 10);
}

TEST_CASE("SettingsOutOfBoundsAreNamed") {
  struct Row {
    const char* field;
    std::function<void(Settings*)> set;
  };
  const std::vector<Row> rows = {
      {"settings.lanes", [](Settings* s) { s->set_lanes(257); }},
      {"settings.lanes", [](Settings* s) { s->set_lanes(-1); }},
      {"settings.member_in_flight_max", [](Settings* s) { s->set_member_in_flight_max(10'001); }},
      {"settings.lane_in_flight_max", [](Settings* s) { s->set_lane_in_flight_max(-1); }},
      {"settings.ack_timeout", [](Settings* s) { s->mutable_ack_timeout()->set_nanos(1); }},
      {"settings.ack_timeout", [](Settings* s) { s->mutable_ack_timeout()->set_seconds(86'401); }},
      {"settings.max_attempts", [](Settings* s) { s->set_max_attempts(1'001); }},
      {"settings.backoff_min", [](Settings* s) { s->mutable_backoff_min()->set_seconds(-1); }},
      {"settings.backoff_min", [](Settings* s) { s->mutable_backoff_min()->set_seconds(61); }},
      {"settings.lease_duration", [](Settings* s) { s->mutable_lease_duration(); }},
      {"settings.unsettled_span_max", [](Settings* s) { s->set_unsettled_span_max(100'001); }},
      {"settings.on_failure",
       [](Settings* s) { s->set_on_failure(static_cast<v1::OnFailure>(9)); }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.field);
    auto request = Create();
    row.set(request.mutable_settings());
    const absl::Status status = ValidateCreateGroup({}, &request);
    CHECK_FALSE(status.ok());
    CHECK(FieldOf(status) == row.field);
  }
}

TEST_CASE("AChangeLeavesWhatItDoesNotName") {
  auto request = Create();
  request.mutable_settings()->mutable_filter()->add_event_types("A");
  REQUIRE(ValidateCreateGroup({}, &request).ok());
  Settings settings = request.settings();
  Settings change;
  change.set_max_attempts(7);
  change.mutable_ack_timeout()->set_seconds(1);
  REQUIRE(MergeGroupSettings(change, &settings).ok());
  CHECK(settings.max_attempts() == 7);
  CHECK(settings.ack_timeout().seconds() == 1);
  CHECK(settings.lanes() == 16);
  CHECK(settings.filter().event_types(0) == "A");
  // A whole duration replaces another, its fraction too.
  change.Clear();
  change.mutable_backoff_min()->set_seconds(2);
  REQUIRE(MergeGroupSettings(change, &settings).ok());
  CHECK(settings.backoff_min().nanos() == 0);
}

TEST_CASE("LanesAndFilterCannotBeChanged") {
  auto request = Create();
  REQUIRE(ValidateCreateGroup({}, &request).ok());
  Settings settings = request.settings();
  Settings change;
  change.set_lanes(16);
  CHECK(MergeGroupSettings(change, &settings).ok());
  change.set_lanes(8);
  CHECK(FieldOf(MergeGroupSettings(change, &settings)) == "settings.lanes");
  change.Clear();
  change.mutable_filter()->add_event_types("A");
  CHECK(FieldOf(MergeGroupSettings(change, &settings)) == "settings.filter");
  change.Clear();
  change.mutable_backoff_min()->set_seconds(100);
  CHECK(FieldOf(MergeGroupSettings(change, &settings)) == "settings.backoff_min");
  CHECK(settings.backoff_min().seconds() == 0);
}

TEST_CASE("AMembersMessagesAreChecked") {
  v1::ConsumeRequest request;
  CHECK(FieldOf(ValidateJoin({}, &request)) == "join");
  request.mutable_join();
  CHECK(FieldOf(ValidateJoin({}, &request)) == "join.group");
  request.mutable_join()->set_group("g");
  CHECK(ValidateJoin({}, &request).ok());
  CHECK(FieldOf(ValidateConsume(request)) == "join");
  request.Clear();
  CHECK(FieldOf(ValidateConsume(request)) == "message");
  request.mutable_ack();
  CHECK(ValidateConsume(request).ok());
  for (int i = 0; i <= 10'000; ++i) request.mutable_ack()->add_delivery_ids(i);
  CHECK(DetailsOf(ValidateConsume(request))[0].reason() == v1::ERROR_REASON_TOO_LARGE);
  request.Clear();
  request.mutable_nack()->set_action(v1::NACK_ACTION_RETRY);
  CHECK(ValidateConsume(request).ok());
  request.mutable_nack()->set_reason(std::string(4'097, 'x'));
  CHECK_FALSE(ValidateConsume(request).ok());
  request.mutable_nack()->set_reason("");
  request.mutable_nack()->mutable_delay()->set_seconds(86'401);
  CHECK(FieldOf(ValidateConsume(request)) == "nack.delay");
  request.mutable_credits()->set_max_in_flight(-1);
  CHECK(FieldOf(ValidateConsume(request)) == "credits.max_in_flight");
}

}  // namespace
}  // namespace eventstore
