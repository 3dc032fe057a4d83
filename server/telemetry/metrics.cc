#include "server/telemetry/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "server/telemetry/metric_maker.h"

namespace eventstore::telemetry {
namespace {

// A commit takes from half a millisecond (no disk flush) to the statement timeout.
const MetricBuckets kCommitSeconds = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                      0.1,    0.2,   0.5,   1,     2,    5,    10};
// Waits for a connection or for the lane: from nothing to the pool's timeout and beyond.
const MetricBuckets kWaitSeconds = {0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1,
                                    0.5,    1,      2,     5,     10,   30,   60};
// RPCs: the same range, finer where most of them are.
const MetricBuckets kRpcSeconds = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                   0.1,    0.2,    0.5,    1,     2,     5,     10,   30,   60};
const MetricBuckets kBatchSizes = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

// The names of gRPC's codes, by number.
constexpr std::array<const char*, 17> kGrpcCodes = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

// This process' resident memory; 0 where there is no /proc.
double ResidentMemoryBytes() {
  std::ifstream statm("/proc/self/statm");
  double total_pages = 0;
  double resident_pages = 0;
  statm >> total_pages >> resident_pages;
  return statm ? resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)) : 0;
}

// A gauge whose value is taken when it is asked for.
prometheus::MetricFamily GaugeNow(const char* name, const char* help, double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = prometheus::MetricType::Gauge;
  family.metric.resize(1);
  family.metric[0].gauge.value = value;
  return family;
}

}  // namespace

void LabelledGauges::Replace(std::vector<Value> values) {
  std::map<std::vector<std::string>, prometheus::Gauge*> kept;
  for (Value& value : values) {
    prometheus::Gauge* gauge = nullptr;
    if (const auto known = gauges_.find(value.labels); known != gauges_.end()) {
      gauge = known->second;
      gauges_.erase(known);
    } else {
      MetricLabels labels = fixed_;
      for (std::size_t i = 0; i < names_.size(); ++i) labels[names_[i]] = value.labels[i];
      gauge = &family_->Add(labels);
    }
    gauge->Set(value.value);
    kept.emplace(std::move(value.labels), gauge);
  }
  for (const auto& [labels, gauge] : gauges_) family_->Remove(gauge);
  gauges_ = std::move(kept);
}

Metrics::Metrics(std::string_view version) : registry_(std::make_shared<prometheus::Registry>()) {
  MetricMaker make(registry_.get(), {});
  make.Gauge("eventstore_build_info", "Always 1; the label tells the daemon's version.",
             {{"version", std::string(version)}})
      ->Set(1);
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  make.Gauge("eventstore_process_start_time_seconds", "When the daemon started, in Unix time.")
      ->Set(now.count());
}

Metrics::~Metrics() = default;

PoolMetrics Metrics::Pool(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  PoolMetrics pool{};
  pool.size = make.Gauge("eventstore_pool_size", "Connections that the pool keeps (pool_size).");
  pool.checked_out = make.Gauge("eventstore_pool_checked_out", "Connections that are in use.");
  pool.overflow =
      make.Gauge("eventstore_pool_overflow", "Connections beyond pool_size that are open now.");
  pool.checked_in = make.Gauge("eventstore_pool_checked_in", "Open connections that are idle.");
  pool.wait_seconds = make.Histogram("eventstore_pool_wait_seconds",
                                     "Time that callers waited for a connection.", kWaitSeconds);
  pool.exhausted = make.Counter("eventstore_pool_exhausted_total",
                                "Requests for a connection that had to wait for one.");
  pool.timeouts = make.Counter("eventstore_pool_timeouts_total",
                               "Requests for a connection that waited past pool_timeout.");
  pool.connects = make.Counter("eventstore_pool_connects_total", "Connections opened.");
  pool.connect_failures =
      make.Counter("eventstore_pool_connect_failures_total", "Attempts to connect that failed.");
  pool.recycled = make.Counter("eventstore_pool_recycled_total",
                               "Connections replaced because of their age (pool_recycle).");
  pool.pre_ping_failures = make.Counter("eventstore_pool_pre_ping_failures_total",
                                        "Idle connections found dead before use (pool_pre_ping).");
  return pool;
}

