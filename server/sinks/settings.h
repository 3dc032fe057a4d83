// What the settings of a type of sink must be, and reading them. Any thread.
#ifndef EVENTSTORE_SERVER_SINKS_SETTINGS_H_
#define EVENTSTORE_SERVER_SINKS_SETTINGS_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/sinks/registry.h"

namespace eventstore::sinks {

// A setting and what its text must be.
struct SettingRule {
  SinkKey key;
  std::function<bool(std::string_view)> is_allowed;
};

using SettingRules = std::vector<SettingRule>;

// The values of a sink, with defaults for those that are not set. Names that its rules do not have
// are errors in this program.
class Settings {
 public:
  // `rules` must outlive it.
  Settings(const SettingRules* rules, std::map<std::string, std::string> values);

  // Whether it is set to something.
  [[nodiscard]] bool Has(const std::string& name) const;
  [[nodiscard]] std::string Text(const std::string& name) const;
  [[nodiscard]] bool Flag(const std::string& name) const;
  [[nodiscard]] std::int64_t Number(const std::string& name) const;
  [[nodiscard]] std::chrono::milliseconds Millis(const std::string& name) const;

 private:
  const SettingRules* rules_;
  std::map<std::string, std::string> values_;
};

// A text that is given as it is, or as a file that holds it. The file is read for each connection,
// so that it may change; one line break at its end is not part of the secret.
struct Secret {
  std::string text;
  std::string file;

  // From `name` and `name`_file.
  static Secret Of(const Settings& settings, const std::string& name);
  [[nodiscard]] bool is_set() const { return !text.empty() || !file.empty(); }
  // Empty if not set. Errors name the file only.
  [[nodiscard]] absl::StatusOr<std::string> Read() const;
};

// How a connection is encrypted; empty means the system's defaults, or nothing.
struct TlsOptions {
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  bool verify = true;

  static TlsOptions Of(const Settings& settings);
};

// Where a broker is.
struct Address {
  std::string scheme;
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;
  std::string path;  // what follows, with its first slash; may be empty
};

// Parses scheme://host[:port][/path]; false for anything else, credentials in it included.
[[nodiscard]] bool ParseAddress(std::string_view text, int default_port, Address* address);

// Rules of each kind of value. `fallback` is the default's text.
[[nodiscard]] SettingRule TextRule(std::string name, std::string fallback, std::string doc);
[[nodiscard]] SettingRule FlagRule(std::string name, bool fallback, std::string doc);
[[nodiscard]] SettingRule NumberRule(std::string name, std::int64_t fallback, std::int64_t min,
                                     std::int64_t max, std::string doc);
[[nodiscard]] SettingRule ChoiceRule(std::string name, std::vector<std::string> choices,
                                     std::string doc);  // the first is the default
[[nodiscard]] SettingRule FileRule(std::string name, std::string doc);
// A template (template.h). `of_stream`: of what all events of a stream share only.
[[nodiscard]] SettingRule TemplateRule(std::string name, std::string fallback, bool of_stream,
                                       std::string doc);
// One address, or several with commas between them where `many`. Required.
[[nodiscard]] SettingRule AddressRule(std::string name, std::vector<std::string> schemes, bool many,
                                      std::string doc);

// Rules that several types share.
[[nodiscard]] SettingRules CloudEventRules();                               // source, mode
[[nodiscard]] SettingRules SecretRules(std::string name, std::string doc);  // name, name_file
[[nodiscard]] SettingRules TlsRules();  // tls_ca_file, tls_cert_file, tls_key_file, tls_verify
[[nodiscard]] SettingRule ConnectTimeoutRule();

// All rules in one list.
[[nodiscard]] SettingRules Joined(std::vector<SettingRules> parts);

// A type of sink: its settings and how one is made of them.
struct SinkType {
  std::string name;
  SettingRules rules;
  // Makes it of settings that have no problems.
  std::unique_ptr<Sink> (*make)(const Settings& settings) = nullptr;
};

// What is wrong with settings by these rules: unknown names, what is missing, values that are not
// allowed, and pairs that do not go together.
[[nodiscard]] std::vector<SinkProblem> CheckSettings(
    const SettingRules& rules, const std::map<std::string, std::string>& values);

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_SETTINGS_H_
