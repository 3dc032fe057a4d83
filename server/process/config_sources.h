// Reads settings from a file and from the environment (private to this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_SOURCES_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_SOURCES_H_

#include <string>
#include <string_view>
#include <vector>

#include "server/process/config.h"
#include "server/process/config_outbox.h"

namespace eventstore::process {

struct FileSettings {
  std::vector<Assignment> assignments;
  OutboxText outbox;
};

// The settings of a YAML file. What is wrong with it (not readable, no YAML, unknown or repeated
// keys, a list where a value should be) is added to `problems` with file, line and column.
[[nodiscard]] FileSettings ReadConfigFile(const std::string& path,
                                          std::vector<std::string>* problems);

// The same for the text of a file, which messages call `name`.
[[nodiscard]] FileSettings ReadConfigText(const std::string& name, const std::string& text,
                                          std::vector<std::string>* problems);

struct EnvironmentSettings {
  std::vector<Assignment> assignments;
  // Those of sinks; which sinks there are, the file says.
  std::vector<SinkVariable> sink_variables;
  // EVENTSTORED_CONFIG; empty: not set.
  std::string config_file;
};

// The settings in variables whose names begin with EVENTSTORED_. An unknown one is a problem,
// except those that Kubernetes and Docker make for a service of that name.
[[nodiscard]] EnvironmentSettings ReadEnvironment(const std::vector<std::string>& environment,
                                                  std::vector<std::string>* problems);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_SOURCES_H_
