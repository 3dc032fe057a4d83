// Every metric of the daemon, in one place.
//
// References are taken once, when an object is constructed: looking a metric up by labels costs a
// lock and a map. Updating one is thread-safe and cheap. `docs/metrics.md` lists them for
// operators.
#ifndef EVENTSTORE_SERVER_TELEMETRY_METRICS_H_
#define EVENTSTORE_SERVER_TELEMETRY_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace eventstore::telemetry {

// The connection pool of a store (label `store`).
struct PoolMetrics {
  prometheus::Gauge* size;                 // eventstore_pool_size
  prometheus::Gauge* checked_out;          // eventstore_pool_checked_out
  prometheus::Gauge* overflow;             // eventstore_pool_overflow
  prometheus::Gauge* checked_in;           // eventstore_pool_checked_in
  prometheus::Histogram* wait_seconds;     // eventstore_pool_wait_seconds
  prometheus::Counter* exhausted;          // eventstore_pool_exhausted_total: had to wait
  prometheus::Counter* timeouts;           // eventstore_pool_timeouts_total: waited in vain
  prometheus::Counter* connects;           // eventstore_pool_connects_total
  prometheus::Counter* connect_failures;   // eventstore_pool_connect_failures_total
  prometheus::Counter* recycled;           // eventstore_pool_recycled_total
  prometheus::Counter* pre_ping_failures;  // eventstore_pool_pre_ping_failures_total
};

// The write lane of a store (label `store`).
struct LaneMetrics {
  prometheus::Gauge* queue_appends;           // eventstore_lane_queue_appends
  prometheus::Gauge* queue_bytes;             // eventstore_lane_queue_bytes
  prometheus::Histogram* batch_appends;       // eventstore_lane_batch_appends
  prometheus::Histogram* batch_events;        // eventstore_lane_batch_events
  prometheus::Histogram* commit_seconds;      // eventstore_lane_commit_seconds: a whole batch
  prometheus::Histogram* queue_wait_seconds;  // eventstore_lane_queue_wait_seconds
  prometheus::Counter* events;                // eventstore_events_appended_total
  prometheus::Counter* conflicts;             // eventstore_append_conflicts_total
  prometheus::Counter* replays;               // eventstore_append_replays_total
  prometheus::Counter* overloaded;            // eventstore_append_overloaded_total
  prometheus::Counter* slow_commits;          // eventstore_lane_slow_commits_total
  prometheus::Counter* optimistic_failures;   // eventstore_lane_optimistic_failures_total
  prometheus::Counter* in_doubt;              // eventstore_lane_in_doubt_total
  prometheus::Counter* poisoned;              // eventstore_lane_poisoned_appends_total
  prometheus::Counter* reconnects;            // eventstore_lane_reconnects_total
  prometheus::Counter* foreign_events;        // eventstore_lane_foreign_events_total
  prometheus::Gauge* cache_streams;           // eventstore_lane_cache_streams
  prometheus::Counter* cache_hits;            // eventstore_lane_cache_hits_total
  prometheus::Counter* cache_misses;          // eventstore_lane_cache_misses_total
  prometheus::Counter* conditions_current;    // eventstore_conditions_total{checked="current"}
  prometheus::Counter* conditions_by_memory;  // eventstore_conditions_total{checked="memory"}
  prometheus::Counter* conditions_by_query;   // eventstore_conditions_total{checked="query"}
  prometheus::Gauge* head_position;           // eventstore_head_position
  prometheus::Gauge* epoch;                   // eventstore_epoch
  prometheus::Gauge* partition_headroom;      // eventstore_partition_headroom_positions
};

// Transactions of a store (label `store`), by what became of them.
struct TransactionMetrics {
  prometheus::Counter* committed;             // eventstore_transactions_total{result="committed"}
  prometheus::Counter* replayed;              // eventstore_transactions_total{result="replayed"}
  prometheus::Counter* rejected;              // eventstore_transactions_total{result="rejected"}
  prometheus::Counter* failed;                // eventstore_transactions_total{result="failed"}
  prometheus::Counter* evaluated;             // eventstore_condition_evaluations_total
  prometheus::Counter* reevaluated;           // eventstore_condition_reevaluations_total
  prometheus::Histogram* evaluation_seconds;  // eventstore_condition_evaluation_seconds
};

