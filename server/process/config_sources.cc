#include "server/process/config_sources.h"

#include <errno.h>
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <system_error>

#include "server/process/config_keys.h"
#include "server/process/config_values.h"

namespace eventstore::process {
namespace {

constexpr std::string_view kVariablePrefix = "EVENTSTORED_";
constexpr std::size_t kFileBytesMax = 1 << 20;

std::string At(const std::string& name, const YAML::Mark& mark) {
  if (mark.is_null()) return name;
  return fmt::format("{}:{}:{}", name, mark.line + 1, mark.column + 1);
}

// Walks through the document's two levels and collects what it sets.
class FileReader {
 public:
  FileReader(std::string name, std::vector<std::string>* problems)
      : name_(std::move(name)), problems_(problems) {}

  void ReadDocument(const YAML::Node& document) {
    if (document.IsNull()) return;  // Nothing but comments.
    if (!document.IsMap()) {
      Problem(document, "the file must be a list of \"key: value\" lines");
      return;
    }
    for (const auto& entry : document) {
      if (!entry.first.IsScalar()) {
        Problem(entry.first, "a key must be a plain name");
        continue;
      }
      const std::string name = entry.first.Scalar();
      if (!SectionDoc(name).empty()) {
        ReadSection(name, entry.first, entry.second);
      } else {
        ReadValue(name, entry.first, entry.second);
      }
    }
  }

  FileSettings Take() { return std::move(settings_); }

 private:
  void Problem(const YAML::Node& node, const std::string& text) {
    problems_->push_back(fmt::format("{}: {}", At(name_, node.Mark()), text));
  }

  bool IsRepeated(const std::string& path, const YAML::Node& key) {
    const auto [known, is_new] = seen_.emplace(path, key.Mark().line + 1);
    if (!is_new) {
      Problem(key, fmt::format("{}: it stands in the file twice, first in line {}; remove one",
                               path, known->second));
    }
    return !is_new;
  }

  void ReadSection(const std::string& section, const YAML::Node& key, const YAML::Node& value) {
    if (IsRepeated(section, key) || value.IsNull()) return;
    if (!value.IsMap()) {
      Problem(value,
              fmt::format("{}: it is a section; its keys must stand below it, indented", section));
      return;
    }
    for (const auto& entry : value) {
      if (!entry.first.IsScalar()) {
        Problem(entry.first, fmt::format("{}: a key must be a plain name", section));
        continue;
      }
      const std::string path = section + "." + entry.first.Scalar();
      if (path != "outbox.sinks" && path != "outbox.routes") {
        ReadValue(path, entry.first, entry.second);
      } else if (!IsRepeated(path, entry.first)) {
        (path == "outbox.sinks" ? ReadOutboxSinks : ReadOutboxRoutes)(name_, entry.second,
                                                                      &settings_.outbox, problems_);
      }
    }
  }

  void ReadValue(const std::string& path, const YAML::Node& key, const YAML::Node& value) {
    const Key* known = FindKey(path);
    if (known != nullptr && known->name() != key.Scalar()) {
      Problem(key, fmt::format("{}: sections are written as a line \"{}:\" with \"{}\" indented "
                               "below it",
                               path, known->section(), known->name()));
      return;
    }
    if (known == nullptr) {
      std::vector<std::string> paths;
      for (const Key& candidate : Keys()) paths.push_back(candidate.path);
      const std::string closest = ClosestTo(path, paths);
      Problem(key, fmt::format("{}: there is no such key{}", path,
                               closest.empty() ? "" : "; did you mean " + closest + "?"));
      return;
    }
    if (IsRepeated(path, key)) return;
    if (!value.IsScalar()) {
      const std::string_view what = value.IsNull()  ? "has no value"
                                    : value.IsMap() ? "has keys below it"
                                                    : "has a list";
      Problem(value.IsNull() ? key : value,
              fmt::format("{}: it {}; it must be {}", path, what, known->allowed));
      return;
    }
    settings_.assignments.push_back({path, value.Scalar(), At(name_, value.Mark())});
  }

