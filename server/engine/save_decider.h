// What becomes of the checkpoints and snapshots that transactions save: pure logic, without I/O.
#ifndef EVENTSTORE_SERVER_ENGINE_SAVE_DECIDER_H_
#define EVENTSTORE_SERVER_ENGINE_SAVE_DECIDER_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/transaction.h"
#include "server/tables/log_table.h"
#include "server/tables/transaction_saves.h"

namespace eventstore::engine {

// The state of everything that a batch may save, as locked and read, plus what the batch saves so
// far. Each save is checked first and made when its transaction is sure. Used by one thread.
class SaveDecider {
 public:
  // What the tables hold; `now_micros` is the time of what is saved.
  void SetHistory(const tables::Head& head, std::vector<tables::Epoch> epochs,
                  std::int64_t now_micros);
  void AddCheckpoint(v1::Checkpoint checkpoint);
  void AddSnapshots(std::int64_t stream_key, const std::vector<std::int64_t>& versions);

  // Errors: CONDITION_FAILED (it moved, or is not before the position), POSITION_AHEAD.
  [[nodiscard]] absl::Status Check(const v1::SaveCheckpointRequest& request) const;
  // As it is then. The request must pass Check.
  const v1::Checkpoint& Save(const v1::SaveCheckpointRequest& request);
  // As it is now; one that was never saved has only a name.
  [[nodiscard]] v1::Checkpoint CheckpointOf(const std::string& projection) const;
  // False: there are as many newer ones as are to be kept. `snapshot` must outlive this object.
  bool Save(const ValidatedTransaction::Snapshot& snapshot, std::int64_t stream_key);

  [[nodiscard]] std::vector<tables::CheckpointWrite> CheckpointWrites() const;
  [[nodiscard]] const std::vector<const v1::SaveSnapshotRequest*>& snapshot_writes() const {
    return snapshot_writes_;
  }
  [[nodiscard]] bool empty() const { return !any_checkpoint_ && snapshot_writes_.empty(); }

 private:
  struct Slot {
    v1::Checkpoint checkpoint;
    bool existed = false;
    bool changed = false;
  };
  // Where a checkpoint counts as being: one of a lost history, where that history ended.
  [[nodiscard]] std::int64_t EffectivePosition(const v1::Checkpoint& checkpoint) const;
  [[nodiscard]] absl::Status CheckPosition(std::int64_t position, std::int64_t epoch) const;

  tables::Head head_;
  std::vector<tables::Epoch> epochs_;
  std::int64_t now_micros_ = 0;
  std::map<std::string, Slot> checkpoints_;
  absl::flat_hash_map<std::int64_t, std::set<std::int64_t>> snapshots_;  // versions, by stream key
  std::vector<const v1::SaveSnapshotRequest*> snapshot_writes_;
  bool any_checkpoint_ = false;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_SAVE_DECIDER_H_