// Reading and subscribing (label `store`).
struct ReadMetrics {
  prometheus::Gauge* queue;                           // eventstore_read_queue_requests
  prometheus::Histogram* page_seconds;                // eventstore_read_page_seconds
  prometheus::Counter* events;                        // eventstore_events_read_total
  prometheus::Gauge* subscribers_live;                // eventstore_subscribers{state="live"}
  prometheus::Gauge* subscribers_catching_up;         // eventstore_subscribers{state="catching_up"}
  prometheus::Gauge* subscriber_lag_max;              // eventstore_subscriber_lag_positions_max
  prometheus::Gauge* subscriber_lag_sum;              // eventstore_subscriber_lag_positions_sum
  prometheus::Gauge* subscriber_stalled_seconds_max;  // eventstore_subscriber_stalled_seconds_max
  prometheus::Gauge* subscriber_stuck_seconds_max;    // eventstore_subscriber_stuck_seconds_max
  prometheus::Gauge* subscribers_stuck;               // eventstore_subscribers_stuck
  prometheus::Counter* catch_up_positions;            // eventstore_catch_up_positions_total
  prometheus::Gauge* catch_up_positions_left;         // eventstore_catch_up_positions_left
  prometheus::Gauge* catch_up_seconds_max;            // eventstore_catch_up_seconds_max
  prometheus::Counter* fell_behind;                   // eventstore_subscribers_fell_behind_total
  prometheus::Counter* slow_consumers;                // eventstore_subscribers_dropped_slow_total
  prometheus::Counter* events_sent;                   // eventstore_subscription_events_sent_total
  prometheus::Counter* wakes;                         // eventstore_subscription_wakes_total
  prometheus::Gauge* ring_bytes;                      // eventstore_ring_bytes
  prometheus::Gauge* ring_events;                     // eventstore_ring_events
  prometheus::Counter* listener_reconnects;           // eventstore_listener_reconnects_total
};

// A consumer group that this daemon works for (labels `store`, `group`).
struct GroupMetrics {
  prometheus::Gauge* members;                 // eventstore_group_members: on this daemon
  prometheus::Counter* delivered;             // eventstore_group_events_delivered_total
  prometheus::Counter* redelivered;           // eventstore_group_events_redelivered_total
  prometheus::Counter* acked;                 // eventstore_group_events_acked_total
  prometheus::Counter* skipped;               // eventstore_group_events_skipped_total
  prometheus::Counter* nacked;                // eventstore_group_events_nacked_total
  prometheus::Counter* timeouts;              // eventstore_group_ack_timeouts_total
  prometheus::Counter* ignored_acks;          // eventstore_group_ignored_acks_total
  prometheus::Counter* parked;                // eventstore_group_events_parked_total
  prometheus::Counter* dead_letters_retried;  // eventstore_group_dead_letters_retried_total
  prometheus::Counter* rebalances;            // eventstore_group_lanes_claimed_total
  prometheus::Counter* lanes_lost;            // eventstore_group_lanes_lost_total
  prometheus::Counter* fell_behind;           // eventstore_group_lanes_fell_behind_total
  prometheus::Counter* rewinds;               // eventstore_group_lanes_rewound_total
};

// A lane that this daemon owns (labels `store`, `group`, `lane`).
struct GroupLaneMetrics {
  prometheus::Gauge* lag_positions;           // eventstore_group_lag_positions
  prometheus::Gauge* lag_seconds;             // eventstore_group_lag_seconds
  prometheus::Gauge* in_flight;               // eventstore_group_in_flight_events
  prometheus::Gauge* retrying;                // eventstore_group_retrying_events
  prometheus::Gauge* oldest_unacked_seconds;  // eventstore_group_oldest_unacked_seconds
  prometheus::Gauge* stopped;                 // eventstore_group_lane_stopped
};

// Gauges of one name whose label values come and go. One thread.
class LabelledGauges {
 public:
  struct Value {
    std::vector<std::string> labels;  // in the order of the names
    double value = 0;
  };
  // `fixed` are labels that all of them have.
  LabelledGauges(prometheus::Family<prometheus::Gauge>* family,
                 std::map<std::string, std::string> fixed, std::vector<std::string> names)
      : family_(family), fixed_(std::move(fixed)), names_(std::move(names)) {}
  // From now on there are these and no others.
  void Replace(std::vector<Value> values);

 private:
  prometheus::Family<prometheus::Gauge>* family_;
  std::map<std::string, std::string> fixed_;
  std::vector<std::string> names_;
  std::map<std::vector<std::string>, prometheus::Gauge*> gauges_;
};

