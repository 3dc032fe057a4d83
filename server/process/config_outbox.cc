#include "server/process/config_outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "server/core/ids.h"
#include "server/process/config_sink_keys.h"
#include "server/process/config_values.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

using engine::OutboxRoute;
using engine::OutboxSink;
using std::chrono::milliseconds;

constexpr std::size_t kSinkNameBytesMax = 63;
constexpr std::size_t kRouteTextBytesMax = 255;

bool IsSinkName(const std::string& name) {
  return !name.empty() && name.size() <= kSinkNameBytesMax && name.front() >= 'a' &&
         name.front() <= 'z' && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
         });
}

// EVENTSTORED_OUTBOX_SINKS_<NAME>_.
std::string VariablePrefix(const std::string& sink) {
  std::string name = std::string(kSinkVariablePrefix) + sink + "_";
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    if (c == '-') return '_';
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name;
}

std::string DidYouMean(const std::string& text, const std::vector<std::string>& candidates) {
  const std::string closest = ClosestTo(text, candidates);
  return closest.empty() ? "; there are " + JoinChoices(candidates)
                         : "; did you mean " + closest + "?";
}

// Checks and stores one sink.
class SinkApplier {
 public:
  SinkApplier(const std::string& name, const OutboxText::Sink& text,
              std::vector<std::string>* problems)
      : text_(text), path_("outbox.sinks." + name), problems_(problems) {
    sink_.options.name = name;
  }

  OutboxSink Apply() {
    if (!IsSinkName(sink_.options.name)) {
      Problem(text_.origin, path_,
              fmt::format("a sink's name must be 1 to {} of a-z, 0-9, - and _, a letter first",
                          kSinkNameBytesMax));
    }
    const auto type = text_.values.find("type");
    if (type == text_.values.end()) {
      Problem(text_.origin, path_ + ".type", "it is missing; it must be " + Types());
      return sink_;
    }
    sink_.options.type = type->second.text;
    if (absl::Status known = CheckChoice(sink_.options.type, SinkTypeNames()); !known.ok()) {
      Problem(type->second.origin, path_ + ".type", std::string(telemetry::MessageOf(known)));
      return sink_;
    }
    ApplyValues();
    if (!IsWorker(sink_)) CheckSettings();
    return sink_;
  }

 private:
  static std::string Types() { return JoinChoices(SinkTypeNames()); }

  void Problem(const std::string& origin, const std::string& path, const std::string& what) {
    problems_->push_back(fmt::format("{}: {}: {}", origin, path, what));
  }

  void ApplyValues() {
    const std::vector<std::string> known = SinkKeyNames(sink_.options.type);
    for (const auto& [name, value] : text_.values) {
      if (name == "type") continue;
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        Problem(value.origin, path_ + "." + name,
                fmt::format("a sink of the type {} has no such key{}", sink_.options.type,
                            DidYouMean(name, known)));
        continue;
      }
      const auto common =
          std::find_if(CommonSinkKeys().begin(), CommonSinkKeys().end(),
                       [&name = name](const CommonSinkKey& key) { return key.name == name; });
      if (common == CommonSinkKeys().end()) {
        sink_.options.settings[name] = value.text;
        continue;
      }
      absl::Status set = common->set(&sink_, value.text);
      if (!set.ok()) {
        Problem(value.origin, path_ + "." + name, std::string(telemetry::MessageOf(set)));
      }
    }
  }

  void CheckSettings() {
    for (const sinks::SinkProblem& problem : sinks::CheckSink(sink_.options)) {
      const auto value = text_.values.find(problem.key);
      Problem(value == text_.values.end() ? text_.origin : value->second.origin,
              path_ + "." + problem.key, problem.message);
    }
  }

  const OutboxText::Sink& text_;
  const std::string path_;
  std::vector<std::string>* const problems_;
  OutboxSink sink_;
};

