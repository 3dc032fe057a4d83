// The settings of the sink for NATS JetStream.
#ifndef EVENTSTORE_SERVER_SINKS_NATS_OPTIONS_H_
#define EVENTSTORE_SERVER_SINKS_NATS_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "server/sinks/settings.h"
#include "server/sinks/template.h"

namespace eventstore::sinks {

// Each member is the setting of its name; see the rules.
struct NatsOptions {
  std::string url;
  std::string user;
  Secret password;
  std::string credentials_file;
  TlsOptions tls;
  Template subject;
  std::int64_t in_flight_max = 0;
  std::chrono::milliseconds connect_timeout{0};
  std::string source;
  bool structured = false;

  // `settings` have no problems.
  static NatsOptions Of(const Settings& settings);
};

[[nodiscard]] SettingRules NatsRules();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_NATS_OPTIONS_H_
