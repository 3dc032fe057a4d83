#include "server/core/payload_conditions.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/core/errors.h"

namespace eventstore {
namespace {

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const v1::ErrorInfo& detail : DetailsOf(status)) fields.push_back(detail.field());
  return fields;
}

using Fields = std::vector<std::string>;

v1::QueryEventsRequest Good() {
  v1::QueryEventsRequest request;
  request.set_payload_contains("{\"a\": 1}");
  return request;
}

TEST_CASE("A path is keys joined with dots, and a backslash makes a dot part of a key", "[query]") {
  CHECK(*ParseFieldPath("a") == FieldPath{"a"});
  CHECK(*ParseFieldPath("customer.address.0.city") ==
        FieldPath{"customer", "address", "0", "city"});
  CHECK(*ParseFieldPath("a\\.b.c") == FieldPath{"a.b", "c"});
  CHECK(*ParseFieldPath("a\\\\.b") == FieldPath{"a\\", "b"});
  CHECK(*ParseFieldPath("\\.") == FieldPath{"."});
  CHECK(*ParseFieldPath("{a},\"b\" 'c'") == FieldPath{"{a},\"b\" 'c'"});
  for (const std::string text : {"a.b", "a\\.b.c", "\\\\", "x\\\\\\.y.z"}) {
    CHECK(FormatFieldPath(*ParseFieldPath(text)) == text);
  }
}

TEST_CASE("A path that is none says where it is wrong", "[query]") {
  struct Case {
    std::string text;
    std::string where;
  };
  for (const Case& one :
       {Case{"", "is empty at byte 0"}, Case{".a", "at byte 0"}, Case{"a..b", "at byte 2"},
        Case{"a.", "at byte 2"}, Case{"a\\", "at byte 1"}, Case{"ab\\c", "at byte 2"}}) {
    INFO(one.text);
    const auto path = ParseFieldPath(one.text);
    REQUIRE_FALSE(path.ok());
    CHECK(std::string(path.status().message()).find(one.where) != std::string::npos);
  }
}

TEST_CASE("A query needs a condition on payloads", "[query]") {
  v1::QueryEventsRequest request;
  CHECK(FieldsOf(ValidateQueryEvents(Limits(), &request).status()) == Fields{"payload_contains"});
  (*request.mutable_payload_equals())["a"] = "";
  CHECK(ValidateQueryEvents(Limits(), &request).ok());
}

TEST_CASE("What a payload shall contain is JSON, of 64 KiB at most", "[query]") {
  v1::QueryEventsRequest request;
  for (const std::string bad : {"{", "{\"a\": \\u0000}", "nonsense", "{} {}"}) {
    request.set_payload_contains(bad);
    const auto status = ValidateQueryEvents(Limits(), &request).status();
    CHECK(FieldsOf(status) == Fields{"payload_contains"});
    CHECK(DetailsOf(status)[0].reason() == v1::ERROR_REASON_INVALID_REQUEST);
    CHECK(DetailsOf(status)[0].message().find("byte") != std::string::npos);
  }
  request.set_payload_contains("\"" + std::string((64 << 10) - 2, 'x') + "\"");
  CHECK(ValidateQueryEvents(Limits(), &request).ok());
  request.set_payload_contains("\"" + std::string((64 << 10) - 1, 'x') + "\"");
  const auto status = ValidateQueryEvents(Limits(), &request).status();
  CHECK(DetailsOf(status)[0].reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(DetailsOf(status)[0].limit_name() == "payload_contains_bytes_max");
}

TEST_CASE("At most 16 fields are compared, each by a path that can be read", "[query]") {
  v1::QueryEventsRequest request;
  for (int i = 0; i < 16; ++i) (*request.mutable_payload_equals())["f" + std::to_string(i)] = "x";
  auto conditions = ValidateQueryEvents(Limits(), &request);
  REQUIRE(conditions.ok());
  CHECK(conditions->equals.size() == 16);
  (*request.mutable_payload_equals())["one more"] = "x";
  CHECK(DetailsOf(ValidateQueryEvents(Limits(), &request).status())[0].limit_name() ==
        "payload_equals_max");
  request.clear_payload_equals();
  (*request.mutable_payload_equals())["a..b"] = "x";
  (*request.mutable_payload_equals())["c\\.d"] = "x";
  CHECK(FieldsOf(ValidateQueryEvents(Limits(), &request).status()) ==
        Fields{"payload_equals[\"a..b\"]"});
  (*request.mutable_payload_equals()).erase("a..b");
  conditions = ValidateQueryEvents(Limits(), &request);
  REQUIRE(conditions.ok());
  CHECK(conditions->equals[0].path == FieldPath{"c.d"});
}

TEST_CASE("Everything else that is wrong with a query is named at once", "[query]") {
  auto request = Good();
  request.set_after_position(-1);
  request.set_epoch(-1);
  request.set_limit(-1);
  request.mutable_from_timestamp()->set_seconds(2);
  request.mutable_to_timestamp()->set_seconds(2);
  CHECK(FieldsOf(ValidateQueryEvents(Limits(), &request).status()) ==
        Fields{"after_position", "epoch", "limit", "to_timestamp"});
  request = Good();
  request.mutable_filter()->set_event_type_regex("(");
  CHECK(FieldsOf(ValidateQueryEvents(Limits(), &request).status()) ==
        Fields{"filter.event_type_regex"});
}

TEST_CASE("An index has a short plain name and a path that can be read", "[query]") {
  v1::CreatePayloadIndexRequest create;
  for (const std::string bad : {"", "a b", "a;b", "ä"}) {
    create.set_name(bad);
    CHECK(FieldsOf(Validate(Limits(), &create)) == Fields{"name"});
  }
  create.set_name(std::string(64, 'x'));
  CHECK_FALSE(Validate(Limits(), &create).ok());
  create.set_name(std::string(63, 'x'));
  CHECK(Validate(Limits(), &create).ok());
  create.set_field("a..b");
  create.set_tenant_id("x");
  CHECK(FieldsOf(Validate(Limits(), &create)) == Fields{"field", "tenant_id"});
  v1::DropPayloadIndexRequest drop;
  CHECK(FieldsOf(Validate(Limits(), &drop)) == Fields{"name"});
}

}  // namespace
}  // namespace eventstore
