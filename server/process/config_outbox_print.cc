// Writes `outbox.sinks` and `outbox.routes` as YAML.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "server/process/config_outbox.h"
#include "server/process/config_sink_keys.h"
#include "server/process/config_values.h"

namespace eventstore::process {
namespace {

using engine::OutboxRoute;
using engine::OutboxSink;

// What stands for a secret: something that is allowed there, so that the file can be read.
std::string Mask(const OutboxSink& sink, const std::string& key) {
  sinks::SinkOptions masked = sink.options;
  for (const char* const mask : {"***", "***: ***"}) {
    masked.settings[key] = mask;
    const std::vector<sinks::SinkProblem> problems = sinks::CheckSink(masked);
    if (std::none_of(problems.begin(), problems.end(),
                     [&](const sinks::SinkProblem& problem) { return problem.key == key; })) {
      return mask;
    }
  }
  return "";
}

void PrintSink(const OutboxSink& sink, std::string* out) {
  *out +=
      fmt::format("    {}:\n      type: {}\n", sink.options.name, QuotedYaml(sink.options.type));
  for (const CommonSinkKey& key : CommonSinkKeys()) {
    if (key.of_relay && IsWorker(sink)) continue;
    *out += fmt::format("      {}: {}\n", key.name, key.get(sink));
  }
  for (const sinks::SinkKey& key : sinks::KeysOf(sink.options.type)) {
    const auto value = sink.options.settings.find(key.name);
    if (value == sink.options.settings.end()) continue;
    const bool hide = key.is_secret && !value->second.empty();
    *out += fmt::format("      {}: {}\n", key.name,
                        QuotedYaml(hide ? Mask(sink, key.name) : value->second));
  }
}

void PrintRoute(const OutboxRoute& route, std::string* out) {
  *out += fmt::format("    - sink: {}\n", QuotedYaml(route.sink));
  for (const auto& [name, values] : {std::pair{"aggregate_types", &route.aggregate_types},
                                     {"event_types", &route.event_types},
                                     {"tags", &route.tags}}) {
    if (values->empty()) continue;
    std::string list;
    for (const std::string& value : *values) {
      list += (list.empty() ? "" : ", ") + QuotedYaml(value);
    }
    *out += fmt::format("      {}: [{}]\n", name, list);
  }
  if (!route.tenant_id.empty()) {
    *out += fmt::format("      tenant_id: {}\n", QuotedYaml(route.tenant_id));
  }
}

}  // namespace

std::string PrintOutbox(const Config& config) {
  const engine::OutboxOptions& outbox = config.store.outbox;
  std::string out =
      "\n"
      "  # Where events go, by name: a-z, 0-9, - and _. Each sink has a type and the settings of "
      "its\n"
      "  # type, which docs/sinks.md lists, and may have attempts_max, on_failed (hold or "
      "continue),\n"
      "  # batch_events_max, publish_timeout_ms, backoff_min_ms and backoff_max_ms. A setting's\n"
      "  # variable is EVENTSTORED_OUTBOX_SINKS_, the sink's name and the key, in upper case and "
      "with\n"
      "  # underscores for hyphens: EVENTSTORED_OUTBOX_SINKS_ORDERS_PASSWORD. Default: none.\n";
  out += outbox.sinks.empty() ? "  sinks: {}\n" : "  sinks:\n";
  for (const OutboxSink& sink : outbox.sinks) PrintSink(sink, &out);
  out +=
      "\n"
      "  # Which events go to a sink: a list of entries with sink and, as conditions that must "
      "all\n"
      "  # hold, aggregate_types (any of these), event_types (any), tags (all of these) and "
      "tenant_id.\n"
      "  # All daemons of a store must have the same. Default: none.\n";
  out += outbox.routes.empty() ? "  routes: []\n" : "  routes:\n";
  for (const OutboxRoute& route : outbox.routes) PrintRoute(route, &out);
  return out;
}

}  // namespace eventstore::process
