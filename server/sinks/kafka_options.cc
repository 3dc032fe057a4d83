#include "server/sinks/kafka_options.h"

#include <utility>

namespace eventstore::sinks {
namespace {

bool IsBrokerList(std::string_view text) {
  while (true) {
    const std::size_t comma = text.find(',');
    Address address;
    if (!ParseAddress("kafka://" + std::string(text.substr(0, comma)), 9092, &address) ||
        !address.path.empty()) {
      return false;
    }
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

SettingRules KafkaRules() {
  SettingRule brokers = TextRule("brokers", "", "Some of the brokers: host:9092,host:9092.");
  brokers.key.is_required = true;
  brokers.key.allowed = "a list of host:port with commas between them";
  brokers.is_allowed = IsBrokerList;
  return Joined(
      {{std::move(brokers),
        TemplateRule("topic", "eventstore.{aggregate_type}", false,
                     "The topic. Characters of a value that a topic's name cannot have become '_'. "
                     "Kafka keeps no order between topics."),
        TemplateRule(
            "key", "{aggregate_id}", true,
            "The message's key, which chooses the partition. With log compaction on a topic "
            "that tenants share it should be \"{tenant_id}/{aggregate_id}\"."),
        TextRule("client_id", "eventstored", "The name by which brokers know this client."),
        ChoiceRule("compression", {"none", "gzip", "snappy", "lz4", "zstd"},
                   "How batches are compressed."),
        NumberRule("linger_ms", 1, 0, 1000, "How long a batch waits for more events."),
        NumberRule("message_bytes_max", 2'000'000, 1000, 1'000'000'000,
                   "Largest message to send. The brokers' own limit (message.max.bytes, 1 MiB by "
                   "default) holds besides."),
        ConnectTimeoutRule(),
        ChoiceRule("security_protocol", {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"},
                   "Whether connections are encrypted, and whether an account is shown."),
        ChoiceRule("sasl_mechanism", {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
                   "How the account is shown with sasl_plaintext and sasl_ssl."),
        TextRule("user", "", "The account.")},
       SecretRules("password", "The account's password."),
       TlsRules(),
       CloudEventRules()});
}

KafkaOptions KafkaOptions::Of(const Settings& settings) {
  KafkaOptions options;
  options.brokers = settings.Text("brokers");
  options.topic = *Template::Parse(settings.Text("topic"));
  options.key = *Template::Parse(settings.Text("key"));
  options.client_id = settings.Text("client_id");
  options.compression = settings.Text("compression");
  options.linger_ms = settings.Text("linger_ms");
  options.message_bytes_max = settings.Text("message_bytes_max");
  options.connect_timeout_ms = settings.Text("connect_timeout_ms");
  options.security_protocol = settings.Text("security_protocol");
  options.sasl_mechanism = settings.Text("sasl_mechanism");
  options.user = settings.Text("user");
  options.password = Secret::Of(settings, "password");
  options.tls = TlsOptions::Of(settings);
  options.source = settings.Text("source");
  options.structured = settings.Text("mode") == "structured";
  return options;
}

}  // namespace eventstore::sinks
