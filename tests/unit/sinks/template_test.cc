#include "server/sinks/template.h"

#include <catch2/catch.hpp>

namespace eventstore::sinks {
namespace {

v1::Event SomeEvent() {
  v1::Event event;
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("42");
  event.set_event_type("Placed");
  return event;
}

std::string Expanded(const std::string& text) {
  const auto parsed = Template::Parse(text);
  REQUIRE(parsed.ok());
  return parsed->Expand(SomeEvent());
}

TEST_CASE("TemplatePlaceholdersBecomeTheEventsValues") {
  CHECK(Expanded("x.{aggregate_type}.{event_type}-{aggregate_id}") == "x.Order.Placed-42");
  CHECK(Expanded("{tenant_id}") == "none");
  CHECK(Expanded("fixed") == "fixed");
}

TEST_CASE("TemplateWhatIsMalformedIsRefused") {
  for (const char* text : {"", "{", "}", "a{b", "{aggregate}", "{}", "{{aggregate_id}}", "a}b"}) {
    INFO(text);
    CHECK_FALSE(Template::Parse(text).ok());
  }
}

TEST_CASE("TemplateOnlyAnEventsTypeDiffersWithinAStream") {
  CHECK(Template::Parse("{tenant_id}/{aggregate_type}/{aggregate_id}")->IsOfStream());
  CHECK_FALSE(Template::Parse("{aggregate_id}{event_type}")->IsOfStream());
}

}  // namespace
}  // namespace eventstore::sinks
