// Evaluates the conditions of transactions on the tables.
#ifndef EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_
#define EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_

#include <absl/status/statusor.h>

#include <vector>

#include "server/core/mutex.h"
#include "server/core/transaction.h"
#include "server/engine/pending_write.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// What was found for each, up to the head of the one query's own snapshot. A transaction that a
// condition forbids is rejected here, with every other expectation that does not hold:
// CONDITION_FAILED, VERSION_CONFLICT, STREAM_DELETED, POSITION_AHEAD, ARCHIVED. But where one of
// its event ids is stored it may be a replay, which its own first attempt matches: that only the
// lane decides. On a reader's connection.
//
// `limited` gives them a short time, so that a slow one does not hold up the others for longer.
// Where that fails and IsOfOne, each should be evaluated alone.
using Evaluations = std::vector<absl::StatusOr<Evaluation>>;
[[nodiscard]] absl::StatusOr<Evaluations> EvaluateConditions(
    pg::Connection& connection, const std::vector<const ValidatedTransaction*>& transactions,
    bool limited, Deadline deadline);

// Whether an error, of time or of a statement, may come from one of several transactions alone.
[[nodiscard]] bool IsOfOne(const absl::Status& status);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_CONDITION_EVALUATION_H_
