#include "server/sinks/template.h"

#include <catch2/catch.hpp>

#include "server/sinks/nats_subject.h"

namespace eventstore::sinks {
namespace {

v1::Event SomeEvent(const std::string& event_type = "Placed") {
  v1::Event event;
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("42");
  event.set_event_type(event_type);
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

#ifdef EVENTSTORE_WITH_NATS
TEST_CASE("TemplateANATSSubjectEscapesWhatNATSGivesAMeaning") {
  const Template subject = *Template::Parse("events.{event_type}");
  CHECK(NatsSubject(subject, SomeEvent("order.placed")) == "events.order.placed");
  CHECK(NatsSubject(subject, SomeEvent("a b*>%\n")) == "events.a%20b%2a%3e%25%0a");
  CHECK(NatsSubject(subject, SomeEvent("a..b")).empty());
  CHECK(NatsSubject(subject, SomeEvent("a.")).empty());
}
#endif

}  // namespace
}  // namespace eventstore::sinks
