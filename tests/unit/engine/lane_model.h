// What the write lane owes its callers, said as simply as possible.
#ifndef EVENTSTORE_TESTS_UNIT_ENGINE_LANE_MODEL_H_
#define EVENTSTORE_TESTS_UNIT_ENGINE_LANE_MODEL_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/core/validation.h"
#include "server/engine/lane_host.h"
#include "tests/unit/engine/memory_lane_database.h"
#include "tests/unit/engine/memory_tables.h"
#include "tests/unit/engine/naive_batch.h"

namespace eventstore::engine {

// Judges everything that the lane says, at the moment at which it is said. What is wrong becomes a
// complaint. Used by one thread.
class LaneModel {
 public:
  // Both must outlive this object.
  LaneModel(const MemoryTables* tables, MemoryLaneDatabase* database);

  std::int64_t condition_positions_max = 0;  // as the lane has it

  // Around Lane::Process. `given_up`: the lane was told to give up meanwhile. `more`: it was told
  // that more work waits, and may answer this batch with the next one.
  void Begin(const std::vector<Request*>& batch);
  void End(bool given_up, bool more);

  void Answered(Request* request, const absl::StatusOr<v1::AppendEventsResponse>& answer);
  void Answered(Request* request, const absl::StatusOr<v1::TransactResponse>& answer);
  // It was sent back for a fresh evaluation.
  void SentBack(Request* request);
  void Committed(const CommittedBatch& batch);
  void Rewound(std::int64_t epoch, std::int64_t head_position);

 private:
  void Begin(Request* request, std::string_view told);
  void PrepareGroup(Request* request);
  void Judge(Request* request, const absl::StatusOr<v1::AppendEventsResponse>& answer);
  void Judge(Request* request, const absl::StatusOr<v1::TransactResponse>& answer);
  void JudgeResults(const Request& request, const v1::TransactResponse& answer,
                    const NaiveBatch::Verdict& verdict);
  void JudgeViolations(const Request& request, const absl::Status& status,
                       const NaiveBatch::Verdict& verdict);
  void JudgeWritten(const Request& request, std::size_t index,
                    const v1::AppendEventsResponse& answer, const NaiveBatch::Place& first);
  void JudgeReplayed(const Request& request, std::size_t index,
                     const v1::AppendEventsResponse& answer, const NaiveBatch::Place& first);
  void JudgeError(const Request& request, const absl::Status& status,
                  const NaiveBatch::Verdict& verdict);
  void JudgeFailure(Request* request, const absl::Status& status);
  // How many of its events this very request stored.
  [[nodiscard]] std::size_t StoredOf(const Request& request) const;
  void Expect(bool holds, std::string_view what);
  void CheckLog();
  void CheckRequest(const Request& request);

  const MemoryTables* const tables_;
  MemoryLaneDatabase* const database_;
  // The batches since the last time that all were answered.
  std::vector<Request*> requests_;
  std::unordered_map<std::int64_t, Request*> by_serial_;
  std::map<int, int> groups_by_batch_;
  int batch_ = 0;
  bool given_up_ = false;
  const Request* judged_ = nullptr;
  // The answers that the lane gives without asking the database in between.
  std::optional<NaiveBatch> group_;
  std::int64_t group_moment_ = -1;
  std::int64_t group_last_ = 0;  // serial
  std::int64_t epoch_;
  std::int64_t handed_end_ = 0;
  std::vector<std::int64_t> handed_;  // by position: the author of what was handed on
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_UNIT_ENGINE_LANE_MODEL_H_
