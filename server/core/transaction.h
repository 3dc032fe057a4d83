// Checks and normalizes the requests of Transact before anything else sees them. Pure: any thread.
#ifndef EVENTSTORE_SERVER_CORE_TRANSACTION_H_
#define EVENTSTORE_SERVER_CORE_TRANSACTION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "eventstore/v1/transaction.pb.h"

#include "server/core/ids.h"
#include "server/core/limits.h"
#include "server/core/validation.h"

namespace eventstore {

// A transaction that obeys every rule that can be checked without the database. An append is a
// transaction of one append without anything else; the lane knows the two as PendingWrite.
struct ValidatedTransaction {
  struct Check {
    v1::StreamCheck check;
    Uuid tenant = kNilUuid;
  };
  struct Snapshot {
    v1::SaveSnapshotRequest request;  // defaults filled in
    Uuid tenant = kNilUuid;
  };
  std::vector<ValidatedAppend> appends;
  std::vector<Check> checks;
  // Types and tags are sorted, each once.
  std::vector<v1::AppendCondition> conditions;
  std::optional<v1::SaveCheckpointRequest> checkpoint;
  std::vector<Snapshot> snapshots;
  // Of all appends and snapshots together.
  std::int64_t events = 0;
  std::int64_t total_bytes = 0;
};

// Errors: INVALID_REQUEST, INVALID_EVENT, TOO_LARGE, each naming field, index and limit, and all of
// them in one error as far as there is room.
[[nodiscard]] absl::StatusOr<ValidatedTransaction> ValidateTransaction(v1::TransactRequest request,
                                                                       const Limits& limits);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_TRANSACTION_H_
