#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/core/validation.h"

namespace eventstore {
namespace {

constexpr char kIdA[] = "0189f7a5-6b1c-7def-8000-00ff10a9bcd1";
constexpr char kIdB[] = "0189f7a5-6b1c-7def-8000-00ff10a9bcd2";
constexpr char kTenant[] = "0189f7a5-6b1c-7def-8000-00ff10a9bcde";

v1::AppendEventsRequest Request(int events = 1) {
  v1::AppendEventsRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("42");
  request.mutable_expected_version()->mutable_any();
  for (int i = 0; i < events; ++i) {
    request.add_events()->set_event_type("OrderPlaced");
    request.mutable_events(i)->set_payload("{}");
  }
  return request;
}

ValidatedAppend Good(v1::AppendEventsRequest request, const Limits& limits = Limits()) {
  auto append = ValidateAppend(std::move(request), limits);
  CAPTURE(append.status().ToString());
  REQUIRE(append.ok());
  return *std::move(append);
}

std::vector<v1::ErrorInfo> AllProblems(v1::AppendEventsRequest request,
                                       const Limits& limits = Limits()) {
  const auto append = ValidateAppend(std::move(request), limits);
  REQUIRE_FALSE(append.ok());
  CHECK(append.status().code() == absl::StatusCode::kInvalidArgument);
  return DetailsOf(append.status());
}

v1::ErrorInfo Problem(v1::AppendEventsRequest request, const Limits& limits = Limits()) {
  const auto problems = AllProblems(std::move(request), limits);
  REQUIRE(problems.size() == 1);
  CAPTURE(problems[0].message());
  CHECK(problems[0].message().find(problems[0].field()) == 0);
  return problems[0];
}

TEST_CASE("AnAppendIsNormalized") {
  v1::AppendEventsRequest request = Request(2);
  request.mutable_stream()->set_tenant_id("0189F7A5-6B1C-7DEF-8000-00FF10A9BCDE");
  request.mutable_events(0)->set_event_id("0189F7A5-6B1C-7DEF-8000-00FF10A9BCD1");
  request.mutable_events(1)->set_event_id(kIdB);
  for (const char* tag : {"b", "a", "b"}) request.mutable_events(0)->add_tags(tag);
  request.mutable_events(0)->mutable_timestamp()->set_seconds(5);
  request.mutable_events(0)->mutable_timestamp()->set_nanos(123'456'789);
  request.mutable_events(1)->set_content_type("text/plain");
  request.mutable_events(1)->set_schema_version(3);
  const ValidatedAppend append = Good(request);
  CHECK(append.has_client_ids);
  CHECK(append.request.stream().tenant_id() == kTenant);
  CHECK(FormatUuid(append.tenant) == kTenant);
  const v1::NewEvent& first = append.request.events(0);
  CHECK(first.event_id() == kIdA);
  CHECK(first.content_type() == "application/json");
  CHECK(first.schema_version() == 1);
  REQUIRE(first.tags_size() == 2);
  CHECK(first.tags(0) == "a");
  CHECK(first.tags(1) == "b");
  CHECK(first.timestamp().nanos() == 123'456'000);
  CHECK(append.request.events(1).content_type() == "text/plain");
  CHECK(append.request.events(1).schema_version() == 3);
  REQUIRE(append.event_ids.size() == 2);
  CHECK(FormatUuid(append.event_ids[1]) == kIdB);
}

TEST_CASE("EventsWithoutIdsGetTimeOrderedOnes") {
  const ValidatedAppend append = Good(Request(50));
  CHECK_FALSE(append.has_client_ids);
  CHECK(append.tenant == kNilUuid);
  REQUIRE(append.event_ids.size() == 50);
  std::set<Uuid> distinct(append.event_ids.begin(), append.event_ids.end());
  CHECK(distinct.size() == 50);
  for (int i = 0; i < 50; ++i) {
    CHECK(append.request.events(i).event_id() == FormatUuid(append.event_ids[i]));
    CHECK(append.event_ids[i][6] >> 4 == 7);
  }
}

TEST_CASE("BytesOfAnEventAreItsPayloadTextsMetadataAndTags") {
  v1::AppendEventsRequest request = Request(2);
  v1::NewEvent* event = request.mutable_events(0);
  event->set_event_type("12345");
  event->set_content_type("a/b");
  event->set_payload("1234567890");
  event->set_actor_id("12");
  event->set_correlation_id("123");
  event->set_causation_id("1234");
  (*event->mutable_metadata())["key"] = "value";
  event->add_tags("tag");
  event->add_tags("tag");
  // Printed in full by the database: 1000 bytes.
  request.mutable_events(1)->set_payload("1e999");
  const ValidatedAppend append = Good(request);
  CHECK(append.event_bytes[0] == 5 + 3 + 10 + 2 + 3 + 4 + 8 + 3);
  CHECK(append.event_bytes[1] == 1000 + 11 + 16);
  CHECK(append.total_bytes == append.event_bytes[0] + append.event_bytes[1]);

  // Blanks are not printed, but a live reader gets them.
  request = Request();
  request.mutable_events(0)->set_payload("{}" + std::string(500, ' '));
  CHECK(Good(request).event_bytes[0] == 502 + 11 + 16);
}

TEST_CASE("AnUnsetExpectedVersionIsRefused") {
  v1::AppendEventsRequest request = Request();
  SECTION("no message") { request.clear_expected_version(); }
  SECTION("no kind") { request.mutable_expected_version()->Clear(); }
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(problem.field() == "expected_version");
  CHECK_FALSE(problem.has_index());
}

TEST_CASE("AnExactVersionIsAtLeast1") {
  v1::AppendEventsRequest request = Request();
  const std::int64_t exact = GENERATE(0LL, -1LL, INT64_MIN);
  request.mutable_expected_version()->set_exact(exact);
  CHECK(Problem(request).field() == "expected_version.exact");
  request.mutable_expected_version()->set_exact(1);
  Good(request);
  request.mutable_expected_version()->set_exact(INT64_MAX);
  Good(request);
}

TEST_CASE("AStreamIsRequiredAndNamedInFull") {
  v1::AppendEventsRequest request = Request();
  std::string field;
  SECTION("none") {
    request.clear_stream();
    field = "stream";
  }
  SECTION("no type") {
    request.mutable_stream()->clear_aggregate_type();
    field = "stream.aggregate_type";
  }
  SECTION("no id") {
    request.mutable_stream()->clear_aggregate_id();
    field = "stream.aggregate_id";
  }
  SECTION("NUL in the id") {
    request.mutable_stream()->set_aggregate_id(std::string("4\0002", 3));
    field = "stream.aggregate_id";
  }
  SECTION("invalid UTF-8 in the type") {
    request.mutable_stream()->set_aggregate_type("\xc3(");
    field = "stream.aggregate_type";
  }
  SECTION("a tenant that is no UUID") {
    request.mutable_stream()->set_tenant_id("acme");
    field = "stream.tenant_id";
  }
  SECTION("the nil tenant") {
    request.mutable_stream()->set_tenant_id("00000000-0000-0000-0000-000000000000");
    field = "stream.tenant_id";
  }
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(problem.field() == field);
}

TEST_CASE("ARequestWithoutEventsIsRefused") {
  const v1::ErrorInfo problem = Problem(Request(0));
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(problem.field() == "events");
}

TEST_CASE("EitherAllEventsHaveIdsOrNone") {
  v1::AppendEventsRequest request = Request(3);
  request.mutable_events(0)->set_event_id(kIdA);
  request.mutable_events(2)->set_event_id(kIdB);
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(problem.field() == "events[1].event_id");
  CHECK(problem.index() == 1);
  CHECK(problem.message().find("2 of 3 events have one") != std::string::npos);
}

TEST_CASE("TheSameIdTwiceInARequestIsRefused") {
  v1::AppendEventsRequest request = Request(3);
  request.mutable_events(0)->set_event_id(kIdA);
  request.mutable_events(1)->set_event_id(kIdB);
  request.mutable_events(2)->set_event_id("0189F7A5-6B1C-7DEF-8000-00FF10A9BCD1");
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(problem.field() == "events[2].event_id");
  CHECK(problem.message().find("events[0]") != std::string::npos);
}

TEST_CASE("ABadEventIsRefusedWithItsIndexAndTheFieldsPath") {
  v1::AppendEventsRequest request = Request(3);
  v1::NewEvent* event = request.mutable_events(2);
  const std::string nul("a\0b", 3);
  std::string field;
  SECTION("no type") { event->clear_event_type(), field = "event_type"; }
  SECTION("NUL in the type") { event->set_event_type(nul), field = "event_type"; }
  SECTION("NUL in the media type") { event->set_content_type(nul), field = "content_type"; }
  SECTION("NUL in the actor") { event->set_actor_id(nul), field = "actor_id"; }
  SECTION("NUL in the correlation") { event->set_correlation_id(nul), field = "correlation_id"; }
  SECTION("NUL in the causation") { event->set_causation_id(nul), field = "causation_id"; }
  SECTION("bad UTF-8 in the actor") { event->set_actor_id("\xff"), field = "actor_id"; }
  SECTION("NUL in a key") { (*event->mutable_metadata())[nul] = "v", field = "metadata"; }
  SECTION("NUL in a value") {
    (*event->mutable_metadata())["key"] = nul, field = "metadata[\"key\"]";
  }
  SECTION("empty tag") { event->add_tags("x"), event->add_tags(""), field = "tags[1]"; }
  SECTION("NUL in a tag") { event->add_tags(nul), field = "tags[0]"; }
  SECTION("negative schema version") { event->set_schema_version(-1), field = "schema_version"; }
  SECTION("before year 1") {
    event->mutable_timestamp()->set_seconds(-62'135'596'801), field = "timestamp";
  }
  SECTION("after year 9999") {
    event->mutable_timestamp()->set_seconds(253'402'300'800), field = "timestamp";
  }
  SECTION("negative nanos") { event->mutable_timestamp()->set_nanos(-1), field = "timestamp"; }
  SECTION("a second of nanos") {
    event->mutable_timestamp()->set_nanos(1'000'000'000), field = "timestamp";
  }
  SECTION("no payload") { event->clear_payload(), field = "payload"; }
  SECTION("malformed JSON") { event->set_payload("{\"a\":"), field = "payload"; }
  SECTION("NUL in JSON") { event->set_payload("\"\\u0000\""), field = "payload"; }
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_EVENT);
  CHECK(problem.field() == "events[2]." + field);
  CHECK(problem.index() == 2);
}

TEST_CASE("ABadEventIdIsRefused") {
  v1::AppendEventsRequest request = Request(1);
  request.mutable_events(0)->set_event_id(
      GENERATE("1", "00000000-0000-0000-0000-000000000000", "0189f7a56b1c7def800000ff10a9bcd1"));
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.reason() == v1::ERROR_REASON_INVALID_EVENT);
  CHECK(problem.field() == "events[0].event_id");
  CHECK(problem.event_id().empty());
}

TEST_CASE("TheJsonErrorSaysWhere") {
  v1::AppendEventsRequest request = Request(1);
  request.mutable_events(0)->set_payload("[1, 02]");
  CHECK(Problem(request).message() ==
        "events[0].payload: not storable as JSON at byte 4: this is not a JSON number, such as "
        "12, -0.5 or 1e3");
}

TEST_CASE("OtherPayloadsThanJsonAreNotLookedInto") {
  v1::AppendEventsRequest request = Request(1);
  request.mutable_events(0)->set_content_type("application/octet-stream");
  request.mutable_events(0)->set_payload(std::string("\0\xff{", 3));
  CHECK(Good(request).request.events(0).payload() == std::string("\0\xff{", 3));
  request.mutable_events(0)->clear_payload();
  Good(request);
}

TEST_CASE("JsonContentTypesAreThoseOfTheStandard") {
  for (const char* type :
       {"application/json", "APPLICATION/Json", "application/json; charset=utf-8",
        "application/json;v=1", "application/cloudevents+json",
        "application/vnd.acme.order+JSON ; v=2"}) {
    CAPTURE(type);
    CHECK(IsJsonContentType(type));
  }
  for (const char* type :
       {"", "text/plain", "application/jsonl", "application/json-seq", "application/x-protobuf",
        "xapplication/json", "text/plain; a=+json", "text/plain;application/json"}) {
    CAPTURE(type);
    CHECK_FALSE(IsJsonContentType(type));
  }
}

struct LimitCase {
  const char* limit_name;
  std::int64_t Limits::*limit;
  std::int64_t value;
  std::string field;
  int index;  // < 0: the request's
  void (*fill)(v1::AppendEventsRequest*);
};

TEST_CASE("EveryLimitOfAnAppendIsNamedWhenItIsPassedAndHoldsWhenItIsMet") {
  const std::vector<LimitCase> cases = {
      {"request_events_max", &Limits::request_events_max, 4, "events", -1,
       [](auto* request) { *request = Request(4); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "stream.aggregate_type", -1,
       [](auto* r) { r->mutable_stream()->set_aggregate_type(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "stream.aggregate_id", -1,
       [](auto* r) { r->mutable_stream()->set_aggregate_id(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "events[1].event_type", 1,
       [](auto* r) { r->mutable_events(1)->set_event_type(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "events[1].content_type", 1,
       [](auto* r) { r->mutable_events(1)->set_content_type(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "events[1].actor_id", 1,
       [](auto* r) { r->mutable_events(1)->set_actor_id(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "events[1].correlation_id", 1,
       [](auto* r) { r->mutable_events(1)->set_correlation_id(std::string(40, 'x')); }},
      {"name_bytes_max", &Limits::name_bytes_max, 40, "events[1].causation_id", 1,
       [](auto* r) { r->mutable_events(1)->set_causation_id(std::string(40, 'x')); }},
      {"tags_max", &Limits::tags_max, 3, "events[1].tags", 1,
       [](auto* r) {
         for (const char* tag : {"a", "b", "c", "a"}) r->mutable_events(1)->add_tags(tag);
       }},
      {"tag_bytes_max", &Limits::tag_bytes_max, 5, "events[1].tags[0]", 1,
       [](auto* r) { r->mutable_events(1)->add_tags("12345"); }},
      {"metadata_entries_max", &Limits::metadata_entries_max, 2, "events[1].metadata", 1,
       [](auto* r) {
         (*r->mutable_events(1)->mutable_metadata())["a"] = "1";
         (*r->mutable_events(1)->mutable_metadata())["b"] = "2";
       }},
      {"metadata_bytes_max", &Limits::metadata_bytes_max, 10, "events[1].metadata", 1,
       [](auto* r) { (*r->mutable_events(1)->mutable_metadata())["12345"] = "12345"; }},
      {"event_bytes_max", &Limits::event_bytes_max, 100, "events[1]", 1,
       [](auto* r) { r->mutable_events(1)->set_payload("\"" + std::string(71, 'x') + "\""); }},
      // 5 bytes that the database prints as 1000.
      {"event_bytes_max", &Limits::event_bytes_max, 1027, "events[1]", 1,
       [](auto* r) { r->mutable_events(1)->set_payload("1e999"); }},
      // The printed events alone: 29 + 1027.
      {"request_bytes_max", &Limits::request_bytes_max, 29 + 1027, "events", -1,
       [](auto* r) { r->mutable_events(1)->set_payload("1e999"); }},
  };
  for (const LimitCase& row : cases) {
    CAPTURE(row.limit_name, row.field);
    v1::AppendEventsRequest request = Request(2);
    row.fill(&request);
    Limits limits;
    limits.*row.limit = row.value;
    Good(request, limits);
    limits.*row.limit = row.value - 1;
    const v1::ErrorInfo problem = Problem(request, limits);
    CHECK(problem.reason() == v1::ERROR_REASON_TOO_LARGE);
    CHECK(problem.limit_name() == row.limit_name);
    CHECK(problem.limit() == row.value - 1);
    CHECK(problem.value() == row.value);
    CHECK(problem.field() == row.field);
    CHECK(problem.has_index() == (row.index >= 0));
    if (row.index >= 0) CHECK(problem.index() == row.index);
  }
}

TEST_CASE("ARequestBeyondItsBytesIsRefusedBeforeAnythingElseIsLookedAt") {
  v1::AppendEventsRequest request = Request(1);
  request.mutable_events(0)->set_payload(std::string((4 << 20) + 1, '['));
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.limit_name() == "request_bytes_max");
  CHECK(problem.value() == static_cast<std::int64_t>(request.ByteSizeLong()));
}

TEST_CASE("OneOversizedEventAmongGoodOnesIsNamed") {
  v1::AppendEventsRequest request = Request(5);
  request.mutable_events(3)->set_payload("\"" + std::string(1 << 20, 'x') + "\"");
  const v1::ErrorInfo problem = Problem(request);
  CHECK(problem.limit_name() == "event_bytes_max");
  CHECK(problem.index() == 3);
  CHECK(problem.field() == "events[3]");
}

TEST_CASE("AllProblemsOfARequestAreListed") {
  v1::AppendEventsRequest request = Request(3);
  request.clear_expected_version();
  request.mutable_events(0)->clear_event_type();
  request.mutable_events(2)->set_payload("x");
  request.mutable_events(2)->set_schema_version(-5);
  const auto problems = AllProblems(request);
  REQUIRE(problems.size() == 4);
  CHECK(problems[0].field() == "expected_version");
  CHECK(problems[1].field() == "events[0].event_type");
  CHECK(problems[2].field() == "events[2].schema_version");
  CHECK(problems[3].field() == "events[2].payload");
  CHECK_FALSE(problems[0].truncated());
}

TEST_CASE("OfVeryManyProblemsTheErrorTellsTheNumber") {
  v1::AppendEventsRequest request = Request(1000);
  for (v1::NewEvent& event : *request.mutable_events()) event.set_payload("x");
  const auto problems = AllProblems(request);
  CHECK(problems.size() > 10);
  CHECK(problems.size() <= 32);
  CHECK(problems[0].truncated());
  CHECK(problems[0].total() == 1000);
}

TEST_CASE("AnAppendAtTheDefaultLimitsIsTaken") {
  v1::AppendEventsRequest request = Request(1000);
  request.mutable_stream()->set_aggregate_id(std::string(255, 'x'));
  v1::NewEvent* event = request.mutable_events(0);
  event->set_event_type(std::string(255, 'x'));
  for (int i = 0; i < 32; ++i) event->add_tags(std::string(126, 't') + std::to_string(10 + i));
  for (int i = 0; i < 64; ++i) {
    (*event->mutable_metadata())[std::to_string(100 + i)] = std::string(253, 'm');
  }
  event->set_payload(std::string(128, '[') + std::string(128, ']'));
  request.mutable_events(1)->set_payload("\"" + std::string(1'000'000, 'x') + "\"");
  CHECK(Good(request).event_ids.size() == 1000);
}

}  // namespace
}  // namespace eventstore
