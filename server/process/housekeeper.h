// The daemon's upkeep: heartbeats, partitions, health, the embedded server.
#ifndef EVENTSTORE_SERVER_PROCESS_HOUSEKEEPER_H_
#define EVENTSTORE_SERVER_PROCESS_HOUSEKEEPER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/store.h"
#include "server/process/embedded_postgres.h"
#include "server/process/store_registry.h"

namespace eventstore::process {

// One thread. Looks at everything that can go wrong without anybody calling, and says so.
// Thread-safe.
class Housekeeper {
 public:
  // `registry` and `embedded` (may be null) must outlive this object. `serving` is told, from the
  // housekeeper's thread, whenever the daemon becomes able to serve, or unable.
  Housekeeper(const engine::StoreOptions& options, StoreRegistry* registry,
              EmbeddedPostgres* embedded, std::function<void(bool)> serving);
  ~Housekeeper();
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // Looks after partitions soon.
  void Wake();
  // Why the daemon cannot serve now; empty if it can.
  [[nodiscard]] std::string NotReadyReason();
  // Joins the thread; the daemon is not serving from then on. Idempotent.
  void Stop();

 private:
  void ThreadMain();
  void CheckEmbedded();
  void CheckHealth();
  void Maintain(bool partitions);

  const engine::StoreOptions options_;
  StoreRegistry* const registry_;
  EmbeddedPostgres* const embedded_;
  const std::function<void(bool)> serving_;
  bool maintain_failed_ = false;  // the thread's own
  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  std::string not_ready_ ABSL_GUARDED_BY(mutex_) = "starting";
  std::thread thread_;
};

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_HOUSEKEEPER_H_
