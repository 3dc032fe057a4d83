// Evaluates the conditions of a transaction on the tables.
#ifndef EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_
#define EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_

#include <absl/status/statusor.h>

#include "server/core/mutex.h"
#include "server/core/transaction.h"
#include "server/engine/pending_write.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// What was found up to the head of the query's own snapshot. A transaction that a condition forbids
// is rejected here, with every other expectation that does not hold: CONDITION_FAILED,
// VERSION_CONFLICT, STREAM_DELETED, POSITION_AHEAD, ARCHIVED. But where one of its event ids is
// stored it may be a replay, which its own first attempt matches: that only the lane decides. On a
// reader's connection.
[[nodiscard]] absl::StatusOr<Evaluation> EvaluateConditions(pg::Connection& connection,
                                                            const ValidatedTransaction& transaction,
                                                            Deadline deadline);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_
