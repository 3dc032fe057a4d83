// Changes every configuration key and sees its effect on a running daemon, or on what it refuses.
//
// One row a daemon: which keys it changes, and what to see. A key of --print-config that no row
// changes fails the test.
#include "tests/integration/daemon/config_effect.h"

#include <sstream>

using namespace eventstore;
using namespace eventstore::testing;

namespace {

std::vector<Row> Rows() {
  std::vector<Row> all;
  for (std::vector<Row>& part : std::vector<std::vector<Row>>{
           ProcessRows(), PoolAndLimitRows(), WriterRows(), ReaderRows(), OutboxRows()}) {
    for (Row& row : part) all.push_back(std::move(row));
  }
  return all;
}

// The keys of --print-config, as "section.name", but for the lists and maps: their tests are those
// of the file they come from.
std::set<std::string> AllKeys() {
  std::istringstream lines(RunDaemonProgram({"--print-config"}).output);
  std::set<std::string> keys;
  std::string line;
  std::string section;
  while (std::getline(lines, line)) {
    const std::size_t colon = line.find(':');
    const std::size_t start = line.find_first_not_of(' ');
    if (colon == std::string::npos || line[start] == '#') continue;
    const std::string name = line.substr(start, colon - start);
    if (colon + 1 == line.size()) {
      section = name;
    } else if (!line.ends_with("{}") && !line.ends_with("[]")) {
      keys.insert(start == 0 ? name : section + "." + name);
    }
  }
  return keys;
}

}  // namespace

TEST_CASE("EveryConfigurationKeyHasACase") {
  std::set<std::string> covered;
  for (const Row& row : Rows()) {
    for (const auto& [key, value] : row.changed) covered.insert(key);
  }
  const std::set<std::string> keys = AllKeys();
  CHECK(keys.size() > 60);
  for (const std::string& key : keys) {
    INFO(key << " has no case in these files");
    CHECK(covered.count(key) == 1);
  }
  for (const std::string& key : covered) {
    INFO(key << " is no key");
    CHECK(keys.count(key) == 1);
  }
}

TEST_CASE("EveryConfigurationKeyHasItsEffect") {
  for (const Row& row : Rows()) {
    DYNAMIC_SECTION(row.name) { row.see(row.changed); }
  }
}
