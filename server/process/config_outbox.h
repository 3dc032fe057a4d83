// The settings of the outbox that are no plain keys: `outbox.sinks` and `outbox.routes` (private to
// this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_OUTBOX_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_OUTBOX_H_

#include <yaml-cpp/yaml.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/process/config.h"

namespace eventstore::process {

// What the variables of sinks' settings begin with; the sink's name and the key follow, in upper
// case and with underscores for hyphens: EVENTSTORED_OUTBOX_SINKS_ORDERS_PASSWORD.
inline constexpr std::string_view kSinkVariablePrefix = "EVENTSTORED_OUTBOX_SINKS_";

// Sinks and routes as they were given.
struct OutboxText {
  struct Value {
    std::string text;
    std::string origin;  // for messages
  };
  struct Sink {
    std::string origin;
    std::map<std::string, Value> values;
  };
  struct Route {
    std::string origin;
    std::map<std::string, std::vector<Value>> values;
  };
  std::map<std::string, Sink> sinks;
  std::vector<Route> routes;
};

// What is in a config file below `outbox.sinks`, and in the list `outbox.routes`. What has not the
// form of settings, or stands there twice, is added to `problems`. `file` is for messages.
void ReadOutboxSinks(const std::string& file, const YAML::Node& node, OutboxText* text,
                     std::vector<std::string>* problems);
void ReadOutboxRoutes(const std::string& file, const YAML::Node& node, OutboxText* text,
                      std::vector<std::string>* problems);

// A variable whose name begins with kSinkVariablePrefix.
struct SinkVariable {
  std::string name;
  std::string value;
};

// Sets what the variables say, each of a sink that is there already; others are problems.
void ApplySinkVariables(const std::vector<SinkVariable>& variables, OutboxText* text,
                        std::vector<std::string>* problems);

// Checks and stores all of it. Each problem has the place, the key's path, the value (unless it is
// a secret) and what would be right.
void ApplyOutbox(const OutboxText& text, Config* config, std::vector<std::string>* problems);

// What of the outbox is wrong together with other settings.
void CheckOutbox(const Config& config, std::vector<std::string>* problems);

// `sinks` and `routes` as they stand in a config file, with secrets masked.
[[nodiscard]] std::string PrintOutbox(const Config& config);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_OUTBOX_H_
