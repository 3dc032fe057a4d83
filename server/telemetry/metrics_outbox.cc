// The metrics of the outbox.
#include "server/telemetry/metric_maker.h"
#include "server/telemetry/metrics.h"

namespace eventstore::telemetry {
namespace {

// From a broker on the same machine to one that was away for a day.
const MetricBuckets kPublishSeconds = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,  0.2,  0.5,
                                       1,     2,     5,     10,   60,   600,  3600, 86400};

}  // namespace

RelayMetrics Metrics::Relay(const std::string& store, const std::string& sink) {
  MetricMaker make(registry_.get(), {{"store", store}, {"sink", sink}});
  const auto state = [&make](const char* name) {
    return make.Gauge("eventstore_outbox_relay_state",
                      "1: the state of this daemon's relay of the sink.", {{"state", name}});
  };
  RelayMetrics relay{};
  relay.published =
      make.Counter("eventstore_outbox_published_total", "Events that the broker acknowledged.");
  relay.refused =
      make.Counter("eventstore_outbox_refused_total", "Attempts that the broker refused.");
  relay.retries = make.Counter("eventstore_outbox_retries_total",
                               "Attempts at events that were refused before.");
  relay.publish_latency_seconds = make.Histogram(
      "eventstore_outbox_publish_latency_seconds",
      "Time from an event's commit to the broker's acknowledgement.", kPublishSeconds);
  relay.standby = state("standby");
  relay.running = state("running");
  relay.unavailable = state("unavailable");
  relay.paused = state("paused");
  return relay;
}

OutboxMetrics Metrics::Outbox(const std::string& store, const std::string& sink) {
  MetricMaker make(registry_.get(), {{"store", store}, {"sink", sink}});
  return {make.Gauge("eventstore_outbox_pending", "Events that wait to be published."),
          make.Gauge("eventstore_outbox_failed", "Events whose attempts are used up."),
          make.Gauge("eventstore_outbox_oldest_pending_age_seconds",
                     "Age of the oldest event that waits to be published; 0: none.")};
}

}  // namespace eventstore::telemetry
