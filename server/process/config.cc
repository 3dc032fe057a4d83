#include "server/process/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "server/pg/connection.h"
#include "server/process/config_checks.h"
#include "server/process/config_keys.h"
#include "server/process/config_outbox.h"
#include "server/process/config_sources.h"
#include "server/process/config_values.h"

namespace eventstore::process {
namespace {

// The last assignment of each key wins.
using Layers = std::map<std::string, Assignment>;

// Passwords given by a flag can be read by every user of the machine in the list of processes.
bool IsPasswordInFlag(const Key& key, const Assignment& flag) {
  return key.is_secret && CheckDsn(flag.text).ok() && HasPassword(flag.text);
}

void AddFlags(const std::vector<Assignment>& flags, Layers* layers,
              std::vector<std::string>* problems) {
  for (const Assignment& flag : flags) {
    const Key* key = FindKey(flag.path);
    if (key == nullptr) {
      problems->push_back(fmt::format("{}: {}: there is no such key", flag.origin, flag.path));
    } else if (IsPasswordInFlag(*key, flag)) {
      problems->push_back(
          fmt::format("{}: {}: it has a password in it, which everybody on this machine can read "
                      "in the list of "
                      "processes; give the password by database.password_file, by PGPASSFILE, or "
                      "give the whole "
                      "connection string by EVENTSTORED_DATABASE or in the config file",
                      flag.origin, flag.path));
    } else {
      (*layers)[flag.path] = flag;
    }
  }
}

void Apply(const Layers& layers, Config* config, std::vector<std::string>* problems) {
  for (const Key& key : Keys()) {
    const auto found = layers.find(key.path);
    if (found == layers.end()) continue;
    const absl::Status set = key.set(config, found->second.text);
    if (set.ok()) continue;
    problems->push_back(
        fmt::format("{}: {}: {}", found->second.origin, key.path, telemetry::MessageOf(set)));
  }
}

absl::Status Report(const std::vector<std::string>& problems) {
  if (problems.size() == 1) return absl::InvalidArgumentError(problems.front());
  std::string text = fmt::format("the configuration has {} problems:", problems.size());
  for (const std::string& problem : problems) text += "\n  " + problem;
  return absl::InvalidArgumentError(text);
}

}  // namespace

std::vector<std::string> ProcessEnvironment() {
  std::vector<std::string> variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  return variables;
}

absl::StatusOr<Config> LoadConfig(const ConfigSources& sources) {
  std::vector<std::string> problems;
  EnvironmentSettings environment = ReadEnvironment(sources.environment, &problems);
  const std::string& file = sources.file.empty() ? environment.config_file : sources.file;
  Layers layers;
  FileSettings from_file;
  if (!file.empty()) from_file = ReadConfigFile(file, &problems);
  for (Assignment& assignment : from_file.assignments) {
    layers[assignment.path] = std::move(assignment);
  }
  for (Assignment& assignment : environment.assignments) {
    layers[assignment.path] = std::move(assignment);
  }
  AddFlags(sources.flags, &layers, &problems);
  ApplySinkVariables(environment.sink_variables, &from_file.outbox, &problems);

  Config config;
  Apply(layers, &config, &problems);
  ApplyOutbox(from_file.outbox, &config, &problems);
  // Keys that are wrong by themselves would only be complained about twice.
  if (problems.empty()) CheckTogether(config, &problems);
  if (problems.empty()) CompleteConfig(&config, &problems);
  if (!problems.empty()) return Report(problems);
  return config;
}

}  // namespace eventstore::process
