#include "server/process/config_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "server/process/config_keys.h"
#include "server/process/config_outbox.h"
#include "server/process/config_sink_keys.h"
#include "server/process/config_values.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

// Collects the problems of pairs of keys.
class Comparison {
 public:
  Comparison(const Config& config, std::vector<std::string>* problems)
      : config_(config), problems_(problems) {}

  void AtMost(std::string_view low, std::string_view high, std::string_view why) {
    if (Value(low) <= Value(high)) return;
    problems_->push_back(
        fmt::format("{}: {} is more than {} ({}); {}", low, Value(low), high, Value(high), why));
  }

  void Below(std::string_view low, std::string_view high, std::string_view why) {
    if (Value(low) < Value(high)) return;
    problems_->push_back(fmt::format("{}: {} must be more than {} ({}); {}", high, Value(high), low,
                                     Value(low), why));
  }

 private:
  [[nodiscard]] std::int64_t Value(std::string_view path) const {
    return std::stoll(FindKey(path)->get(config_));  // An integer of the table.
  }

  const Config& config_;
  std::vector<std::string>* const problems_;
};

void CheckConnections(const Config& config, std::vector<std::string>* problems) {
  const engine::OutboxOptions& outbox = config.store.outbox;
  const auto relays = outbox.enabled
                          ? std::count_if(outbox.sinks.begin(), outbox.sinks.end(),
                                          [](const auto& sink) { return !IsWorker(sink); })
                          : 0;
  const std::int64_t beside = kConnectionsBesidePool + relays;
  const std::int64_t needed =
      std::int64_t{config.store.pool.pool_size} + config.store.pool.max_overflow + beside;
  if (needed <= config.database.connections_max) return;
  problems->push_back(fmt::format(
      "database.connections_max: {} is less than the {} that a store can open (pool.pool_size {} + "
      "pool.max_overflow {} + {}); raise it or make the pool smaller",
      config.database.connections_max, needed, config.store.pool.pool_size,
      config.store.pool.max_overflow, beside));
}

}  // namespace

void CheckTogether(const Config& config, std::vector<std::string>* problems) {
  Comparison comparison(config, problems);
  comparison.AtMost("limits.event_bytes_max", "limits.request_bytes_max",
                    "an event must fit into a request");
  comparison.Below("limits.request_bytes_max", "server.message_bytes_max",
                   "otherwise the transport refuses what the daemon should answer");
  comparison.AtMost("limits.request_bytes_max", "writer.queue_bytes_max",
                    "a request must fit into the queue");
  comparison.AtMost("partitions.size_events", "partitions.size_events_max",
                    "partitions grow, they do not shrink");
  comparison.Below("daemon.heartbeat_ms", "daemon.expire_ms",
                   "otherwise a daemon that lives is counted as gone");
  CheckConnections(config, problems);
  CheckOutbox(config, problems);
  // Port 0 is a different free one each time.
  if (config.listen == config.metrics_listen && !config.listen.ends_with(":0")) {
    problems->push_back(fmt::format(
        "metrics_listen: {} is also listen; give each a port of its own", config.metrics_listen));
  }
  if (!config.database.password_file.empty() && config.database.dsn.empty()) {
    problems->push_back(
        "database.password_file: it needs database.dsn; the embedded PostgreSQL has no password");
  }
  if (!config.database.password_file.empty() && HasPassword(config.database.dsn)) {
    problems->push_back(
        "database.password_file: database.dsn has a password in it already; remove one");
  }
}

void CompleteConfig(Config* config, std::vector<std::string>* problems) {
  config->embedded.data_dir = config->data_dir;
  config->store.connection.conninfo = config->database.dsn;
  if (config->database.password_file.empty()) return;
  absl::StatusOr<std::string> password = ReadPasswordFile(config->database.password_file);
  if (!password.ok()) {
    problems->push_back(
        fmt::format("database.password_file: {}", telemetry::MessageOf(password.status())));
    return;
  }
  config->store.connection.conninfo = WithPassword(config->database.dsn, *password);
}

}  // namespace eventstore::process
