// What the contract says of Transact, through gRPC.
#include <catch2/catch.hpp>

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

Client& Shared() { return SharedDaemon().client(); }

struct Transacted {
  CallStatus status;
  v1::TransactResponse response;
};

Transacted TryTransact(const v1::TransactRequest& request) {
  Transacted result;
  result.status = Shared().Unary("Transact", request, &result.response);
  return result;
}

v1::NewEvent TaggedEvent(const std::string& type, const std::vector<std::string>& tags) {
  v1::NewEvent event = NewEvent(type);
  for (const std::string& tag : tags) event.add_tags(tag);
  return event;
}

// Enrols a student in a course by the rule of docs/transactions.md: what was decided must still be
// what the log says of the course and of the student.
v1::TransactRequest Enrol(const std::string& course, const std::string& student,
                          std::int64_t seen) {
  v1::TransactRequest request;
  *request.add_appends() =
      AppendRequest(NewStream("Enrolment"), NoStream(),
                    {TaggedEvent("StudentEnrolled", {"course:" + course, "student:" + student})});
  v1::AppendCondition* condition = request.add_conditions();
  condition->set_after_position(seen);
  for (const std::string& tag : {"course:" + course, "student:" + student}) {
    v1::QueryItem* item = condition->add_query();
    for (const char* type : {"StudentEnrolled", "CourseCapacityChanged"})
      item->add_event_types(type);
    item->add_tags(tag);
  }
  return request;
}

}  // namespace

TEST_CASE("TransactStoresEverythingOrNothing") {
  const v1::StreamId one = NewStream();
  const v1::StreamId two = NewStream();
  v1::TransactRequest request;
  *request.add_appends() = AppendRequest(one, NoStream(), NewEvents(2));
  *request.add_appends() = AppendRequest(two, NoStream(), NewEvents(1));
  const Transacted first = TryTransact(request);
  INFO(first.status.Text());
  REQUIRE(first.status.ok());
  REQUIRE(first.response.results_size() == 2);
  CHECK(first.response.results(1).first_position() ==
        first.response.results(0).last_position() + 1);

  // Safe to repeat.
  const Transacted again = TryTransact(request);
  REQUIRE(again.status.ok());
  CHECK(again.response.deduplicated());
  CHECK(again.response.results(1).last_position() == first.response.results(1).last_position());

  v1::TransactRequest bad;
  *bad.add_appends() = AppendRequest(one, Exact(2), NewEvents(1));
  *bad.add_appends() = AppendRequest(two, Exact(5), NewEvents(1));
  v1::StreamCheck* check = bad.add_checks();
  *check->mutable_stream() = two;
  *check->mutable_expected_version() = NoStream();
  const Transacted rejected = TryTransact(bad);
  CHECK(rejected.status.code == absl::StatusCode::kAborted);
  REQUIRE(rejected.status.details.size() == 2);
  CHECK(rejected.status.details[0].field() == "appends[1].expected_version");
  CHECK(rejected.status.details[1].field() == "checks[0].expected_version");
  CHECK(VersionsOf(ReadStream(Shared(), one).events) == std::vector<std::int64_t>{1, 2});
}

TEST_CASE("TheCourseEnrolmentRuleHoldsUnderACondition") {
  const std::string course = UniqueName("c");
  const std::string anna = UniqueName("anna");
  const std::string bert = UniqueName("bert");
  const std::int64_t seen = MustAppend(Shared(), NewStream("Course"),
                                       {TaggedEvent("CourseCapacityChanged", {"course:" + course})})
                                .last_position();
  // Both have read the same, and there is one place left.
  const Transacted first = TryTransact(Enrol(course, anna, seen));
  INFO(first.status.Text());
  REQUIRE(first.status.ok());
  const Transacted second = TryTransact(Enrol(course, bert, seen));
  CHECK(second.status.code == absl::StatusCode::kAborted);
  CHECK(second.status.reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(second.status.info().index() == 0);
  CHECK(second.status.info().position() == first.response.results(0).first_position());
  // Another course of another student is no matter of theirs.
  CHECK(TryTransact(Enrol(UniqueName("other"), UniqueName("cara"), seen)).status.ok());
  // Whoever has read on may decide again.
  CHECK(TryTransact(Enrol(course, bert, first.response.results(0).last_position())).status.ok());
}

TEST_CASE("ACheckpointIsSavedWithTheEvents") {
  const std::int64_t position = MustAppend(Shared(), NewStream(), NewEvents(1)).last_position();
  v1::TransactRequest request;
  *request.add_appends() = AppendRequest(NewStream(), NoStream(), NewEvents(1));
  request.mutable_checkpoint()->set_projection_name(UniqueName("manager"));
  request.mutable_checkpoint()->set_position(position);
  request.mutable_checkpoint()->set_expected_position(0);
  const Transacted first = TryTransact(request);
  INFO(first.status.Text());
  REQUIRE(first.status.ok());
  CHECK(first.response.checkpoint().position() == position);
  *request.mutable_appends(0) = AppendRequest(NewStream(), NoStream(), NewEvents(1));
  const Transacted second = TryTransact(request);
  CHECK(second.status.reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(second.status.info().field() == "checkpoint.expected_position");
  CHECK_FALSE(ReadStream(Shared(), request.appends(0).stream()).info.exists());
}

TEST_CASE("AnEmptyTransactionIsInvalid") {
  const Transacted result = TryTransact(v1::TransactRequest());
  CHECK(result.status.code == absl::StatusCode::kInvalidArgument);
  CHECK(result.status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
}
