#include <catch2/catch.hpp>

#include "tests/integration/sinks/sink_cases.h"
#include "tests/support/redis_broker.h"

namespace eventstore::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

RedisBroker& SharedRedis() {
  static RedisBroker broker;
  return broker;
}

TEST_CASE("RedisAttributesAndBodyArriveInBinaryMode") {
  const auto sink = MakeSink("redis", {{"url", SharedRedis().url()}, {"stream", "binary"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto entries = SharedRedis().Read("binary");
  REQUIRE(entries.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    RequireBinary(entries[i], batch.event(i), "", AsIs);
  }
}

TEST_CASE("RedisOneJSONDocumentArrivesInStructuredMode") {
  const auto sink = MakeSink(
      "redis", {{"url", SharedRedis().url()}, {"stream", "structured"}, {"mode", "structured"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  const auto entries = SharedRedis().Read("structured");
  REQUIRE(entries.size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    CHECK(entries[i].id == batch.event(i).event_id());
    RequireStructured(entries[i], batch.event(i));
  }
}

TEST_CASE("RedisEachStreamsEventsArriveInOrder") {
  const auto sink = MakeSink("redis", {{"url", SharedRedis().url()}, {"stream", "ordered"}});
  const Batch batch = ManyStreams(50, 10);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireInOrder(SharedRedis().Read("ordered"), batch, "");
}

TEST_CASE("RedisAKeyOfAnotherTypeRefusesItsStreamsEventsAndNoOthers") {
  SharedRedis().Run({"SET", "type:Bad", "a string"});
  const auto sink =
      MakeSink("redis", {{"url", SharedRedis().url()}, {"stream", "type:{aggregate_type}"}});
  Batch batch;
  for (int i = 1; i <= 4; ++i) {
    v1::Event event = MakeEvent(i, "a");
    if (i % 2 == 1) event.mutable_stream()->set_aggregate_type("Bad");
    batch.Add(std::move(event), i % 2);
  }
  const auto deliveries = batch.PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error.find("WRONGTYPE") != std::string::npos);
  CHECK(deliveries[1].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
}

TEST_CASE("RedisMaxlenBoundsTheRedisStream") {
  const auto sink =
      MakeSink("redis", {{"url", SharedRedis().url()}, {"stream", "bounded"}, {"maxlen", "100"}});
  RequireAllPublished(ManyStreams(500, 2).PublishTo(*sink, Within(seconds(20))));
  const int length = std::stoi(SharedRedis().Run({"XLEN", "bounded"}));
  CHECK(length >= 100);
  CHECK(length < 500);
}

TEST_CASE("RedisEntriesThatTooFewReplicasHaveAreNotPublished") {
  const auto sink = MakeSink("redis", {{"url", SharedRedis().url()},
                                       {"stream", "replicated"},
                                       {"wait_replicas", "1"},
                                       {"wait_timeout_ms", "100"}});
  const auto deliveries = PublishInTime(*sink, ManyStreams(2, 1), milliseconds(5000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("0 of 1") != std::string::npos);
}

TEST_CASE("RedisAFullMemoryIsAnOutageAndNoRefusal") {
  RedisBroker broker;
  const auto sink = MakeSink("redis", {{"url", broker.url()}});
  broker.Run({"CONFIG", "SET", "maxmemory", "1"});
  RequireAway(PublishInTime(*sink, ManyStreams(2, 2), milliseconds(5000)));
  broker.Run({"CONFIG", "SET", "maxmemory", "0"});
  RequireRecovers(*sink, ManyStreams(2, 2));
}

TEST_CASE("RedisAStoppedServerIsAnOutageThatEndsByItself") {
  RedisBroker broker;
  const auto sink = MakeSink("redis", {{"url", broker.url()}, {"stream", "s"}});
  const Batch batch = ManyStreams(3, 2);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  broker.Kill();
  RequireAway(PublishInTime(*sink, batch, milliseconds(3000)));
  broker.Start();
  // The connection from before is dead, and that is no reason to fail.
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  CHECK(broker.Read("s").size() == 2 * batch.size());
}

TEST_CASE("RedisTheDeadlineHoldsAndAnInterruptionIsHeardWhileTheServerIsFrozen") {
  RedisBroker broker;
  const auto sink = MakeSink("redis", {{"url", broker.url()}});
  const auto fresh = MakeSink("redis", {{"url", broker.url()}});
  RequireAllPublished(ManyStreams(1, 1).PublishTo(*sink, Within(seconds(20))));
  Batch large;
  for (int i = 1; i <= 32; ++i) large.Add(MakeEvent(i, "a", std::string(1 << 20, 'x'), "a/b"), i);
  {
    const Frozen frozen(broker.process());
    // More than the socket takes; then a connection that is answered to by nobody.
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    RequireAway(PublishInTime(*sink, large, milliseconds(300)));
    CHECK(InterruptDuring(*fresh, large) < kTolerance);
  }
  RequireRecovers(*sink, ManyStreams(2, 2));
}

TEST_CASE("RedisWrongCredentialsAreToldWithoutThePassword") {
  RedisBroker broker;
  broker.Run({"ACL", "SETUSER", "app", "on", ">right", "~*", "+@all"});
  const auto settings = [&](const std::string& password) {
    return std::map<std::string, std::string>{
        {"url", broker.url()}, {"user", "app"}, {"password", password}};
  };
  const auto wrong = MakeSink("redis", settings("s3cret-guess"));
  const auto deliveries = PublishInTime(*wrong, ManyStreams(1, 1), milliseconds(5000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("account") != std::string::npos);
  CHECK(deliveries[0].error.find("s3cret") == std::string::npos);
  RequireAllPublished(
      ManyStreams(1, 1).PublishTo(*MakeSink("redis", settings("right")), Within(seconds(20))));
}

}  // namespace
}  // namespace eventstore::testing
