// What a transaction saves besides its events: checkpoints and snapshots, on the lane's connection.
#ifndef EVENTSTORE_SERVER_TABLES_TRANSACTION_SAVES_H_
#define EVENTSTORE_SERVER_TABLES_TRANSACTION_SAVES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "eventstore/v1/projection_service.pb.h"

#include "server/pg/connection.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {

// Locks checkpoints until the end of the transaction, in the order of their names, and reads them.
void AddLockCheckpoints(pg::Pipeline* pipeline, const std::vector<std::string>& projections);
// Those that there are.
[[nodiscard]] std::vector<v1::Checkpoint> ParseLockCheckpoints(const pg::Result& result);

// Where each epoch of the history begins, oldest first.
struct Epoch {
  std::int64_t epoch = 0;
  std::int64_t first_position = 0;
};
void AddReadEpochs(pg::Pipeline* pipeline);
[[nodiscard]] std::vector<Epoch> ParseReadEpochs(const pg::Result& result);

// The versions of the newest snapshots of each stream, as many as a save may keep.
void AddReadSnapshotVersions(pg::Pipeline* pipeline, const std::vector<StreamName>& streams);
[[nodiscard]] std::vector<std::vector<std::int64_t>> ParseReadSnapshotVersions(
    const pg::Result& result, std::size_t streams);

// A checkpoint as it shall be. Fails ("checkpoint guard") where the row is not what was locked: one
// that did not exist may have been made by another session meanwhile.
struct CheckpointWrite {
  v1::Checkpoint checkpoint;
  bool existed = false;
};
[[nodiscard]] absl::Status AddWriteCheckpoint(pg::Pipeline* pipeline,
                                              const CheckpointWrite& checkpoint);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_TRANSACTION_SAVES_H_
