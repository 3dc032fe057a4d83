#include "server/sinks/cloud_event.h"

#include <rapidjson/document.h>

#include <catch2/catch.hpp>
#include <map>

namespace eventstore::sinks {
namespace {

v1::Event FullEvent() {
  v1::Event event;
  event.set_event_id("0192a3b4-0000-7000-8000-000000000001");
  event.set_global_position(9'007'199'254'740'993);  // More than a double holds.
  event.set_version(7);
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("42");
  event.mutable_stream()->set_tenant_id("11111111-2222-3333-4444-555555555555");
  event.set_event_type("OrderPlaced");
  event.set_payload(R"({"total": 1.50})");
  event.set_content_type("application/json");
  event.mutable_timestamp()->set_seconds(1'700'000'000);
  event.mutable_timestamp()->set_nanos(123'456'000);
  event.mutable_created_at()->set_seconds(1'700'000'001);
  event.set_schema_version(3);
  event.set_correlation_id("corr");
  event.set_causation_id("cause");
  event.set_actor_id("actor");
  return event;
}

std::map<std::string, std::string> AsMap(const v1::Event& event) {
  std::map<std::string, std::string> map;
  for (const Attribute& attribute : AttributesOf(event, "/source")) {
    map[attribute.name] = attribute.value;
  }
  return map;
}

rapidjson::Document Parsed(const v1::Event& event) {
  rapidjson::Document document;
  document.Parse(StructuredJson(event, "/source").c_str());
  REQUIRE_FALSE(document.HasParseError());
  return document;
}

TEST_CASE("CloudEventEveryAttributeOfAnEvent") {
  const std::map<std::string, std::string> expected = {
      {"specversion", "1.0"},
      {"id", "0192a3b4-0000-7000-8000-000000000001"},
      {"source", "/source"},
      {"type", "OrderPlaced"},
      {"subject", "Order/42"},
      {"time", "2023-11-14T22:13:20.123456Z"},
      {"aggregatetype", "Order"},
      {"aggregateid", "42"},
      {"tenantid", "11111111-2222-3333-4444-555555555555"},
      {"streamversion", "7"},
      {"globalposition", "9007199254740993"},
      {"schemaversion", "3"},
      {"correlationid", "corr"},
      {"causationid", "cause"},
      {"actorid", "actor"},
      {"recordedtime", "2023-11-14T22:13:21Z"}};
  CHECK(AsMap(FullEvent()) == expected);
}

TEST_CASE("CloudEventNamesAreLowerCaseLettersAndDigitsAtMost20") {
  v1::Event event = FullEvent();
  event.set_erased(true);
  for (const Attribute& attribute : AttributesOf(event, "/source")) {
    CHECK(attribute.name.size() <= 20);
    CHECK(attribute.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") ==
          std::string::npos);
  }
}

TEST_CASE("CloudEventWhatIsEmptyIsLeftOutAndErasedSaysSo") {
  v1::Event event = FullEvent();
  event.mutable_stream()->clear_tenant_id();
  event.clear_actor_id();
  event.clear_correlation_id();
  event.clear_causation_id();
  event.set_erased(true);
  const auto map = AsMap(event);
  for (const char* name : {"tenantid", "actorid", "correlationid", "causationid"}) {
    CHECK(map.count(name) == 0);
  }
  CHECK(map.at("erased") == "true");
}

TEST_CASE("CloudEventTheFirstSlashOfASubjectStandsBetweenTypeAndId") {
  v1::StreamId stream;
  stream.set_aggregate_type("a/b%");
  stream.set_aggregate_id("c/d%");
  CHECK(SubjectOf(stream) == "a%2Fb%25/c/d%");
}

TEST_CASE("CloudEventHeadersArePercentEncodedByTheHTTPBinding") {
  // The specification's example.
  CHECK(PercentEncoded("Euro \xE2\x82\xAC \xF0\x9F\x98\x80") == "Euro%20%E2%82%AC%20%F0%9F%98%80");
  CHECK(PercentEncoded("a\"b%\r\n\x7f~!") == "a%22b%25%0D%0A%7F~!");
}

TEST_CASE("CloudEventAContentTypeCannotSmuggleAHeaderIn") {
  v1::Event event = FullEvent();
  event.set_content_type("text/plain\r\nX-Evil: 1");
  CHECK(DataContentType(event) == "application/octet-stream");
  event.set_content_type("text/plain; charset=utf-8");
  CHECK(DataContentType(event) == "text/plain; charset=utf-8");
}

TEST_CASE("CloudEventStructuredModeHasJSONDataAsJSON") {
  const rapidjson::Document document = Parsed(FullEvent());
  CHECK(document["data"]["total"].GetDouble() == 1.5);
  CHECK(document["datacontenttype"] == "application/json");
  CHECK(document["globalposition"] == "9007199254740993");
  CHECK(document["schemaversion"].GetInt() == 3);
  CHECK_FALSE(document.HasMember("data_base64"));
}

TEST_CASE("CloudEventStructuredModeHasOtherDataInBase64AndNoEmptyData") {
  v1::Event event = FullEvent();
  event.set_content_type("application/octet-stream");
  event.set_payload(std::string("\0\xff\x01", 3));
  const rapidjson::Document binary = Parsed(event);
  CHECK(binary["data_base64"] == "AP8B");
  CHECK_FALSE(binary.HasMember("data"));
  event.clear_payload();
  event.set_erased(true);
  const rapidjson::Document empty = Parsed(event);
  CHECK_FALSE(empty.HasMember("data"));
  CHECK_FALSE(empty.HasMember("data_base64"));
  CHECK(empty["erased"].GetBool());
}

TEST_CASE("CloudEventTheModesDifferInWhereThingsStand") {
  const v1::Event event = FullEvent();
  const CloudEvent binary(event, "/source", false);
  CHECK(binary.body() == event.payload());
  CHECK(binary.content_type() == "application/json");
  CHECK(binary.attributes().size() == AttributesOf(event, "/source").size());
  const CloudEvent structured(event, "/source", true);
  CHECK(structured.body() == StructuredJson(event, "/source"));
  CHECK(structured.content_type() == kStructuredContentType);
  CHECK(structured.attributes().empty());
}

}  // namespace
}  // namespace eventstore::sinks
