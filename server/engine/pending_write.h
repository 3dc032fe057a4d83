// Writes on their way through the write lane.
#ifndef EVENTSTORE_SERVER_ENGINE_PENDING_WRITE_H_
#define EVENTSTORE_SERVER_ENGINE_PENDING_WRITE_H_

#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/mutex.h"
#include "server/core/transaction.h"
#include "server/core/validation.h"

namespace eventstore::engine {

// What the conditions of a transaction were found to be on the tables, before the lane.
struct Evaluation {
  // Everything up to this position of this epoch was looked at.
  std::int64_t position = 0;
  std::int64_t epoch = 0;
  std::vector<std::int64_t> matches;  // the lowest position that matches each condition; 0: none
  absl::Status refused;               // a condition cannot be evaluated: POSITION_AHEAD, ARCHIVED
};

// A transaction as the lane takes it; without conditions there is nothing to evaluate.
struct Transaction {
  ValidatedTransaction request;
  Evaluation evaluation;
};

// What became of a write.
struct WriteAnswer {
  absl::Status status;
  v1::AppendEventsResponse append;
  std::unique_ptr<v1::TransactResponse> transaction;  // of a transaction, if OK
  // The conditions have to be evaluated afresh; nothing was written.
  bool stale = false;

  [[nodiscard]] bool ok() const { return status.ok() && !stale; }
  [[nodiscard]] bool deduplicated() const {
    return transaction != nullptr ? transaction->deduplicated() : append.deduplicated();
  }
};

// One unit of the lane's work: an append, or a transaction of several with what they depend on.
// Shared by the caller, who may cancel it, and the lane.
class PendingWrite {
 public:
  using Done = std::function<void(absl::StatusOr<v1::AppendEventsResponse>)>;
  using Transacted = std::function<void(absl::StatusOr<v1::TransactResponse>)>;

  PendingWrite(ValidatedAppend append, Deadline deadline, Done done)
      : append_(std::move(append)), deadline_(deadline), done_(std::move(done)) {}
  // `stale` is called instead of `done` where the conditions have to be evaluated afresh.
  PendingWrite(std::shared_ptr<Transaction> transaction, Deadline deadline, Transacted done,
               std::function<void()> stale)
      : transaction_(std::move(transaction)),
        deadline_(deadline),
        transacted_(std::move(done)),
        stale_(std::move(stale)) {}

  // Asks that nothing be written. Has no effect once the write is in a batch: then the result is
  // real. It is answered in any case. Any thread.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  friend class Writer;
  friend class Lane;
  friend class ConditionWindow;

  [[nodiscard]] std::span<const ValidatedAppend> appends() const {
    if (transaction_ == nullptr) return {&append_, 1};
    return transaction_->request.appends;
  }
  [[nodiscard]] std::int64_t events() const {
    if (transaction_ != nullptr) return transaction_->request.events;
    return static_cast<std::int64_t>(append_.event_ids.size());
  }
  [[nodiscard]] std::int64_t bytes() const {
    return transaction_ != nullptr ? transaction_->request.total_bytes : append_.total_bytes;
  }
  [[nodiscard]] bool has_conditions() const {
    return transaction_ != nullptr && !transaction_->request.conditions.empty();
  }
  // Whether it saves something besides events, which only the locked way can.
  [[nodiscard]] bool has_saves() const {
    return transaction_ != nullptr && (transaction_->request.checkpoint.has_value() ||
                                       !transaction_->request.snapshots.empty());
  }

  void Fail(absl::Status status) {
    transaction_ == nullptr ? done_(std::move(status)) : transacted_(std::move(status));
  }
  void Answer(WriteAnswer answer) {
    if (answer.stale) return stale_();
    if (!answer.status.ok()) return Fail(std::move(answer.status));
    transaction_ == nullptr ? done_(std::move(answer.append))
                            : transacted_(std::move(*answer.transaction));
  }

  ValidatedAppend append_;                          // where there is no transaction
  const std::shared_ptr<Transaction> transaction_;  // null: an append
  const Deadline deadline_;
  Done done_;
  Transacted transacted_;
  std::function<void()> stale_;
  std::chrono::steady_clock::time_point enqueued_at_;  // set before the lane sees it
  std::atomic<bool> cancelled_{false};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PENDING_WRITE_H_
