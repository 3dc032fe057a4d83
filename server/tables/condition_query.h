// Looks for events that the conditions of transactions forbid.
#ifndef EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_
#define EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_

#include <chrono>
#include <cstdint>
#include <vector>

#include "eventstore/v1/transaction.pb.h"

#include "server/core/ids.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::tables {

// A condition from some position on. The pointer must outlive the parsing of the answer.
struct ConditionProbe {
  const v1::AppendCondition* condition = nullptr;
  std::int64_t after_position = 0;  // exclusive
};

// One statement for all of them, so that its snapshot is one. For each alternative it looks for the
// lowest match alone, by the index of whichever of its tags or types is rare, so that its cost
// hangs on the matches and not on the store. Works the same on a reader's connection and, for the
// few positions since, on the lane's.
void AddFindMatches(pg::Pipeline* pipeline, const std::vector<ConditionProbe>& probes);

// Limits the time of each statement that follows in the pipeline (error 57014).
void AddLimitTime(pg::Pipeline* pipeline, std::chrono::milliseconds time);

struct Matches {
  Head head;  // position, epoch, revision and first_position only, of the same snapshot
  // The lowest position that matches, for each condition; 0: none.
  std::vector<std::int64_t> positions;
};
[[nodiscard]] Matches ParseFindMatches(const pg::Result& result,
                                       const std::vector<ConditionProbe>& probes);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_
