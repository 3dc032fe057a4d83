// The types of sinks that this build has, and their settings.
#ifndef EVENTSTORE_SERVER_SINKS_REGISTRY_H_
#define EVENTSTORE_SERVER_SINKS_REGISTRY_H_

#include <absl/status/statusor.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/sinks/sink.h"

namespace eventstore::sinks {

// A sink as configuration has it; every value is text.
struct SinkOptions {
  std::string name;
  std::string type;  // one of SinkTypes()
  std::map<std::string, std::string> settings;
};

// A setting of a type of sink.
struct SinkKey {
  std::string name;
  std::string doc;      // what it does, for the reference
  std::string allowed;  // to follow "it must be"
  std::string default_text;
  bool is_required = false;
  bool is_secret = false;  // masked wherever it is shown
};

// What is wrong with a setting.
struct SinkProblem {
  std::string key;  // "type" where the type is not one of this build
  std::string message;
};

// "kafka", "nats", "rabbitmq", "redis", "webhook": those that this build was made with, sorted.
[[nodiscard]] const std::vector<std::string>& SinkTypes();
// The settings of a type; empty if this build has no such type.
[[nodiscard]] const std::vector<SinkKey>& KeysOf(std::string_view type);
// All that is wrong; connects to nothing.
[[nodiscard]] std::vector<SinkProblem> CheckSink(const SinkOptions& options);
// Makes a sink; connects to nothing. Errors: INVALID_REQUEST with what CheckSink finds.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Sink>> MakeSink(const SinkOptions& options);

}  // namespace eventstore::sinks

#endif  // EVENTSTORE_SERVER_SINKS_REGISTRY_H_
