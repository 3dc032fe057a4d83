#include "server/sinks/webhook_options.h"

#include <absl/strings/str_split.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace eventstore::sinks {
namespace {

// The characters of a header's name (RFC 9110, `token`).
bool IsTokenCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsHeader(absl::string_view line) {
  const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
  return parts.size() == 2 && !parts[0].empty() &&
         std::all_of(parts[0].begin(), parts[0].end(), IsTokenCharacter) &&
         std::none_of(parts[1].begin(), parts[1].end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t'; });
}

bool AreHeaders(std::string_view text) {
  const std::vector<absl::string_view> lines =
      absl::StrSplit(absl::string_view(text.data(), text.size()), '\n', absl::SkipEmpty());
  return std::all_of(lines.begin(), lines.end(), IsHeader);
}

}  // namespace

SettingRules WebhookRules() {
  SettingRules headers = SecretRules(
      "headers", "Headers to send besides, one \"Name: value\" a line, such as an Authorization.");
  headers.front().key.allowed = "lines of \"Name: value\"";
  headers.front().is_allowed = AreHeaders;
  return Joined(
      {{AddressRule("url", {"http", "https"}, false, "Where events are sent to, each by a POST.")},
       SecretRules("secret",
                   "The key of the signature (HMAC-SHA256); without it nothing is signed."),
       std::move(headers),
       {NumberRule("parallel_max", 8, 1, 256, "Most requests at a time."),
        NumberRule("request_timeout_ms", 10'000, 10, 600'000,
                   "How long one request may take, its answer included."),
        ConnectTimeoutRule(),
        TextRule("proxy", "",
                 "A proxy to go through, such as http://proxy:3128. Environment variables are not "
                 "looked at.")},
       TlsRules(),
       CloudEventRules()});
}

WebhookOptions WebhookOptions::Of(const Settings& settings) {
  WebhookOptions options;
  options.url = settings.Text("url");
  options.secret = Secret::Of(settings, "secret");
  options.headers = Secret::Of(settings, "headers");
  options.proxy = settings.Text("proxy");
  options.tls = TlsOptions::Of(settings);
  options.parallel_max = settings.Number("parallel_max");
  options.request_timeout = settings.Millis("request_timeout_ms");
  options.connect_timeout = settings.Millis("connect_timeout_ms");
  options.source = settings.Text("source");
  options.structured = settings.Text("mode") == "structured";
  return options;
}

}  // namespace eventstore::sinks
