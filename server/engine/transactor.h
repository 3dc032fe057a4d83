// The way of a transaction: its conditions first, then the lane.
#ifndef EVENTSTORE_SERVER_ENGINE_TRANSACTOR_H_
#define EVENTSTORE_SERVER_ENGINE_TRANSACTOR_H_

#include <functional>
#include <utility>

#include "eventstore/v1/transaction.pb.h"

#include "server/core/mutex.h"
#include "server/core/transaction.h"
#include "server/engine/condition_evaluator.h"
#include "server/engine/condition_memory.h"
#include "server/engine/options.h"
#include "server/engine/workers.h"
#include "server/engine/writer.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Evaluates a transaction's conditions on a reader's connection, up to the head of that query's own
// snapshot, or in memory where they ask for newest events alone, and hands it to the lane, which
// looks only at what was committed since: a slow condition never holds the lane. Where too much was
// committed since, the lane sends it back here, a bounded number of times. Thread-safe; no call
// blocks.
class Transactor {
 public:
  // All must outlive this object; the workers and the writer must have stopped before it goes.
  Transactor(const StoreOptions& options, Workers* workers, Writer* writer,
             ConditionMemory::Source recent, telemetry::TransactionMetrics metrics)
      : options_(options),
        memory_(options.writer.condition_memory_positions_max, std::move(recent)),
        evaluator_(options.reader, workers, [writer] { writer->Wake(); }),
        writer_(writer),
        metrics_(metrics) {}

  // `done` is called exactly once, by some thread of the store or inline. Returns what cancels it:
  // nothing is written then, unless the transaction is in a batch already. Errors: as
  // BatchDecider::Decide and Writer::Submit, and OVERLOADED after too many evaluations.
  std::function<void()> Submit(ValidatedTransaction transaction, Deadline deadline,
                               Done<v1::TransactResponse> done);

 private:
  class Call;

  const StoreOptions& options_;
  const ConditionMemory memory_;
  ConditionEvaluator evaluator_;
  Writer* const writer_;
  const telemetry::TransactionMetrics metrics_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_TRANSACTOR_H_
