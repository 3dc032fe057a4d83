// Tells daemons on one store of each other's commits.
#ifndef EVENTSTORE_SERVER_ENGINE_LISTENER_H_
#define EVENTSTORE_SERVER_ENGINE_LISTENER_H_

#include <absl/status/status.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/connection.h"
#include "server/tables/log_table.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// One thread with one connection, on the primary. It LISTENs first and reads the head then, so
// nothing falls between; a slow poll is the net under lost notifications. It sends this daemon's
// NOTIFYs too: after the commit, coalesced, and only while other daemons are there, because a
// NOTIFY inside the append's own transaction would serialise all commits of the cluster.
// Thread-safe.
class Listener {
 public:
  struct Callbacks {
    // On the listener's thread: the head that another daemon's message, or the poll, showed; and
    // its revision, or Hub::kNoRevision where that was not told.
    std::function<void(std::int64_t epoch, std::int64_t head_position, std::int64_t revision)> head;
    // On the listener's thread: another daemon has come; say that we are here.
    std::function<void()> daemon_came;
  };

  Listener(const StoreOptions& options, Uuid daemon_id, const std::string& store_id,
           telemetry::ReadMetrics metrics, Callbacks callbacks);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // This daemon committed up to here. Does not block.
  void Committed(std::int64_t epoch, std::int64_t head_position);
  // This daemon changed streams or events: the store's revision is this one. Does not block.
  void Changed(const tables::Head& head, std::int64_t revision);
  // How many other daemons serve this store. (They were told that we came when we connected.)
  void SetOtherDaemons(int count);
  [[nodiscard]] bool connected() const { return connected_.load(std::memory_order_relaxed); }
  // Joins the thread and closes the connection. Idempotent.
  void Stop();

 private:
  void ThreadMain();
  absl::Status Open();
  // Serves the open connection until it breaks or Stop.
  absl::Status Serve();
  absl::Status ReadHead();
  absl::Status Send();
  void OnNotification(const std::string& payload);
  void Wake();
  bool Stopped();

  const StoreOptions& options_;
  const std::string daemon_id_;
  const std::string channel_;
  const telemetry::ReadMetrics metrics_;
  const Callbacks callbacks_;
  pg::ConnectionOptions connection_options_;
  std::unique_ptr<pg::Connection> connection_;  // the thread's own
  bool complained_ = false;                     // the thread's own
  std::atomic<bool> connected_{false};
  int wake_fd_ = -1;
  Mutex mutex_;
  CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool hello_wanted_ ABSL_GUARDED_BY(mutex_) = true;
  int other_daemons_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t committed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::int64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;
  // The newest change, until it was told.
  std::string change_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LISTENER_H_
