// Writes the configuration as a commented YAML file.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "server/pg/connection.h"
#include "server/process/config.h"
#include "server/process/config_keys.h"
#include "server/process/config_outbox.h"
#include "server/process/config_values.h"

namespace eventstore::process {
namespace {

constexpr std::size_t kColumns = 100;

constexpr std::string_view kHeader =
    "Every setting of eventstored, with its default: what `eventstored --print-config` prints. "
    "Precedence: flags, then environment variables, then the file given by --config (or "
    "EVENTSTORED_CONFIG), then these defaults. A key's variable is EVENTSTORED_ and its path in "
    "upper "
    "case with an underscore for the dot, such as EVENTSTORED_POOL_POOL_SIZE. Unknown keys and "
    "values "
    "that are not allowed stop the start. Times have their unit in their name; sizes are in bytes.";

// Appends `text` as comment lines of at most 100 columns.
void AppendComment(std::string_view text, std::string_view indent, std::string* out) {
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) *out += fmt::format("{}#{}\n", indent, line);
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t space = std::min(text.find(' '), text.size());
    if (indent.size() + 2 + line.size() + space > kColumns) flush();
    line += ' ';
    line += text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
  }
  flush();
}

std::string YamlValue(const Key& key, const Config& config) {
  const std::string value = key.get(config);
  if (key.is_plain) return value;
  return QuotedYaml(key.is_secret ? pg::MaskConninfo(value) : value);
}

std::string Default(const Key& key) {
  const std::string value = key.get(Config());
  if (!key.is_plain) return QuotedYaml(value);
  return key.is_bytes ? DescribeBytes(std::stoll(value)) : value;
}

}  // namespace

std::string PrintConfig(const Config& config) {
  std::string out;
  AppendComment(kHeader, "", &out);
  std::string section;
  for (const Key& key : Keys()) {
    out += '\n';
    if (key.section() != section) {
      section = key.section();
      AppendComment(SectionDoc(section), "", &out);
      out += section + ":\n";
    }
    const std::string_view indent = section.empty() ? "" : "  ";
    AppendComment(key.doc, indent, &out);
    AppendComment(fmt::format("Allowed: {}. Default: {}.", key.allowed, Default(key)), indent,
                  &out);
    out += fmt::format("{}{}: {}\n", indent, key.name(), YamlValue(key, config));
  }
  out += PrintOutbox(config);
  return out;
}

}  // namespace eventstore::process
