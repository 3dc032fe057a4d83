// The table of configuration keys: the one place that knows which there are (private to this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_KEYS_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_KEYS_H_

#include <absl/status/status.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/process/config.h"

namespace eventstore::process {

struct Bounds {
  std::int64_t min = 0;
  std::int64_t max = 0;
};

struct Key {
  // "section.name", or "name" for the few without a section.
  std::string path;
  // What it is for and what it does, for the reference file.
  std::string doc;
  // What values are allowed, to follow "it must be".
  std::string allowed;
  // Only of integers.
  std::optional<Bounds> bounds;
  // Whether it counts bytes.
  bool is_bytes = false;
  // Whether it is written without quotes in YAML.
  bool is_plain = false;
  // Whether it may hold a password.
  bool is_secret = false;
  // The flag that sets it, such as "--listen"; empty: none.
  std::string flag;
  // Checks and stores a value. The error says what is wrong with it, without path and origin.
  std::function<absl::Status(Config* config, const std::string& text)> set;
  // The value as `set` takes it.
  std::function<std::string(const Config& config)> get;

  // Of "section.name": the parts.
  [[nodiscard]] std::string section() const;
  [[nodiscard]] std::string name() const;
  // EVENTSTORED_SECTION_NAME.
  [[nodiscard]] std::string environment_variable() const;
};

// Every key, in the order of the reference file, which is also the order in which they are applied:
// a preset stands before what it presets.
[[nodiscard]] const std::vector<Key>& Keys();

// Null if there is none.
[[nodiscard]] const Key* FindKey(std::string_view path);

// The paragraph about a section; empty if there is no such section.
[[nodiscard]] std::string SectionDoc(std::string_view section);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_KEYS_H_
