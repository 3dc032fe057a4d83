#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "server/sinks/webhook_request.h"
#include "tests/integration/sinks/sink_cases.h"
#include "tests/support/certificates.h"
#include "tests/support/http_receiver.h"

namespace eventstore::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The request that carries an event; they come in any order.
Received RequestOf(const std::vector<Received>& requests, const v1::Event& event) {
  const auto found = std::find_if(requests.begin(), requests.end(), [&](const Received& request) {
    return request.body.find(event.event_id()) != std::string::npos ||
           request.id == event.event_id();
  });
  REQUIRE(found != requests.end());
  return *found;
}

TEST_CASE("WebhookAttributesAndBodyArriveInBinaryMode") {
  HttpReceiver receiver;
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  REQUIRE(receiver.Requests().size() == batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Received request = RequestOf(receiver.Requests(), batch.event(i));
    CHECK(request.subject == "/events");
    RequireBinary(request, batch.event(i), "ce-", sinks::PercentEncoded);
    CHECK(request.headers.count("x-eventstore-signature") == 0);
  }
}

TEST_CASE("WebhookOneJSONDocumentArrivesInStructuredMode") {
  HttpReceiver receiver;
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}, {"mode", "structured"}});
  const Batch batch = SampleBatch();
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Received request = RequestOf(receiver.Requests(), batch.event(i));
    CHECK(request.content_type == sinks::kStructuredContentType);
    RequireStructured(request, batch.event(i));
  }
}

TEST_CASE("WebhookRequestsAreSignedAndHaveTheConfiguredHeaders") {
  HttpReceiver receiver;
  const TempFolder folder;
  const auto sink = MakeSink("webhook", {{"url", receiver.url()},
                                         {"secret_file", folder.Write("secret", "key\n")},
                                         {"headers", "Authorization: Bearer x\nX-Two: 2"}});
  RequireAllPublished(ManyStreams(1, 1).PublishTo(*sink, Within(seconds(20))));
  const Received request = receiver.Requests().front();
  CHECK(request.headers.at("authorization") == "Bearer x");
  CHECK(request.headers.at("x-two") == "2");
  const std::string& signature = request.headers.at("x-eventstore-signature");
  const std::int64_t time = std::stoll(signature.substr(2));
  CHECK(signature == sinks::WebhookSignature("key", time, request.body));
}

TEST_CASE("WebhookEachStreamsEventsArriveInOrderInParallelAtMostParallelmax") {
  HttpReceiver receiver;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  receiver.SetRule([&](const Received&) {
    const int now = ++running;
    int before = most;
    while (now > before && !most.compare_exchange_weak(before, now)) {
    }
    std::this_thread::yield();
    --running;
    return HttpReply();
  });
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}, {"parallel_max", "4"}});
  const Batch batch = ManyStreams(20, 10);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
  RequireInOrder(receiver.Requests(), batch, "ce-");
  CHECK(most <= 4);
}

TEST_CASE("WebhookWhatTheReceiverRefusesHoldsBackItsOwnStreamOnly") {
  HttpReceiver receiver;
  receiver.SetRule([](const Received& request) {
    return request.headers.at("ce-aggregateid") == "s1" ? HttpReply{422, "", "no\nsuch order"}
                                                        : HttpReply();
  });
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}});
  const auto deliveries = ManyStreams(2, 2).PublishTo(*sink, Within(seconds(20)));
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error == "the webhook answers 422: no\\nsuch order");
  CHECK(deliveries[1].outcome == Outcome::kPublished);
  CHECK(deliveries[2].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
}

TEST_CASE("Webhook503WithRetryAfterIsAnOutageDuringWhichNothingIsSent") {
  HttpReceiver receiver;
  receiver.SetRule([](const Received&) { return HttpReply{503, "Retry-After: 1\r\n", ""}; });
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}});
  RequireAway(PublishInTime(*sink, ManyStreams(1, 2), milliseconds(3000)));
  receiver.SetRule([](const Received&) { return HttpReply(); });
  const auto deliveries = ManyStreams(1, 2).PublishTo(*sink, Within(seconds(5)));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("Retry-After") != std::string::npos);
  CHECK(receiver.Requests().size() == 1);
  RequireRecovers(*sink, ManyStreams(1, 2));
}

TEST_CASE("WebhookARedirectIsNotFollowed") {
  HttpReceiver receiver;
  HttpReceiver elsewhere;
  receiver.SetRule([&](const Received&) {
    return HttpReply{307, "Location: " + elsewhere.url() + "\r\n", ""};
  });
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}});
  const auto deliveries = ManyStreams(1, 1).PublishTo(*sink, Within(seconds(20)));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("redirect") != std::string::npos);
  CHECK(elsewhere.Requests().empty());
}

TEST_CASE("WebhookAReceiverThatIsGoneIsAnOutageThatEndsByItself") {
  const int port = FreePort();
  const auto sink =
      MakeSink("webhook", {{"url", "http://127.0.0.1:" + std::to_string(port) + "/events"}});
  const Batch batch = ManyStreams(3, 2);
  RequireAway(PublishInTime(*sink, batch, milliseconds(3000)));
  HttpReceiver receiver("", port);
  RequireAllPublished(batch.PublishTo(*sink, Within(seconds(20))));
}

TEST_CASE("WebhookTheDeadlineHoldsAndAnInterruptionIsHeardWhileNoAnswerComes") {
  HttpReceiver receiver;
  std::promise<void> go;
  receiver.SetRule([gone = go.get_future().share()](const Received&) {
    gone.wait();
    return HttpReply();
  });
  const auto sink = MakeSink("webhook", {{"url", receiver.url()}});
  const auto fresh = MakeSink("webhook", {{"url", receiver.url()}});
  RequireAway(PublishInTime(*sink, ManyStreams(3, 2), milliseconds(300)));
  CHECK(InterruptDuring(*fresh, ManyStreams(3, 2)) < kTolerance);
  go.set_value();
  RequireRecovers(*sink, ManyStreams(3, 2));
}

TEST_CASE("WebhookTLSWithAnAuthorityOfItsOwnAndNoneWithoutIt") {
  HttpReceiver receiver(SharedCertificates().both());
  const auto trusted =
      MakeSink("webhook", {{"url", receiver.url()}, {"tls_ca_file", SharedCertificates().ca()}});
  RequireAllPublished(ManyStreams(2, 2).PublishTo(*trusted, Within(seconds(20))));
  const auto untrusted = MakeSink("webhook", {{"url", receiver.url()}});
  const auto deliveries = PublishInTime(*untrusted, ManyStreams(2, 2), milliseconds(5000));
  RequireAway(deliveries);
  CHECK(deliveries[0].error.find("certificate") != std::string::npos);
  const auto careless = MakeSink("webhook", {{"url", receiver.url()}, {"tls_verify", "false"}});
  RequireAllPublished(ManyStreams(1, 1).PublishTo(*careless, Within(seconds(20))));
}

}  // namespace
}  // namespace eventstore::testing
