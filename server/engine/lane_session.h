// The lane's connection to PostgreSQL, with what it remembers of the database.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/ids.h"
#include "server/engine/lane_database.h"
#include "server/engine/options.h"
#include "server/engine/outbox_routes.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::engine {

// Opens the lane's connection with the settings that keep a hung daemon from freezing the store,
// checks which server it reached, and knows where the rows of log_head and lane_batches are. Used
// by the lane's thread only, but for Interrupt.
class LaneSession : public LaneDatabase {
 public:
  // `options` and `routes` must outlive this object.
  LaneSession(const StoreOptions& options, Uuid daemon_id, const OutboxRoutes* routes);

  absl::StatusOr<Opened> Open(std::int64_t known_epoch) override;
  void Close() override { SetConnection(nullptr); }
  void Interrupt() override;
  void RaiseEpochAtNextOpen() override { raise_epoch_ = true; }
  [[nodiscard]] bool usable() const override {
    return connection_ != nullptr && connection_->usable();
  }
  void OnSent(std::function<void()> work) override { on_sent_ = std::move(work); }
  absl::Status Ping() override { return connection_->Ping(RoundTripDeadline()); }
  absl::StatusOr<LockedState> LockAndLookUp(const std::vector<Uuid>& event_ids,
                                            const std::vector<tables::StreamName>& names) override;
  absl::StatusOr<std::vector<tables::StreamRow>> LookUpStreams(
      const std::vector<tables::StreamName>& names) override;
  absl::StatusOr<std::vector<tables::TouchedStream>> ReadTouchedStreams(
      std::int64_t after_position, std::int64_t last_position) override;
  absl::StatusOr<std::vector<std::int64_t>> ReadChangedStreams(std::int64_t revision) override;
  absl::StatusOr<SavesState> LockSaves(
      const std::vector<std::string>& projections,
      const std::vector<tables::StreamName>& snapshot_streams) override;
  absl::StatusOr<std::vector<std::int64_t>> FindMatches(
      const std::vector<tables::ConditionProbe>& probes) override;
  Written Write(const BatchWrite& write) override;
  void Rollback() override;
  absl::Status Probe(const tables::NewEventRow& row, Deadline deadline) override;
  void EndProbe() override { probe_.reset(); }

 private:
  // How long one round trip may take: the server's own time-outs end a statement before.
  [[nodiscard]] Deadline RoundTripDeadline() const;
  [[nodiscard]] absl::StatusOr<Opened> SignOn(std::int64_t known_epoch);
  // One try, by the remembered ctid or by a scan. `found` tells whether the head's row was there.
  [[nodiscard]] absl::StatusOr<LockedState> TryLock(const std::vector<Uuid>& event_ids,
                                                    const std::vector<tables::StreamName>& names,
                                                    bool scan, bool* found);
  // Whether this batch should find the head by a scan instead of its ctid: that prunes dead row
  // versions, which a fetch by ctid never does. Rarely where an old snapshot keeps them alive.
  [[nodiscard]] bool WantsScan();
  void SetConnection(std::unique_ptr<pg::Connection> connection);

  const StoreOptions& options_;
  const Uuid daemon_id_;
  const OutboxRoutes* const routes_;
  pg::ConnectionOptions connection_options_;
  // Changed by the lane's thread only, under the mutex, so that Interrupt finds it alive.
  Mutex mutex_;
  std::unique_ptr<pg::Connection> connection_;
  std::unique_ptr<pg::Connection> probe_;
  std::function<void()> on_sent_;
  // Where the rows of log_head and lane_batches are. The first moves with every commit of any
  // daemon; empty: unknown.
  std::string head_ctid_;
  std::string batch_ctid_;
  bool raise_epoch_ = false;  // by the next Open, in any case
  // The server that the last Open found.
  tables::ServerIdentity server_;
  std::int64_t batches_since_scan_ = 0;
};

// Whether a notice of COMMIT says that the commit may not have reached its replicas: PostgreSQL
// warns when it stops waiting for them, and the transaction stays committed here alone.
[[nodiscard]] bool SaysCommitIsInDoubt(const pg::Notice& notice);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_