  const std::string name_;
  std::vector<std::string>* const problems_;
  std::map<std::string, int> seen_;
  FileSettings settings_;
};

// Kubernetes tells a pod of every service by variables (a service "eventstored" by
// EVENTSTORED_SERVICE_HOST, EVENTSTORED_PORT_7440_TCP_ADDR ...), and so did Docker's links. They
// are nobody's mistake.
bool IsServiceLink(std::string_view name, std::string_view value) {
  const auto ends_with = [name](std::string_view suffix) {
    return name.size() >= suffix.size() && name.substr(name.size() - suffix.size()) == suffix;
  };
  if (ends_with("_SERVICE_HOST") || name.find("_SERVICE_PORT") != std::string_view::npos) {
    return true;
  }
  const bool is_url = value.find("://") != std::string_view::npos;
  if (ends_with("_PORT") && is_url) return true;
  for (const std::string_view protocol : {"_TCP", "_UDP", "_SCTP"}) {
    const std::size_t at = name.rfind(protocol);
    if (at == std::string_view::npos || at == 0 || name[at - 1] < '0' || name[at - 1] > '9')
      continue;
    if (name.find("_PORT_") < at) return true;
  }
  return false;
}

}  // namespace

FileSettings ReadConfigFile(const std::string& path, std::vector<std::string>* problems) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  if (!file.is_open() || std::filesystem::is_directory(path, error)) {
    problems->push_back(fmt::format("cannot read the config file {}: {}", path,
                                    std::generic_category().message(errno == 0 ? EISDIR : errno)));
    return {};
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) {
    problems->push_back(
        fmt::format("{}: it has more than {} bytes; is it a config file?", path, kFileBytesMax));
    return {};
  }
  return ReadConfigText(path, text, problems);
}

FileSettings ReadConfigText(const std::string& name, const std::string& text,
                            std::vector<std::string>* problems) {
  FileReader reader(name, problems);
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      problems->push_back(fmt::format("{}: it has {} YAML documents (\"---\"); it must be one",
                                      At(name, documents[1].Mark()), documents.size()));
      return {};
    }
    if (!documents.empty()) reader.ReadDocument(documents.front());
  } catch (const YAML::Exception& exception) {
    problems->push_back(
        fmt::format("{}: it is not YAML: {}", At(name, exception.mark), exception.msg));
    return {};
  }
  return reader.Take();
}

EnvironmentSettings ReadEnvironment(const std::vector<std::string>& environment,
                                    std::vector<std::string>* problems) {
  std::map<std::string, std::string, std::less<>> paths;
  std::vector<std::string> names = {"EVENTSTORED_CONFIG"};
  for (const Key& key : Keys()) paths[key.environment_variable()] = key.path;
  paths["EVENTSTORED_DATABASE"] = "database.dsn";  // As the flag --database.
  for (const auto& [name, path] : paths) names.push_back(name);

  EnvironmentSettings settings;
  std::map<std::string, std::string> set_by;
  for (const std::string& variable : environment) {
    if (variable.rfind(kVariablePrefix, 0) != 0) continue;
    const std::size_t equals = variable.find('=');
    const std::string name = variable.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : variable.substr(equals + 1);
    if (name == "EVENTSTORED_CONFIG") {
      settings.config_file = value;
      continue;
    }
    const auto found = paths.find(name);
    if (found == paths.end()) {
      if (name.rfind(kSinkVariablePrefix, 0) == 0) {
        settings.sink_variables.push_back({name, value});
        continue;
      }
      if (IsServiceLink(name, value)) continue;
      const std::string closest = ClosestTo(name, names);
      problems->push_back(fmt::format("environment variable {}: there is no such setting{}", name,
                                      closest.empty() ? "" : "; did you mean " + closest + "?"));
      continue;
    }
    const auto [other, is_new] = set_by.emplace(found->second, name);
    if (!is_new) {
      problems->push_back(fmt::format("environment variable {}: {} is also set by {}; remove one",
                                      name, found->second, other->second));
      continue;
    }
    settings.assignments.push_back({found->second, value, "environment variable " + name});
  }
  return settings;
}

}  // namespace eventstore::process