// Checks and stores one route.
OutboxRoute ApplyRoute(const OutboxText::Route& text, const std::string& path,
                       const OutboxText& outbox, std::vector<std::string>* problems) {
  OutboxRoute route;
  const std::map<std::string, std::vector<std::string>*> lists = {
      {"aggregate_types", &route.aggregate_types},
      {"event_types", &route.event_types},
      {"tags", &route.tags}};
  const std::map<std::string, std::string*> single = {{"sink", &route.sink},
                                                      {"tenant_id", &route.tenant_id}};
  const auto problem = [&](const std::string& origin, const std::string& name,
                           const std::string& what) {
    problems->push_back(fmt::format("{}: {}.{}: {}", origin, path, name, what));
  };
  for (const auto& [name, values] : text.values) {
    const auto list = lists.find(name);
    const auto one = single.find(name);
    if (list == lists.end() && one == single.end()) {
      problem(text.origin, name,
              "a route has no such key" + DidYouMean(name, {"sink", "aggregate_types",
                                                            "event_types", "tags", "tenant_id"}));
      continue;
    }
    for (const OutboxText::Value& value : values) {
      if (value.text.empty() || value.text.size() > kRouteTextBytesMax) {
        problem(value.origin, name,
                fmt::format("each text must have 1 to {} bytes", kRouteTextBytesMax));
      }
      if (list != lists.end()) list->second->push_back(value.text);
    }
    if (one == single.end()) continue;
    if (values.size() == 1) *one->second = values.front().text;
    if (values.size() != 1) problem(text.origin, name, "it must be one text");
  }
  if (!text.values.contains("sink")) {
    problem(text.origin, "sink", "it is missing; it must be the name of one of outbox.sinks");
  } else if (!route.sink.empty() && !outbox.sinks.contains(route.sink)) {
    std::vector<std::string> names;
    for (const auto& [name, sink] : outbox.sinks) names.push_back(name);
    problem(text.origin, "sink",
            fmt::format("\"{}\" is none of outbox.sinks{}", route.sink,
                        names.empty() ? "; there are none" : DidYouMean(route.sink, names)));
  }
  if (!route.tenant_id.empty()) {
    const std::optional<Uuid> tenant = ParseUuid(route.tenant_id);
    if (!tenant.has_value() || *tenant == kNilUuid) {
      problem(text.origin, "tenant_id",
              fmt::format("\"{}\" is no tenant; it must be a UUID, and not the nil UUID",
                          route.tenant_id));
    } else {
      route.tenant_id = FormatUuid(*tenant);
    }
  }
  return route;
}

}  // namespace

void ApplySinkVariables(const std::vector<SinkVariable>& variables, OutboxText* text,
                        std::vector<std::string>* problems) {
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> meanings;
  std::vector<std::string> names;
  for (const auto& [sink, settings] : text->sinks) {
    const auto type = settings.values.find("type");
    if (type == settings.values.end()) continue;
    for (const std::string& key : SinkKeyNames(type->second.text)) {
      if (key == "type") continue;
      std::string name =
          VariablePrefix(sink) + VariablePrefix(key).substr(kSinkVariablePrefix.size());
      name.pop_back();  // the underscore after the key
      names.push_back(name);
      meanings[name].emplace_back(sink, key);
    }
  }
  for (const SinkVariable& variable : variables) {
    const auto found = meanings.find(variable.name);
    if (found == meanings.end()) {
      const std::string closest = ClosestTo(variable.name, names);
      problems->push_back(fmt::format(
          "environment variable {}: there is no such setting of a sink in outbox.sinks{}",
          variable.name, closest.empty() ? "" : "; did you mean " + closest + "?"));
    } else if (found->second.size() > 1) {
      problems->push_back(fmt::format(
          "environment variable {}: it may mean outbox.sinks.{}.{} or outbox.sinks.{}.{}; rename "
          "one of the sinks",
          variable.name, found->second[0].first, found->second[0].second, found->second[1].first,
          found->second[1].second));
    } else {
      const auto& [sink, key] = found->second.front();
      text->sinks[sink].values[key] = {variable.value, "environment variable " + variable.name};
    }
  }
}

void ApplyOutbox(const OutboxText& text, Config* config, std::vector<std::string>* problems) {
  for (const auto& [name, sink] : text.sinks) {
    config->store.outbox.sinks.push_back(SinkApplier(name, sink, problems).Apply());
  }
  for (std::size_t i = 0; i < text.routes.size(); ++i) {
    config->store.outbox.routes.push_back(
        ApplyRoute(text.routes[i], fmt::format("outbox.routes[{}]", i), text, problems));
  }
}

void CheckOutbox(const Config& config, std::vector<std::string>* problems) {
  const engine::OutboxOptions& outbox = config.store.outbox;
  for (const OutboxSink& sink : outbox.sinks) {
    const std::string path = "outbox.sinks." + sink.options.name;
    if (sink.backoff_min_ms > sink.backoff_max_ms) {
      problems->push_back(fmt::format("{}.backoff_min_ms: {} is more than backoff_max_ms ({})",
                                      path, sink.backoff_min_ms.count(),
                                      sink.backoff_max_ms.count()));
    }
    const milliseconds needed = sink.publish_timeout_ms + outbox.kLeaseMargin;
    if (IsWorker(sink) || needed <= outbox.lease_ms) continue;
    problems->push_back(fmt::format(
        "outbox.lease_ms: {} is less than {}.publish_timeout_ms ({}) and {} more; otherwise the "
        "lease ends while a batch is published",
        outbox.lease_ms.count(), path, sink.publish_timeout_ms.count(),
        outbox.kLeaseMargin.count()));
  }
}

}  // namespace eventstore::process
