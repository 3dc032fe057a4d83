// Opens stores and finds them for callers.
#ifndef EVENTSTORE_SERVER_PROCESS_STORE_REGISTRY_H_
#define EVENTSTORE_SERVER_PROCESS_STORE_REGISTRY_H_

#include <absl/status/status.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/core/mutex.h"
#include "server/engine/store.h"
#include "server/telemetry/metrics.h"

namespace eventstore::process {

// Owns the daemon's stores: today one, that every tenant shares. A thread brings its schema up to
// date and opens it, however long the database stays away. Thread-safe.
class StoreRegistry : public engine::StoreDirectory {
 public:
  struct Callbacks {
    // The store is open. On the registry's thread.
    std::function<void(std::shared_ptr<engine::Store>)> opened;
    // It cannot be opened until a person has mended something. On the registry's thread.
    std::function<void(absl::Status)> failed;
  };

  // `metrics` must outlive this object. `migrate`: bring the schema up to date first.
  StoreRegistry(engine::StoreOptions options, bool migrate, telemetry::Metrics* metrics,
                Callbacks callbacks);
  ~StoreRegistry() override;

  [[nodiscard]] absl::StatusOr<std::shared_ptr<engine::Store>> Find(
      std::string_view tenant_id) override;
  [[nodiscard]] std::vector<std::shared_ptr<engine::Store>> Stores();
  // Why the store is not open yet; empty once it is.
  [[nodiscard]] std::string WaitingFor();

  // Stops opening, and drains what is open until `deadline`. Idempotent.
  void Drain(Deadline deadline);

 private:
  void ThreadMain();
  [[nodiscard]] absl::Status TryOpen();

  const engine::StoreOptions options_;
  const bool migrate_;
  telemetry::Metrics* const metrics_;
  const Callbacks callbacks_;
  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::string waiting_for_ ABSL_GUARDED_BY(mutex_) = "the store is being opened";
  std::shared_ptr<engine::Store> store_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_STORE_REGISTRY_H_
