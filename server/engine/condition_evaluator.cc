#include "server/engine/condition_evaluator.h"

#include <utility>

#include "server/core/errors.h"
#include "server/engine/condition_evaluation.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Most transactions that are evaluated together.
constexpr std::size_t kGroupMax = 64;

// What takes no longer is worth waiting for, so that those who come meanwhile go together.
constexpr std::chrono::milliseconds kQuick{3};

}  // namespace

void ConditionEvaluator::Evaluate(std::shared_ptr<const Transaction> transaction, Deadline deadline,
                                  Done<Evaluation> done) {
  bool taken = false;
  {
    MutexLock lock(&mutex_);
    taken = static_cast<std::int64_t>(waiting_.size()) < options_.queue_requests_max;
    if (taken) waiting_.push_back({std::move(transaction), deadline, std::move(done), false});
  }
  if (taken) return StartTask();
  done(Overloaded("reader.queue_requests_max", options_.queue_requests_max,
                  std::chrono::milliseconds(200),
                  "too many transactions wait for their conditions to be evaluated"));
}

void ConditionEvaluator::StartTask() {
  {
    MutexLock lock(&mutex_);
    if (waiting_.empty() || running_ >= options_.threads) return;
    // A statement for many costs little more than for one.
    const auto now = Clock::now();
    const bool is_crowd = waiting_.size() >= kGroupMax || now >= last_start_ + kQuick;
    if (together_ > 0 && !waiting_.front().alone && !is_crowd) return;
    last_start_ = now;
    ++running_;
    ++together_;
  }
  // Taken when a thread has it, so that as many as possible go together.
  auto group = std::make_shared<Group>();
  workers_->Run<Evaluations>(
      Workers::Kind::kRead, Deadline::max(),
      [this, group](pg::Connection& connection, Deadline until) -> absl::StatusOr<Evaluations> {
        if (group->items.empty()) TakeGroup(group.get());  // else another connection was lost
        if (group->items.empty()) return Evaluations();
        if (group->alone) StartTask();  // nobody has to wait for it
        std::vector<const ValidatedTransaction*> transactions;
        for (const Item& item : group->items) transactions.push_back(&item.transaction->request);
        auto evaluations = EvaluateConditions(connection, transactions, !group->alone, until);
        group->apart = !group->alone && IsOfOne(evaluations.status());
        return evaluations;
      },
      [this, group](absl::StatusOr<Evaluations> evaluations) {
        // Without a thread or a connection nothing was taken, and nobody else may come for it.
        if (!evaluations.ok() && group->items.empty()) TakeGroup(group.get());
        Finish(group.get(), std::move(evaluations));
      });
}

void ConditionEvaluator::TakeGroup(Group* group) {
  MutexLock lock(&mutex_);
  while (!waiting_.empty() && group->items.size() < kGroupMax) {
    const bool alone = waiting_.front().alone;
    if (alone && !group->items.empty()) return;
    group->items.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    if (!alone) continue;
    group->alone = true;
    --together_;
    return;
  }
}

void ConditionEvaluator::Finish(Group* group, absl::StatusOr<Evaluations> evaluations) {
  {
    MutexLock lock(&mutex_);
    --running_;
    if (!group->alone) --together_;
    if (group->apart) {
      for (Item& item : group->items) {
        item.alone = true;
        waiting_.push_back(std::move(item));
      }
      group->items.clear();
    }
  }
  for (int i = 0; i < options_.threads; ++i) StartTask();
  const auto now = Clock::now();
  for (std::size_t i = 0; i < group->items.size(); ++i) {
    Item& item = group->items[i];
    if (now >= item.deadline) {
      item.done(
          absl::DeadlineExceededError("the deadline passed before the transaction was written"));
    } else if (!evaluations.ok()) {
      item.done(Separate(evaluations.status()));
    } else {
      item.done(std::move((*evaluations)[i]));
    }
  }
  told_();
}

}  // namespace eventstore::engine
