// The metrics of consumer groups.
#include "server/telemetry/metric_maker.h"
#include "server/telemetry/metrics.h"

namespace eventstore::telemetry {

GroupMetrics Metrics::Group(const std::string& store, const std::string& group) {
  MetricMaker make(registry_.get(), {{"store", store}, {"group", group}});
  GroupMetrics metrics{};
  metrics.members = make.Gauge("eventstore_group_members", "Members of the group on this daemon.");
  metrics.delivered = make.Counter("eventstore_group_events_delivered_total",
                                   "Deliveries of events to members, repeated ones too.");
  metrics.redelivered =
      make.Counter("eventstore_group_events_redelivered_total",
                   "Deliveries of events that were, or may have been, delivered before.");
  metrics.acked = make.Counter("eventstore_group_events_acked_total", "Acks that counted.");
  metrics.skipped =
      make.Counter("eventstore_group_events_skipped_total", "Nacks with the action skip.");
  metrics.nacked = make.Counter("eventstore_group_events_nacked_total",
                                "Nacks with the actions retry and park.");
  metrics.timeouts = make.Counter("eventstore_group_ack_timeouts_total",
                                  "Deliveries that were not acked in time.");
  metrics.ignored_acks = make.Counter("eventstore_group_ignored_acks_total",
                                      "Acks and nacks of deliveries that are not in flight.");
  metrics.parked = make.Counter("eventstore_group_events_parked_total",
                                "Events that became dead letters, or failed once more as one.");
  metrics.dead_letters_retried = make.Counter("eventstore_group_dead_letters_retried_total",
                                              "Dead letters that were taken up again.");
  metrics.rebalances =
      make.Counter("eventstore_group_lanes_claimed_total", "Lanes that this daemon took.");
  metrics.lanes_lost = make.Counter("eventstore_group_lanes_lost_total",
                                    "Lanes that another owner took from this daemon.");
  metrics.fell_behind = make.Counter("eventstore_group_lanes_fell_behind_total",
                                     "Times that a full lane left the group's feed.");
  metrics.rewinds = make.Counter("eventstore_group_lanes_rewound_total",
                                 "Checkpoints that went back because the store was rewound.");
  return metrics;
}

GroupLaneMetrics Metrics::GroupLane(const std::string& store, const std::string& group, int lane) {
  MetricMaker make(registry_.get(),
                   {{"store", store}, {"group", group}, {"lane", std::to_string(lane)}});
  GroupLaneMetrics metrics{};
  metrics.lag_positions = make.Gauge("eventstore_group_lag_positions",
                                     "Positions between a lane's checkpoint and the head.");
  metrics.lag_seconds =
      make.Gauge("eventstore_group_lag_seconds",
                 "Age of the oldest event of a lane that is not settled; 0: none.");
  metrics.in_flight = make.Gauge("eventstore_group_in_flight_events",
                                 "Events of a lane that were delivered and are not acked.");
  metrics.retrying = make.Gauge("eventstore_group_retrying_events",
                                "Events of a lane that failed and are not settled yet.");
  metrics.oldest_unacked_seconds =
      make.Gauge("eventstore_group_oldest_unacked_seconds",
                 "How long the oldest delivery of a lane that is not acked has been out; 0: none.");
  metrics.stopped = make.Gauge("eventstore_group_lane_stopped",
                               "1: the lane waits for somebody to decide on a dead letter.");
  return metrics;
}

void Metrics::Remove(const GroupLaneMetrics& lane) {
  MetricMaker make(registry_.get(), {});
  make.Remove("eventstore_group_lag_positions",
              "Positions between a lane's checkpoint and the head.", lane.lag_positions);
  make.Remove("eventstore_group_lag_seconds",
              "Age of the oldest event of a lane that is not settled; 0: none.", lane.lag_seconds);
  make.Remove("eventstore_group_in_flight_events",
              "Events of a lane that were delivered and are not acked.", lane.in_flight);
  make.Remove("eventstore_group_retrying_events",
              "Events of a lane that failed and are not settled yet.", lane.retrying);
  make.Remove("eventstore_group_oldest_unacked_seconds",
              "How long the oldest delivery of a lane that is not acked has been out; 0: none.",
              lane.oldest_unacked_seconds);
  make.Remove("eventstore_group_lane_stopped",
              "1: the lane waits for somebody to decide on a dead letter.", lane.stopped);
}

}  // namespace eventstore::telemetry
