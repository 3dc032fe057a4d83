// Which sinks an event goes to.
#ifndef EVENTSTORE_SERVER_ENGINE_OUTBOX_ROUTES_H_
#define EVENTSTORE_SERVER_ENGINE_OUTBOX_ROUTES_H_

#include <absl/status/statusor.h>

#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/types.pb.h"

#include "server/core/filter.h"
#include "server/engine/options.h"

namespace eventstore::engine {

// The routes of a store, ready to be applied to what is appended. Immutable once made; any thread
// may use it.
class OutboxRoutes {
 public:
  // Errors, each of which names the key: INVALID_REQUEST for a sink without a name, with one of
  // more than 255 bytes or with another one's, for a route to a sink that is not configured, and
  // for a tenant that is no UUID; TOO_LARGE for names and tags that no event can have.
  [[nodiscard]] static absl::StatusOr<OutboxRoutes> Make(const OutboxOptions& options,
                                                         const Limits& limits);

  // The sinks of a validated event, each once, in the order of the configuration. None where the
  // outbox is off. The pointers live as long as this object.
  [[nodiscard]] std::vector<const std::string*> SinksOf(const v1::StreamId& stream,
                                                        const v1::NewEvent& event) const;

  // No event goes anywhere.
  [[nodiscard]] bool empty() const { return sinks_.empty(); }

 private:
  struct RoutedSink {
    std::string name;
    std::vector<std::shared_ptr<const EventFilter>> filters;  // any of these
  };

  OutboxRoutes() = default;

  std::vector<RoutedSink> sinks_;  // those that have a route
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_OUTBOX_ROUTES_H_