LaneMetrics Metrics::Lane(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  LaneMetrics lane{};
  lane.queue_appends =
      make.Gauge("eventstore_lane_queue_appends", "Appends that wait for a batch.");
  lane.queue_bytes =
      make.Gauge("eventstore_lane_queue_bytes", "Bytes of the appends that wait for a batch.");
  lane.batch_appends =
      make.Histogram("eventstore_lane_batch_appends", "Appends in one commit.", kBatchSizes);
  lane.batch_events =
      make.Histogram("eventstore_lane_batch_events", "Events in one commit.", kBatchSizes);
  lane.commit_seconds = make.Histogram(
      "eventstore_lane_commit_seconds",
      "Time of a whole batch, from locking the head to the durable commit.", kCommitSeconds);
  lane.queue_wait_seconds = make.Histogram("eventstore_lane_queue_wait_seconds",
                                           "Time that appends waited for a batch.", kWaitSeconds);
  lane.events = make.Counter("eventstore_events_appended_total", "Events committed.");
  lane.conflicts = make.Counter("eventstore_append_conflicts_total",
                                "Appends whose expected version did not hold.");
  lane.replays = make.Counter("eventstore_append_replays_total",
                              "Appends answered with the result of their first attempt.");
  lane.overloaded = make.Counter("eventstore_append_overloaded_total",
                                 "Appends refused because the queue was full.");
  lane.slow_commits =
      make.Counter("eventstore_lane_slow_commits_total", "Commits slower than the threshold.");
  lane.optimistic_failures = make.Counter(
      "eventstore_lane_optimistic_failures_total",
      "Batches that the lane decided on what it knew and had to decide again under the "
      "head's lock.");
  lane.in_doubt = make.Counter("eventstore_lane_in_doubt_total",
                               "Commits whose outcome had to be found out afterwards.");
  lane.poisoned = make.Counter("eventstore_lane_poisoned_appends_total",
                               "Appends that PostgreSQL refused for their data.");
  lane.reconnects =
      make.Counter("eventstore_lane_reconnects_total", "Times that the lane had to connect again.");
  lane.foreign_events = make.Counter("eventstore_lane_foreign_events_total",
                                     "Events of other daemons that the lane caught up with.");
  lane.cache_streams = make.Gauge("eventstore_lane_cache_streams", "Streams in the version cache.");
  lane.cache_hits =
      make.Counter("eventstore_lane_cache_hits_total", "Stream versions found in the cache.");
  lane.cache_misses = make.Counter("eventstore_lane_cache_misses_total",
                                   "Stream versions looked up in the database.");
  const auto conditions = [&make](const char* checked) {
    return make.Counter(
        "eventstore_conditions_total",
        "Transactions with conditions that the lane decided, by where it looked for "
        "what was committed since their evaluation.",
        {{"checked", checked}});
  };
  lane.conditions_current = conditions("current");
  lane.conditions_by_memory = conditions("memory");
  lane.conditions_by_query = conditions("query");
  lane.head_position =
      make.Gauge("eventstore_head_position", "The last committed position that is known here.");
  lane.epoch = make.Gauge("eventstore_epoch", "How often the store's history was rewound.");
  lane.partition_headroom = make.Gauge("eventstore_partition_headroom_positions",
                                       "Positions left in the partitions that exist.");
  return lane;
}

TransactionMetrics Metrics::Transactions(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  const auto by_result = [&make](const char* result) {
    return make.Counter("eventstore_transactions_total", "Transactions answered, by result.",
                        {{"result", result}});
  };
  TransactionMetrics transactions{};
  transactions.committed = by_result("committed");
  transactions.replayed = by_result("replayed");
  transactions.rejected = by_result("rejected");
  transactions.failed = by_result("failed");
  transactions.evaluated =
      make.Counter("eventstore_condition_evaluations_total",
                   "Times that the conditions of a transaction were evaluated on the tables.");
  transactions.reevaluated =
      make.Counter("eventstore_condition_reevaluations_total",
                   "Times that the lane sent a transaction back, because too much was committed "
                   "since its conditions were evaluated.");
  transactions.evaluation_seconds = make.Histogram(
      "eventstore_condition_evaluation_seconds",
      "Time to evaluate the conditions of a transaction, with its waiting.", kRpcSeconds);
  return transactions;
}

