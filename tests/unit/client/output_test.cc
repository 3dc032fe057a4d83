// Text and JSON as commands print them.
#include <rapidjson/document.h>

#include <catch2/catch.hpp>
#include <string>

#include "client/cli/json.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

TEST_CASE("TextCannotCommandATerminal") {
  CHECK(Escape("plain, Grüße, 日本, 🎉") == "plain, Grüße, 日本, 🎉");
  CHECK(Escape("\x1b[31mred") == "\\u001b[31mred");
  CHECK(Escape("a\nb\tc\r\x07\x7f") == "a\\nb\\tc\\u000d\\u0007\\u007f");
  CHECK(Escape("\xc2\x9b"
               "31m") == "\\u009b31m");  // C1: CSI in one character
  CHECK(Escape("\xe2\x80\xae"
               "abc") == "\\u202eabc");  // turns text around
  CHECK(Escape("\xff\xc0\xaf\xed\xa0\x80") == "\\xff\\xc0\\xaf\\xed\\xa0\\x80");  // no UTF-8
  CHECK(Escape("\xe2\x82") == "\\xe2\\x82");                                      // cut off
  CHECK(Escape(std::string("\0", 1)) == "\\u0000");
}

TEST_CASE("TimesAreRfc3339WithMicroseconds") {
  google::protobuf::Timestamp time;
  time.set_seconds(1714564800);
  time.set_nanos(1000);
  CHECK(FormatTime(time) == "2024-05-01T12:00:00.000001Z");
  CHECK(FormatTime(*ParseTime("2024-05-01T14:00:00.000001+02:00")) ==
        "2024-05-01T12:00:00.000001Z");
  CHECK(FormatTime(*ParseTime("2024-05-01")) == "2024-05-01T00:00:00.000000Z");
  CHECK(FormatTime(*ParseTime("1969-12-31T23:59:59.5Z")) == "1969-12-31T23:59:59.500000Z");
  for (const char* wrong : {"", "yesterday", "2024-05-01T12:00:00", "2024-13-01", "12"}) {
    INFO(wrong);
    CHECK_FALSE(ParseTime(wrong).has_value());
  }
}

TEST_CASE("NumbersAndCountsAreReadable") {
  CHECK(Grouped(0) == "0");
  CHECK(Grouped(999) == "999");
  CHECK(Grouped(1000) == "1,000");
  CHECK(Grouped(-1234567) == "-1,234,567");
  CHECK(Count(1, "event") == "1 event");
  CHECK(Count(2000, "event") == "2,000 events");
}

TEST_CASE("ColumnsAlignByCharactersAndPagesGoOn") {
  Table table({"A", "B", "C"});
  table.Add({"ü", "22", "x"});
  table.Add({"four", "1", "y"});
  CHECK(table.Take() ==
        "A     B   C\n"
        "ü     22  x\n"
        "four  1   y\n");
  CHECK(table.Take().empty());
  table.Add({"z", "1", "z"});
  CHECK(table.Take() == "z     1   z\n");
}

TEST_CASE("PayloadsAreShownOnOneLine") {
  CHECK(FormatPayload("{ \"a b\" : [ 1.50 ,\n2e3 ] }", "application/json") ==
        R"({"a b":[1.50,2e3]})");
  CHECK(FormatPayload("two\nlines", "text/plain") == "two\\nlines");
  CHECK(FormatPayload("\xff\xfe", "application/octet-stream") ==
        "<2 bytes of application/octet-stream>");
  CHECK(FormatPayload("{broken", "application/json") == "{broken");
}

TEST_CASE("CompactJsonKeepsStringsAndNumbers") {
  CHECK(CompactJson(" [ \"a \\\" b\" , 1e400, -0.10 ] ") == R"(["a \" b",1e400,-0.10])");
  CHECK_FALSE(CompactJson("{").has_value());
  CHECK_FALSE(CompactJson("").has_value());
}

TEST_CASE("ObjectsAndArraysSplitAtTheirOwnLevel") {
  const std::string json = R"( { "a" : {"x":[1,2]} , "\u0062":"},]" ,"c":-1 , "d":[] } )";
  const auto members = SplitJsonObject(json);
  REQUIRE(members.size() == 4);
  CHECK(members[0].first == "a");
  CHECK(members[0].second == R"({"x":[1,2]})");
  CHECK(members[1].first == "b");
  CHECK(members[1].second == R"("},]")");
  CHECK(members[2].second == "-1");
  CHECK(members[3].second == "[]");
  CHECK(SplitJsonObject("{ }").empty());
  const auto elements = SplitJsonArray(R"([ 1, "a,b" ,[2,3],{"x":"]"}])");
  REQUIRE(elements.size() == 4);
  CHECK(elements[1] == R"("a,b")");
  CHECK(elements[2] == "[2,3]");
  CHECK(elements[3] == R"({"x":"]"})");
  CHECK(SplitJsonArray("[]").empty());
}

v1::Event SampleEvent() {
  v1::Event event;
  event.set_global_position(9'007'199'254'740'993);  // beyond what a double holds
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("1");
  event.set_version(2);
  event.set_event_id("0190a0a0-0000-7000-8000-000000000001");
  event.set_event_type("Placed");
  event.set_content_type("application/json");
  event.set_payload("{\n  \"total\": 10.50\n}");
  event.mutable_timestamp()->set_seconds(1714564800);
  event.mutable_created_at()->set_seconds(1714564801);
  event.set_schema_version(1);
  (*event.mutable_metadata())["b"] = "2";
  (*event.mutable_metadata())["a"] = "1";
  event.add_tags("x");
  return event;
}

TEST_CASE("AnEventIsOneJsonLineWithItsPayloadNested") {
  JsonLine line;
  line.Event(SampleEvent());
  CHECK(
      line.Finish() ==
      R"({"global_position":9007199254740993,"stream":{"aggregate_type":"Order","aggregate_id":"1"},)"
      R"("version":2,"event_id":"0190a0a0-0000-7000-8000-000000000001","event_type":"Placed",)"
      R"("payload":{"total":10.50},"content_type":"application/json",)"
      R"("timestamp":"2024-05-01T12:00:00.000000Z","metadata":{"a":"1","b":"2"},"schema_version":1,)"
      R"("tags":["x"],"created_at":"2024-05-01T12:00:01.000000Z"})"
      "\n");
}

TEST_CASE("APayloadThatIsNoJsonIsBase64") {
  v1::Event event = SampleEvent();
  event.set_content_type("application/octet-stream");
  event.set_payload(std::string("\0\xff", 2));
  (*event.mutable_metadata())[""] = "an empty key";
  JsonLine line;
  line.Event(event);
  rapidjson::Document document;
  document.Parse(line.Finish().c_str());
  REQUIRE_FALSE(document.HasParseError());
  CHECK(std::string(document["payload_base64"].GetString()) == "AP8=");
  CHECK_FALSE(document.HasMember("payload"));
  CHECK(std::string(document["metadata"][""].GetString()) == "an empty key");
}

}  // namespace
}  // namespace eventstore::cli
