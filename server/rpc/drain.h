// The streaming calls that are open, so that a shutdown can end them.
#ifndef EVENTSTORE_SERVER_RPC_DRAIN_H_
#define EVENTSTORE_SERVER_RPC_DRAIN_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include <atomic>
#include <memory>

#include "server/core/mutex.h"

namespace eventstore::rpc {

// A call that would go on for ever if it were not told to end.
class Drainable {
 public:
  virtual ~Drainable() = default;
  // Ends the call with `status` as soon as it owes the client nothing. Called at most once, without
  // locks held.
  virtual void Drain(absl::Status status) = 0;
};

// Thread-safe; no call blocks.
class OpenCalls {
 public:
  // Refuses with STORE_UNAVAILABLE once Drain was called.
  [[nodiscard]] absl::Status Add(const std::shared_ptr<Drainable>& call);
  void Remove(Drainable* call);

  // Ends every call with STORE_UNAVAILABLE and refuses further ones. Idempotent.
  void Drain();
  // STORE_UNAVAILABLE once Drain was called.
  [[nodiscard]] absl::Status CheckOpen() const;

 private:
  std::atomic<bool> draining_{false};
  mutable Mutex mutex_;
  absl::flat_hash_map<Drainable*, std::weak_ptr<Drainable>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_DRAIN_H_
