// Every metric of the daemon, for tests of what is exposed and documented.
#ifndef EVENTSTORE_TESTS_UNIT_TELEMETRY_ALL_METRICS_H_
#define EVENTSTORE_TESTS_UNIT_TELEMETRY_ALL_METRICS_H_

#include <string>

#include "server/telemetry/metrics.h"

namespace eventstore::telemetry {

// The text with every metric in it. A family without a child would not be there.
inline std::string TextOfAll() {
  Metrics metrics("1");
  (void)metrics.Pool("s");
  (void)metrics.Lane("s");
  (void)metrics.Transactions("s");
  (void)metrics.Read("s");
  (void)metrics.Rpc("m");
  (void)metrics.Lifecycle("s");
  (void)metrics.Group("s", "g");
  (void)metrics.GroupLane("s", "g", 0);
  (void)metrics.Relay("s", "k");
  (void)metrics.Outbox("s", "k");
  ProjectionMetrics projections = metrics.Projections("s");
  for (LabelledGauges* gauges :
       {&projections.position, &projections.lag_positions, &projections.lag_seconds}) {
    gauges->Replace({{{"p"}, 1}});
  }
  projections.dead_letters.Replace({{{"p", "failed"}, 1}});
  return metrics.Text();
}

}  // namespace eventstore::telemetry

#endif  // EVENTSTORE_TESTS_UNIT_TELEMETRY_ALL_METRICS_H_
