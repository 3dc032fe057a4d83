// Small rules: partition sizes, commits in doubt, what database errors mean to clients.
#include <catch2/catch.hpp>

#include "server/core/errors.h"
#include "server/engine/lane_session.h"
#include "server/engine/partition_planner.h"
#include "server/engine/store_errors.h"
#include "server/pg/errors.h"

namespace eventstore::engine {
namespace {

TEST_CASE("A partition lasts about an hour at the current rate, within its bounds",
          "[partitions]") {
  PartitionOptions options;
  options.size_events = 10'000'000;
  options.size_events_max = 100'000'000;
  options.lead_seconds = std::chrono::seconds(600);
  const PartitionPlanner planner(options);
  CHECK(planner.SizeAt(0) == 10'000'000);
  CHECK(planner.SizeAt(2'000) == 10'000'000);
  CHECK(planner.SizeAt(10'000) == 30'000'000);   // 36 million an hour, in whole multiples
  CHECK(planner.SizeAt(37'000) == 100'000'000);  // the maximum
  CHECK(planner.LeadAt(0) == 0);
  CHECK(planner.LeadAt(37'000) == 22'200'000);
  // A maximum below the configured size does not shrink it.
  options.size_events_max = 5;
  CHECK(PartitionPlanner(options).SizeAt(1e9) == 10'000'000);
}

TEST_CASE("PostgreSQL's warnings of a wait for replicas that ended put a commit in doubt",
          "[doubt]") {
  CHECK(SaysCommitIsInDoubt(
      {"WARNING", "01000", "canceling wait for synchronous replication due to user request"}));
  CHECK(SaysCommitIsInDoubt({"WARNING", "57P01",
                             "canceling the wait for synchronous replication and terminating"
                             " connection due to administrator command"}));
  CHECK_FALSE(SaysCommitIsInDoubt({"NOTICE", "00000", "table exists"}));
  CHECK_FALSE(SaysCommitIsInDoubt({"WARNING", "25P01", "there is no transaction in progress"}));
}

absl::Status Failure(const std::string& sqlstate, bool lost = false, bool timed_out = false,
                     absl::StatusCode code = absl::StatusCode::kInternal) {
  pg::Error error;
  error.sqlstate = sqlstate;
  error.connection_lost = lost;
  error.timed_out = timed_out;
  return pg::MakeStatus(code, "secret text", error);
}

v1::ErrorReason Reason(const absl::Status& status) {
  const auto details = DetailsOf(ToStoreError(status));
  return details.empty() ? v1::ERROR_REASON_UNSPECIFIED : details.front().reason();
}

TEST_CASE("Database errors become store errors by what the client can do", "[errors]") {
  for (const char* sqlstate : {"08006", "40001", "40P01", "53300", "53100", "55P03", "57P01",
                               "57P03", "57014", "58030", "25006"}) {
    INFO(sqlstate);
    CHECK(Reason(Failure(sqlstate)) == v1::ERROR_REASON_STORE_UNAVAILABLE);
    // The server's text may hold the users' data.
    CHECK(ToStoreError(Failure(sqlstate)).message().find("secret") == absl::string_view::npos);
  }
  CHECK(Reason(Failure("", true)) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(Reason(Failure("", false, true)) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(Reason(Failure("", false, false, absl::StatusCode::kUnavailable)) ==
        v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(Reason(Failure("", false, true, absl::StatusCode::kResourceExhausted)) ==
        v1::ERROR_REASON_OVERLOADED);
  // Not the store's state: left as it is.
  for (const char* sqlstate : {"22P02", "23505", "42P01", "42501"}) {
    CHECK(Reason(Failure(sqlstate)) == v1::ERROR_REASON_UNSPECIFIED);
    CHECK(ToStoreError(Failure(sqlstate)) == Failure(sqlstate));
  }
  CHECK(ToStoreError(absl::OkStatus()).ok());
  const absl::Status ours = InvalidRequest("field", "is wrong");
  CHECK(ToStoreError(ours) == ours);
  CHECK(ToStoreError(absl::CancelledError("x")) == absl::CancelledError("x"));
}

}  // namespace
}  // namespace eventstore::engine
