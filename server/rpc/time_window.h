// The time window that several read requests share.
#ifndef EVENTSTORE_SERVER_RPC_TIME_WINDOW_H_
#define EVENTSTORE_SERVER_RPC_TIME_WINDOW_H_

#include <cstdint>

#include "server/core/validation.h"

namespace eventstore::rpc {

// Copies a validated request's time window into a page query.
template <typename Request, typename Query>
void SetTimeWindow(const Request& request, Query* query) {
  std::int64_t micros = 0;
  if (request.has_from_timestamp() && ToUnixMicros(request.from_timestamp(), &micros)) {
    query->from_timestamp_micros = micros;
  }
  if (request.has_to_timestamp() && ToUnixMicros(request.to_timestamp(), &micros)) {
    query->to_timestamp_micros = micros;
  }
}

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_TIME_WINDOW_H_
