// What every call of a service works with.
#ifndef EVENTSTORE_SERVER_RPC_CALL_ENVIRONMENT_H_
#define EVENTSTORE_SERVER_RPC_CALL_ENVIRONMENT_H_

#include "server/core/limits.h"
#include "server/rpc/backend.h"
#include "server/rpc/drain.h"
#include "server/rpc/options.h"

namespace eventstore::rpc {

// Owned by the service; outlives its calls. `open_calls` is thread-safe, the rest is constant.
struct CallEnvironment {
  FindBackend find_backend;
  Limits limits;
  RpcOptions options;
  OpenCalls open_calls;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_CALL_ENVIRONMENT_H_
