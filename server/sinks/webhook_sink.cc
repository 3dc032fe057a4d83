// Sends each event to an HTTP server by a POST of its own.
#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <utility>

#include "server/sinks/sink_types.h"
#include "server/sinks/stream_order.h"
#include "server/sinks/webhook_options.h"
#include "server/sinks/webhook_request.h"
#include "server/telemetry/logging.h"

namespace eventstore::sinks {
namespace {

constexpr std::chrono::milliseconds kPollMax{1000};
// The longest that a receiver may ask to be left alone for.
constexpr std::chrono::seconds kRetryAfterMax{300};

struct MultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

// libcurl wants this once in a process, before its first use.
void InitializeCurl() {
  [[maybe_unused]] static const CURLcode code = curl_global_init(CURL_GLOBAL_ALL);
}

std::chrono::milliseconds LeftUntil(Deadline deadline) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(deadline -
                                                               std::chrono::steady_clock::now());
}

class WebhookSink : public Sink {
 public:
  explicit WebhookSink(WebhookOptions options) : options_(std::move(options)) {
    InitializeCurl();
    multi_.reset(curl_multi_init());
  }
  ~WebhookSink() override { DropRequests(); }

  std::vector<Delivery> Publish(std::span<const Message> messages, Deadline deadline) override;
  void Interrupt() override {
    interrupted_ = true;
    curl_multi_wakeup(multi_.get());
  }

 private:
  using Requests = std::map<void*, std::unique_ptr<WebhookRequest>>;

  absl::Status ReadSecrets();
  absl::Status PublishAll(StreamOrder* order, Deadline deadline);
  void SendReady(StreamOrder* order, Deadline deadline);
  void TakeAnswers(StreamOrder* order);
  void Note(std::size_t index, const WebhookAnswer& answer, StreamOrder* order);
  void DropRequests();

  const WebhookOptions options_;
  std::unique_ptr<CURLM, MultiDeleter> multi_;  // keeps connections between calls
  std::atomic<bool> interrupted_{false};
  WebhookSecrets secrets_;
  Requests requests_;
  // Why nothing more is sent in this Publish; what is under way is waited for.
  absl::Status away_;
  Deadline not_before_ = Deadline::min();  // by the receiver's Retry-After
};

absl::Status WebhookSink::ReadSecrets() {
  absl::StatusOr<std::string> key = options_.secret.Read();
  if (!key.ok()) return key.status();
  absl::StatusOr<std::string> headers = options_.headers.Read();
  if (!headers.ok()) return headers.status();
  secrets_ = {*std::move(key), *std::move(headers)};
  return absl::OkStatus();
}

void WebhookSink::SendReady(StreamOrder* order, Deadline deadline) {
  while (away_.ok() && requests_.size() < static_cast<std::size_t>(options_.parallel_max)) {
    const std::optional<std::size_t> index = order->Take();
    if (!index.has_value()) return;
    const auto timeout = std::max(LeftUntil(deadline), std::chrono::milliseconds(1));
    auto request =
        std::make_unique<WebhookRequest>(options_, secrets_, *index, order->event(*index), timeout);
    curl_multi_add_handle(multi_.get(), request->handle());
    void* const handle = request->handle();
    requests_[handle] = std::move(request);
  }
}

void WebhookSink::Note(std::size_t index, const WebhookAnswer& answer, StreamOrder* order) {
  switch (answer.kind) {
    case WebhookAnswer::Kind::kTaken:
      order->Published(index);
      return;
    case WebhookAnswer::Kind::kRefused:
      order->Refused(index, answer.reason);
      return;
    case WebhookAnswer::Kind::kAway:
      break;
  }
  away_ = absl::UnavailableError(answer.reason);
  if (answer.retry_after.count() > 0) {
    not_before_ = std::chrono::steady_clock::now() + std::min(answer.retry_after, kRetryAfterMax);
  }
}

void WebhookSink::TakeAnswers(StreamOrder* order) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    const auto found = requests_.find(message->easy_handle);
    const std::unique_ptr<WebhookRequest> request = std::move(found->second);
    requests_.erase(found);
    curl_multi_remove_handle(multi_.get(), request->handle());
    Note(request->index(), request->Answer(code), order);
  }
}

void WebhookSink::DropRequests() {
  for (const auto& [handle, request] : requests_) curl_multi_remove_handle(multi_.get(), handle);
  requests_.clear();
}

absl::Status WebhookSink::PublishAll(StreamOrder* order, Deadline deadline) {
  while (true) {
    if (interrupted_) return absl::UnavailableError("interrupted");
    SendReady(order, deadline);
    if (requests_.empty()) return away_;
    const auto left = LeftUntil(deadline);
    if (left.count() <= 0)
      return absl::UnavailableError("no answer of the webhook by the deadline");
    int running = 0;
    curl_multi_perform(multi_.get(), &running);
    TakeAnswers(order);
    if (running == 0) continue;
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(std::min(left, kPollMax).count()),
                    nullptr);
  }
}

std::vector<Delivery> WebhookSink::Publish(std::span<const Message> messages, Deadline deadline) {
  StreamOrder order(messages);
  away_ = ReadSecrets();
  const auto now = std::chrono::steady_clock::now();
  if (away_.ok() && now < not_before_) {
    const auto wait = std::chrono::duration_cast<std::chrono::seconds>(not_before_ - now);
    away_ =
        absl::UnavailableError(absl::StrCat("the webhook asked (Retry-After) to be left alone for ",
                                            wait.count() + 1, " more seconds"));
  }
  if (away_.ok()) away_ = PublishAll(&order, deadline);
  DropRequests();
  if (!away_.ok()) order.BrokerAway(telemetry::MessageOf(away_));
  return order.TakeDeliveries();
}

}  // namespace

SinkType WebhookSinkType() {
  return {"webhook", WebhookRules(), [](const Settings& settings) -> std::unique_ptr<Sink> {
            return std::make_unique<WebhookSink>(WebhookOptions::Of(settings));
          }};
}

}  // namespace eventstore::sinks
