// The settings of the sink for Redis.
#ifndef EVENTSTORE_SERVER_SINKS_REDIS_OPTIONS_H_
#define EVENTSTORE_SERVER_SINKS_REDIS_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "server/sinks/settings.h"
#include "server/sinks/template.h"

namespace eventstore::sinks {

// Each member is the setting of its name; see the rules.
struct RedisOptions {
  Address address;
  std::int64_t database = 0;
  std::string user;
  Secret password;
  Template stream;
  std::int64_t maxlen = 0;
  std::int64_t wait_replicas = 0;
  std::chrono::milliseconds wait_timeout{0};
  std::chrono::milliseconds connect_timeout{0};
  std::string source;
  bool structured = false;

  // `settings` have no problems.
  static RedisOptions Of(const Settings& settings);
};

[[nodiscard]] SettingRules RedisRules();

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_REDIS_OPTIONS_H_
