#include "server/tables/outbox_entry.h"

#include <catch2/catch.hpp>
#include <string>

#include "server/core/validation.h"

namespace eventstore::tables {
namespace {

using Catch::Contains;

// With the keys that every entry has, and `more` before them.
std::string Entry(const std::string& more) {
  return "{" + more +
         R"("event_id": "01890a5d-ac96-774b-bcce-b302099a8057", "event_type": "Placed",)"
         R"( "aggregate_type": "Order", "aggregate_id": "o-1"})";
}

TEST_CASE("An entry parses to its event", "[outbox_entry]") {
  const auto event = ParseOutboxEvent(Entry(
      R"("tags": ["a", "ü\""], "payload": {"n": 1.50, "payload": [1e2, {"tags": ["no"]}]},)"
      R"( "version": 7, "metadata": {"k": "v\n", "": ""}, "actor_id": "me", "tenant_id": null,)"
      R"( "timestamp": "2026-11-25T20:40:07.123456Z", "created_at": "0001-01-01T00:00:00.000000Z",)"
      R"( "causation_id": null, "correlation_id": "c", "schema_version": 3, "unknown": {"version": 8},)"
      R"( "global_position": 9007199254740993, "content_type": "application/json", )"));
  REQUIRE(event.ok());
  CHECK(event->event_id() == "01890a5d-ac96-774b-bcce-b302099a8057");
  CHECK(event->event_type() == "Placed");
  CHECK(event->stream().aggregate_type() == "Order");
  CHECK(event->stream().aggregate_id() == "o-1");
  CHECK(event->stream().tenant_id().empty());
  CHECK(event->payload() == R"({"n": 1.50, "payload": [1e2, {"tags": ["no"]}]})");
  REQUIRE(event->tags_size() == 2);
  CHECK(event->tags(1) == "ü\"");
  REQUIRE(event->metadata_size() == 2);
  CHECK(event->metadata().at("k") == "v\n");
  CHECK(event->version() == 7);
  CHECK(event->global_position() == 9007199254740993);
  CHECK(event->schema_version() == 3);
  CHECK(event->actor_id() == "me");
  CHECK(event->correlation_id() == "c");
  CHECK(event->causation_id().empty());
  CHECK(event->timestamp().nanos() == 123'456'000);
  CHECK(event->created_at().seconds() == -62'135'596'800);
  CHECK_FALSE(event->erased());
}

TEST_CASE("A payload of any kind is the text that stands there", "[outbox_entry]") {
  for (const char* payload : {"null", "true", "-1.25", "\"a: \\\" b\"", "[]", "{}", "[[1], {}]"}) {
    CAPTURE(payload);
    const auto last = ParseOutboxEvent(Entry("\"payload\":  " + std::string(payload) + " , "));
    REQUIRE(last.ok());
    CHECK(last->payload() == payload);
  }
}

TEST_CASE("A payload that is no JSON comes in base64", "[outbox_entry]") {
  const auto event = ParseOutboxEvent(Entry(R"("payload_base64": "AP8K", )"));
  REQUIRE(event.ok());
  CHECK(event->payload() == std::string("\0\xff\n", 3));
}

TEST_CASE("An erased entry is marked and empty", "[outbox_entry]") {
  const auto event =
      ParseOutboxEvent(Entry(R"("erased": true, "content_type": "application/x-erased", )"));
  REQUIRE(event.ok());
  CHECK(event->erased());
  CHECK(event->payload().empty());
  CHECK(event->content_type() == "application/x-erased");
}

TEST_CASE("What the lane did not write is refused by name", "[outbox_entry]") {
  CHECK_THAT(std::string(ParseOutboxEvent("[1]").status().message()),
             Contains("not a JSON object"));
  CHECK_THAT(std::string(ParseOutboxEvent("7").status().message()), Contains("not a JSON object"));
  CHECK_THAT(std::string(ParseOutboxEvent("{\"a\"").status().message()), Contains("is no JSON"));
  CHECK_THAT(std::string(ParseOutboxEvent(R"({"event_id": "x"})").status().message()),
             Contains("\"event_type\" is missing"));
  CHECK_THAT(std::string(ParseOutboxEvent(Entry(R"("version": 1.5, )")).status().message()),
             Contains("\"version\" is not an integer"));
  CHECK_THAT(std::string(ParseOutboxEvent(Entry(R"("timestamp": "now", )")).status().message()),
             Contains("\"timestamp\" is not a time"));
  CHECK_THAT(std::string(ParseOutboxEvent(Entry(R"("payload_base64": "*", )")).status().message()),
             Contains("\"payload_base64\" is not base64"));
}

}  // namespace
}  // namespace eventstore::tables
