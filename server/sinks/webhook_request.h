// One POST of an event, over libcurl.
#ifndef EVENTSTORE_SERVER_SINKS_WEBHOOK_REQUEST_H_
#define EVENTSTORE_SERVER_SINKS_WEBHOOK_REQUEST_H_

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/sinks/cloud_event.h"
#include "server/sinks/webhook_options.h"

namespace eventstore::sinks {

// The secrets of a Publish, as they were read for it.
struct WebhookSecrets {
  std::string key;      // of the signature; empty: none
  std::string headers;  // lines
};

// What became of a request.
struct WebhookAnswer {
  enum class Kind { kTaken, kRefused, kAway };
  Kind kind = Kind::kAway;
  std::string reason;
  std::chrono::seconds retry_after{0};  // what the receiver asks for; 0: nothing
};

// The header X-Eventstore-Signature: "t=<seconds>,v1=<hex>", the HMAC-SHA256 of "<seconds>.<body>".
[[nodiscard]] std::string WebhookSignature(std::string_view key, std::int64_t seconds,
                                           std::string_view body);
// What an HTTP status means: see docs/sinks.md.
[[nodiscard]] WebhookAnswer::Kind KindOfStatus(long status);

// A request from being made to its answer. It must not move while it runs. One thread.
class WebhookRequest {
 public:
  WebhookRequest(const WebhookOptions& options, const WebhookSecrets& secrets, std::size_t index,
                 const v1::Event& event, std::chrono::milliseconds timeout);
  ~WebhookRequest();
  WebhookRequest(const WebhookRequest&) = delete;
  WebhookRequest& operator=(const WebhookRequest&) = delete;

  // libcurl's handle (a CURL*), for its multi interface.
  [[nodiscard]] void* handle() const;
  [[nodiscard]] std::size_t index() const;
  // After it ended with this code of libcurl's.
  [[nodiscard]] WebhookAnswer Answer(int curl_code) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_WEBHOOK_REQUEST_H_
