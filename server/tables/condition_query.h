// Looks for events that the conditions of transactions forbid.
#ifndef EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_
#define EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
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

// Limits the time of each statement that follows in the pipeline (error 57014).
void AddLimitTime(pg::Pipeline* pipeline, std::chrono::milliseconds time);

struct Matches {
  // Position, epoch, revision and first_position only. Everything up to it was looked at; a match
  // may lie beyond.
  Head head;
  // The lowest position that matches, for each condition; 0: none.
  std::vector<std::int64_t> positions;
};

// Looks for the matches of many conditions together, in one round or, where a tag is frequent, in
// two. For each alternative it looks for the lowest match alone, by the index of whichever of its
// tags or types is rare, so that its cost hangs on the matches and not on the store. Works the same
// on a reader's connection and, for the few positions since, on the lane's.
class ConditionSearch {
 public:
  // The probes must outlive it.
  explicit ConditionSearch(const std::vector<ConditionProbe>& probes);

  // Adds what the next round asks: one statement, or two.
  void AddTo(pg::Pipeline* pipeline);
  // Takes their results, which are the first of these.
  void Take(std::span<const pg::Result> results);
  // Whether no further round is needed. The first always is: it reads the head.
  [[nodiscard]] bool done() const { return knows_head_ && tagged_.empty() && others_.empty(); }
  // When it is done.
  [[nodiscard]] const Matches& matches() const { return matches_; }

  // An alternative that is sought.
  struct Item {
    std::size_t owner = 0;  // which probe's
    const v1::QueryItem* query = nullptr;
    std::string_view tenant;
    std::int64_t after_position = 0;
  };

 private:
  void TakeHead(const pg::Result& result);
  void Note(std::size_t probe, std::int64_t position);

  const std::vector<ConditionProbe>& probes_;
  std::vector<Item> tagged_;  // sought by their tags alone
  std::vector<Item> others_;
  bool knows_head_ = false;
  Matches matches_;
};

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CONDITION_QUERY_H_
