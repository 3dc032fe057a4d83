// What a lane of a consumer group obeys.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_RULES_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_RULES_H_

#include <chrono>
#include <cstdint>

#include "eventstore/v1/consumer_group_service.pb.h"

namespace eventstore::engine {

// The part of a group's settings (see ConsumerGroupSettings) that a lane needs.
struct LaneRules {
  // Most events between the checkpoint in the tables and the last one taken into the lane: what may
  // be delivered again after a crash.
  std::int64_t unsettled_span_max = 1'000;
  // About the most bytes of events that a lane holds; always room for one.
  std::int64_t bytes_max = 4 << 20;
  std::int64_t in_flight_max = 200;
  std::chrono::milliseconds ack_timeout{30'000};
  std::int32_t attempts_max = 5;
  std::chrono::milliseconds backoff_min{500};
  std::chrono::milliseconds backoff_max{60'000};
  v1::OnFailure on_failure = v1::ON_FAILURE_PARK;
};

// How long to wait after `attempts` failures: twice as long each time, up to the maximum, and up to
// a quarter less by a jitter that `seed` decides, so that events that failed together do not come
// back together.
[[nodiscard]] std::chrono::milliseconds BackoffOf(const LaneRules& rules, std::int32_t attempts,
                                                  std::uint64_t seed);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_LANE_RULES_H_
