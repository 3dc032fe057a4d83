#include "server/sinks/redis_options.h"

#include <utility>

namespace eventstore::sinks {

SettingRules RedisRules() {
  return Joined(
      {{AddressRule(
            "url", {"redis"}, false,
            "Where Redis is: redis://host:6379. Without TLS: this build's client has none."),
        NumberRule("database", 0, 0, 1'000'000, "The number of the database."),
        TextRule("user", "", "The account (ACL); empty: the default one.")},
       SecretRules("password", "The account's password."),
       {TemplateRule("stream", "eventstore:{aggregate_type}", false,
                     "The key of the Redis stream. Redis keeps no order between streams."),
        NumberRule("maxlen", 0, 0, 1'000'000'000'000,
                   "About how many entries a Redis stream keeps (XADD MAXLEN ~); 0: all of them."),
        NumberRule(
            "wait_replicas", 0, 0, 100,
            "How many replicas must have the entries before they count as published (WAIT)."),
        NumberRule("wait_timeout_ms", 1000, 1, 600'000, "How long the replicas are waited for."),
        ConnectTimeoutRule()},
       CloudEventRules()});
}

RedisOptions RedisOptions::Of(const Settings& settings) {
  RedisOptions options;
  [[maybe_unused]] const bool parsed = ParseAddress(settings.Text("url"), 6379, &options.address);
  options.database = settings.Number("database");
  options.user = settings.Text("user");
  options.password = Secret::Of(settings, "password");
  options.stream = *Template::Parse(settings.Text("stream"));
  options.maxlen = settings.Number("maxlen");
  options.wait_replicas = settings.Number("wait_replicas");
  options.wait_timeout = settings.Millis("wait_timeout_ms");
  options.connect_timeout = settings.Millis("connect_timeout_ms");
  options.source = settings.Text("source");
  options.structured = settings.Text("mode") == "structured";
  return options;
}

}  // namespace eventstore::sinks
