// EventStoreService.Transact.
#ifndef EVENTSTORE_SERVER_RPC_TRANSACT_H_
#define EVENTSTORE_SERVER_RPC_TRANSACT_H_

#include <absl/status/status.h>

#include "eventstore/v1/transaction.pb.h"

#include "server/rpc/unary_call.h"

namespace eventstore::rpc {

using TransactCall = UnaryCall<v1::TransactRequest, v1::TransactResponse>;

// Hands the transaction to the one store that all of its streams are in.
[[nodiscard]] absl::Status HandleTransact(v1::TransactRequest request, TransactCall* call);

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_TRANSACT_H_
