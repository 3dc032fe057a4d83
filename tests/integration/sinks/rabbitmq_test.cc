#include <catch2/catch.hpp>

#include "tests/integration/sinks/sink_cases.h"
#include "tests/support/certificates.h"
#include "tests/support/rabbitmq_broker.h"

namespace eventstore::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kPrefix[] = "cloudEvents:";

std::map<std::string, std::string> To(const std::string& exchange) {
  return {{"url", SharedRabbitmq().url()}, {"password", "guest"}, {"exchange", exchange}};
}

TEST_CASE("RabbitMQAttributesAndBodyArriveInBinaryMode") {
  SharedRabbitmq().AddQueue("binary", "binary", "#");
  const auto sink = MakeSink("rabbitmq", To("binary"));
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto messages = SharedRabbitmq().Read("binary");
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].subject == "Order.Placed");
    CHECK(messages[i].id == batch.event(i).event_id());
    CHECK(messages[i].headers.at("delivery_mode") == "2");
    RequireBinary(messages[i], batch.event(i), kPrefix, AsIs);
  }
}

TEST_CASE("RabbitMQOneJSONDocumentArrivesInStructuredMode") {
  SharedRabbitmq().AddQueue("structured", "structured", "#");
  auto settings = To("structured");
  settings["mode"] = "structured";
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*MakeSink("rabbitmq", settings), Within(seconds(20))));
  const auto messages = SharedRabbitmq().Read("structured");
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].content_type == sinks::kStructuredContentType);
    RequireStructured(messages[i], batch.event(i));
  }
}

TEST_CASE("RabbitMQEachStreamsEventsArriveInOrder") {
  SharedRabbitmq().AddQueue("ordered", "ordered", "#");
  auto settings = To("ordered");
  settings["in_flight_max"] = "16";
  const auto sink = MakeSink("rabbitmq", settings);
  const Batch batch = ManyStreams(50, 10);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireInOrder(SharedRabbitmq().Read("ordered"), batch, kPrefix);
}

TEST_CASE("RabbitMQWhatNoQueueIsBoundForIsRefusedAndOtherStreamsGoOn") {
  SharedRabbitmq().AddQueue("routed", "routed", "s2");
  auto settings = To("routed");
  settings["routing_key"] = "{aggregate_id}";
  const auto deliveries =
      ManyStreams(2, 2).PublishTo(*MakeSink("rabbitmq", settings), Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error.find("NO_ROUTE") != std::string::npos);
  CHECK(deliveries[1].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
  settings["mandatory"] = "false";
  RequireAllPublished(
      ManyStreams(2, 2).PublishTo(*MakeSink("rabbitmq", settings), Within(seconds(20))));
}

TEST_CASE("RabbitMQAQueueThatIsFullRefusesAndOtherStreamsGoOn") {
  SharedRabbitmq().AddQueue("limited", "full", "s1", 1);
  SharedRabbitmq().AddQueue("limited", "open", "s2");
  auto settings = To("limited");
  settings["routing_key"] = "{aggregate_id}";
  const auto deliveries =
      ManyStreams(2, 3).PublishTo(*MakeSink("rabbitmq", settings), Within(seconds(20)));
  INFO(ErrorsOf(deliveries));
  CHECK(deliveries[0].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kRefused);
  CHECK(deliveries[2].error.find("nack") != std::string::npos);
  CHECK(deliveries[4].outcome == Outcome::kNotTried);
  CHECK(Count(deliveries, Outcome::kPublished) == 4);
}

TEST_CASE("RabbitMQTheExchangeIsDeclaredOrMustBeThere") {
  auto settings = To("not-there");
  settings["declare_exchange"] = "false";
  settings["mandatory"] = "false";
  const auto deliveries =
      PublishInTime(*MakeSink("rabbitmq", settings), ManyStreams(1, 1), milliseconds(10'000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("not-there") != std::string::npos);
  settings["declare_exchange"] = "true";
  RequireAllPublished(
      ManyStreams(1, 1).PublishTo(*MakeSink("rabbitmq", settings), Within(seconds(20))));
}

TEST_CASE("RabbitMQWrongCredentialsAreToldWithoutThePassword") {
  auto settings = To("x");
  settings["password"] = "s3cret-guess";
  const auto deliveries =
      PublishInTime(*MakeSink("rabbitmq", settings), ManyStreams(1, 1), milliseconds(10'000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("guest") != std::string::npos);
  CHECK(deliveries[0].error.find("s3cret") == std::string::npos);
}

TEST_CASE("RabbitMQTLSWithAnAuthorityOfItsOwnAndNoneWithoutIt") {
  SharedRabbitmq().AddQueue("tls", "tls", "#");
  auto settings = To("tls");
  settings["url"] = SharedRabbitmq().tls_url();
  RequireAway(
      PublishInTime(*MakeSink("rabbitmq", settings), ManyStreams(1, 1), milliseconds(10'000)));
  settings["tls_ca_file"] = SharedCertificates().ca();
  const auto sink = MakeSink("rabbitmq", settings);
  RequireAllPublished(ManyStreams(2, 2).PublishTo(*sink, Within(seconds(20))));
  RequireAllPublished(ManyStreams(2, 2).PublishTo(*sink, Within(seconds(20))));
  CHECK(SharedRabbitmq().Read("tls").size() == 8);
  // The certificate is for "localhost".
  settings["url"].replace(settings["url"].find("localhost"), 9, "127.0.0.1");
  RequireAway(
      PublishInTime(*MakeSink("rabbitmq", settings), ManyStreams(1, 1), milliseconds(10'000)));
}

TEST_CASE("RabbitMQTheDeadlineHoldsAndAnInterruptionIsHeardWhileTheNodeIsFrozen") {
  SharedRabbitmq().AddQueue("frozen", "frozen", "#");
  auto settings = To("frozen");
  settings["connect_timeout_ms"] = "2000";
  const auto sink = MakeSink("rabbitmq", settings);
  const auto fresh = MakeSink("rabbitmq", settings);
  RequireAllPublished(ManyStreams(1, 1).PublishTo(*sink, Within(seconds(20))));
  Batch large;
  for (int i = 1; i <= 32; ++i) large.Add(MakeEvent(i, "a", std::string(1 << 20, 'x'), "a/b"), i);
  {
    const Frozen frozen(SharedRabbitmq().process());
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    CHECK(InterruptDuring(*fresh, large) < kTolerance);
  }
  RequireRecovers(*sink, ManyStreams(2, 2));
}

TEST_CASE("RabbitMQANodeThatIsKilledIsAnOutageThatEndsByItselfAndLosesNothing") {
  SharedRabbitmq().AddQueue("durable", "durable", "#");
  const auto sink = MakeSink("rabbitmq", To("durable"));
  const Batch batch = ManyStreams(3, 2);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  SharedRabbitmq().Kill();
  RequireAway(PublishInTime(*sink, batch, milliseconds(3000)));
  SharedRabbitmq().Start();
  RequireRecovers(*sink, batch);
  CHECK(SharedRabbitmq().Read("durable").size() == 2 * batch.size());
}

}  // namespace
}  // namespace eventstore::testing
