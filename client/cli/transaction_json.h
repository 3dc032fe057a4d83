// Reads a transaction from JSON.
#ifndef EVENTSTORE_CLIENT_CLI_TRANSACTION_JSON_H_
#define EVENTSTORE_CLIENT_CLI_TRANSACTION_JSON_H_

#include <absl/status/statusor.h>

#include <string_view>

#include "eventstore/v1/transaction.pb.h"

namespace eventstore::cli {

// Reads a TransactRequest in protobuf's JSON form, with the names of the fields as the contract has
// them, but for two things that are bytes there: an event is written as `append --file` takes it
// (ParseEventLine), and a snapshot's `state` is any JSON value, or `state_base64` for other content
// types. An event without `event_id` gets one, so that the request can be repeated. Errors:
// INVALID_ARGUMENT, which names the place.
[[nodiscard]] absl::StatusOr<v1::TransactRequest> ParseTransaction(std::string_view json);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_TRANSACTION_JSON_H_
