// Makes the rows of the key table (private to this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_KEY_BUILDERS_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_KEY_BUILDERS_H_

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/process/config_keys.h"
#include "server/process/config_values.h"

// A member of Config, const or not: EVENTSTORE_FIELD(store.writer.batch_events_max). A macro
// because C++ has no pointer to a member of a member.
#define EVENTSTORE_FIELD(member) \
  [](auto& config) -> auto& { return config.member; }

namespace eventstore::process {

// `Unit` is what the key counts in where the member is a duration: std::chrono::seconds for a key
// in seconds, whatever the member itself counts in.
template <typename Unit = std::chrono::milliseconds, typename Field>
Key IntegerKey(std::string path, Field field, Bounds bounds, std::string doc) {
  using Member = std::remove_reference_t<decltype(field(std::declval<Config&>()))>;
  Key key;
  key.is_bytes = path.find("_bytes_") != std::string::npos;
  key.path = std::move(path);
  key.doc = std::move(doc);
  key.bounds = bounds;
  key.allowed = key.is_bytes ? fmt::format("from {} to {}", DescribeBytes(bounds.min),
                                           DescribeBytes(bounds.max))
                             : fmt::format("from {} to {}", bounds.min, bounds.max);
  key.is_plain = true;
  key.set = [field, bounds](Config* config, const std::string& text) {
    const absl::StatusOr<std::int64_t> value = ParseInteger(text, bounds.min, bounds.max);
    if (!value.ok()) return value.status();
    if constexpr (std::is_integral_v<Member>) {
      field(*config) = static_cast<Member>(*value);
    } else {
      field(*config) = std::chrono::duration_cast<Member>(Unit(*value));
    }
    return absl::OkStatus();
  };
  key.get = [field](const Config& config) {
    if constexpr (std::is_integral_v<Member>) {
      return fmt::format("{}", field(config));
    } else {
      return fmt::format("{}", std::chrono::duration_cast<Unit>(field(config)).count());
    }
  };
  return key;
}

template <typename Field>
Key SecondsKey(std::string path, Field field, Bounds bounds, std::string doc) {
  return IntegerKey<std::chrono::seconds>(std::move(path), field, bounds, std::move(doc));
}

template <typename Field>
Key BoolKey(std::string path, Field field, std::string doc) {
  Key key;
  key.path = std::move(path);
  key.doc = std::move(doc);
  key.allowed = "true or false";
  key.is_plain = true;
  key.set = [field](Config* config, const std::string& text) {
    const absl::StatusOr<bool> value = ParseBool(text);
    if (!value.ok()) return value.status();
    field(*config) = *value;
    return absl::OkStatus();
  };
  key.get = [field](const Config& config) { return field(config) ? "true" : "false"; };
  return key;
}

// `check` is called with the text before it is stored.
template <typename Field, typename Check>
Key TextKey(std::string path, Field field, std::string allowed, Check check, std::string doc) {
  Key key;
  key.path = std::move(path);
  key.doc = std::move(doc);
  key.allowed = std::move(allowed);
  key.set = [field, check](Config* config, const std::string& text) -> absl::Status {
    if (absl::Status status = check(text); !status.ok()) return status;
    field(*config) = text;
    return absl::OkStatus();
  };
  key.get = [field](const Config& config) { return field(config); };
  return key;
}

template <typename Field>
Key ChoiceKey(std::string path, Field field, const std::vector<std::string>& choices,
              std::string doc) {
  return TextKey(
      std::move(path), field, JoinChoices(choices),
      [choices](const std::string& text) { return CheckChoice(text, choices); }, std::move(doc));
}

// The rows of the daemon itself, and those of its stores; see config_keys.h.
std::vector<Key> ProcessKeys();
std::vector<Key> StoreKeys();

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_KEY_BUILDERS_H_
