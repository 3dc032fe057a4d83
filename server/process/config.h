// The daemon's configuration: its struct, how it is read, and how it is shown.
//
// One YAML file, environment variables, flags; deploy/eventstored.yaml is the reference of every
// key with its bounds and default, and is exactly what --print-config prints without any settings.
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/options.h"
#include "server/process/embedded_postgres.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {

struct DatabaseConfig {
  // A libpq connection string; empty: an embedded PostgreSQL below data_dir. The password of
  // password_file is not in it: connect by Config::store.connection.
  std::string dsn;
  // A file that holds the password and nothing else.
  std::string password_file;
  // Whether the schema is brought up to date at start.
  bool migrate = true;
  // Most connections that this daemon opens to one database, all stores in it together.
  std::int64_t connections_max = 100;
};

struct ServerConfig {
  // The transport's limit on a message; above limits.request_bytes_max, so that a request that is
  // too large gets an answer which says so.
  std::int64_t message_bytes_max = 16 << 20;
  // Most appends of one AppendEventsStream call that wait for their answer; the next is read later.
  std::int64_t append_stream_in_flight_max = 1'024;
  // Longest time from SIGTERM to exit.
  std::chrono::milliseconds drain_timeout_ms{20'000};
};

struct Config {
  Config() { store.connection.schema = "eventstore"; }

  // Where gRPC and where /metrics and /health listen: "host:port"; port 0 picks a free one.
  std::string listen = "127.0.0.1:7440";
  std::string metrics_listen = "127.0.0.1:9440";
  // Where the embedded PostgreSQL keeps its files; embedded.data_dir is the same.
  std::string data_dir = "./data";
  DatabaseConfig database;
  EmbeddedPostgresOptions embedded;
  // light, medium or heavy; what it means is in store.pool.
  std::string pool_preset = "medium";
  // With a database, store.connection is ready for use; without one its conninfo is empty until the
  // embedded server runs.
  engine::StoreOptions store;
  ServerConfig server;
  telemetry::LoggingOptions log;

  [[nodiscard]] bool IsEmbedded() const { return database.dsn.empty(); }
};

// One key's value as it was given.
struct Assignment {
  std::string path;  // such as "pool.pool_size"
  std::string text;
  std::string origin;  // such as "eventstored.yaml:12:3", for messages
};

// Where settings come from. Flags win over the environment, that over the file, that over defaults.
struct ConfigSources {
  // The file's path; empty: none, unless EVENTSTORED_CONFIG names one.
  std::string file;
  // "NAME=value"; only names that begin with EVENTSTORED_ are looked at.
  std::vector<std::string> environment;
  std::vector<Assignment> flags;
};

// This process' environment.
[[nodiscard]] std::vector<std::string> ProcessEnvironment();

// Reads and checks everything. All problems are reported at once, one a line, each with where the
// value came from, the key's path, the value, and what is allowed: INVALID_ARGUMENT.
[[nodiscard]] absl::StatusOr<Config> LoadConfig(const ConfigSources& sources);

// The effective configuration as a file that LoadConfig reads, with every key's documentation, its
// bounds and its default. Passwords are masked.
[[nodiscard]] std::string PrintConfig(const Config& config);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_H_
