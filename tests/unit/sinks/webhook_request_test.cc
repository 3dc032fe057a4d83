#include "server/sinks/webhook_request.h"

#include <catch2/catch.hpp>

#include "server/sinks/registry.h"

namespace eventstore::sinks {
namespace {

TEST_CASE("WebhookSignatureIsTheHmacOfTimeAndBody") {
  // printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
  CHECK(WebhookSignature("key", 1'700'000'000, R"({"a":1})") ==
        "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03");
}

TEST_CASE("WebhookStatusesAreAboutTheEventOrAboutTheReceiver") {
  for (const long status : {200L, 201L, 202L, 204L, 299L}) {
    CHECK(KindOfStatus(status) == WebhookAnswer::Kind::kTaken);
  }
  for (const long status : {400L, 403L, 404L, 409L, 410L, 413L, 422L, 500L, 501L, 505L}) {
    CHECK(KindOfStatus(status) == WebhookAnswer::Kind::kRefused);
  }
  for (const long status : {0L, 301L, 302L, 307L, 401L, 407L, 408L, 425L, 429L, 502L, 503L, 504L}) {
    CHECK(KindOfStatus(status) == WebhookAnswer::Kind::kAway);
  }
}

TEST_CASE("WebhookHeadersAreLinesWithAName") {
  const auto is_right = [](const std::string& headers) {
    return CheckSink({"s", "webhook", {{"url", "http://a"}, {"headers", headers}}}).empty();
  };
  CHECK(is_right("A: b"));
  CHECK(is_right("A: b\nX-C:d: e\n"));
  CHECK_FALSE(is_right("A"));
  CHECK_FALSE(is_right(": b"));
  CHECK_FALSE(is_right("A b: c"));
  CHECK_FALSE(is_right("A: b\r\nC: d"));
}

}  // namespace
}  // namespace eventstore::sinks
