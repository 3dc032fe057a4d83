// What Transact refuses without the database.
#include "server/core/transaction.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>

#include "server/core/append_condition.h"
#include "server/core/errors.h"

namespace eventstore {
namespace {

v1::AppendEventsRequest AppendTo(const std::string& stream, const std::string& event_id = "") {
  v1::AppendEventsRequest append;
  append.mutable_stream()->set_aggregate_type("T");
  append.mutable_stream()->set_aggregate_id(stream);
  append.mutable_expected_version()->mutable_any();
  v1::NewEvent* event = append.add_events();
  event->set_event_type("Happened");
  event->set_payload("{}");
  event->set_event_id(event_id);
  return append;
}

v1::TransactRequest OneAppend() {
  v1::TransactRequest request;
  *request.add_appends() = AppendTo("a");
  return request;
}

constexpr char kId[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

TEST_CASE("A transaction is normalized") {
  v1::TransactRequest request = OneAppend();
  *request.add_appends() = AppendTo("b");
  v1::AppendCondition* condition = request.add_conditions();
  v1::QueryItem* item = condition->add_query();
  for (const char* tag : {"z", "a", "z"}) item->add_tags(tag);
  condition->set_tenant_id("6BA7B810-9DAD-11D1-80B4-00C04FD430C8");
  v1::SaveSnapshotRequest* snapshot = request.add_snapshots();
  *snapshot->mutable_stream() = request.appends(0).stream();
  snapshot->set_version(1);
  snapshot->set_state("{}");
  const auto transaction = ValidateTransaction(request, Limits());
  REQUIRE(transaction.ok());
  CHECK(transaction->appends.size() == 2);
  CHECK(transaction->events == 2);
  CHECK(transaction->total_bytes > 2);
  CHECK(transaction->appends[0].request.events(0).event_id().size() == 36);
  const v1::AppendCondition& normal = transaction->conditions.at(0);
  CHECK(normal.tenant_id() == kId);
  REQUIRE(normal.query(0).tags_size() == 2);
  CHECK(normal.query(0).tags(0) == "a");
  CHECK(transaction->snapshots.at(0).request.keep_versions() == 1);
  CHECK(transaction->snapshots.at(0).request.schema_version() == 1);
  CHECK(transaction->snapshots.at(0).request.content_type() == "application/json");
}

struct Bad {
  std::string field;
  std::string limit_name;  // empty: not over a limit
  std::function<void(v1::TransactRequest*)> spoil;
};

TEST_CASE("What is wrong with a transaction is named by its path") {
  Limits limits;
  limits.checks_max = 2;
  limits.conditions_max = 2;
  limits.condition_items_max = 2;
  limits.filter_values_max = 2;
  limits.snapshots_max = 2;
  limits.request_events_max = 3;
  limits.event_bytes_max = 1000;
  const std::vector<Bad> cases = {
      {"appends", "", [](auto* r) { r->clear_appends(); }},
      {"appends[0].events[0].payload", "",
       [](auto* r) { r->mutable_appends(0)->mutable_events(0)->set_payload("{"); }},
      {"appends[1].expected_version", "",
       [](auto* r) {
         *r->add_appends() = AppendTo("b");
         r->mutable_appends(1)->clear_expected_version();
       }},
      {"appends[1].events", "",
       [](auto* r) {
         *r->add_appends() = AppendTo("b");
         r->mutable_appends(1)->clear_events();
       }},
      {"appends", "request_events_max",
       [](auto* r) {
         for (int i = 0; i < 3; ++i) *r->add_appends() = AppendTo("b");
       }},
      {"appends[1]", "", [](auto* r) { *r->add_appends() = AppendTo("b", kId); }},
      {"appends[1].events[0].event_id", "",
       [](auto* r) {
         *r->mutable_appends(0) = AppendTo("a", kId);
         *r->add_appends() = AppendTo("b", kId);
       }},
      {"checks[0].stream", "",
       [](auto* r) { r->add_checks()->mutable_expected_version()->mutable_any(); }},
      {"checks[0].expected_version", "",
       [](auto* r) { *r->add_checks()->mutable_stream() = r->appends(0).stream(); }},
      {"checks[0].expected_version.exact", "",
       [](auto* r) {
         *r->add_checks()->mutable_stream() = r->appends(0).stream();
         r->mutable_checks(0)->mutable_expected_version()->set_exact(0);
       }},
      {"checks", "checks_max",
       [](auto* r) {
         for (int i = 0; i < 3; ++i) r->add_checks();
       }},
      {"conditions", "conditions_max",
       [](auto* r) {
         for (int i = 0; i < 3; ++i) r->add_conditions();
       }},
      {"conditions[0].after_position", "",
       [](auto* r) { r->add_conditions()->set_after_position(-1); }},
      {"conditions[0].epoch", "", [](auto* r) { r->add_conditions()->set_epoch(-1); }},
      {"conditions[0].tenant_id", "", [](auto* r) { r->add_conditions()->set_tenant_id("x"); }},
      {"conditions[0].query", "condition_items_max",
       [](auto* r) {
         auto* condition = r->add_conditions();
         for (int i = 0; i < 3; ++i) condition->add_query();
       }},
      {"conditions[0].query[0].tags", "filter_values_max",
       [](auto* r) {
         auto* item = r->add_conditions()->add_query();
         for (int i = 0; i < 3; ++i) item->add_tags("t");
       }},
      {"conditions[0].query[0].event_types[0]", "",
       [](auto* r) { r->add_conditions()->add_query()->add_event_types(""); }},
      {"conditions[0].query[0].tags[0]", "tag_bytes_max",
       [](auto* r) { r->add_conditions()->add_query()->add_tags(std::string(129, 'x')); }},
      {"checkpoint.projection_name", "", [](auto* r) { r->mutable_checkpoint(); }},
      {"snapshots", "snapshots_max",
       [](auto* r) {
         for (int i = 0; i < 3; ++i) r->add_snapshots();
       }},
      {"snapshots[0].state", "event_bytes_max",
       [](auto* r) {
         auto* snapshot = r->add_snapshots();
         *snapshot->mutable_stream() = r->appends(0).stream();
         snapshot->set_version(1);
         snapshot->set_state("\"" + std::string(1000, 'x') + "\"");
       }},
      {"snapshots[0].version", "",
       [](auto* r) {
         auto* snapshot = r->add_snapshots();
         *snapshot->mutable_stream() = r->appends(0).stream();
         snapshot->set_state("{}");
       }},
      {"snapshots[0].state", "",
       [](auto* r) {
         auto* snapshot = r->add_snapshots();
         *snapshot->mutable_stream() = r->appends(0).stream();
         snapshot->set_version(1);
         snapshot->set_state("no JSON");
       }},
      {"snapshots[0].keep_versions", "",
       [](auto* r) {
         auto* snapshot = r->add_snapshots();
         *snapshot->mutable_stream() = r->appends(0).stream();
         snapshot->set_version(1);
         snapshot->set_state("{}");
         snapshot->set_keep_versions(101);
       }},
  };
  for (const Bad& bad : cases) {
    v1::TransactRequest request = OneAppend();
    bad.spoil(&request);
    const auto transaction = ValidateTransaction(request, limits);
    INFO(bad.field << " " << request.ShortDebugString());
    REQUIRE_FALSE(transaction.ok());
    const auto details = DetailsOf(transaction.status());
    REQUIRE(details.size() == 1);
    CHECK(details[0].field() == bad.field);
    CHECK(details[0].limit_name() == bad.limit_name);
    CHECK((details[0].reason() == v1::ERROR_REASON_TOO_LARGE) == !bad.limit_name.empty());
  }
}

TEST_CASE("All problems of a transaction come in one error") {
  v1::TransactRequest request = OneAppend();
  request.mutable_appends(0)->mutable_events(0)->set_event_type("");
  request.add_checks();
  request.add_conditions()->set_after_position(-1);
  request.mutable_checkpoint();
  const auto details = DetailsOf(ValidateTransaction(request, Limits()).status());
  REQUIRE(details.size() == 5);
  CHECK(details[0].field() == "appends[0].events[0].event_type");
  CHECK(details[0].message().find("appends[0].events[0].event_type") == 0);
  CHECK(details[4].field() == "checkpoint.projection_name");
}

TEST_CASE("An event matches a condition as dcb.events says") {
  google::protobuf::RepeatedPtrField<std::string> tags;
  for (const char* tag : {"course:1", "student:7"}) *tags.Add() = tag;
  const EventTraits event{"Enrolled", "", &tags};
  v1::AppendCondition condition;
  CHECK(Matches(condition, event));  // no query: every event
  v1::QueryItem* item = condition.add_query();
  CHECK(Matches(condition, event));
  item->add_event_types("Left");
  CHECK_FALSE(Matches(condition, event));
  item->add_event_types("Enrolled");  // any of the types
  CHECK(Matches(condition, event));
  item->add_tags("course:1");
  item->add_tags("student:7");  // all of the tags
  CHECK(Matches(condition, event));
  item->add_tags("student:8");
  CHECK_FALSE(Matches(condition, event));
  condition.add_query()->add_tags("student:7");  // any of the alternatives
  CHECK(Matches(condition, event));
  condition.set_tenant_id(kId);
  CHECK_FALSE(Matches(condition, event));
  CHECK(Matches(condition, {"Enrolled", kId, &tags}));
}

}  // namespace
}  // namespace eventstore
