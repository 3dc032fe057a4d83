#include "server/sinks/rabbitmq_options.h"

#include <utility>

namespace eventstore::sinks {

SettingRules RabbitmqRules() {
  return Joined(
      {{AddressRule("url", {"amqp", "amqps"}, false,
                    "Where RabbitMQ is: amqp://host:5672, or amqps://host:5671 with TLS."),
        TextRule("vhost", "/", "The virtual host."), TextRule("user", "guest", "The account.")},
       SecretRules("password", "The account's password."),
       {TextRule("exchange", "eventstore", "The exchange to publish to."),
        FlagRule(
            "declare_exchange", true,
            "Whether the exchange is declared, as a durable topic exchange; otherwise it must be "
            "there."),
        TemplateRule("routing_key", "{aggregate_type}.{event_type}", false,
                     "The routing key; at most 255 bytes when it is filled in."),
        FlagRule(
            "mandatory", true,
            "Whether an event that no queue is bound for is refused. With `false` such an event "
            "counts as published, and is lost."),
        NumberRule("in_flight_max", 256, 1, 10'000,
                   "Most events that wait for their confirmation at a time."),
        NumberRule(
            "heartbeat_s", 30, 0, 600,
            "Seconds between the heartbeats that find a dead connection; 0 switches them off."),
        ConnectTimeoutRule()},
       TlsRules(),
       CloudEventRules()});
}

RabbitmqOptions RabbitmqOptions::Of(const Settings& settings) {
  RabbitmqOptions options;
  [[maybe_unused]] const bool parsed =
      ParseAddress(settings.Text("url"), settings.Text("url").rfind("amqps", 0) == 0 ? 5671 : 5672,
                   &options.address);
  options.vhost = settings.Text("vhost");
  options.user = settings.Text("user");
  options.password = Secret::Of(settings, "password");
  options.tls = TlsOptions::Of(settings);
  options.exchange = settings.Text("exchange");
  options.declare_exchange = settings.Flag("declare_exchange");
  options.routing_key = *Template::Parse(settings.Text("routing_key"));
  options.mandatory = settings.Flag("mandatory");
  options.heartbeat_s = static_cast<int>(settings.Number("heartbeat_s"));
  options.connect_timeout = settings.Millis("connect_timeout_ms");
  options.in_flight_max = settings.Number("in_flight_max");
  options.source = settings.Text("source");
  options.structured = settings.Text("mode") == "structured";
  return options;
}

}  // namespace eventstore::sinks
