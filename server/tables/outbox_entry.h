// The event in an outbox entry: the column `event_data`, whose form schema/README.md documents.
#ifndef EVENTSTORE_SERVER_TABLES_OUTBOX_ENTRY_H_
#define EVENTSTORE_SERVER_TABLES_OUTBOX_ENTRY_H_

#include <absl/status/statusor.h>

#include <string_view>

#include "eventstore/v1/types.pb.h"

namespace eventstore::tables {

// The event of an entry, as it was written or as its erasure left it (`erased` is set then). Keys
// that this build does not know are passed over; uses bounded stack, whatever the text. Any thread.
//
// Errors: INVALID_ARGUMENT, which names the key, for what the write lane did not write: no JSON
// object, a key that is missing (event_id, event_type, aggregate_type, aggregate_id) or of another
// kind.
[[nodiscard]] absl::StatusOr<v1::Event> ParseOutboxEvent(std::string_view json);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_OUTBOX_ENTRY_H_
