#include "server/sinks/webhook_request.h"

#include <absl/strings/escaping.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace eventstore::sinks {
namespace {

// How much of an answer's body is kept for the error.
constexpr std::size_t kAnswerBytesMax = 200;

struct EasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, ListDeleter>;

void AddHeader(const std::string& line, Headers* headers) {
  curl_slist* longer = curl_slist_append(headers->get(), line.c_str());
  if (longer == nullptr) return;
  static_cast<void>(headers->release());
  headers->reset(longer);
}

std::size_t KeepAnswer(char* data, std::size_t size, std::size_t count, void* text) {
  auto* const kept = static_cast<std::string*>(text);
  kept->append(data, std::min(size * count, kAnswerBytesMax - kept->size()));
  return size * count;
}

std::int64_t SecondsNow() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Headers HeadersOf(const WebhookSecrets& secrets, const CloudEvent& event) {
  Headers headers;
  AddHeader("Content-Type: " + event.content_type(), &headers);
  // Neither asks first whether it may send.
  AddHeader("Expect:", &headers);
  for (const Attribute& attribute : event.attributes()) {
    AddHeader(absl::StrCat("ce-", attribute.name, ": ", PercentEncoded(attribute.value)), &headers);
  }
  if (!secrets.key.empty()) {
    AddHeader(
        "X-Eventstore-Signature: " + WebhookSignature(secrets.key, SecondsNow(), event.body()),
        &headers);
  }
  for (const absl::string_view line : absl::StrSplit(secrets.headers, '\n', absl::SkipEmpty())) {
    AddHeader(std::string(line), &headers);
  }
  return headers;
}

void SetTls(const TlsOptions& tls, CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
  if (!tls.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, tls.ca_file.c_str());
  if (!tls.cert_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_SSLCERT, tls.cert_file.c_str());
    curl_easy_setopt(easy, CURLOPT_SSLKEY, tls.key_file.c_str());
  }
}

}  // namespace

std::string WebhookSignature(std::string_view key, std::int64_t seconds, std::string_view body) {
  const std::string text = absl::StrCat(seconds, ".", absl::string_view(body.data(), body.size()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  return absl::StrCat("t=", seconds, ",v1=",
                      absl::BytesToHexString(
                          absl::string_view(reinterpret_cast<const char*>(digest.data()), size)));
}

WebhookAnswer::Kind KindOfStatus(long status) {
  if (status >= 200 && status < 300) return WebhookAnswer::Kind::kTaken;
  if (status < 400) return WebhookAnswer::Kind::kAway;
  switch (status) {
    case 401:
    case 407:
    case 408:
    case 425:
    case 429:
    case 502:
    case 503:
    case 504:
      return WebhookAnswer::Kind::kAway;
    default:
      return WebhookAnswer::Kind::kRefused;
  }
}

struct WebhookRequest::State {
  State(std::size_t message, const v1::Event& event, const WebhookOptions& options)
      : index(message), cloud_event(event, options.source, options.structured) {}

  std::size_t index;
  CloudEvent cloud_event;
  Headers headers;
  std::string answer;
  std::array<char, CURL_ERROR_SIZE> error{};
  std::unique_ptr<CURL, EasyDeleter> easy;
};

WebhookRequest::WebhookRequest(const WebhookOptions& options, const WebhookSecrets& secrets,
                               std::size_t index, const v1::Event& event,
                               std::chrono::milliseconds timeout)
    : state_(std::make_unique<State>(index, event, options)) {
  state_->headers = HeadersOf(secrets, state_->cloud_event);
  state_->easy.reset(curl_easy_init());
  CURL* easy = state_->easy.get();
  const std::string_view body = state_->cloud_event.body();
  curl_easy_setopt(easy, CURLOPT_URL, options.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.empty() ? "" : body.data());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, state_->headers.get());
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "eventstored");
  curl_easy_setopt(easy, CURLOPT_PROXY,
                   options.proxy.c_str());  // Empty: none, not the environment's.
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(std::min(timeout, options.request_timeout).count()));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &KeepAnswer);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &state_->answer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, state_->error.data());
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  SetTls(options.tls, easy);
}

WebhookRequest::~WebhookRequest() = default;

void* WebhookRequest::handle() const { return state_->easy.get(); }

std::size_t WebhookRequest::index() const { return state_->index; }

WebhookAnswer WebhookRequest::Answer(int curl_code) const {
  WebhookAnswer answer;
  if (curl_code != CURLE_OK) {
    const char* const detail = state_->error.data();
    answer.reason = absl::StrCat(
        "the webhook cannot be reached: ",
        *detail != '\0' ? detail : curl_easy_strerror(static_cast<CURLcode>(curl_code)));
    return answer;
  }
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(state_->easy.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(state_->easy.get(), CURLINFO_RETRY_AFTER, &retry_after);
  answer.kind = KindOfStatus(status);
  answer.retry_after = std::chrono::seconds(retry_after);
  answer.reason =
      absl::StrCat("the webhook answers ", status,
                   status >= 300 && status < 400 ? "; redirects are not followed" : "",
                   state_->answer.empty() ? "" : ": ", absl::CHexEscape(state_->answer));
  return answer;
}

}  // namespace eventstore::sinks
