// Rules that hold for every configuration key: these tests walk through the whole table.
#include "server/process/config_keys.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "server/process/config.h"
#include "server/telemetry/logging.h"
#include "tests/unit/process/config_support.h"

namespace eventstore::process {
namespace {

using Catch::Matchers::Contains;

// Another valid value than the default of each key that is no number. A new key needs a line here.
const std::map<std::string, std::string>& OtherTexts() {
  static const std::map<std::string, std::string> texts = {
      {"listen", "[::1]:1234"},
      {"metrics_listen", "0.0.0.0:0"},
      {"data_dir", "/srv/my events"},
      {"log.level", "debug"},
      {"log.format", "json"},
      {"database.dsn", "host=db1,db2 dbname=events user=app sslmode=verify-full"},
      {"database.password_file", ""},  // Only empty goes without a dsn; see config_test.cc.
      {"database.schema", "tenant_7"},
      {"database.migrate", "false"},
      {"embedded.bin_dir", "/opt/pg/bin"},
      {"embedded.user", "nobody"},
      {"pool.preset", "heavy"},
      {"pool.pool_pre_ping", "false"},
      {"pool.echo", "true"},
      {"outbox.enabled", "true"},
  };
  return texts;
}

std::string OtherValue(const Key& key) {
  if (key.bounds.has_value()) {
    const std::int64_t value = std::stoll(key.get(Config()));
    return std::to_string(value < key.bounds->max ? value + 1 : value - 1);
  }
  INFO("a value that differs from the default of " << key.path);
  REQUIRE(OtherTexts().count(key.path) == 1);
  return OtherTexts().at(key.path);
}

// A file that sets one key.
std::string FileWith(const Key& key, const std::string& value) {
  const std::string written = key.is_plain ? value : "\"" + value + "\"";
  if (key.section().empty()) return fmt::format("{}: {}\n", key.name(), written);
  return fmt::format("{}:\n  {}: {}\n", key.section(), key.name(), written);
}

}  // namespace

TEST_CASE("deploy/eventstored.yaml documents every key with its default and bounds") {
  const std::string path = std::string(EVENTSTORE_SOURCE_DIR) + "/deploy/eventstored.yaml";
  std::stringstream reference;
  reference << std::ifstream(path).rdbuf();
  INFO("regenerate it by: eventstored --print-config > deploy/eventstored.yaml");
  CHECK(reference.str() == PrintConfig(Config()));
}

TEST_CASE("Every key says what it is for, and the reference states default and bounds") {
  const std::string printed = PrintConfig(Config());
  for (const Key& key : Keys()) {
    INFO(key.path);
    CHECK(key.doc.size() > 20);
    CHECK(key.doc.back() == '.');
    CHECK_FALSE(key.allowed.empty());
    CHECK((key.section().empty() || !SectionDoc(key.section()).empty()));
    CHECK_THAT(printed,
               Contains("\n" + std::string(key.section().empty() ? "" : "  ") + key.name() + ": "));
  }
  for (std::istringstream lines(printed); lines;) {
    std::string line;
    std::getline(lines, line);
    CHECK(line.size() <= 100);
  }
}

TEST_CASE("The reference file is a config file and sets every key to its default") {
  const Config config =
      MustLoad({std::string(EVENTSTORE_SOURCE_DIR) + "/deploy/eventstored.yaml", {}, {}});
  for (const Key& key : Keys()) {
    INFO(key.path);
    CHECK(key.get(config) == key.get(Config()));
  }
}

TEST_CASE("Every key can be set by file and by environment, and changes nothing else") {
  for (const Key& key : Keys()) {
    INFO(key.path);
    const std::string value = OtherValue(key);
    const TemporaryFile file(FileWith(key, value));
    const std::string variable = key.environment_variable() + "=" + value;
    const Config from_file = MustLoad({file.path(), {}, {}});
    const Config from_environment = MustLoad({"", {variable}, {}});
    CHECK(key.get(from_file) == value);
    CHECK(key.get(from_environment) == value);
    for (const Key& other : Keys()) {
      const bool is_preset = key.path == "pool.preset" &&
                             (other.path == "pool.pool_size" || other.path == "pool.max_overflow");
      if (other.path == key.path || is_preset) continue;
      INFO("and " << other.path);
      CHECK(other.get(from_file) == other.get(Config()));
    }
  }
}

TEST_CASE("Environment wins over file, a flag wins over both") {
  for (const Key& key : Keys()) {
    if (key.path == "database.password_file") continue;
    INFO(key.path);
    const std::string other = OtherValue(key);
    const std::string standard = key.get(Config());
    const TemporaryFile file(FileWith(key, other));
    CHECK(key.get(MustLoad({file.path(), {key.environment_variable() + "=" + standard}, {}})) ==
          standard);
    if (key.flag.empty()) continue;
    CHECK(key.get(MustLoad({file.path(),
                            {key.environment_variable() + "=" + other},
                            {{key.path, standard, "flag " + key.flag}}})) == standard);
  }
}

TEST_CASE("Numbers are taken at their bounds and refused beyond, with path, value and bounds") {
  for (const Key& key : Keys()) {
    if (!key.bounds.has_value()) continue;
    const auto [min, max] = *key.bounds;
    INFO(key.path << " from " << min << " to " << max);
    CHECK(min < max);
    Config config;
    CHECK(key.set(&config, std::to_string(min)).ok());
    CHECK(key.get(config) == std::to_string(min));
    CHECK(key.set(&config, std::to_string(max)).ok());
    CHECK(key.get(config) == std::to_string(max));
    for (const std::string& value :
         {std::to_string(min - 1), std::to_string(max + 1), std::string("99999999999999999999"),
          std::string("-99999999999999999999")}) {
      const std::string expected = fmt::format("{}: {} is out of range; it must be from {} to {}",
                                               key.path, value, min, max);
      const TemporaryFile file(FileWith(key, value));
      CHECK_THAT(LoadError({file.path(), {}, {}}),
                 Contains(file.path() + ":") && Contains(expected));
      CHECK_THAT(LoadError({"", {key.environment_variable() + "=" + value}, {}}),
                 Contains(key.environment_variable()) && Contains(expected));
    }
  }
}

TEST_CASE("Values of a wrong type are refused with the key's path") {
  for (const Key& key : Keys()) {
    INFO(key.path);
    for (const std::string value : {"[1, 2]", "{a: 1}", ""}) {
      INFO(value);
      const std::string text =
          key.section().empty() ? fmt::format("{}: {}\n", key.name(), value)
                                : fmt::format("{}:\n  {}: {}\n", key.section(), key.name(), value);
      const TemporaryFile file(text);
      CHECK_THAT(LoadError({file.path(), {}, {}}), Contains(file.path() + ":") &&
                                                       Contains(key.path + ": it ") &&
                                                       Contains("it must be " + key.allowed));
    }
    if (!key.is_plain) continue;
    for (const std::string value : {"many", "1.5", "1e3", "0x10", "", "yes", " 1", "1 "}) {
      INFO("\"" << value << "\"");
      CHECK_THAT(LoadError({"", {key.environment_variable() + "=" + value}, {}}),
                 Contains(key.environment_variable() + ": " + key.path + ": \"" + value + "\""));
    }
  }
}

TEST_CASE("Names of keys and of their variables are unique") {
  std::set<std::string> names;
  for (const Key& key : Keys()) {
    INFO(key.path);
    CHECK(FindKey(key.path) == &key);
    CHECK(names.insert(key.path).second);
    CHECK(names.insert(key.environment_variable()).second);
  }
}

// All members of these structs are eight bytes wide, or padded to it.
TEST_CASE("Every member of the option structs has its key") {
  const auto count = [](const std::string& section) {
    std::size_t keys = 0;
    for (const Key& key : Keys()) keys += key.section() == section ? 1 : 0;
    return keys;
  };
  CHECK(count("limits") == sizeof(Limits) / 8);
  CHECK(count("writer") == sizeof(engine::WriterOptions) / 8);
  CHECK(count("reader") == sizeof(engine::ReaderOptions) / 8);
  CHECK(count("hub") == sizeof(engine::HubOptions) / 8);
  CHECK(count("partitions") == sizeof(engine::PartitionOptions) / 8);
  CHECK(count("daemon") == sizeof(engine::DaemonOptions) / 8);
  CHECK(count("server") == sizeof(ServerConfig) / 8);
}

TEST_CASE("What --print-config prints is read back as the same") {
  Config config;
  for (const Key& key : Keys()) REQUIRE(key.set(&config, OtherValue(key)).ok());
  config.database.dsn = "host=db1 application_name='a \"b\" \\\\ c'";
  const TemporaryFile file(PrintConfig(config));
  const Config again = MustLoad({file.path(), {}, {}});
  for (const Key& key : Keys()) {
    INFO(key.path);
    CHECK(key.get(again) == key.get(config));
  }
}

}  // namespace eventstore::process
