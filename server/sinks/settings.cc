#include "server/sinks/settings.h"

#include <absl/status/status.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "server/sinks/template.h"

namespace eventstore::sinks {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool ParseNumber(std::string_view text, std::int64_t* number) {
  return absl::SimpleAtoi(View(text), number);
}

bool IsReadable(std::string_view path) { return std::ifstream(std::string(path)).good(); }

const SettingRule* Find(const SettingRules& rules, std::string_view name) {
  const auto found = std::find_if(rules.begin(), rules.end(), [name](const SettingRule& rule) {
    return rule.key.name == name;
  });
  return found == rules.end() ? nullptr : &*found;
}

// How many characters have to be put in, left out or changed to make one text of the other.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string UnknownMessage(const SettingRules& rules, std::string_view name) {
  std::size_t best = std::max<std::size_t>(2, name.size() / 3) + 1;
  std::string nearest;
  for (const SettingRule& rule : rules) {
    const std::size_t distance = Distance(name, rule.key.name);
    if (distance < best) {
      best = distance;
      nearest = rule.key.name;
    }
  }
  return absl::StrCat("is not a setting of this type",
                      nearest.empty() ? "" : "; did you mean " + nearest + "?");
}

bool IsSet(const std::map<std::string, std::string>& values, const std::string& name) {
  const auto found = values.find(name);
  return found != values.end() && !found->second.empty();
}

// Two settings of which only one may be there, or the second of which needs the first.
void CheckPairs(const SettingRules& rules, const std::map<std::string, std::string>& values,
                std::vector<SinkProblem>* problems) {
  for (const SettingRule& rule : rules) {
    const std::string file = rule.key.name + "_file";
    if (Find(rules, file) != nullptr && IsSet(values, rule.key.name) && IsSet(values, file)) {
      problems->push_back(
          {rule.key.name, absl::StrCat("stands beside ", file, "; set one of them")});
    }
  }
  const bool has_cert = IsSet(values, "tls_cert_file");
  if (Find(rules, "tls_cert_file") != nullptr && has_cert != IsSet(values, "tls_key_file")) {
    problems->push_back({has_cert ? "tls_key_file" : "tls_cert_file",
                         "is missing; a certificate and its key go together"});
  }
}

}  // namespace

Settings::Settings(const SettingRules* rules, std::map<std::string, std::string> values)
    : rules_(rules), values_(std::move(values)) {}

bool Settings::Has(const std::string& name) const { return !Text(name).empty(); }

std::string Settings::Text(const std::string& name) const {
  const auto found = values_.find(name);
  return found != values_.end() ? found->second : Find(*rules_, name)->key.default_text;
}

bool Settings::Flag(const std::string& name) const { return Text(name) == "true"; }

std::int64_t Settings::Number(const std::string& name) const {
  std::int64_t number = 0;
  [[maybe_unused]] const bool parsed = ParseNumber(Text(name), &number);
  return number;
}

std::chrono::milliseconds Settings::Millis(const std::string& name) const {
  return std::chrono::milliseconds(Number(name));
}

Secret Secret::Of(const Settings& settings, const std::string& name) {
  return {settings.Text(name), settings.Text(name + "_file")};
}

absl::StatusOr<std::string> Secret::Read() const {
  if (file.empty()) return text;
  std::ifstream input(file, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(input)), std::istreambuf_iterator<char>());
  if (!input.good() && content.empty()) {
    return absl::UnavailableError(absl::StrCat("cannot read the secret in ", file));
  }
  if (!content.empty() && content.back() == '\n') content.pop_back();
  if (!content.empty() && content.back() == '\r') content.pop_back();
  return content;
}

TlsOptions TlsOptions::Of(const Settings& settings) {
  return {settings.Text("tls_ca_file"), settings.Text("tls_cert_file"),
          settings.Text("tls_key_file"), settings.Flag("tls_verify")};
}

bool ParseAddress(std::string_view text, int default_port, Address* address) {
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos || scheme_end == 0) return false;
  address->scheme = text.substr(0, scheme_end);
  text.remove_prefix(scheme_end + 3);
  const std::size_t path = std::min(text.find_first_of("/?#"), text.size());
  address->path = text.substr(path);
  std::string_view place = text.substr(0, path);
  if (place.find_first_of("@ \t\r\n") != std::string_view::npos) return false;
  const std::size_t bracket = place.rfind(']');
  const std::size_t colon = place.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::int64_t port = default_port;
  if (colon != std::string_view::npos && !ParseNumber(place.substr(colon + 1), &port)) return false;
  if (port < 1 || port > 65535) return false;
  address->port = static_cast<int>(port);
  std::string_view host = place.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  address->host = host;
  return !host.empty();
}

