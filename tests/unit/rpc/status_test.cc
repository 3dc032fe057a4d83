#include "server/rpc/status.h"

#include <absl/strings/match.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/errors.pb.h"

#include "server/core/errors.h"
#include "server/core/json_check.h"
#include "server/pg/errors.h"

namespace eventstore::rpc {
namespace {

google::rpc::Status Rich(const grpc::Status& status) {
  google::rpc::Status rich;
  REQUIRE(rich.ParseFromString(status.error_details()));
  return rich;
}

v1::ErrorInfo OnlyDetail(const google::rpc::Status& status) {
  REQUIRE(status.details_size() == 1);
  v1::ErrorInfo detail;
  REQUIRE(status.details(0).UnpackTo(&detail));
  return detail;
}

}  // namespace

TEST_CASE("Every error reason has the gRPC code of the contract") {
  const std::map<std::string, grpc::StatusCode> contract = {
      {"VERSION_CONFLICT", grpc::StatusCode::ABORTED},
      {"CONDITION_FAILED", grpc::StatusCode::ABORTED},
      {"DUPLICATE_EVENT_ID", grpc::StatusCode::ALREADY_EXISTS},
      {"STREAM_DELETED", grpc::StatusCode::FAILED_PRECONDITION},
      {"INVALID_EVENT", grpc::StatusCode::INVALID_ARGUMENT},
      {"INVALID_REQUEST", grpc::StatusCode::INVALID_ARGUMENT},
      {"TOO_LARGE", grpc::StatusCode::INVALID_ARGUMENT},
      {"OVERLOADED", grpc::StatusCode::RESOURCE_EXHAUSTED},
      {"STORE_UNAVAILABLE", grpc::StatusCode::UNAVAILABLE},
      {"POSITION_AHEAD", grpc::StatusCode::OUT_OF_RANGE},
      {"ARCHIVED", grpc::StatusCode::OUT_OF_RANGE},
      {"SLOW_CONSUMER", grpc::StatusCode::ABORTED},
      {"NOT_FOUND", grpc::StatusCode::NOT_FOUND},
      {"ALREADY_EXISTS", grpc::StatusCode::ALREADY_EXISTS},
      {"UNAUTHENTICATED", grpc::StatusCode::UNAUTHENTICATED},
      {"PERMISSION_DENIED", grpc::StatusCode::PERMISSION_DENIED},
  };
  const google::protobuf::EnumDescriptor* reasons = v1::ErrorReason_descriptor();
  CHECK(reasons->value_count() == static_cast<int>(contract.size()) + 1);
  for (int i = 0; i < reasons->value_count(); ++i) {
    const auto reason = static_cast<v1::ErrorReason>(reasons->value(i)->number());
    if (reason == v1::ERROR_REASON_UNSPECIFIED) continue;
    const std::string name = reasons->value(i)->name().substr(std::string("ERROR_REASON_").size());
    INFO(name);
    v1::ErrorInfo info;
    info.set_reason(reason);
    info.set_message("what was wrong");
    info.set_position(7);
    const grpc::Status status = ToGrpcStatus(MakeError(info), "r1");
    CHECK(status.error_code() == contract.at(name));
    CHECK(status.error_message() == "what was wrong");
    const google::rpc::Status rich = Rich(status);
    CHECK(rich.code() == status.error_code());
    CHECK(rich.message() == "what was wrong");
    const v1::ErrorInfo detail = OnlyDetail(rich);
    CHECK(detail.reason() == reason);
    CHECK(detail.position() == 7);
  }
}

TEST_CASE("OK stays OK") { CHECK(ToGrpcStatus(absl::OkStatus(), "r1").ok()); }

TEST_CASE("The code of each absl status is the gRPC code of the same number") {
  for (int code = 0; code <= static_cast<int>(grpc::StatusCode::UNAUTHENTICATED); ++code) {
    CHECK(static_cast<int>(ToGrpcCode(static_cast<absl::StatusCode>(code))) == code);
  }
}

TEST_CASE("CANCELLED and DEADLINE_EXCEEDED keep code and text") {
  const grpc::Status cancelled = ToGrpcStatus(absl::CancelledError("nothing was written"), "r1");
  CHECK(cancelled.error_code() == grpc::StatusCode::CANCELLED);
  CHECK(cancelled.error_message() == "nothing was written");
  const grpc::Status late = ToGrpcStatus(absl::DeadlineExceededError("too late"), "r1");
  CHECK(late.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  CHECK(late.error_message() == "too late");
}

TEST_CASE("Internal errors tell the client only the request id") {
  const std::vector<absl::Status> errors = {
      absl::InternalError("INSERT INTO events of tenant 7"),
      absl::UnknownError("INSERT INTO events of tenant 7"),
      absl::InvalidArgumentError("INSERT INTO events of tenant 7"),
      absl::FailedPreconditionError("INSERT INTO events of tenant 7"),
  };
  for (const absl::Status& error : errors) {
    CHECK_FALSE(IsForClients(error));
    const grpc::Status status = ToGrpcStatus(error, "r-42");
    CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
    CHECK(status.error_message() == "internal error (request r-42)");
    CHECK_FALSE(absl::StrContains(status.error_details(), "INSERT"));
  }
}

TEST_CASE("PostgreSQL's texts never reach the client") {
  const std::string secret = "duplicate key (tenant_id)=(7) in SELECT secret";
  const std::vector<std::pair<absl::StatusCode, grpc::StatusCode>> codes = {
      {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
      {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
      {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
      {absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
  };
  for (const auto& [code, expected] : codes) {
    const grpc::Status status = ToGrpcStatus(pg::MakeStatus(code, secret, pg::Error{}), "r-42");
    CHECK(status.error_code() == expected);
    CHECK_FALSE(absl::StrContains(status.error_message(), "secret"));
    CHECK_FALSE(absl::StrContains(status.error_details(), "secret"));
    CHECK(absl::StrContains(status.error_message(), "r-42"));
  }
}

TEST_CASE("An unavailable store is always STORE_UNAVAILABLE, so that clients retry") {
  const grpc::Status status = ToGrpcStatus(absl::UnavailableError("connection to 10.0.0.1"), "r1");
  CHECK(OnlyDetail(Rich(status)).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
}

TEST_CASE("Details of more than 4 KiB are cut, and the first says so") {
  std::vector<v1::ErrorInfo> problems(1000);
  for (v1::ErrorInfo& problem : problems) {
    problem.set_reason(v1::ERROR_REASON_INVALID_EVENT);
    problem.set_message(std::string(100, 'm'));
  }
  const grpc::Status status = ToGrpcStatus(MakeError(problems), "r1");
  CHECK(status.error_details().size() <= kErrorDetailsBytesMax);
  CHECK(status.error_details().size() > kErrorDetailsBytesMax / 2);
  v1::ErrorInfo first;
  REQUIRE(Rich(status).details(0).UnpackTo(&first));
  CHECK(first.truncated());
  CHECK(first.total() == 1000);
}

TEST_CASE("A long message is cut between characters") {
  for (int shift = 0; shift < 3; ++shift) {
    std::string text(static_cast<std::size_t>(shift), 'a');
    while (text.size() < 6000) text += "\xe2\x82\xac";  // the euro sign, three bytes
    const grpc::Status status = ToGrpcStatus(absl::CancelledError(text), "r1");
    CHECK(status.error_message().size() <= 512);
    CHECK(status.error_message().size() >= 508);
    CHECK(IsCleanUtf8(status.error_message()));
    CHECK(status.error_details().size() <= kErrorDetailsBytesMax);
  }
}

}  // namespace eventstore::rpc
