#include "server/process/config_sink_keys.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "server/process/config_values.h"

namespace eventstore::process {
namespace {

using engine::OutboxSink;
using std::chrono::milliseconds;

template <typename Member>
CommonSinkKey NumberKey(std::string name, bool of_relay, Member OutboxSink::*member,
                        std::int64_t min, std::int64_t max) {
  const auto set = [member, min, max](OutboxSink* sink, const std::string& text) {
    const absl::StatusOr<std::int64_t> value = ParseInteger(text, min, max);
    if (value.ok()) sink->*member = Member(*value);
    return value.status();
  };
  const auto get = [member](const OutboxSink& sink) {
    if constexpr (std::is_same_v<Member, milliseconds>) {
      return fmt::format("{}", (sink.*member).count());
    } else {
      return fmt::format("{}", sink.*member);
    }
  };
  return {std::move(name), of_relay, set, get};
}

}  // namespace

const std::vector<CommonSinkKey>& CommonSinkKeys() {
  static const std::vector<CommonSinkKey> keys = {
      NumberKey("attempts_max", false, &OutboxSink::attempts_max, 1, 1'000),
      {"on_failed", false,
       [](OutboxSink* sink, const std::string& text) {
         absl::Status checked = CheckChoice(text, {"hold", "continue"});
         if (checked.ok()) sink->continue_after_failed = text == "continue";
         return checked;
       },
       [](const OutboxSink& sink) -> std::string {
         return sink.continue_after_failed ? "continue" : "hold";
       }},
      NumberKey("batch_events_max", true, &OutboxSink::batch_events_max, 1, 10'000),
      NumberKey("publish_timeout_ms", true, &OutboxSink::publish_timeout_ms, 100, 600'000),
      NumberKey("backoff_min_ms", false, &OutboxSink::backoff_min_ms, 1, 600'000),
      NumberKey("backoff_max_ms", false, &OutboxSink::backoff_max_ms, 1, 86'400'000),
  };
  return keys;
}

std::vector<std::string> SinkTypeNames() {
  std::vector<std::string> names = sinks::SinkTypes();
  names.emplace_back(engine::kWorkerSink);
  return names;
}

bool IsWorker(const OutboxSink& sink) { return sink.options.type == engine::kWorkerSink; }

// The names of all keys of a type, `type` among them.
std::vector<std::string> SinkKeyNames(const std::string& type) {
  std::vector<std::string> names = {"type"};
  for (const CommonSinkKey& key : CommonSinkKeys()) {
    if (!key.of_relay || type != engine::kWorkerSink) names.push_back(key.name);
  }
  for (const sinks::SinkKey& key : sinks::KeysOf(type)) names.push_back(key.name);
  return names;
}

}  // namespace eventstore::process
