// The settings of the sink for webhooks.
#ifndef EVENTSTORE_SERVER_SINKS_WEBHOOK_OPTIONS_H_
#define EVENTSTORE_SERVER_SINKS_WEBHOOK_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "server/sinks/settings.h"
#include "server/sinks/template.h"

namespace eventstore::sinks {

// Each member is the setting of its name; see the rules.
struct WebhookOptions {
  std::string url;
  Secret secret;
  Secret headers;
  std::string proxy;
  TlsOptions tls;
  std::int64_t parallel_max = 0;
  std::chrono::milliseconds request_timeout{0};
  std::chrono::milliseconds connect_timeout{0};
  std::string source;
  bool structured = false;

  // `settings` have no problems.
  static WebhookOptions Of(const Settings& settings);
};

[[nodiscard]] SettingRules WebhookRules();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_WEBHOOK_OPTIONS_H_
