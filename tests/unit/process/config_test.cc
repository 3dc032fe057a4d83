// Reading the configuration: files, environment, passwords, and keys that belong together.
#include "server/process/config.h"

#include <libpq-fe.h>

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/process/config_support.h"

namespace eventstore::process {
namespace {

using Catch::Matchers::Contains;

std::string FileError(const std::string& text) {
  const TemporaryFile file(text);
  std::string error = LoadError({file.path(), {}, {}});
  // The file's name differs each time.
  for (std::size_t at = error.find(file.path()); at != std::string::npos;
       at = error.find(file.path())) {
    error.replace(at, file.path().size(), "FILE");
  }
  return error;
}

std::string EnvironmentError(std::vector<std::string> variables) {
  return LoadError({"", std::move(variables), {}});
}

// What libpq understands of a connection string.
std::map<std::string, std::string> Parse(const std::string& conninfo) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
  REQUIRE(options != nullptr);
  std::map<std::string, std::string> values;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) values[option->keyword] = option->val;
  }
  return values;
}

}  // namespace

TEST_CASE("Without any settings the daemon is on loopback with an embedded database") {
  const Config config = MustLoad({});
  CHECK(config.listen == "127.0.0.1:7440");
  CHECK(config.metrics_listen == "127.0.0.1:9440");
  CHECK(config.IsEmbedded());
  CHECK(config.embedded.data_dir == "./data");
  CHECK(config.store.connection.schema == "eventstore");
}

TEST_CASE("An empty file, or one of comments, sets nothing") {
  for (const std::string text : {"", "# nothing\n", "pool:\n# pool_size: 7\n"}) {
    const TemporaryFile file(text);
    CHECK(MustLoad({file.path(), {}, {}}).store.pool.pool_size == 5);
  }
}

