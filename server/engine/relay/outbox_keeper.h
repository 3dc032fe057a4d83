// Deletes what was published long ago, and takes the outbox' figures.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_OUTBOX_KEEPER_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_OUTBOX_KEEPER_H_

#include <absl/status/status.h>

#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/pool.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// One thread a store, which works on a pooled connection every `outbox.sweep_interval_ms`. Sinks
// without a relay have their entries deleted, too, so no lease decides who does it: daemons pass
// over what another one is deleting.
class OutboxKeeper {
 public:
  // Entries of a sink that are counted at most: the figures are lower bounds beyond.
  static constexpr std::int64_t kCountMax = 100'000;
  // Entries that one statement deletes at most.
  static constexpr std::int64_t kDeleteMax = 1'000;

  // `options` and `pool` must outlive this object. Starts the thread.
  OutboxKeeper(const StoreOptions& options, pg::Pool* pool, telemetry::Metrics* metrics);
  ~OutboxKeeper();
  OutboxKeeper(const OutboxKeeper&) = delete;
  OutboxKeeper& operator=(const OutboxKeeper&) = delete;

  // Joins the thread after the statement that runs. Idempotent.
  void Stop();

 private:
  void ThreadMain();
  [[nodiscard]] absl::Status Sample();
  [[nodiscard]] absl::Status DeletePublished();
  [[nodiscard]] bool Stopped();

  const StoreOptions& options_;
  pg::Pool* const pool_;
  std::vector<std::pair<std::string, telemetry::OutboxMetrics>> sinks_;  // by name
  bool complained_ = false;                                              // the thread's own
  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_OUTBOX_KEEPER_H_
