#include "server/sinks/nats_answer.h"

#include <catch2/catch.hpp>

#include "server/sinks/nats_subject.h"

namespace eventstore::sinks {
namespace {

using Kind = NatsAnswer::Kind;

std::string SubjectOfType(const std::string& event_type) {
  v1::Event event;
  event.set_event_type(event_type);
  return NatsSubject(*Template::Parse("events.{event_type}"), event);
}

TEST_CASE("NatsSubjectEscapesWhatNatsGivesAMeaning") {
  CHECK(SubjectOfType("order.placed") == "events.order.placed");
  CHECK(SubjectOfType("a b*>%\n") == "events.a%20b%2a%3e%25%0a");
  CHECK(SubjectOfType("\u00e9") == "events.\u00e9");
}

TEST_CASE("NatsSubjectWithAnEmptyTokenIsNone") {
  CHECK(SubjectOfType("a..b").empty());
  CHECK(SubjectOfType("a.").empty());
  CHECK(SubjectOfType(".a").empty());
}

TEST_CASE("JetStreamsAcknowledgementsAreUnderstood") {
  CHECK(ReadPublishAnswer(R"({"stream":"S","seq":5})").kind == Kind::kStored);
  CHECK(ReadPublishAnswer(R"({"stream":"S","seq":5,"duplicate":true})").kind == Kind::kStored);
  const NatsAnswer full = ReadPublishAnswer(
      R"({"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0})");
  CHECK(full.kind == Kind::kRefused);
  CHECK(full.reason.find("maximum messages exceeded") != std::string::npos);
  CHECK(ReadPublishAnswer(R"({"error":{"code":400,"err_code":10054}})").kind == Kind::kRefused);
  CHECK(ReadPublishAnswer(R"({"error":{"code":503,"err_code":10023}})").kind == Kind::kAway);
}

TEST_CASE("AnAnswerThatIsNotJetStreamsIsNoAcknowledgement") {
  for (const char* text : {"", "ok", "[]", "{}", R"({"seq":1})"}) {
    INFO(text);
    CHECK(ReadPublishAnswer(text).kind == Kind::kAway);
  }
}

TEST_CASE("ASubjectThatNoStreamTakesIsToldFromAStreamWithoutALeader") {
  CHECK(StreamQuestion("a\"b") == R"({"subject":"a\"b"})");
  CHECK(ReadStreamAnswer(R"({"total":0,"streams":null})").kind == Kind::kRefused);
  CHECK(ReadStreamAnswer(R"({"total":0,"streams":[]})").kind == Kind::kRefused);
  CHECK(ReadStreamAnswer(R"({"total":1,"streams":["S"]})").kind == Kind::kAway);
  CHECK(ReadStreamAnswer(R"({"error":{"code":503}})").kind == Kind::kAway);
}

}  // namespace
}  // namespace eventstore::sinks
