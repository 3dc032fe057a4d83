#include <catch2/catch.hpp>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "tests/unit/telemetry/all_metrics.h"

namespace eventstore::telemetry {
namespace {

TEST_CASE("Every metric is in docs/metrics.md") {
  std::ifstream file(std::string(EVENTSTORE_SOURCE_DIR) + "/docs/metrics.md");
  std::stringstream documented;
  documented << file.rdbuf();
  std::istringstream text(TextOfAll());
  int metrics_seen = 0;
  for (std::string line; std::getline(text, line);) {
    constexpr const char* kType = "# TYPE ";
    if (line.rfind(kType, 0) != 0) continue;
    const std::string name = line.substr(7, line.find(' ', 7) - 7);
    INFO(name);
    CHECK(documented.str().find("`" + name + "`") != std::string::npos);
    ++metrics_seen;
  }
  CHECK(metrics_seen > 45);
}

TEST_CASE("The alert rules name metrics that exist, and one for a reader that is stalled") {
  const std::string text = TextOfAll();
  std::ifstream file(std::string(EVENTSTORE_SOURCE_DIR) + "/deploy/alerts.yaml");
  std::stringstream content;
  content << file.rdbuf();
  const std::string rules = content.str();
  const std::regex name("eventstore_[a-z_]+");
  std::set<std::string> named;
  for (std::sregex_iterator found(rules.begin(), rules.end(), name), end; found != end; ++found) {
    named.insert(found->str());
    INFO(found->str());
    CHECK(text.find("# TYPE " + found->str() + " ") != std::string::npos);
  }
  CHECK(named.contains("eventstore_subscriber_stuck_seconds_max"));
  CHECK(named.size() >= 6);
}

}  // namespace
}  // namespace eventstore::telemetry
