#include <catch2/catch.hpp>

#include "tests/integration/sinks/sink_cases.h"
#include "tests/support/kafka_cluster.h"

namespace eventstore::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("KafkaAttributesKeyAndBodyArriveInBinaryMode") {
  KafkaCluster cluster;
  cluster.AddTopic("events.Order");
  const auto sink =
      MakeSink("kafka", {{"brokers", cluster.brokers()}, {"topic", "events.{aggregate_type}"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto messages = cluster.Read("events.Order", batch.size());
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].key == batch.event(i).stream().aggregate_id());
    RequireBinary(messages[i], batch.event(i), "ce_", AsIs);
  }
}

TEST_CASE("KafkaOneJSONDocumentArrivesInStructuredMode") {
  KafkaCluster cluster;
  cluster.AddTopic("structured");
  const auto sink = MakeSink(
      "kafka", {{"brokers", cluster.brokers()}, {"topic", "structured"}, {"mode", "structured"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto messages = cluster.Read("structured", batch.size());
  REQUIRE(messages.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(messages[i].content_type == sinks::kStructuredContentType);
    RequireStructured(messages[i], batch.event(i));
  }
}

TEST_CASE("KafkaEachStreamsEventsArriveInOrder") {
  KafkaCluster cluster;
  cluster.AddTopic("ordered");
  const auto sink = MakeSink("kafka", {{"brokers", cluster.brokers()}, {"topic", "ordered"}});
  const Batch batch = ManyStreams(50, 10);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireInOrder(cluster.Read("ordered", batch.size()), batch, "ce_");
}

TEST_CASE("KafkaAMessageThatIsTooLargeIsRefusedAndOtherStreamsGoOn") {
  KafkaCluster cluster;
  cluster.AddTopic("sizes");
  const auto sink = MakeSink(
      "kafka",
      {{"brokers", cluster.brokers()}, {"topic", "sizes"}, {"message_bytes_max", "100000"}});
  Batch batch;
  batch.Add(MakeEvent(1, "a", std::string(200'000, 'x'), "a/b"), 1);
  batch.Add(MakeEvent(2, "b"), 2);
  batch.Add(MakeEvent(3, "a"), 1);
  batch.Add(MakeEvent(4, "b"), 2);
  const auto deliveries = batch.PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error.find("too large") != std::string::npos);
  CHECK(deliveries[1].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
}

TEST_CASE("KafkaWhoWasRefusedTogetherWithAnotherIsAskedForAgainAlone") {
  KafkaCluster cluster;
  cluster.AddTopic("batches");
  const auto sink = MakeSink(
      "kafka", {{"brokers", cluster.brokers()}, {"topic", "batches"}, {"linger_ms", "200"}});
  // The one batch of all five is refused, and so is the first that comes alone.
  cluster.RefuseAsTooLarge(2);
  const auto deliveries = ManyStreams(5, 1).PublishTo(*sink, Within(seconds(20)));
  INFO(ErrorsOf(deliveries));
  CHECK(Count(deliveries, Outcome::kRefused) == 1);
  CHECK(Count(deliveries, Outcome::kPublished) == 4);
  for (const Delivery& delivery : deliveries) {
    if (delivery.outcome == Outcome::kRefused) CHECK(delivery.error.ends_with("too large"));
  }
  CHECK(cluster.Read("batches", 4).size() == 4);
}

TEST_CASE("KafkaAStoppedBrokerIsAnOutageThatEndsByItself") {
  KafkaCluster cluster;
  cluster.AddTopic("s");
  const auto sink = MakeSink("kafka", {{"brokers", cluster.brokers()}, {"topic", "s"}});
  const Batch batch = ManyStreams(3, 2);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  cluster.SetUp(false);
  RequireAway(PublishInTime(*sink, batch, milliseconds(2000)));
  cluster.SetUp(true);
  RequireRecovers(*sink, batch);
}

TEST_CASE("KafkaTheDeadlineHoldsAndAnInterruptionIsHeardWhileNoAnswerComes") {
  KafkaCluster cluster;
  cluster.AddTopic("s");
  const std::map<std::string, std::string> settings = {{"brokers", cluster.brokers()},
                                                       {"topic", "s"}};
  const auto sink = MakeSink("kafka", settings);
  const auto fresh = MakeSink("kafka", settings);
  cluster.SetDelay(10'000);
  RequireAway(PublishInTime(*sink, ManyStreams(3, 2), milliseconds(300)));
  CHECK(InterruptDuring(*fresh, ManyStreams(3, 2)) < kTolerance);
  cluster.SetDelay(0);
  RequireRecovers(*sink, ManyStreams(3, 2));
}

TEST_CASE("KafkaABrokerThatCannotBeReachedIsToldWithItsAddress") {
  const auto sink =
      MakeSink("kafka", {{"brokers", "127.0.0.1:" + std::to_string(FreePort())}, {"topic", "s"}});
  const auto deliveries = PublishInTime(*sink, ManyStreams(1, 1), milliseconds(3000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("127.0.0.1") != std::string::npos);
}

}  // namespace
}  // namespace eventstore::testing
