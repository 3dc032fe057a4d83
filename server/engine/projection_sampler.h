// Takes the figures of projections for the metrics.
#ifndef EVENTSTORE_SERVER_ENGINE_PROJECTION_SAMPLER_H_
#define EVENTSTORE_SERVER_ENGINE_PROJECTION_SAMPLER_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstdint>

#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Owned by the store, used by whoever keeps house. One thread.
class ProjectionSampler {
 public:
  // How often figures are taken, at most.
  static constexpr std::chrono::seconds kInterval{15};
  // Most projections with figures of their own: of checkpoints those with the lowest positions, of
  // dead letters those with the most.
  static constexpr std::int64_t kProjectionsMax = 100;
  // Most dead letters that are counted.
  static constexpr std::int64_t kDeadLettersMax = 10'000;

  explicit ProjectionSampler(telemetry::ProjectionMetrics metrics) : metrics_(metrics) {}

  // Does nothing before it is time.
  [[nodiscard]] absl::Status Sample(pg::Connection& connection, Deadline deadline);

 private:
  [[nodiscard]] absl::Status SampleCheckpoints(pg::Connection& connection, Deadline deadline);
  [[nodiscard]] absl::Status SampleDeadLetters(pg::Connection& connection, Deadline deadline);

  telemetry::ProjectionMetrics metrics_;
  Deadline next_{};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PROJECTION_SAMPLER_H_