// Projections and what they set aside (label `store`). Sampled: see engine/projection_sampler.h for
// how many and how often.
struct ProjectionMetrics {
  prometheus::Gauge* checkpoints;  // eventstore_projection_checkpoints
  LabelledGauges position;         // eventstore_projection_position{projection=}
  LabelledGauges lag_positions;    // eventstore_projection_lag_positions{projection=}
  LabelledGauges lag_seconds;      // eventstore_projection_lag_seconds{projection=}
  LabelledGauges dead_letters;     // eventstore_dead_letters{projection=, status=}
};

// Changes to streams and events after they were written (label `store`).
struct LifecycleMetrics {
  prometheus::Counter* truncated;      // eventstore_lifecycle_changes_total{kind="truncate"}
  prometheus::Counter* deleted;        // eventstore_lifecycle_changes_total{kind="delete"}
  prometheus::Counter* tombstoned;     // eventstore_lifecycle_changes_total{kind="tombstone"}
  prometheus::Counter* erased;         // eventstore_lifecycle_changes_total{kind="erase"}
  prometheus::Counter* events_erased;  // eventstore_events_erased_total
};

// The relay of a sink (labels `store`, `sink`).
struct RelayMetrics {
  prometheus::Counter* published;                  // eventstore_outbox_published_total
  prometheus::Counter* refused;                    // eventstore_outbox_refused_total
  prometheus::Counter* retries;                    // eventstore_outbox_retries_total
  prometheus::Histogram* publish_latency_seconds;  // eventstore_outbox_publish_latency_seconds
  prometheus::Gauge* standby;                      // eventstore_outbox_relay_state{state="standby"}
  prometheus::Gauge* running;                      // eventstore_outbox_relay_state{state="running"}
  prometheus::Gauge* unavailable;  // eventstore_outbox_relay_state{state="unavailable"}
  prometheus::Gauge* paused;       // eventstore_outbox_relay_state{state="paused"}
};

// What waits for a sink (labels `store`, `sink`). Sampled: see engine/relay/outbox_keeper.h.
struct OutboxMetrics {
  prometheus::Gauge* pending;                     // eventstore_outbox_pending
  prometheus::Gauge* failed;                      // eventstore_outbox_failed
  prometheus::Gauge* oldest_pending_age_seconds;  // eventstore_outbox_oldest_pending_age_seconds
};

// One RPC method (label `method`), by gRPC code.
struct RpcMetrics {
  std::array<prometheus::Counter*, 17> requests_by_code;  // eventstore_rpc_requests_total{code=}
  prometheus::Histogram* seconds;                         // eventstore_rpc_seconds
  prometheus::Gauge* in_flight;                           // eventstore_rpc_in_flight
};

// Owns the registry. Thread-safe. Must outlive everything that holds one of the structs above.
class Metrics {
 public:
  // Makes what the process has once: eventstore_build_info{version=},
  // eventstore_process_start_time_seconds and eventstore_process_resident_memory_bytes.
  explicit Metrics(std::string_view version);
  ~Metrics();

  [[nodiscard]] PoolMetrics Pool(const std::string& store);
  [[nodiscard]] LaneMetrics Lane(const std::string& store);
  [[nodiscard]] TransactionMetrics Transactions(const std::string& store);
  [[nodiscard]] ReadMetrics Read(const std::string& store);
  [[nodiscard]] ProjectionMetrics Projections(const std::string& store);
  [[nodiscard]] LifecycleMetrics Lifecycle(const std::string& store);
  [[nodiscard]] RpcMetrics Rpc(const std::string& method);
  [[nodiscard]] GroupMetrics Group(const std::string& store, const std::string& group);
  [[nodiscard]] GroupLaneMetrics GroupLane(const std::string& store, const std::string& group,
                                           int lane);
  [[nodiscard]] RelayMetrics Relay(const std::string& store, const std::string& sink);
  [[nodiscard]] OutboxMetrics Outbox(const std::string& store, const std::string& sink);
  // A lane that this daemon does not own any more: another one shows it now.
  void Remove(const GroupLaneMetrics& lane);

  // The exposition text of all metrics.
  [[nodiscard]] std::string Text() const;

 private:
  std::shared_ptr<prometheus::Registry> registry_;
};

}  // namespace eventstore::telemetry

#endif  // EVENTSTORE_SERVER_TELEMETRY_METRICS_H_
