// Appends on their way through the write lane.
#ifndef EVENTSTORE_SERVER_ENGINE_PENDING_APPEND_H_
#define EVENTSTORE_SERVER_ENGINE_PENDING_APPEND_H_

#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/mutex.h"
#include "server/core/validation.h"

namespace eventstore::engine {

// One append on its way through the lane. Shared by the caller, who may cancel it, and the lane.
class PendingAppend {
 public:
  using Done = std::function<void(absl::StatusOr<v1::AppendEventsResponse>)>;

  PendingAppend(ValidatedAppend append, Deadline deadline, Done done)
      : append_(std::move(append)), deadline_(deadline), done_(std::move(done)) {}

  // Asks that nothing be written. Has no effect once the append is in a batch: then the result is
  // real. `done` is called in any case. Any thread.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  friend class Writer;
  friend class Lane;
  friend class BatchDecider;

  ValidatedAppend append_;
  const Deadline deadline_;
  Done done_;
  std::chrono::steady_clock::time_point enqueued_at_;  // set before the lane sees it
  std::atomic<bool> cancelled_{false};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PENDING_APPEND_H_
