// Has the conditions of transactions evaluated, many together.
#ifndef EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATOR_H_
#define EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATOR_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/pending_write.h"
#include "server/engine/workers.h"

namespace eventstore::engine {

// As in the lane, those that come while others are evaluated go together next: a lonely one leaves
// at once, a crowd shares a round trip. A slow one is found out after a short time and goes alone,
// so that it holds up nobody for longer. Thread-safe; no call blocks.
//
// Errors, by `done`, besides those of EvaluateConditions: OVERLOADED (`reader.queue_requests_max`),
// STORE_UNAVAILABLE, DEADLINE_EXCEEDED.
class ConditionEvaluator {
 public:
  // Both must outlive this object, and the workers must have stopped before it goes. `told` is
  // called when all that were evaluated together have been told.
  ConditionEvaluator(const ReaderOptions& options, Workers* workers, std::function<void()> told)
      : options_(options), workers_(workers), told_(std::move(told)) {}

  // `done` is called exactly once, on a worker's thread, or inline when it is refused at once.
  void Evaluate(std::shared_ptr<const Transaction> transaction, Deadline deadline,
                Done<Evaluation> done);

 private:
  struct Item {
    std::shared_ptr<const Transaction> transaction;
    Deadline deadline;
    Done<Evaluation> done;
    bool alone = false;  // it, or one of those with it, was slow or failed: goes alone
  };
  struct Group {
    std::vector<Item> items;
    bool alone = false;  // the one item is to go alone
    bool apart = false;  // it failed for a reason that one of them may be to blame for
  };

  // Starts a task for what waits, if there is something and a thread for it, and no other one that
  // it is better to wait for.
  void StartTask();
  void TakeGroup(Group* group);
  void Finish(Group* group, absl::StatusOr<std::vector<absl::StatusOr<Evaluation>>> evaluations);

  const ReaderOptions& options_;
  Workers* const workers_;
  const std::function<void()> told_;
  Mutex mutex_;
  std::deque<Item> waiting_ ABSL_GUARDED_BY(mutex_);
  int running_ ABSL_GUARDED_BY(mutex_) = 0;   // tasks
  int together_ ABSL_GUARDED_BY(mutex_) = 0;  // those among them whose time is limited
  std::chrono::steady_clock::time_point last_start_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATOR_H_
