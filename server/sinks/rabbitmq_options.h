// The settings of the sink for RabbitMQ.
#ifndef EVENTSTORE_SERVER_SINKS_RABBITMQ_OPTIONS_H_
#define EVENTSTORE_SERVER_SINKS_RABBITMQ_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "server/sinks/settings.h"
#include "server/sinks/template.h"

namespace eventstore::sinks {

// Each member is the setting of its name; see the rules.
struct RabbitmqOptions {
  Address address;
  std::string vhost;
  std::string user;
  Secret password;
  TlsOptions tls;
  std::string exchange;
  bool declare_exchange = true;
  Template routing_key;
  bool mandatory = true;
  int heartbeat_s = 0;
  std::chrono::milliseconds connect_timeout{0};
  std::int64_t in_flight_max = 0;
  std::string source;
  bool structured = false;

  // `settings` have no problems.
  static RabbitmqOptions Of(const Settings& settings);
};

[[nodiscard]] SettingRules RabbitmqRules();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_RABBITMQ_OPTIONS_H_
