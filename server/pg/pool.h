// A bounded pool of connections with the settings that SQLAlchemy users know.
#ifndef EVENTSTORE_SERVER_PG_POOL_H_
#define EVENTSTORE_SERVER_PG_POOL_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>

#include "server/core/mutex.h"
#include "server/pg/connection.h"
#include "server/telemetry/metrics.h"

namespace eventstore::pg {

struct PoolOptions {
  // Connections kept open. 1 to 1,000.
  int pool_size = 5;
  // Further connections under load, closed when they come back. 0 to 1,000.
  int max_overflow = 10;
  // Longest wait for a connection.
  std::chrono::milliseconds pool_timeout{30'000};
  // A connection older than this is replaced before its next use; negative: never.
  std::chrono::milliseconds pool_recycle{1'800'000};
  // Test a connection before each use, and replace it if it is dead: by a round trip, or, where it
  // was used within `pre_ping_idle`, by a look at its socket alone.
  bool pool_pre_ping = true;
  std::chrono::milliseconds pre_ping_idle{1'000};
};

// The pool's four figures, as SQLAlchemy names them.
struct PoolStatus {
  int size = 0;         // pool_size
  int checked_out = 0;  // in use
  int overflow = 0;     // open beyond pool_size
  int checked_in = 0;   // idle
};

// Thread-safe: any thread may call it. Waiters are served in the order of their coming. At most
// `pool_size + max_overflow` connections are open or being opened. All leases must be gone before
// the pool is destroyed.
class Pool {
 public:
  // Returns its connection when it goes; a broken one, or one with an open transaction, is closed
  // instead. Movable, one thread at a time.
  class Lease {
   public:
    Lease(Pool* pool, std::unique_ptr<Connection> connection)
        : pool_(pool), connection_(std::move(connection)) {}
    ~Lease();
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    Connection& operator*() const { return *connection_; }
    Connection* operator->() const { return connection_.get(); }
    Connection* get() const { return connection_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<Connection> connection_;
  };

  // `metrics` must outlive the pool.
  Pool(ConnectionOptions connection, PoolOptions options, telemetry::PoolMetrics metrics);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Waits for a connection until `deadline` or for `pool_timeout`, whichever is sooner. A pool that
  // stays dry for so long is RESOURCE_EXHAUSTED (a warning is logged and counted); a server that
  // cannot be reached is UNAVAILABLE.
  [[nodiscard]] absl::StatusOr<Lease> Acquire(Deadline deadline);

  [[nodiscard]] PoolStatus status() const;
  [[nodiscard]] const PoolOptions& options() const { return options_; }

  // Closes idle connections and makes every wait and later Acquire fail with UNAVAILABLE.
  void Close();

 private:
  struct Waiter;
  // A slot is the right to one connection; it is counted in `open_`, whether its connection is
  // there already (then it is in `connection`) or has yet to be opened.
  struct Slot {
    std::unique_ptr<Connection> connection;
  };

  // Gets a slot, waiting for it if need be.
  [[nodiscard]] absl::StatusOr<Slot> TakeSlot(Deadline deadline);
  // Waits for a slot, already in line; whether it got one.
  [[nodiscard]] bool WaitInLine(Waiter* waiter, Deadline wait_until);
  // Replaces what is too old or dead.
  void Weed(Slot* slot, Deadline deadline);
  void Return(std::unique_ptr<Connection> connection);
  // Gives a slot, with its connection if that is good, to the first waiter, or to nobody; returns a
  // connection that is to be closed outside of the mutex.
  [[nodiscard]] std::unique_ptr<Connection> PassOn(std::unique_ptr<Connection> connection)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether to log now: at most once in a while.
  [[nodiscard]] bool MayWarn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateMetrics() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  [[nodiscard]] PoolStatus StatusLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ConnectionOptions connection_options_;
  const PoolOptions options_;
  const telemetry::PoolMetrics metrics_;
  mutable Mutex mutex_;
  std::deque<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
  std::deque<Waiter*> waiters_ ABSL_GUARDED_BY(mutex_);
  int open_ ABSL_GUARDED_BY(mutex_) = 0;  // idle, in use and being opened
  int checked_out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  Deadline next_warning_ ABSL_GUARDED_BY(mutex_) = Deadline::min();
};

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_POOL_H_
