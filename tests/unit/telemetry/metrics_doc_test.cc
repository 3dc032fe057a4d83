#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

#include "server/telemetry/metrics.h"

namespace eventstore::telemetry {
namespace {

TEST_CASE("Every metric is in docs/metrics.md") {
  Metrics metrics("1.2.3");
  (void)metrics.Pool("s");
  (void)metrics.Lane("s");
  (void)metrics.Read("s");
  (void)metrics.Rpc("m");
  (void)metrics.Group("s", "g");
  (void)metrics.GroupLane("s", "g", 0);
  ProjectionMetrics projections = metrics.Projections("s");
  for (LabelledGauges* gauges :
       {&projections.position, &projections.lag_positions, &projections.lag_seconds}) {
    gauges->Replace({{{"p"}, 1}});
  }
  projections.dead_letters.Replace({{{"p", "failed"}, 1}});
  std::ifstream file(std::string(EVENTSTORE_SOURCE_DIR) + "/docs/metrics.md");
  std::stringstream documented;
  documented << file.rdbuf();
  std::istringstream text(metrics.Text());
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

}  // namespace
}  // namespace eventstore::telemetry
