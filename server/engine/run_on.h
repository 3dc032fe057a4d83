// Requests that are one function of a table.
#ifndef EVENTSTORE_SERVER_ENGINE_RUN_ON_H_
#define EVENTSTORE_SERVER_ENGINE_RUN_ON_H_

#include <absl/status/statusor.h>

#include <utility>

#include "server/core/mutex.h"
#include "server/engine/workers.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// Runs one of the table's functions with a connection of the workers. Any thread.
template <typename Request, typename Response>
void RunOn(Workers* workers, Workers::Kind kind, Request request, Deadline deadline,
           Done<Response> done,
           absl::StatusOr<Response> (*run)(pg::Connection&, const Request&, Deadline)) {
  workers->Run<Response>(
      kind, deadline,
      [request = std::move(request), run](pg::Connection& connection, Deadline until) {
        return run(connection, request, until);
      },
      std::move(done));
}

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RUN_ON_H_
