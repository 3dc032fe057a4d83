// A consumer group's settings: defaults, changes, and what the engine makes of them.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_SETTINGS_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_SETTINGS_H_

#include <chrono>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/engine/groups/lane_rules.h"

namespace eventstore::engine {

[[nodiscard]] inline std::chrono::milliseconds ToMillis(const google::protobuf::Duration& time) {
  return std::chrono::milliseconds(time.seconds() * 1'000 + time.nanos() / 1'000'000);
}

// What a lane obeys.
[[nodiscard]] inline LaneRules RulesOf(const v1::ConsumerGroupSettings& settings,
                                       std::int64_t lane_bytes_max) {
  LaneRules rules;
  rules.unsettled_span_max = settings.unsettled_span_max();
  rules.bytes_max = lane_bytes_max;
  rules.in_flight_max = settings.lane_in_flight_max();
  rules.ack_timeout = ToMillis(settings.ack_timeout());
  rules.attempts_max = settings.max_attempts();
  rules.backoff_min = ToMillis(settings.backoff_min());
  rules.backoff_max = ToMillis(settings.backoff_max());
  rules.on_failure = settings.on_failure();
  return rules;
}

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_SETTINGS_H_
