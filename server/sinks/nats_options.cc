#include "server/sinks/nats_options.h"

#include <utility>

namespace eventstore::sinks {

SettingRules NatsRules() {
  SettingRule subject =
      TemplateRule("subject", "eventstore.{aggregate_type}.{event_type}", false,
                   "The subject, which a JetStream stream must take. White space, control "
                   "characters, '*', '>' and '%' in a value are written as %XX.");
  subject.key.allowed += ", without white space, '*' and '>'";
  subject.is_allowed = [is_template = subject.is_allowed](std::string_view text) {
    return is_template(text) && text.find_first_of(" \t\r\n*>") == std::string_view::npos;
  };
  return Joined(
      {{AddressRule("url", {"nats", "tls"}, true,
                    "Where NATS is: nats://host:4222, or tls://host:4222 with TLS; several servers "
                    "of a cluster with commas between them."),
        TextRule("user", "", "The account.")},
       SecretRules("password", "The account's password."),
       {FileRule("credentials_file", "A .creds file (JWT and key), instead of user and password."),
        std::move(subject),
        NumberRule("in_flight_max", 256, 1, 10'000,
                   "Most events that wait for their acknowledgement at a time."),
        ConnectTimeoutRule()},
       TlsRules(),
       CloudEventRules()});
}

NatsOptions NatsOptions::Of(const Settings& settings) {
  NatsOptions options;
  options.url = settings.Text("url");
  options.user = settings.Text("user");
  options.password = Secret::Of(settings, "password");
  options.credentials_file = settings.Text("credentials_file");
  options.tls = TlsOptions::Of(settings);
  options.subject = *Template::Parse(settings.Text("subject"));
  options.in_flight_max = settings.Number("in_flight_max");
  options.connect_timeout = settings.Millis("connect_timeout_ms");
  options.source = settings.Text("source");
  options.structured = settings.Text("mode") == "structured";
  return options;
}

}  // namespace eventstore::sinks
