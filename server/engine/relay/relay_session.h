// A relay's connection to PostgreSQL.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_SESSION_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_SESSION_H_

#include <absl/status/status.h>

#include <memory>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// Opens the connection with the settings that free the rows of a relay that hangs, and with plans
// that stay look-ups. Used by the relay's thread only, but for Interrupt.
class RelaySession {
 public:
  // `options` must outlive this object.
  RelaySession(const StoreOptions& options, const OutboxSink& sink);

  [[nodiscard]] absl::Status Open();
  void Close() { Set(nullptr); }
  [[nodiscard]] bool usable() const { return connection_ != nullptr && connection_->usable(); }
  // Only where it is usable.
  [[nodiscard]] pg::Connection& connection() { return *connection_; }
  // By when a round trip must have ended: the server's own time-outs end a statement before.
  [[nodiscard]] Deadline RoundTripDeadline() const;
  // Ends the statement that runs, if one does. Any thread.
  void Interrupt();

 private:
  void Set(std::unique_ptr<pg::Connection> connection);

  const StoreOptions& options_;
  pg::ConnectionOptions connection_options_;
  // Changed by the relay's thread only, under the mutex, so that Interrupt finds it alive.
  Mutex mutex_;
  std::unique_ptr<pg::Connection> connection_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_SESSION_H_
