// Reads `outbox.sinks` and `outbox.routes` of a config file.
#include <fmt/format.h>

#include <utility>

#include "server/process/config_outbox.h"

namespace eventstore::process {
namespace {

std::string At(const std::string& file, const YAML::Node& node) {
  if (node.Mark().is_null()) return file;
  return fmt::format("{}:{}:{}", file, node.Mark().line + 1, node.Mark().column + 1);
}

std::string NameOf(const YAML::Node& key) { return key.IsScalar() ? key.Scalar() : "?"; }

}  // namespace

void ReadOutboxSinks(const std::string& file, const YAML::Node& node, OutboxText* text,
                     std::vector<std::string>* problems) {
  if (node.IsNull()) return;
  if (!node.IsMap()) {
    problems->push_back(fmt::format(
        "{}: outbox.sinks: it must be sinks by name, each with its keys indented below its name",
        At(file, node)));
    return;
  }
  for (const auto& entry : node) {
    const std::string path = "outbox.sinks." + NameOf(entry.first);
    const auto [known, is_new] = text->sinks.try_emplace(NameOf(entry.first));
    if (!is_new) {
      problems->push_back(fmt::format("{}: {}: it stands in the file twice; remove one",
                                      At(file, entry.first), path));
      continue;
    }
    known->second.origin = At(file, entry.first);
    if (!entry.second.IsMap()) {
      problems->push_back(fmt::format(
          "{}: {}: it must be a sink's keys, indented below its name; \"type\" at the least",
          At(file, entry.first), path));
      continue;
    }
    for (const auto& setting : entry.second) {
      const std::string name = NameOf(setting.first);
      if (!setting.second.IsScalar()) {
        problems->push_back(
            fmt::format("{}: {}.{}: it must be one value", At(file, setting.first), path, name));
        continue;
      }
      const bool added =
          known->second.values
              .emplace(name, OutboxText::Value{setting.second.Scalar(), At(file, setting.second)})
              .second;
      if (added) continue;
      problems->push_back(fmt::format("{}: {}.{}: it stands in the file twice; remove one",
                                      At(file, setting.first), path, name));
    }
  }
}

void ReadOutboxRoutes(const std::string& file, const YAML::Node& node, OutboxText* text,
                      std::vector<std::string>* problems) {
  if (node.IsNull()) return;
  if (!node.IsSequence()) {
    problems->push_back(fmt::format(
        "{}: outbox.routes: it must be a list, such as \"- sink: orders\"", At(file, node)));
    return;
  }
  for (const auto& item : node) {
    const std::string path = fmt::format("outbox.routes[{}]", text->routes.size());
    OutboxText::Route& route = text->routes.emplace_back();
    route.origin = At(file, item);
    if (!item.IsMap()) {
      problems->push_back(
          fmt::format("{}: {}: it must have keys; \"sink\" at the least", route.origin, path));
      continue;
    }
    for (const auto& field : item) {
      const std::string name = NameOf(field.first);
      const auto [known, is_new] = route.values.try_emplace(name);
      if (!is_new) {
        problems->push_back(fmt::format("{}: {}.{}: it stands there twice; remove one",
                                        At(file, field.first), path, name));
        continue;
      }
      std::vector<OutboxText::Value>& values = known->second;
      if (field.second.IsScalar()) {
        values.push_back({field.second.Scalar(), At(file, field.second)});
        continue;
      }
      bool is_fine = field.second.IsSequence();
      for (std::size_t i = 0; is_fine && i < field.second.size(); ++i) {
        is_fine = field.second[i].IsScalar();
        if (is_fine) values.push_back({field.second[i].Scalar(), At(file, field.second[i])});
      }
      if (is_fine) continue;
      problems->push_back(fmt::format("{}: {}.{}: it must be a text, or a list of texts",
                                      At(file, field.first), path, name));
    }
  }
}

}  // namespace eventstore::process
