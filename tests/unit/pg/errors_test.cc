#include "server/pg/errors.h"

#include <catch2/catch.hpp>

#include "server/telemetry/logging.h"

namespace eventstore::pg {
namespace {

TEST_CASE("A status carries every property of its error", "[errors]") {
  Error error;
  error.sqlstate = "23505";
  error.outcome = GENERATE(Outcome::kNotSent, Outcome::kRolledBack, Outcome::kInDoubt);
  error.connection_lost = GENERATE(false, true);
  error.timed_out = GENERATE(false, true);
  error.constraint = "a/b \"c\"";
  const absl::Status status = MakeStatus(absl::StatusCode::kInternal, "why", error);
  const std::optional<Error> read = ErrorOf(status);
  REQUIRE(read.has_value());
  CHECK(read->sqlstate == error.sqlstate);
  CHECK(read->outcome == error.outcome);
  CHECK(read->connection_lost == error.connection_lost);
  CHECK(read->timed_out == error.timed_out);
  CHECK(read->constraint == error.constraint);
}

TEST_CASE("The message names the SQLSTATE, once", "[errors]") {
  const Error error{.sqlstate = "40001"};
  const absl::Status status = MakeStatus(absl::StatusCode::kInternal, "why", error);
  CHECK(telemetry::MessageOf(status) == "why (SQLSTATE 40001)");
  const absl::Status again =
      MakeStatus(absl::StatusCode::kAborted, telemetry::MessageOf(status), error);
  CHECK(telemetry::MessageOf(again) == "why (SQLSTATE 40001)");
  CHECK(telemetry::MessageOf(MakeStatus(absl::StatusCode::kInternal, "why", {})) == "why");
}

TEST_CASE("An error without SQLSTATE and constraint is read back", "[errors]") {
  const std::optional<Error> read =
      ErrorOf(MakeStatus(absl::StatusCode::kUnavailable, "gone", {.connection_lost = true}));
  REQUIRE(read.has_value());
  CHECK(read->sqlstate.empty());
  CHECK(read->constraint.empty());
  CHECK(read->connection_lost);
}

TEST_CASE("A status of another origin has no error", "[errors]") {
  CHECK_FALSE(ErrorOf(absl::OkStatus()).has_value());
  CHECK_FALSE(ErrorOf(absl::InternalError("other")).has_value());
}

TEST_CASE("A loss after a refusal keeps the refusal's outcome", "[errors]") {
  const absl::Status refused =
      MakeStatus(absl::StatusCode::kInternal, "no",
                 {.sqlstate = "23505", .outcome = Outcome::kRolledBack, .constraint = "c"});
  const absl::Status lost = WithConnectionLost(refused);
  CHECK(lost.code() == absl::StatusCode::kUnavailable);
  const std::optional<Error> read = ErrorOf(lost);
  REQUIRE(read.has_value());
  CHECK(read->outcome == Outcome::kRolledBack);
  CHECK(read->connection_lost);
  CHECK(read->constraint == "c");
}

}  // namespace
}  // namespace eventstore::pg
