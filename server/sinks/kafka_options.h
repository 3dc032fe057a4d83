// The settings of the sink for Kafka.
#ifndef EVENTSTORE_SERVER_SINKS_KAFKA_OPTIONS_H_
#define EVENTSTORE_SERVER_SINKS_KAFKA_OPTIONS_H_

#include <string>

#include "server/sinks/settings.h"
#include "server/sinks/template.h"

namespace eventstore::sinks {

// Each member is the setting of its name; see the rules.
struct KafkaOptions {
  std::string brokers;
  Template topic;
  Template key;
  std::string client_id;
  std::string compression;
  std::string linger_ms;
  std::string message_bytes_max;
  std::string connect_timeout_ms;
  std::string security_protocol;
  std::string sasl_mechanism;
  std::string user;
  Secret password;
  TlsOptions tls;
  std::string source;
  bool structured = false;

  // `settings` have no problems.
  static KafkaOptions Of(const Settings& settings);
};

[[nodiscard]] SettingRules KafkaRules();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_KAFKA_OPTIONS_H_
