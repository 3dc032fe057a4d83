#include "server/engine/transactor.h"

#include <memory>
#include <utility>

#include "server/core/errors.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRetryDelay{100};

}  // namespace

// One transaction. Kept alive by whoever works on it: a worker, the lane, or the caller's handle.
class Transactor::Call : public std::enable_shared_from_this<Call> {
 public:
  Call(Transactor* owner, ValidatedTransaction request, Deadline deadline,
       Done<v1::TransactResponse> done)
      : owner_(owner),
        transaction_(std::make_shared<Transaction>()),
        deadline_(deadline),
        done_(std::move(done)) {
    transaction_->request = std::move(request);
  }

  void Start() {
    if (!transaction_->request.conditions.empty()) {
      auto evaluation = owner_->memory_.Evaluate(transaction_->request);
      if (!evaluation.has_value()) return Evaluate();
      transaction_->evaluation = *std::move(evaluation);
    }
    Enqueue();
    owner_->writer_->Wake();
  }

  void Cancel() {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    if (const auto pending = pending_.lock()) pending->Cancel();
  }

 private:
  // Neither the lane nor a worker has the transaction while this runs.
  void Evaluate() {
    if (++evaluations_ > owner_->options_.writer.condition_evaluations_max) {
      return Finish(Overloaded("writer.condition_evaluations_max",
                               owner_->options_.writer.condition_evaluations_max, kRetryDelay,
                               "too much is committed while the conditions are evaluated"));
    }
    owner_->metrics_.evaluated->Increment();
    const auto started = Clock::now();
    owner_->evaluator_.Evaluate(
        transaction_, deadline_,
        [self = shared_from_this(), started](absl::StatusOr<Evaluation> evaluation) {
          self->owner_->metrics_.evaluation_seconds->Observe(
              std::chrono::duration<double>(Clock::now() - started).count());
          self->Evaluated(std::move(evaluation));
        });
  }

  void Evaluated(absl::StatusOr<Evaluation> evaluation) {
    if (!evaluation.ok()) return Finish(std::move(evaluation).status());
    transaction_->evaluation = *std::move(evaluation);
    Enqueue();
  }

  void Enqueue() {
    {
      MutexLock lock(&mutex_);
      pending_.reset();
    }
    const auto pending = owner_->writer_->Submit(
        transaction_, deadline_,
        [self = shared_from_this()](absl::StatusOr<v1::TransactResponse> response) {
          self->Finish(std::move(response));
        },
        [self = shared_from_this()] {
          self->owner_->metrics_.reevaluated->Increment();
          self->Evaluate();
        });
    MutexLock lock(&mutex_);
    if (cancelled_) pending->Cancel();
    // By now the lane may have sent it back, and another one may be pending.
    if (pending_.expired()) pending_ = pending;
  }

  void Finish(absl::StatusOr<v1::TransactResponse> response) {
    const telemetry::TransactionMetrics& metrics = owner_->metrics_;
    const absl::Status& status = response.status();
    if (response.ok()) {
      (response->deduplicated() ? metrics.replayed : metrics.committed)->Increment();
    } else {
      const bool rejected = absl::IsAborted(status) || absl::IsAlreadyExists(status) ||
                            absl::IsFailedPrecondition(status) || absl::IsOutOfRange(status) ||
                            absl::IsInvalidArgument(status);
      (rejected ? metrics.rejected : metrics.failed)->Increment();
    }
    done_(std::move(response));
  }

  Transactor* const owner_;
  const std::shared_ptr<Transaction> transaction_;
  const Deadline deadline_;
  const Done<v1::TransactResponse> done_;
  std::int64_t evaluations_ = 0;
  Mutex mutex_;
  std::weak_ptr<PendingWrite> pending_ ABSL_GUARDED_BY(mutex_);  // the lane has it, and it has us
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

std::function<void()> Transactor::Submit(ValidatedTransaction transaction, Deadline deadline,
                                         Done<v1::TransactResponse> done) {
  auto call = std::make_shared<Call>(this, std::move(transaction), deadline, std::move(done));
  call->Start();
  return [call] { call->Cancel(); };
}

}  // namespace eventstore::engine