TEST_CASE("A file's mistakes are named by line, column and key") {
  CHECK(FileError("pool:\n  pool_sise: 3\n") ==
        "FILE:2:3: pool.pool_sise: there is no such key; did you mean pool.pool_size?");
  CHECK(FileError("listne: a:1\n") ==
        "FILE:1:1: listne: there is no such key; did you mean listen?");
  CHECK(FileError("frobnication: 1\n") == "FILE:1:1: frobnication: there is no such key");
  CHECK(FileError("pool.pool_size: 3\n") ==
        "FILE:1:1: pool.pool_size: sections are written as a "
        "line \"pool:\" with \"pool_size\" indented below it");
  CHECK(FileError("pool:\n  pool_size: 3\n  pool_size: 4\n") ==
        "FILE:3:3: pool.pool_size: it stands in the file twice, first in line 2; remove one");
  CHECK(FileError("pool:\n  pool_size: 3\npool:\n  max_overflow: 4\n") ==
        "FILE:3:1: pool: it stands in the file twice, first in line 1; remove one");
  CHECK(FileError("pool: 3\n") ==
        "FILE:1:7: pool: it is a section; its keys must stand below it, indented");
  CHECK(FileError("pool:\n  pool_size: 0\n") ==
        "FILE:2:14: pool.pool_size: 0 is out of range; it must be from 1 to 1000");
  CHECK(FileError("- a\n- b\n") == "FILE:1:1: the file must be a list of \"key: value\" lines");
  CHECK(FileError("pool:\n  [a]: 1\n") == "FILE:2:3: pool: a key must be a plain name");
  CHECK_THAT(FileError("pool:\n  pool_size: [1\nlog:\n"),
             Contains("FILE:") && Contains("it is not YAML"));
  CHECK_THAT(FileError("a: 1\n---\nb: 2\n"), Contains("2 YAML documents"));
  CHECK_THAT(FileError(std::string(2 << 20, '#')), Contains("1048576 bytes"));
  CHECK_THAT(FileError(std::string(100'000, '[')), Contains("it is not YAML"));
}

TEST_CASE("A config file that cannot be read stops the start") {
  CHECK(LoadError({"/no/such/file.yaml", {}, {}}) ==
        "cannot read the config file /no/such/file.yaml: No such file or directory");
  CHECK_THAT(LoadError({"/", {}, {}}), Contains("Is a directory"));
}

TEST_CASE("EVENTSTORED_CONFIG names the file, and --config wins over it") {
  const TemporaryFile one("pool: {pool_size: 11}\n");
  const TemporaryFile two("pool: {pool_size: 12}\n");
  const std::string variable = "EVENTSTORED_CONFIG=" + one.path();
  CHECK(MustLoad({"", {variable}, {}}).store.pool.pool_size == 11);
  CHECK(MustLoad({two.path(), {variable}, {}}).store.pool.pool_size == 12);
}

TEST_CASE("Unknown variables of ours stop the start") {
  CHECK(EnvironmentError({"EVENTSTORED_POOL_POOL_SIZ=3"}) ==
        "environment variable EVENTSTORED_POOL_POOL_SIZ: there is no such setting; did you mean "
        "EVENTSTORED_POOL_POOL_SIZE?");
  CHECK_THAT(EnvironmentError({"EVENTSTORED_=3"}), Contains("no such setting"));
  CHECK_THAT(EnvironmentError({"EVENTSTORED_PORT=7440"}), Contains("no such setting"));
}

TEST_CASE("Other variables do not matter, nor those that Kubernetes makes for a service") {
  MustLoad(
      {"",
       {"PATH=/bin", "EVENTSTORE_X=1", "eventstored_x=1", "EVENTSTORED_SERVICE_HOST=10.0.0.1",
        "EVENTSTORED_SERVICE_PORT=7440", "EVENTSTORED_SERVICE_PORT_GRPC=7440",
        "EVENTSTORED_PORT=tcp://10.0.0.1:7440", "EVENTSTORED_PORT_7440_TCP=tcp://10.0.0.1:7440",
        "EVENTSTORED_PORT_7440_TCP_PROTO=tcp", "EVENTSTORED_PORT_7440_TCP_PORT=7440",
        "EVENTSTORED_PORT_7440_TCP_ADDR=10.0.0.1", "EVENTSTORED_HEADLESS_SERVICE_HOST=10.0.0.2",
        "EVENTSTORED_HEADLESS_PORT_7440_TCP_ADDR=10.0.0.2"},
       {}});
}

TEST_CASE("EVENTSTORED_DATABASE is database.dsn, once") {
  CHECK(MustLoad({"", {"EVENTSTORED_DATABASE=host=db1"}, {}}).database.dsn == "host=db1");
  CHECK_THAT(EnvironmentError({"EVENTSTORED_DATABASE=host=a", "EVENTSTORED_DATABASE_DSN=host=b"}),
             Contains("database.dsn is also set by EVENTSTORED_DATABASE"));
}

TEST_CASE("All problems are told at once") {
  const TemporaryFile file("listen: nowhere\npool:\n  pool_size: 0\n  x: 1\n");
  const std::string error = LoadError({file.path(), {"EVENTSTORED_HUB_POLL_INTERVAL_MS=soon"}, {}});
  CHECK_THAT(error, Contains("4 problems") && Contains(":1:9: listen: \"nowhere\"") &&
                        Contains(":3:14: pool.pool_size: 0") && Contains(":4:3: pool.x") &&
                        Contains("hub.poll_interval_ms: \"soon\""));
}

TEST_CASE("A preset sets the pool's two sizes, and each of them overrides it from anywhere") {
  using Sizes = std::pair<int, int>;
  const auto sizes = [](const ConfigSources& sources) {
    const Config config = MustLoad(sources);
    return Sizes(config.store.pool.pool_size, config.store.pool.max_overflow);
  };
  CHECK(sizes({}) == Sizes(5, 10));
  CHECK(sizes({"", {"EVENTSTORED_POOL_PRESET=light"}, {}}) == Sizes(2, 3));
  CHECK(sizes({"", {"EVENTSTORED_POOL_PRESET=medium"}, {}}) == Sizes(5, 10));
  CHECK(sizes({"", {"EVENTSTORED_POOL_PRESET=heavy"}, {}}) == Sizes(10, 20));
  const TemporaryFile file("pool:\n  max_overflow: 0\n  preset: light\n");
  CHECK(sizes({file.path(), {}, {}}) == Sizes(2, 0));
  CHECK(sizes({file.path(), {"EVENTSTORED_POOL_PRESET=heavy"}, {}}) == Sizes(10, 0));
  CHECK_THAT(EnvironmentError({"EVENTSTORED_POOL_PRESET=huge"}),
             Contains("pool.preset: \"huge\" is unknown; it must be light, medium or heavy"));
}

TEST_CASE("Durations are taken in the unit of the key's name") {
  const Config config =
      MustLoad({"",
                {"EVENTSTORED_POOL_POOL_TIMEOUT=3", "EVENTSTORED_POOL_POOL_RECYCLE=-1",
                 "EVENTSTORED_PARTITIONS_LEAD_SECONDS=7", "EVENTSTORED_WRITER_MAX_WAIT_MS=250",
                 "EVENTSTORED_EMBEDDED_STOP_TIMEOUT_MS=1500"},
                {}});
  CHECK(config.store.pool.pool_timeout == std::chrono::seconds(3));
  CHECK(config.store.pool.pool_recycle < std::chrono::seconds(0));
  CHECK(config.store.partitions.lead_seconds == std::chrono::seconds(7));
  CHECK(config.store.writer.max_wait_ms == std::chrono::milliseconds(250));
  CHECK(config.embedded.stop_timeout == std::chrono::milliseconds(1500));
}

TEST_CASE("Addresses are host:port") {
  for (const char* address : {"localhost:0", "0.0.0.0:65535", "[::]:7440", "host.example:1"}) {
    INFO(address);
    CHECK(MustLoad({"", {std::string("EVENTSTORED_LISTEN=") + address}, {}}).listen == address);
  }
  for (const char* address :
       {"", "7440", ":7440", "localhost", "localhost:", "localhost:http", "localhost:-1",
        "localhost:65536", "::1:7440", "a b:1", "http://localhost:7440", "[]:1"}) {
    INFO(address);
    CHECK_THAT(EnvironmentError({std::string("EVENTSTORED_LISTEN=") + address}),
               Contains("listen: \"" + std::string(address) + "\"") && Contains("host:port"));
  }
}

TEST_CASE("A schema's name must need no quotes and not be PostgreSQL's own") {
  for (const char* name :
       {"", "Events", "a-b", "1a", "a;b", "a\"b", "pg_mine", "information_schema",
        "a234567890123456789012345678901234567890123456789012345678901234"}) {
    INFO(name);
    CHECK_THAT(EnvironmentError({std::string("EVENTSTORED_DATABASE_SCHEMA=") + name}),
               Contains("database.schema: \"" + std::string(name) + "\""));
  }
}

TEST_CASE("Keys that do not go together are refused by both names") {
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> cases = {
      {{"EVENTSTORED_LIMITS_EVENT_BYTES_MAX=4194305"},
       {"limits.event_bytes_max", "limits.request_bytes_max"}},
      {{"EVENTSTORED_SERVER_MESSAGE_BYTES_MAX=4194304"},
       {"server.message_bytes_max", "limits.request_bytes_max"}},
      {{"EVENTSTORED_WRITER_QUEUE_BYTES_MAX=4194303"},
       {"writer.queue_bytes_max", "limits.request_bytes_max"}},
      {{"EVENTSTORED_PARTITIONS_SIZE_EVENTS_MAX=9999999"},
       {"partitions.size_events", "partitions.size_events_max"}},
      {{"EVENTSTORED_DAEMON_EXPIRE_MS=3000"}, {"daemon.expire_ms", "daemon.heartbeat_ms"}},
      {{"EVENTSTORED_DATABASE_CONNECTIONS_MAX=18"},
       {"database.connections_max", "pool.pool_size 5", "pool.max_overflow 10"}},
      {{"EVENTSTORED_METRICS_LISTEN=127.0.0.1:7440"}, {"metrics_listen", "listen"}},
      {{"EVENTSTORED_DATABASE_PASSWORD_FILE=/x"}, {"database.password_file", "database.dsn"}},
      {{"EVENTSTORED_DATABASE_PASSWORD_FILE=/x", "EVENTSTORED_DATABASE=host=a password=b"},
       {"database.password_file", "database.dsn"}},
  };
  for (const auto& [variables, names] : cases) {
    const std::string error = EnvironmentError(variables);
    for (const std::string& name : names) CHECK_THAT(error, Contains(name));
  }
  MustLoad({"", {"EVENTSTORED_LISTEN=[::]:0", "EVENTSTORED_METRICS_LISTEN=[::]:0"}, {}});
  MustLoad({"", {"EVENTSTORED_DATABASE_CONNECTIONS_MAX=19"}, {}});
}

TEST_CASE("A password is taken from file or environment but refused in a flag") {
  for (const char* dsn : {"host=db1 password=hunter2", "host=db1 sslpassword=hunter2",
                          "postgresql://app:hunter2@db1/events",
                          "postgresql://db1/events?user=app&password=hunter2"}) {
    INFO(dsn);
    CHECK(MustLoad({"", {std::string("EVENTSTORED_DATABASE=") + dsn}, {}})
              .store.connection.conninfo == dsn);
    const std::string error = LoadError({"", {}, {{"database.dsn", dsn, "flag --database"}}});
    CHECK_THAT(error, Contains("flag --database") && Contains("EVENTSTORED_DATABASE") &&
                          Contains("password_file") && Contains("PGPASSFILE") &&
                          !Contains("hunter2"));
  }
  CHECK(MustLoad({"", {}, {{"database.dsn", "host=db1", "flag --database"}}}).database.dsn ==
        "host=db1");
}

TEST_CASE("No password is printed") {
  for (const char* dsn : {"host=db1 password='hunter2 x'", "postgresql://app:hunter2@db1/events",
                          "postgresql://db1/events?password=hunter2"}) {
    const Config config = MustLoad({"", {std::string("EVENTSTORED_DATABASE=") + dsn}, {}});
    CHECK_THAT(PrintConfig(config), !Contains("hunter2") && Contains("***"));
  }
  const TemporaryFile secret("hunter2\n");
  const Config config = MustLoad(
      {"",
       {"EVENTSTORED_DATABASE=host=db1", "EVENTSTORED_DATABASE_PASSWORD_FILE=" + secret.path()},
       {}});
  CHECK_THAT(PrintConfig(config), !Contains("hunter2") && Contains(secret.path()));
  CHECK_THAT(EnvironmentError({"EVENTSTORED_DATABASE=host=db1 password=hunter2 nonsense=1"}),
             !Contains("hunter2") && Contains("nonsense"));
}

TEST_CASE("A SQLAlchemy-style URL is refused with libpq's form") {
  for (const bool by_flag : {false, true}) {
    const std::string url = "postgresql+asyncpg://app:hunter2@db1/events";
    const std::string error = by_flag
                                  ? LoadError({"", {}, {{"database.dsn", url, "flag --database"}}})
                                  : EnvironmentError({"EVENTSTORED_DATABASE=" + url});
    CHECK_THAT(error, Contains("database.dsn") && Contains("postgresql://app:***@db1/events") &&
                          !Contains("hunter2"));
  }
}

TEST_CASE("A password file's line reaches libpq unchanged, whatever is in it") {
  const std::string password = " it's 100% \\ \"?&=/@:#\t\xc3\xa4 ";
  const TemporaryFile file(password + "\r\n");
  for (const char* dsn : {"host=db1 user=app", "postgresql://app@db1/events",
                          "postgresql://db1/events?user=app&sslmode=require"}) {
    INFO(dsn);
    const Config config = MustLoad({"",
                                    {std::string("EVENTSTORED_DATABASE=") + dsn,
                                     "EVENTSTORED_DATABASE_PASSWORD_FILE=" + file.path()},
                                    {}});
    std::map<std::string, std::string> parameters = Parse(config.store.connection.conninfo);
    CHECK(parameters["password"] == password);
    CHECK(parameters["user"] == "app");
    CHECK(parameters["host"] == "db1");
    CHECK(config.database.dsn == dsn);
  }
}

TEST_CASE("A password file that is none stops the start") {
  const auto error = [](const std::string& path) {
    return EnvironmentError(
        {"EVENTSTORED_DATABASE=host=a", "EVENTSTORED_DATABASE_PASSWORD_FILE=" + path});
  };
  const TemporaryFile empty("\n");
  const TemporaryFile two_lines("a\nb\n");
  const TemporaryFile long_line(std::string(5'000, 'a'));
  CHECK_THAT(error("/no/such/file"), Contains("database.password_file: cannot read /no/such/file"));
  CHECK_THAT(error(empty.path()), Contains("is empty"));
  CHECK_THAT(error(two_lines.path()), Contains("one line"));
  CHECK_THAT(error(long_line.path()), Contains("4096 bytes"));
}

}  // namespace eventstore::process
