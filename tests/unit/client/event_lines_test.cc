#include "client/cli/event_lines.h"

#include <catch2/catch.hpp>
#include <sstream>
#include <string>

#include "client/cli/parse.h"
#include "server/core/ids.h"

namespace eventstore::cli {
namespace {

v1::NewEvent MustParse(const std::string& line, const v1::NewEvent& defaults = {}) {
  auto event = ParseEventLine(line, defaults);
  INFO(line);
  INFO(MessageOf(event.status()));
  REQUIRE(event.ok());
  return *event;
}

std::string ErrorOf(const std::string& line) {
  const auto event = ParseEventLine(line, v1::NewEvent());
  INFO(line);
  REQUIRE_FALSE(event.ok());
  return MessageOf(event.status());
}

TEST_CASE("EveryMemberReachesItsField") {
  const v1::NewEvent event = MustParse(
      R"({"event_type":"OrderPlaced", "payload": {"total": 10}, "content_type":"application/json",)"
      R"("event_id":"0190a0a0-0000-7000-8000-000000000001","timestamp":"2024-05-01T12:00:00.5+02:00",)"
      R"("actor_id":"ann","correlation_id":"c","causation_id":"d","metadata":{"a":"1","b":""},)"
      R"("tags":["x","y"],"schema_version":3})");
  CHECK(event.event_type() == "OrderPlaced");
  CHECK(event.payload() == R"({"total": 10})");
  CHECK(event.content_type() == "application/json");
  CHECK(event.event_id() == "0190a0a0-0000-7000-8000-000000000001");
  CHECK(event.timestamp().seconds() == 1714557600);
  CHECK(event.timestamp().nanos() == 500'000'000);
  CHECK(event.actor_id() == "ann");
  CHECK(event.correlation_id() == "c");
  CHECK(event.causation_id() == "d");
  CHECK(event.metadata().size() == 2);
  CHECK(event.metadata().at("a") == "1");
  REQUIRE(event.tags_size() == 2);
  CHECK(event.tags(1) == "y");
  CHECK(event.schema_version() == 3);
}

TEST_CASE("AnEventWithoutIdGetsOne") {
  const v1::NewEvent one = MustParse(R"({"event_type":"A"})");
  const v1::NewEvent other = MustParse(R"({"event_type":"A"})");
  CHECK(ParseUuid(one.event_id()).has_value());
  CHECK(one.event_id() != other.event_id());
}

TEST_CASE("PayloadsKeepTheirNumbersSpelling") {
  const std::string payload =
      R"({"big":123456789012345678901234567890.10,"small":1e-7,"t":[1E400]})";
  CHECK(MustParse(R"({"event_type":"A","payload":)" + payload + "}").payload() == payload);
}

TEST_CASE("AMissingPayloadIsAnEmptyObjectForJsonAndEmptyOtherwise") {
  CHECK(MustParse(R"({"event_type":"A"})").payload() == "{}");
  CHECK(MustParse(R"({"event_type":"A","payload":null})").payload() == "null");
  CHECK(MustParse(R"({"event_type":"A","content_type":"text/plain"})").payload().empty());
}

TEST_CASE("AnotherContentTypeTakesTextOrBase64") {
  CHECK(
      MustParse(R"({"event_type":"A","content_type":"text/plain","payload":"a\"b\n"})").payload() ==
      "a\"b\n");
  CHECK(
      MustParse(
          R"({"event_type":"A","content_type":"application/octet-stream","payload_base64":"AP8="})")
          .payload() == std::string("\0\xff", 2));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","content_type":"text/plain","payload":{}})"),
             Catch::Contains("payload as a string"));
}

TEST_CASE("WhatTheStoreSetsIsIgnoredSoThatReadsCanBeAppended") {
  const v1::NewEvent event = MustParse(
      R"({"global_position":7,"stream":{"aggregate_type":"Order","aggregate_id":"1"},)"
      R"("version":2,"event_type":"A","created_at":"2024-05-01T12:00:00Z","actor_id":null})");
  CHECK(event.event_type() == "A");
  CHECK_FALSE(event.has_timestamp());
}

