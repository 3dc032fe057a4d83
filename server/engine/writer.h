// The write lane of a store: it batches every client's appends into few commits.
#ifndef EVENTSTORE_SERVER_ENGINE_WRITER_H_
#define EVENTSTORE_SERVER_ENGINE_WRITER_H_

#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/mutex.h"
#include "server/core/validation.h"
#include "server/engine/lane_database.h"
#include "server/engine/lane_host.h"
#include "server/engine/options.h"
#include "server/engine/pending_write.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

class Lane;

// A bounded queue and one thread with one connection. While a batch commits, the next one gathers:
// there is no timer, a lonely append leaves at once and a crowd shares a commit.
//
// Thread-safe: any thread may call it, and no call blocks on the database.
class Writer : private LaneHost {
 public:
  using Callbacks = LaneCallbacks;

  Writer(const StoreOptions& options, std::unique_ptr<LaneDatabase> database,
         telemetry::LaneMetrics metrics, Callbacks callbacks);
  ~Writer() override;
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Queues an append. `done` is called exactly once: from the lane's thread, or inline when the
  // queue is full (OVERLOADED) or the lane has stopped (STORE_UNAVAILABLE). A caller whose deadline
  // passes, or who cancels, before the append is in a batch gets DEADLINE_EXCEEDED or CANCELLED and
  // nothing is written. Errors: VERSION_CONFLICT, DUPLICATE_EVENT_ID, STREAM_DELETED,
  // STORE_UNAVAILABLE, INVALID_EVENT (what only PostgreSQL could find).
  std::shared_ptr<PendingWrite> Submit(ValidatedAppend append, Deadline deadline,
                                       PendingWrite::Done done);

  // As Submit, with the errors of BatchDecider for a transaction. Its conditions were evaluated;
  // where that has to be done afresh, `stale` is called instead of `done`, from the lane's thread.
  // An idle lane begins at the next Wake, if not before, so that those who were evaluated together
  // go together.
  std::shared_ptr<PendingWrite> Submit(std::shared_ptr<Transaction> transaction, Deadline deadline,
                                       PendingWrite::Transacted done, std::function<void()> stale);
  void Wake();

  // Takes no more appends, and writes those that wait until `deadline`; what is left then fails
  // with STORE_UNAVAILABLE. Idempotent. The destructor stops at once.
  void Drain(Deadline deadline);

  // The position after the last one that has a partition, as the housekeeper found it.
  void SetPartitionEnd(std::int64_t end_position);

  // Whether the lane has a connection, for health.
  [[nodiscard]] bool connected() const { return connected_.load(std::memory_order_relaxed); }

 private:
  using Batch = std::vector<std::shared_ptr<PendingWrite>>;
  std::shared_ptr<PendingWrite> Enqueue(std::shared_ptr<PendingWrite> pending, bool wakes);
  void ThreadMain();
  // Waits for work, but no longer than until `deadline`. False when the lane should end; an empty
  // batch when there was none.
  bool NextBatch(Deadline deadline, Batch* batch);
  // Whether the thread has ended, or ends until then.
  bool Finished(Deadline wait_until);
  // For the lane.
  [[nodiscard]] absl::Status ExpiryOf(const PendingWrite& write, Deadline now) const override;
  void Pause(std::chrono::milliseconds duration) override;
  [[nodiscard]] bool GivenUp() override;
  [[nodiscard]] bool HasWork() override;
  void SetConnected(bool connected) override {
    connected_.store(connected, std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t partition_end() const override {
    return partition_end_.load(std::memory_order_relaxed);
  }
  void FailQueue(const absl::Status& status);
  void UpdateQueueMetrics() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const StoreOptions options_;
  const telemetry::LaneMetrics metrics_;
  const Callbacks callbacks_;
  const std::unique_ptr<LaneDatabase> database_;
  const std::unique_ptr<Lane> lane_;  // used by the lane's thread only
  std::atomic<bool> connected_{false};
  std::atomic<std::int64_t> partition_end_{0};
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::shared_ptr<PendingWrite>> queue_ ABSL_GUARDED_BY(mutex_);
  std::int64_t queue_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  Deadline drain_deadline_ ABSL_GUARDED_BY(mutex_) = Deadline::max();
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_WRITER_H_
