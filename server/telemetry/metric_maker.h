// Makes metrics that share their labels (private to this room).
#ifndef EVENTSTORE_SERVER_TELEMETRY_METRIC_MAKER_H_
#define EVENTSTORE_SERVER_TELEMETRY_METRIC_MAKER_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/telemetry/metrics.h"

namespace eventstore::telemetry {

using MetricLabels = std::map<std::string, std::string>;
using MetricBuckets = prometheus::Histogram::BucketBoundaries;

// A registry that has one by a name and labels already gives
// that one back, so the same metrics can be asked for again.
class MetricMaker {
 public:
  MetricMaker(prometheus::Registry* registry, MetricLabels labels)
      : registry_(registry), labels_(std::move(labels)) {}

  prometheus::Gauge* Gauge(const char* name, const char* help, const MetricLabels& more = {}) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(With(more));
  }

  void Remove(const char* name, const char* help, prometheus::Gauge* gauge) {
    prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Remove(gauge);
  }

  LabelledGauges Gauges(const char* name, const char* help, std::vector<std::string> names) {
    return {&prometheus::BuildGauge().Name(name).Help(help).Register(*registry_), labels_,
            std::move(names)};
  }

  prometheus::Counter* Counter(const char* name, const char* help, const MetricLabels& more = {}) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(With(more));
  }

  prometheus::Histogram* Histogram(const char* name, const char* help,
                                   const MetricBuckets& buckets) {
    return &prometheus::BuildHistogram()
                .Name(name)
                .Help(help)
                .Register(*registry_)
                .Add(labels_, buckets);
  }

 private:
  MetricLabels With(const MetricLabels& more) const {
    MetricLabels all = labels_;
    all.insert(more.begin(), more.end());
    return all;
  }

  prometheus::Registry* const registry_;
  const MetricLabels labels_;
};

}  // namespace eventstore::telemetry

#endif  // EVENTSTORE_SERVER_TELEMETRY_METRIC_MAKER_H_