std::vector<SinkProblem> CheckSettings(const SettingRules& rules,
                                       const std::map<std::string, std::string>& values) {
  std::vector<SinkProblem> problems;
  for (const auto& [name, value] : values) {
    const SettingRule* rule = Find(rules, name);
    if (rule == nullptr) {
      problems.push_back({name, UnknownMessage(rules, name)});
    } else if (!(value.empty() && rule->key.default_text.empty() && !rule->key.is_required) &&
               !rule->is_allowed(value)) {
      // An address that is refused for the credentials in it is not shown either.
      const bool hide = rule->key.is_secret || value.find('@') != std::string::npos;
      const std::string shown = hide ? "" : absl::StrCat(", but is \"", value, "\"");
      problems.push_back({name, absl::StrCat("it must be ", rule->key.allowed, shown)});
    }
  }
  for (const SettingRule& rule : rules) {
    if (rule.key.is_required && values.count(rule.key.name) == 0) {
      problems.push_back(
          {rule.key.name, absl::StrCat("is missing; it must be ", rule.key.allowed)});
    }
  }
  CheckPairs(rules, values, &problems);
  return problems;
}

SettingRule TextRule(std::string name, std::string fallback, std::string doc) {
  return {{std::move(name), std::move(doc), "one line of text", std::move(fallback)},
          [](std::string_view text) {
            return std::none_of(text.begin(), text.end(),
                                [](char c) { return static_cast<unsigned char>(c) < 0x20; });
          }};
}

SettingRule FlagRule(std::string name, bool fallback, std::string doc) {
  return {{std::move(name), std::move(doc), "true or false", fallback ? "true" : "false"},
          [](std::string_view text) { return text == "true" || text == "false"; }};
}

SettingRule NumberRule(std::string name, std::int64_t fallback, std::int64_t min, std::int64_t max,
                       std::string doc) {
  return {{std::move(name), std::move(doc), absl::StrCat("a whole number from ", min, " to ", max),
           absl::StrCat(fallback)},
          [min, max](std::string_view text) {
            std::int64_t number = 0;
            return ParseNumber(text, &number) && number >= min && number <= max;
          }};
}

SettingRule ChoiceRule(std::string name, std::vector<std::string> choices, std::string doc) {
  SinkKey key{std::move(name), std::move(doc), "one of " + absl::StrJoin(choices, ", "),
              choices.front()};
  return {std::move(key), [choices = std::move(choices)](std::string_view text) {
            return std::find(choices.begin(), choices.end(), text) != choices.end();
          }};
}

SettingRule FileRule(std::string name, std::string doc) {
  return {{std::move(name), std::move(doc), "a file that this process can read", ""}, IsReadable};
}

SettingRule TemplateRule(std::string name, std::string fallback, bool of_stream, std::string doc) {
  const std::string allowed =
      absl::StrCat("a text with placeholders out of {aggregate_type}, {aggregate_id}, {tenant_id}",
                   of_stream ? "" : ", {event_type}");
  return {{std::move(name), std::move(doc), allowed, std::move(fallback)},
          [of_stream](std::string_view text) {
            const absl::StatusOr<Template> parsed = Template::Parse(text);
            return parsed.ok() && (!of_stream || parsed->IsOfStream());
          }};
}

SettingRule AddressRule(std::string name, std::vector<std::string> schemes, bool many,
                        std::string doc) {
  const std::string forms = absl::StrJoin(schemes, ":// or ") + "://";
  SinkKey key{std::move(name), std::move(doc),
              absl::StrCat(many ? "addresses, with commas between them, that start with "
                                : "an address that starts with ",
                           forms, " and has no user or password in it"),
              "", true};
  return {std::move(key), [schemes = std::move(schemes), many](std::string_view text) {
            for (const absl::string_view one : absl::StrSplit(View(text), ',')) {
              Address address;
              if (!ParseAddress({one.data(), one.size()}, 1, &address)) return false;
              if (std::find(schemes.begin(), schemes.end(), address.scheme) == schemes.end()) {
                return false;
              }
            }
            return many || text.find(',') == std::string_view::npos;
          }};
}

SettingRules CloudEventRules() {
  return {TextRule("source", "/eventstore", "The CloudEvents attribute `source` of every event."),
          ChoiceRule("mode", {"binary", "structured"},
                     "`binary`: attributes as headers, the payload as the body; `structured`: one "
                     "JSON document with both.")};
}

SettingRules SecretRules(std::string name, std::string doc) {
  SettingRule text = TextRule(name, "", doc);
  text.key.is_secret = true;
  return {std::move(text),
          FileRule(name + "_file", "A file that holds `" + name + "`; read for each connection.")};
}

SettingRules TlsRules() {
  return {FileRule("tls_ca_file", "The authorities to trust (PEM), instead of the system's."),
          FileRule("tls_cert_file", "The certificate (PEM) to show to the server."),
          FileRule("tls_key_file", "The key (PEM) of `tls_cert_file`."),
          FlagRule("tls_verify", true,
                   "Whether the server's certificate and name are checked. `false` is for tests: "
                   "anybody may then pose as the server.")};
}

SettingRule ConnectTimeoutRule() {
  return NumberRule("connect_timeout_ms", 5000, 10, 600'000,
                    "How long a connection may take to make.");
}

SettingRules Joined(std::vector<SettingRules> parts) {
  SettingRules all;
  for (SettingRules& part : parts) {
    std::move(part.begin(), part.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace eventstore::sinks
