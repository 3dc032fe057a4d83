#include "server/core/snapshot_validation.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

v1::SaveSnapshotRequest Good() {
  v1::SaveSnapshotRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("1");
  request.set_version(7);
  request.set_state("{}");
  return request;
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const v1::ErrorInfo& detail : DetailsOf(status)) fields.push_back(detail.field());
  return fields;
}

using Fields = std::vector<std::string>;

TEST_CASE("A snapshot's defaults are filled in", "[snapshots]") {
  auto request = Good();
  request.mutable_stream()->set_tenant_id("0190B2C4-0000-7000-8000-0000000000AA");
  REQUIRE(Validate(Limits(), &request).ok());
  CHECK(request.schema_version() == 1);
  CHECK(request.keep_versions() == 1);
  CHECK(request.content_type() == "application/json");
  CHECK(request.stream().tenant_id() == "0190b2c4-0000-7000-8000-0000000000aa");
}

TEST_CASE("Everything that is wrong with a snapshot is named at once", "[snapshots]") {
  v1::SaveSnapshotRequest request;
  request.set_version(-1);
  request.set_schema_version(-1);
  request.set_keep_versions(101);
  request.set_state("{");
  const absl::Status status = Validate(Limits(), &request);
  CHECK(FieldsOf(status) ==
        Fields{"stream", "version", "schema_version", "keep_versions", "state"});
  CHECK(DetailsOf(status)[4].message().find("byte") != std::string::npos);
  request = Good();
  request.set_keep_versions(100);
  CHECK(Validate(Limits(), &request).ok());
}

TEST_CASE("A snapshot in a larger request is named by its path", "[snapshots]") {
  v1::SaveSnapshotRequest request = Good();
  request.set_version(0);
  request.mutable_stream()->clear_aggregate_id();
  Problems problems;
  CheckSnapshotToSave("snapshots[3].", Limits(), &request, &problems);
  CHECK(FieldsOf(std::move(problems).ToStatus()) ==
        Fields{"snapshots[3].stream.aggregate_id", "snapshots[3].version"});
}

TEST_CASE("A JSON state obeys the rules of a payload, any other is free", "[snapshots]") {
  auto request = Good();
  for (const std::string bad : {"", "{\"a\":\"\\u0000\"}", "[1e131071]", "\xff", "{} {}"}) {
    INFO(bad);
    request.set_state(bad);
    request.set_content_type("application/json");
    CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"state"});
    request.set_content_type("application/x-protobuf");
    CHECK(Validate(Limits(), &request).ok());
  }
  request.set_state("nonsense");
  request.set_content_type("Application/Vnd.State+JSON; charset=utf-8");
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"state"});
}

TEST_CASE("A state is as large as an event at most, as sent and as printed", "[snapshots]") {
  Limits limits;
  limits.event_bytes_max = 100;
  auto request = Good();
  const auto check = [&](const std::string& state, const std::string& type, std::int64_t value) {
    request.set_state(state);
    request.set_content_type(type);
    const absl::Status status = Validate(limits, &request);
    if (value == 0) {
      CHECK(status.ok());
      return;
    }
    const auto details = DetailsOf(status);
    REQUIRE(details.size() == 1);
    CHECK(details[0].reason() == v1::ERROR_REASON_TOO_LARGE);
    CHECK(details[0].field() == "state");
    CHECK(details[0].limit_name() == "event_bytes_max");
    CHECK(details[0].limit() == 100);
    CHECK(details[0].value() >= value);
  };
  check(std::string(100, 'x'), "text/plain", 0);
  check(std::string(101, 'x'), "text/plain", 101);
  check("[" + std::string(98, ' ') + "]", "", 0);
  check("[" + std::string(99, ' ') + "]", "", 101);
  check("[1e200]", "", 201);
}

TEST_CASE("What asks for snapshots names what is wrong with it", "[snapshots]") {
  v1::GetSnapshotRequest get;
  get.set_max_version(-1);
  get.set_schema_version(-1);
  CHECK(FieldsOf(Validate(Limits(), &get)) == Fields{"stream", "max_version", "schema_version"});
  v1::ListSnapshotsRequest list;
  list.set_aggregate_id("1");
  list.set_tenant_id("x");
  list.set_page_size(1001);
  CHECK(FieldsOf(Validate(Limits(), &list)) == Fields{"aggregate_type", "tenant_id", "page_size"});
  list = v1::ListSnapshotsRequest();
  REQUIRE(Validate(Limits(), &list).ok());
  CHECK(list.page_size() == 100);
}

TEST_CASE("A deletion of a whole type needs a schema version", "[snapshots]") {
  v1::DeleteSnapshotsRequest request;
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"target"});
  request.set_aggregate_type("Order");
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"schema_version_below"});
  request.set_schema_version_below(-1);
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"schema_version_below"});
  request.set_schema_version_below(1);
  CHECK(Validate(Limits(), &request).ok());
  request.set_aggregate_type("");
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"aggregate_type"});
}

TEST_CASE("A deletion of a stream takes no other tenant", "[snapshots]") {
  v1::DeleteSnapshotsRequest request;
  *request.mutable_stream() = Good().stream();
  CHECK(Validate(Limits(), &request).ok());
  request.set_tenant_id("0190b2c4-0000-7000-8000-0000000000aa");
  CHECK(FieldsOf(Validate(Limits(), &request)) == Fields{"tenant_id"});
  request.mutable_stream()->set_tenant_id("0190B2C4-0000-7000-8000-0000000000AA");
  CHECK(Validate(Limits(), &request).ok());
}

}  // namespace
}  // namespace eventstore
