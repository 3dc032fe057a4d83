// The lane's connection, with what it remembers of the database.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "server/core/ids.h"
#include "server/engine/options.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"

namespace eventstore::engine {

// Opens the lane's connection with the settings that keep a hung daemon from freezing the store,
// and checks which server it reached. Used by the lane's thread only,
// but for Interrupt.
class LaneSession {
 public:
  LaneSession(const StoreOptions& options, Uuid daemon_id);

  // Connects. Under the head lock it compares the server with the one that wrote last, raises the
  // epoch if they differ, and learns the last batch of this daemon that was committed: a commit
  // that still waits (for a replica, say) holds the lock, so the answer is certain.
  [[nodiscard]] absl::Status Open();
  void Close() { SetConnection(nullptr); }
  // Cancels what the server does for the lane now. Any thread.
  void Interrupt();
  // The lane found the history rewound on the same server.
  void RaiseEpochAtNextOpen() { raise_epoch_ = true; }
  [[nodiscard]] bool usable() const { return connection_ != nullptr && connection_->usable(); }
  [[nodiscard]] pg::Connection& connection() { return *connection_; }
  // How long one round trip may take: the server's own time-outs end a statement before.
  [[nodiscard]] Deadline RoundTripDeadline() const;
  // Ends an open transaction; closes the connection where that fails.
  void Rollback();

  // As Open found them.
  [[nodiscard]] const tables::Head& head_at_open() const { return head_at_open_; }
  [[nodiscard]] std::int64_t last_batch_at_open() const { return last_batch_at_open_; }
  // Whether Open raised the epoch.
  [[nodiscard]] bool raised_epoch() const { return raised_epoch_; }

  // Where the rows of log_head and lane_batches are. The first moves with every commit of any
  // daemon.
  std::string head_ctid;
  std::string batch_ctid;
  // Whether this batch should find the head by a scan instead of its ctid: that prunes dead row
  // versions, which a fetch by ctid never does. Rarely where an old snapshot keeps them alive.
  [[nodiscard]] bool WantsScan();

 private:
  [[nodiscard]] absl::Status SignOn();
  void SetConnection(std::unique_ptr<pg::Connection> connection);

  const StoreOptions& options_;
  const Uuid daemon_id_;
  pg::ConnectionOptions connection_options_;
  // Changed by the lane's thread only, under the mutex, so that Interrupt finds it alive.
  Mutex mutex_;
  std::unique_ptr<pg::Connection> connection_;
  tables::Head head_at_open_;
  std::int64_t last_batch_at_open_ = 0;
  bool raised_epoch_ = false;  // by Open
  bool raise_epoch_ = false;   // by the next Open, in any case
  std::int64_t batches_since_scan_ = 0;
};

// Whether a notice of COMMIT says that the commit may not have reached its replicas: PostgreSQL
// warns when it stops waiting for them, and the transaction stays committed here alone.
[[nodiscard]] bool SaysCommitIsInDoubt(const pg::Notice& notice);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LANE_SESSION_H_
