// The keys of a sink (private to this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_SINK_KEYS_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_SINK_KEYS_H_

#include <absl/status/status.h>

#include <functional>
#include <string>
#include <vector>

#include "server/engine/options.h"

namespace eventstore::process {

// A key that sinks of every type have.
struct CommonSinkKey {
  std::string name;
  // Whether it concerns the relay, which a sink of the type "worker" does not have.
  bool of_relay = false;
  // Checks and stores a value. The error says what is wrong with it.
  std::function<absl::Status(engine::OutboxSink* sink, const std::string& text)> set;
  // The value as `set` takes it.
  std::function<std::string(const engine::OutboxSink& sink)> get;
};

[[nodiscard]] const std::vector<CommonSinkKey>& CommonSinkKeys();

// The types that a sink may have in this build.
[[nodiscard]] std::vector<std::string> SinkTypeNames();
[[nodiscard]] bool IsWorker(const engine::OutboxSink& sink);

// The names of all keys of a type, `type` among them.
[[nodiscard]] std::vector<std::string> SinkKeyNames(const std::string& type);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_SINK_KEYS_H_
