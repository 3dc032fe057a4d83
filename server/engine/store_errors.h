// What a database error means to a client of the store.
#ifndef EVENTSTORE_SERVER_ENGINE_STORE_ERRORS_H_
#define EVENTSTORE_SERVER_ENGINE_STORE_ERRORS_H_

#include <absl/status/status.h>

namespace eventstore::engine {

// STORE_UNAVAILABLE for a database that is away, shutting down, read-only or out of resources;
// OVERLOADED for a pool that ran dry; other statuses, with ErrorInfo or without, stay as they are.
[[nodiscard]] absl::Status ToStoreError(const absl::Status& status);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_STORE_ERRORS_H_
