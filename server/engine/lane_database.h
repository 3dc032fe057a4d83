// What the write lane asks of its database.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_DATABASE_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_DATABASE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/tables/condition_query.h"
#include "server/tables/events_table.h"
#include "server/tables/log_table.h"
#include "server/tables/streams_table.h"
#include "server/tables/transaction_saves.h"

namespace eventstore::engine {

// One connection to a store's tables, as the lane uses it: each method is one round trip where
// nothing unusual happens. LaneSession speaks to PostgreSQL; the lane's model test has one in
// memory. Errors carry a pg::Error. Used by the lane's thread only, but for Interrupt.
class LaneDatabase {
 public:
  virtual ~LaneDatabase() = default;

  // What signing on found.
  struct Opened {
    tables::Head head;
    std::int64_t last_batch = 0;  // the last batch of this daemon that was committed
    bool raised_epoch = false;    // by this call
  };
  // Connects. Under the head lock it compares the server with the one that wrote last, raises the
  // epoch if they differ (beyond `known_epoch`, the newest that the lane has seen: a second
  // failover may have lost the row that says so), and learns the last batch of this daemon that was
  // committed: a commit that still waits (for a replica, say) holds the lock, so the answer is
  // certain.
  [[nodiscard]] virtual absl::StatusOr<Opened> Open(std::int64_t known_epoch) = 0;
  virtual void Close() = 0;
  // Cancels what the server does for the lane now. Any thread.
  virtual void Interrupt() = 0;
  // The lane found the history rewound on the same server.
  virtual void RaiseEpochAtNextOpen() = 0;
  [[nodiscard]] virtual bool usable() const = 0;
  // What to do each time that a request was sent, before its answer is awaited.
  virtual void OnSent(std::function<void()> work) = 0;
  // One empty round trip.
  [[nodiscard]] virtual absl::Status Ping() = 0;

  // What the lane learns under the head lock.
  struct LockedState {
    tables::Head head;
    std::int64_t clock_micros = 0;  // the database's, read under the lock
    std::vector<tables::KnownEvent> known_events;
    std::vector<tables::StreamRow> streams;  // one a name
  };
  // Begins a transaction, locks the head, and only then looks up event ids and streams.
  [[nodiscard]] virtual absl::StatusOr<LockedState> LockAndLookUp(
      const std::vector<Uuid>& event_ids, const std::vector<tables::StreamName>& names) = 0;
  // Look-ups in the open transaction, or in one of their own.
  [[nodiscard]] virtual absl::StatusOr<std::vector<tables::StreamRow>> LookUpStreams(
      const std::vector<tables::StreamName>& names) = 0;
  [[nodiscard]] virtual absl::StatusOr<std::vector<tables::TouchedStream>> ReadTouchedStreams(
      std::int64_t after_position, std::int64_t last_position) = 0;
  [[nodiscard]] virtual absl::StatusOr<std::vector<std::int64_t>> ReadChangedStreams(
      std::int64_t revision) = 0;

  // In the open transaction, what a batch's transactions may save: checkpoints are locked.
  struct SavesState {
    std::vector<v1::Checkpoint> checkpoints;  // those that there are
    std::vector<tables::Epoch> epochs;
    std::vector<std::vector<std::int64_t>> snapshot_versions;  // newest ones, one list a stream
  };
  [[nodiscard]] virtual absl::StatusOr<SavesState> LockSaves(
      const std::vector<std::string>& projections,
      const std::vector<tables::StreamName>& snapshot_streams) = 0;
  // In the open transaction: for each probe the lowest position that matches; 0: none.
  [[nodiscard]] virtual absl::StatusOr<std::vector<std::int64_t>> FindMatches(
      const std::vector<tables::ConditionProbe>& probes) = 0;

  // A batch to write. Everything that it points to must live until Write returns.
  struct BatchWrite {
    std::int64_t number = 0;  // in the ledger of this daemon's batches
    // The state that the batch was decided on: the write fails where the head is another one.
    tables::Head expected;
    std::int64_t last_position = 0;
    std::int64_t created_at_micros = 0;
    const std::vector<tables::NewEventRow>* rows = nullptr;
    std::vector<tables::StreamChange> streams;
    std::vector<tables::CheckpointWrite> checkpoints;
    std::vector<const v1::SaveSnapshotRequest*> snapshots;
    std::int64_t saved_at_micros = 0;  // of the snapshots
  };
  struct Written {
    absl::Status status;
    // Whether the commit happened is unknown, and will be known after the next Open.
    bool in_doubt = false;
    std::int64_t clock_micros = 0;  // the database's, read under the lock
  };
  // Writes and commits, in the open transaction or in one of its own; the head is locked first.
  [[nodiscard]] virtual Written Write(const BatchWrite& write) = 0;
  // Ends an open transaction; closes the connection where that fails.
  virtual void Rollback() = 0;

  // Whether the database takes this event's data; touches no table and no lock. On a connection of
  // its own, which EndProbe closes.
  [[nodiscard]] virtual absl::Status Probe(const tables::NewEventRow& row, Deadline deadline) = 0;
  virtual void EndProbe() = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LANE_DATABASE_H_