TEST_CASE("DefaultsFillWhatALineLeavesOut") {
  v1::NewEvent defaults;
  defaults.set_actor_id("default");
  (*defaults.mutable_metadata())["source"] = "import";
  defaults.add_tags("all");
  const v1::NewEvent bare = MustParse(R"({"event_type":"A"})", defaults);
  CHECK(bare.actor_id() == "default");
  CHECK(bare.metadata().at("source") == "import");
  CHECK(bare.tags_size() == 1);
  const v1::NewEvent full =
      MustParse(R"({"event_type":"A","actor_id":"own","metadata":{"source":"own"},"tags":["own"]})",
                defaults);
  CHECK(full.actor_id() == "own");
  CHECK(full.metadata().at("source") == "own");
  CHECK(full.tags_size() == 2);
}

TEST_CASE("MistakesAreNamed") {
  CHECK_THAT(ErrorOf("{"), Catch::Contains("no valid JSON"));
  CHECK_THAT(ErrorOf("[1]"), Catch::Contains("not a JSON object"));
  CHECK_THAT(ErrorOf("{}"), Catch::Contains("event_type is missing"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","tpye":1})"),
             Catch::Contains("\"tpye\"") && Catch::Contains("known are"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","event_type":"B"})"), Catch::Contains("stands twice"));
  CHECK_THAT(ErrorOf(R"({"event_type":7})"), Catch::Contains("event_type must be a string"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","metadata":{"a":1}})"), Catch::Contains("metadata.a"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","metadata":[]})"), Catch::Contains("metadata must be"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","tags":"x"})"), Catch::Contains("tags must be an array"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","timestamp":"noon"})"), Catch::Contains("2024-05-01"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","schema_version":1.5})"),
             Catch::Contains("schema_version"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","payload_base64":"?"})"), Catch::Contains("no base64"));
  CHECK_THAT(ErrorOf(R"({"event_type":"A","payload":{},"payload_base64":"AP8="})"),
             Catch::Contains("exclude each other"));
}

TEST_CASE("AStreamOfLinesSkipsEmptyOnesAndNamesTheLineOfAnError") {
  std::istringstream in("{\"event_type\":\"A\"}\n\n  \r\n{\"event_type\":\"B\"}\r\n{bad}\n");
  EventLines lines("orders.jsonl", &in, v1::NewEvent());
  v1::NewEvent event;
  REQUIRE(lines.Next(&event).value());
  CHECK(event.event_type() == "A");
  REQUIRE(lines.Next(&event).value());
  CHECK(event.event_type() == "B");
  CHECK(lines.line_number() == 4);
  const auto bad = lines.Next(&event);
  REQUIRE_FALSE(bad.ok());
  CHECK_THAT(MessageOf(bad.status()), Catch::StartsWith("orders.jsonl, line 5: no valid JSON"));
}

TEST_CASE("TheLastLineNeedsNoEnd") {
  std::istringstream in(R"({"event_type":"A"})");
  EventLines lines("stdin", &in, v1::NewEvent());
  v1::NewEvent event;
  CHECK(lines.Next(&event).value());
  CHECK_FALSE(lines.Next(&event).value());
}

TEST_CASE("ALineHasALimit") {
  std::istringstream in(std::string(EventLines::kLineBytesMax + 1, ' '));
  EventLines lines("stdin", &in, v1::NewEvent());
  v1::NewEvent event;
  const auto result = lines.Next(&event);
  REQUIRE_FALSE(result.ok());
  CHECK_THAT(MessageOf(result.status()), Catch::Contains("line 1: longer than 16,777,216 bytes"));
}

}  // namespace
}  // namespace eventstore::cli
