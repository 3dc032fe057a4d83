// The outbox' workers of a store.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_RELAYS_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_RELAYS_H_

#include <absl/status/statusor.h>

#include <memory>
#include <vector>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/relay/outbox_keeper.h"
#include "server/engine/relay/relay.h"
#include "server/pg/pool.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// A relay for each sink that is not of the type "worker", and a keeper. Thread-safe.
class Relays {
 public:
  // Starts them; nothing runs with the outbox off. The pointers and `options` must outlive this
  // object. Errors: INVALID_REQUEST of a sink's settings.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Relays>> Start(const StoreOptions& options,
                                                                     Uuid daemon_id, pg::Pool* pool,
                                                                     telemetry::Metrics* metrics);
  ~Relays();
  Relays(const Relays&) = delete;
  Relays& operator=(const Relays&) = delete;

  // Events were committed, by any daemon. From the lane and the listener; does not block.
  void NoticeCommit();
  // Entries or sinks were changed by OutboxService. Any thread; does not block.
  void NoticeChange();
  // Lets batches that run end until `deadline`, gives the leases back and joins all threads.
  // Idempotent.
  void Stop(Deadline deadline);

 private:
  Relays() = default;

  std::vector<std::unique_ptr<Relay>> relays_;
  std::unique_ptr<OutboxKeeper> keeper_;  // null with the outbox off
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_RELAYS_H_