ReadMetrics Metrics::Read(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  const auto subscribers = [&make](const char* state) {
    return make.Gauge("eventstore_subscribers", "Open subscriptions by state.", {{"state", state}});
  };
  ReadMetrics read{};
  read.queue = make.Gauge("eventstore_read_queue_requests", "Reads that wait for a reader thread.");
  read.page_seconds =
      make.Histogram("eventstore_read_page_seconds", "Time to read one page.", kRpcSeconds);
  read.events = make.Counter("eventstore_events_read_total", "Events read from tables.");
  read.subscribers_live = subscribers("live");
  read.subscribers_catching_up = subscribers("catching_up");
  read.subscriber_lag_max = make.Gauge("eventstore_subscriber_lag_positions_max",
                                       "Positions that the slowest subscriber is behind.");
  read.subscriber_lag_sum = make.Gauge("eventstore_subscriber_lag_positions_sum",
                                       "Positions that all subscribers together are behind.");
  read.subscriber_stalled_seconds_max =
      make.Gauge("eventstore_subscriber_stalled_seconds_max",
                 "How long the longest unfinished write to a subscriber has taken so far.");
  read.subscriber_stuck_seconds_max =
      make.Gauge("eventstore_subscriber_stuck_seconds_max",
                 "Longest time for which a subscriber that is behind has got no further.");
  read.subscribers_stuck =
      make.Gauge("eventstore_subscribers_stuck",
                 "Subscribers that are behind and got no further for 10 seconds or longer.");
  read.catch_up_positions = make.Counter("eventstore_catch_up_positions_total",
                                         "Positions of history that subscribers went through.");
  read.catch_up_positions_left =
      make.Gauge("eventstore_catch_up_positions_left",
                 "Positions that all subscribers in history together have before them.");
  read.catch_up_seconds_max =
      make.Gauge("eventstore_catch_up_seconds_max",
                 "How long the subscriber that is in history longest has been there.");
  read.fell_behind = make.Counter("eventstore_subscribers_fell_behind_total",
                                  "Times that a live subscriber fell out of the ring.");
  read.slow_consumers = make.Counter("eventstore_subscribers_dropped_slow_total",
                                     "Subscriptions ended because the client did not read.");
  read.events_sent =
      make.Counter("eventstore_subscription_events_sent_total", "Events sent to subscribers.");
  read.wakes = make.Counter("eventstore_subscription_wakes_total",
                            "Times that a commit woke a waiting subscription.");
  read.ring_bytes =
      make.Gauge("eventstore_ring_bytes", "Bytes of the newest events kept in memory.");
  read.ring_events = make.Gauge("eventstore_ring_events", "The newest events kept in memory.");
  read.listener_reconnects = make.Counter("eventstore_listener_reconnects_total",
                                          "Times that the listener had to connect again.");
  return read;
}

ProjectionMetrics Metrics::Projections(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  return {make.Gauge("eventstore_projection_checkpoints", "Projections that have a checkpoint."),
          make.Gauges("eventstore_projection_position", "Where a projection's checkpoint is.",
                      {"projection"}),
          make.Gauges("eventstore_projection_lag_positions",
                      "Positions from a projection's oldest unprocessed event to the head.",
                      {"projection"}),
          make.Gauges("eventstore_projection_lag_seconds",
                      "Age of a projection's oldest unprocessed event.", {"projection"}),
          make.Gauges("eventstore_dead_letters",
                      "Dead letters that are not resolved, by projection and status.",
                      {"projection", "status"})};
}

LifecycleMetrics Metrics::Lifecycle(const std::string& store) {
  MetricMaker make(registry_.get(), {{"store", store}});
  const auto changes = [&make](const char* kind) {
    return make.Counter("eventstore_lifecycle_changes_total",
                        "Changes of streams and events that were written before, by kind.",
                        {{"kind", kind}});
  };
  return {changes("truncate"), changes("delete"), changes("tombstone"), changes("erase"),
          make.Counter("eventstore_events_erased_total", "Events whose content was erased.")};
}

RpcMetrics Metrics::Rpc(const std::string& method) {
  MetricMaker make(registry_.get(), {{"method", method}});
  RpcMetrics rpc{};
  for (std::size_t code = 0; code < kGrpcCodes.size(); ++code) {
    rpc.requests_by_code[code] =
        make.Counter("eventstore_rpc_requests_total", "Finished RPCs by method and gRPC code.",
                     {{"code", kGrpcCodes[code]}});
  }
  rpc.seconds = make.Histogram("eventstore_rpc_seconds", "Duration of RPCs.", kRpcSeconds);
  rpc.in_flight = make.Gauge("eventstore_rpc_in_flight", "RPCs that are running.");
  return rpc;
}

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  families.push_back(GaugeNow("eventstore_process_resident_memory_bytes",
                              "Resident memory of the daemon.", ResidentMemoryBytes()));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace eventstore::telemetry
