// The configuration keys of the daemon itself.
#include <iterator>
#include <utility>

#include "server/process/config_key_builders.h"

namespace eventstore::process {
namespace {

absl::Status AnyText(const std::string&) { return absl::OkStatus(); }

absl::Status NotEmpty(const std::string& text) {
  return text.empty() ? absl::InvalidArgumentError("it is empty") : absl::OkStatus();
}

Key WithFlag(Key key, std::string flag) {
  key.flag = std::move(flag);
  return key;
}

Key Secret(Key key) {
  key.is_secret = true;
  return key;
}

// The seed's presets: what a service of that weight needs.
absl::Status ApplyPreset(Config* config, const std::string& text) {
  struct Preset {
    const char* name;
    int pool_size;
    int max_overflow;
  };
  constexpr Preset kPresets[] = {{"light", 2, 3}, {"medium", 5, 10}, {"heavy", 10, 20}};
  for (const Preset& preset : kPresets) {
    if (text != preset.name) continue;
    config->pool_preset = text;
    config->store.pool.pool_size = preset.pool_size;
    config->store.pool.max_overflow = preset.max_overflow;
    return absl::OkStatus();
  }
  return CheckChoice(text, {"light", "medium", "heavy"});
}

std::vector<Key> TopKeys() {
  return {
      WithFlag(TextKey("listen", EVENTSTORE_FIELD(listen), "host:port", CheckAddress,
                       "Where clients reach the daemon by gRPC. Port 0 picks a free one."),
               "--listen"),
      WithFlag(
          TextKey("metrics_listen", EVENTSTORE_FIELD(metrics_listen), "host:port", CheckAddress,
                  "Where /metrics, /health/live and /health/ready are served by HTTP. Port 0 "
                  "picks a free one."),
          "--metrics-listen"),
      WithFlag(TextKey("data_dir", EVENTSTORE_FIELD(data_dir), "a folder's path", NotEmpty,
                       "The folder of the embedded PostgreSQL: your events, if database.dsn is "
                       "empty. Created if it is missing."),
               "--data-dir"),
  };
}

std::vector<Key> ServerKeys() {
  return {
      IntegerKey("server.message_bytes_max", EVENTSTORE_FIELD(server.message_bytes_max),
                 {64 << 10, 512 << 20},
                 "Most bytes of a message that the transport takes. More than "
                 "limits.request_bytes_max, so that the daemon can answer what is too large."),
      IntegerKey("server.append_stream_in_flight_max",
                 EVENTSTORE_FIELD(server.append_stream_in_flight_max), {1, 100'000},
                 "Most appends of one AppendEventsStream call that wait for their answer; the next "
                 "one is read when one of them is answered."),
      IntegerKey("server.drain_timeout_ms", EVENTSTORE_FIELD(server.drain_timeout_ms),
                 {100, 600'000},
                 "Longest time from SIGTERM to the exit: what is still going on then is cut off."),
      ChoiceKey("log.level", EVENTSTORE_FIELD(log.level),
                {"trace", "debug", "info", "warn", "error", "off"}, "The least that is logged."),
      ChoiceKey("log.format", EVENTSTORE_FIELD(log.format), {"text", "json"},
                "Lines for people, or one JSON object a line."),
  };
}

std::vector<Key> DatabaseKeys() {
  return {
      Secret(WithFlag(
          TextKey("database.dsn", EVENTSTORE_FIELD(database.dsn),
                  "a libpq connection string (key=value pairs or postgresql://) or empty", CheckDsn,
                  "The database to connect to, several hosts and TLS as libpq has them. Empty: an "
                  "embedded PostgreSQL is run in data_dir. A password may stand here, in "
                  "EVENTSTORED_DATABASE (which sets this key), in password_file or in libpq's "
                  "PGPASSFILE, but not in the flag --database."),
          "--database")),
      TextKey("database.password_file", EVENTSTORE_FIELD(database.password_file),
              "a file's path or empty", AnyText,
              "A file that holds the password for dsn and nothing else, such as a mounted secret."),
      TextKey("database.schema", EVENTSTORE_FIELD(store.connection.schema),
              "a lower-case name without quotes", CheckSchemaName,
              "The schema of the store's tables. Created if it is missing."),
      IntegerKey("database.connect_timeout_ms", EVENTSTORE_FIELD(store.connection.connect_timeout),
                 {100, 300'000}, "Longest time to connect to one host."),
      BoolKey("database.migrate", EVENTSTORE_FIELD(database.migrate),
              "Whether the schema is brought up to date at start. If not, run `eventstored "
              "migrate`."),
      IntegerKey("database.connections_max", EVENTSTORE_FIELD(database.connections_max),
                 {5, 10'000},
                 "Most connections that this daemon opens to one database, all of its stores "
                 "together. At least pool_size + max_overflow + 4; all daemons together must stay "
                 "below the server's max_connections."),
  };
}

std::vector<Key> EmbeddedKeys() {
  return {
      TextKey("embedded.bin_dir", EVENTSTORE_FIELD(embedded.bin_dir), "a folder's path or empty",
              AnyText,
              "The folder of the programs postgres and initdb. Empty: the newest in "
              "/usr/lib/postgresql/*/bin and PATH."),
      TextKey("embedded.user", EVENTSTORE_FIELD(embedded.user), "an account's name", NotEmpty,
              "The unprivileged account that PostgreSQL runs as when the daemon is root."),
      IntegerKey("embedded.start_timeout_ms", EVENTSTORE_FIELD(embedded.start_timeout),
                 {1'000, 3'600'000},
                 "Longest time for a start; after a crash the server first replays its log."),
      IntegerKey("embedded.stop_timeout_ms", EVENTSTORE_FIELD(embedded.stop_timeout),
                 {100, 3'600'000},
                 "Longest time for a clean stop; then the server is stopped without a checkpoint, "
                 "which loses nothing but makes the next start longer."),
  };
}

std::vector<Key> PoolKeys() {
  Key preset = ChoiceKey("pool.preset", EVENTSTORE_FIELD(pool_preset), {"light", "medium", "heavy"},
                         "Sets pool_size and max_overflow: light 2 and 3, medium 5 and 10, heavy "
                         "10 and 20. Those keys override it where they are set themselves.");
  preset.set = ApplyPreset;
  return {
      preset,
      IntegerKey("pool.pool_size", EVENTSTORE_FIELD(store.pool.pool_size), {1, 1'000},
                 "Connections that are kept open."),
      IntegerKey("pool.max_overflow", EVENTSTORE_FIELD(store.pool.max_overflow), {0, 1'000},
                 "Further connections under load, closed when they come back."),
      SecondsKey("pool.pool_timeout", EVENTSTORE_FIELD(store.pool.pool_timeout), {1, 3'600},
                 "Longest wait for a connection, in seconds; then the caller gets OVERLOADED."),
      SecondsKey("pool.pool_recycle", EVENTSTORE_FIELD(store.pool.pool_recycle), {-1, 604'800},
                 "A connection older than this, in seconds, is replaced before its next use; -1: "
                 "never."),
      BoolKey(
          "pool.pool_pre_ping", EVENTSTORE_FIELD(store.pool.pool_pre_ping),
          "Whether a connection is tested before each use: by a round trip, or where it was used "
          "within the last second by a look at its socket."),
      BoolKey("pool.echo", EVENTSTORE_FIELD(store.connection.echo),
              "Whether every statement is logged, at level debug and without its parameters."),
  };
}

}  // namespace

std::vector<Key> ProcessKeys() {
  std::vector<Key> keys;
  for (std::vector<Key>& part : std::vector<std::vector<Key>>{
           TopKeys(), ServerKeys(), DatabaseKeys(), EmbeddedKeys(), PoolKeys()}) {
    keys.insert(keys.end(), part.begin(), part.end());
  }
  return keys;
}

}  // namespace eventstore::process
