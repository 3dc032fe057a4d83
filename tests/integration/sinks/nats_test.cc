#include <catch2/catch.hpp>

#include "tests/integration/sinks/sink_cases.h"
#include "tests/support/nats_broker.h"

namespace eventstore::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

NatsBroker& SharedNats() {
  static NatsBroker broker;
  return broker;
}

TEST_CASE("NATSAttributesAndBodyArriveInBinaryMode") {
  SharedNats().AddStream("binary", "binary.>");
  const auto sink = MakeSink(
      "nats", {{"url", SharedNats().url()}, {"subject", "binary.{aggregate_type}.{event_type}"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto messages = SharedNats().Read("binary");
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].subject == "binary.Order.Placed");
    CHECK(messages[i].id == batch.event(i).event_id());
    RequireBinary(messages[i], batch.event(i), "ce-", sinks::PercentEncoded);
  }
}

TEST_CASE("NATSOneJSONDocumentArrivesInStructuredMode") {
  SharedNats().AddStream("structured", "structured.>");
  const auto sink = MakeSink("nats", {{"url", SharedNats().url()},
                                      {"mode", "structured"},
                                      {"subject", "structured.{event_type}"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto messages = SharedNats().Read("structured");
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].content_type == sinks::kStructuredContentType);
    CHECK(messages[i].id == batch.event(i).event_id());
    RequireStructured(messages[i], batch.event(i));
  }
}

TEST_CASE("NATSEachStreamsEventsArriveInOrderAndACopyIsNotStoredAgain") {
  SharedNats().AddStream("ordered", "ordered.>");
  const auto sink = MakeSink("nats", {{"url", SharedNats().url()},
                                      {"in_flight_max", "16"},
                                      {"subject", "ordered.{aggregate_id}"}});
  const Batch batch = ManyStreams(50, 10);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireInOrder(SharedNats().Read("ordered"), batch, "ce-");
}

TEST_CASE("NATSASubjectThatNoStreamTakesIsRefusedAndOtherStreamsGoOn") {
  SharedNats().AddStream("taken", "some.a");
  const auto sink =
      MakeSink("nats", {{"url", SharedNats().url()}, {"subject", "some.{aggregate_id}"}});
  Batch batch;
  for (int i = 1; i <= 4; ++i) batch.Add(MakeEvent(i, i % 2 == 1 ? "nobody" : "a"), i % 2);
  const auto deliveries = batch.PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error.find("some.nobody") != std::string::npos);
  CHECK(deliveries[1].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
}

TEST_CASE("NATSAStreamThatIsFullRefusesAndOtherStreamsGoOn") {
  SharedNats().AddStream("full", "limited.full", 1);
  SharedNats().AddStream("open", "limited.open");
  const auto sink =
      MakeSink("nats", {{"url", SharedNats().url()}, {"subject", "limited.{aggregate_id}"}});
  Batch batch;
  for (int i = 1; i <= 6; ++i) batch.Add(MakeEvent(i, i % 2 == 1 ? "full" : "open"), i % 2);
  const auto deliveries = batch.PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kRefused);
  CHECK(deliveries[2].error.find("maximum messages") != std::string::npos);
  CHECK(deliveries[4].outcome == Outcome::kNotTried);
  CHECK(Count(deliveries, Outcome::kPublished) == 4);
}

TEST_CASE("NATSAMessageBeyondMaxpayloadIsRefused") {
  SharedNats().AddStream("sizes", "sizes");
  const auto sink = MakeSink("nats", {{"url", SharedNats().url()}, {"subject", "sizes"}});
  Batch batch;
  batch.Add(MakeEvent(1, "a", std::string(5 << 20, 'x'), "a/b"), 1);
  batch.Add(MakeEvent(2, "b"), 2);
  const auto deliveries = batch.PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[1].outcome == Outcome::kPublished);
}

TEST_CASE("NATSAStoppedServerIsAnOutageThatEndsByItself") {
  NatsBroker broker;
  broker.AddStream("s", "s");
  const auto sink = MakeSink("nats", {{"url", broker.url()}, {"subject", "s"}});
  RequireAllPublished(ManyStreams(3, 2).PublishTo(*sink, Within(seconds(20))));
  broker.Kill();
  RequireAway(PublishInTime(*sink, ManyStreams(3, 2), milliseconds(3000)));
  broker.Start();
  RequireRecovers(*sink, ManyStreams(4, 2));
  // Those that came twice were stored once.
  CHECK(broker.Read("s").size() == 8);
}

TEST_CASE("NATSTheDeadlineHoldsAndAnInterruptionIsHeardWhileTheServerIsFrozen") {
  NatsBroker broker;
  broker.AddStream("s", "s");
  const std::map<std::string, std::string> settings = {
      {"url", broker.url()}, {"subject", "s"}, {"connect_timeout_ms", "2000"}};
  const auto sink = MakeSink("nats", settings);
  const auto fresh = MakeSink("nats", settings);
  RequireAllPublished(ManyStreams(1, 1).PublishTo(*sink, Within(seconds(20))));
  Batch large;
  for (int i = 1; i <= 32; ++i) large.Add(MakeEvent(i, "a", std::string(1 << 20, 'x'), "a/b"), i);
  {
    const Frozen frozen(broker.process());
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    CHECK(InterruptDuring(*fresh, large) < kTolerance);
  }
  RequireRecovers(*sink, ManyStreams(2, 2));
}

TEST_CASE("NATSWrongCredentialsAreToldWithoutThePassword") {
  const NatsBroker broker("app", "right");
  broker.AddStream("s", "s");
  const auto settings = [&](const std::string& password) {
    return std::map<std::string, std::string>{
        {"url", broker.url()}, {"subject", "s"}, {"user", "app"}, {"password", password}};
  };
  const auto wrong = MakeSink("nats", settings("s3cret-guess"));
  const auto deliveries = PublishInTime(*wrong, ManyStreams(1, 1), milliseconds(5000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("uthoriz") != std::string::npos);
  CHECK(deliveries[0].error.find("s3cret") == std::string::npos);
  RequireAllPublished(
      ManyStreams(1, 1).PublishTo(*MakeSink("nats", settings("right")), Within(seconds(20))));
}

}  // namespace
}  // namespace eventstore::testing
