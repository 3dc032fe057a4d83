#include "server/sinks/registry.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/sinks/settings.h"
#include "server/sinks/sink_types.h"

namespace eventstore::sinks {
namespace {

// Sorted by name.
std::vector<SinkType> MakeTypes() {
  std::vector<SinkType> types;
#ifdef EVENTSTORE_WITH_KAFKA
  types.push_back(KafkaSinkType());
#endif
#ifdef EVENTSTORE_WITH_NATS
  types.push_back(NatsSinkType());
#endif
#ifdef EVENTSTORE_WITH_RABBITMQ
  types.push_back(RabbitmqSinkType());
#endif
#ifdef EVENTSTORE_WITH_REDIS
  types.push_back(RedisSinkType());
#endif
#ifdef EVENTSTORE_WITH_WEBHOOK
  types.push_back(WebhookSinkType());
#endif
  return types;
}

const std::vector<SinkType>& Types() {
  static const std::vector<SinkType> types = MakeTypes();
  return types;
}

const SinkType* Find(std::string_view name) {
  for (const SinkType& type : Types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::map<std::string, std::vector<SinkKey>> MakeKeys() {
  std::map<std::string, std::vector<SinkKey>> keys;
  for (const SinkType& type : Types()) {
    for (const SettingRule& rule : type.rules) keys[type.name].push_back(rule.key);
  }
  return keys;
}

std::vector<std::string> MakeNames() {
  std::vector<std::string> names;
  for (const SinkType& type : Types()) names.push_back(type.name);
  return names;
}

}  // namespace

const std::vector<std::string>& SinkTypes() {
  static const std::vector<std::string> names = MakeNames();
  return names;
}

const std::vector<SinkKey>& KeysOf(std::string_view type) {
  static const std::map<std::string, std::vector<SinkKey>> keys = MakeKeys();
  static const std::vector<SinkKey> none;
  const auto found = keys.find(std::string(type));
  return found == keys.end() ? none : found->second;
}

std::vector<SinkProblem> CheckSink(const SinkOptions& options) {
  const SinkType* type = Find(options.type);
  if (type == nullptr) {
    const std::string known = Types().empty() ? "none" : absl::StrJoin(SinkTypes(), ", ");
    return {{"type", absl::StrCat("\"", options.type,
                                  "\" is not a type of sink of this build, which has: ", known)}};
  }
  return CheckSettings(type->rules, options.settings);
}

absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const SinkOptions& options) {
  const std::vector<SinkProblem> problems = CheckSink(options);
  if (!problems.empty()) {
    std::vector<v1::ErrorInfo> details;
    for (const SinkProblem& problem : problems) {
      v1::ErrorInfo& detail = details.emplace_back();
      detail.set_reason(v1::ERROR_REASON_INVALID_REQUEST);
      detail.set_field(problem.key);
      detail.set_message(
          absl::StrCat("sink \"", options.name, "\": ", problem.key, ": ", problem.message));
    }
    return MakeError(std::move(details));
  }
  const SinkType* type = Find(options.type);
  return type->make(Settings(&type->rules, options.settings));
}

}  // namespace eventstore::sinks
