// One store: an ordered log with its tables, and everything that works on it.
#ifndef EVENTSTORE_SERVER_ENGINE_STORE_H_
#define EVENTSTORE_SERVER_ENGINE_STORE_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/core/ids.h"
#include "server/engine/dead_letters.h"
#include "server/engine/groups/groups.h"
#include "server/engine/hub.h"
#include "server/engine/lifecycle.h"
#include "server/engine/listener.h"
#include "server/engine/options.h"
#include "server/engine/outbox.h"
#include "server/engine/outbox_routes.h"
#include "server/engine/partition_planner.h"
#include "server/engine/payload_indexes.h"
#include "server/engine/projection_sampler.h"
#include "server/engine/projections.h"
#include "server/engine/reader.h"
#include "server/engine/relay/relays.h"
#include "server/engine/snapshots.h"
#include "server/engine/transactor.h"
#include "server/engine/writer.h"
#include "server/pg/pool.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Owns a pool, a lane, a reader, a hub, consumer groups, relays and a listener, and takes them down
// in order. Nothing in it is a global: several stores live side by side. Thread-safe.
class Store {
 public:
  // Opens a store whose schema is up to date (see Migrator): reads its identity, makes the first
  // partitions and starts its threads. `metrics` must outlive it. Errors: STORE_UNAVAILABLE while
  // the database is away (try again), FAILED_PRECONDITION when something must be mended by hand,
  // INVALID_REQUEST for routes that are none (see OutboxRoutes).
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Store>> Open(StoreOptions options,
                                                                   telemetry::Metrics* metrics,
                                                                   Deadline deadline);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  [[nodiscard]] Writer& writer() { return *writer_; }
  [[nodiscard]] Transactor& transactor() { return *transactor_; }
  [[nodiscard]] Reader& reader() { return *reader_; }
  [[nodiscard]] Hub& hub() { return *hub_; }
  [[nodiscard]] Groups& groups() { return *groups_; }
  [[nodiscard]] Projections& projections() { return *projections_; }
  [[nodiscard]] DeadLetters& dead_letters() { return *dead_letters_; }
  [[nodiscard]] Snapshots& snapshots() { return *snapshots_; }
  [[nodiscard]] TableOutbox& outbox() { return *outbox_; }
  [[nodiscard]] Lifecycle& lifecycle() { return *lifecycle_; }
  [[nodiscard]] PayloadIndexes& payload_indexes() { return *payload_indexes_; }
  [[nodiscard]] pg::Pool& pool() { return *pool_; }
  [[nodiscard]] const StoreOptions& options() const { return options_; }
  // The store's identity, a UUID that survives restarts.
  [[nodiscard]] const std::string& store_id() const { return store_id_; }
  // Whether the database answers, for health: the lane and the listener are connected.
  [[nodiscard]] bool available() const;

  // One round of upkeep on a pooled connection: this daemon's heartbeat, now and then the figures
  // of projections, and, if asked for, partitions ahead. The housekeeper calls it from its own
  // thread, every few seconds and when it is wanted.
  [[nodiscard]] absl::Status Maintain(Deadline deadline, bool partitions);
  // `wake` is called from the lane's or the listener's thread when Maintain should run soon. It
  // must not block.
  void OnMaintenanceWanted(std::function<void()> wake);

  // Ends subscriptions, empties the lane until `deadline`, and closes connections. Idempotent.
  void Drain(Deadline deadline);

 private:
  Store(StoreOptions options, OutboxRoutes routes, telemetry::Metrics* metrics);
  [[nodiscard]] absl::Status Start(const tables::Head& head, std::int64_t partition_end);
  void WantMaintenance();

  const StoreOptions options_;
  const OutboxRoutes routes_;
  const Uuid daemon_id_;
  telemetry::Metrics* const metrics_;
  std::string store_id_;
  PartitionPlanner partitions_;  // used by Open, then by Maintain only
  ProjectionSampler sampler_;    // used by Maintain only
  Mutex mutex_;
  std::function<void()> wake_ ABSL_GUARDED_BY(mutex_);
  // In the order of dependence: each uses only those above it.
  std::unique_ptr<pg::Pool> pool_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Projections> projections_;
  std::unique_ptr<DeadLetters> dead_letters_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<TableOutbox> outbox_;
  std::unique_ptr<PayloadIndexBuilder> index_builder_;
  std::unique_ptr<PayloadIndexes> payload_indexes_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Groups> groups_;
  std::unique_ptr<Relays> relays_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Transactor> transactor_;
};

// Finds the store of a tenant: what rpc/ needs to know of the registry.
class StoreDirectory {
 public:
  virtual ~StoreDirectory() = default;
  // `tenant_id` is normalized and may be empty. Errors: STORE_UNAVAILABLE while it is not open yet.
  [[nodiscard]] virtual absl::StatusOr<std::shared_ptr<Store>> Find(std::string_view tenant_id) = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_STORE_H_
