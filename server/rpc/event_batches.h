// Splits events over messages that clients of gRPC accept.
#ifndef EVENTSTORE_SERVER_RPC_EVENT_BATCHES_H_
#define EVENTSTORE_SERVER_RPC_EVENT_BATCHES_H_

#include <cstdint>
#include <vector>

#include "eventstore/v1/types.pb.h"

#include "server/engine/event_block.h"

namespace eventstore::rpc {

// Batches of at most `bytes_max` bytes of events, or of a single event that is larger. The position
// of each is its last event's. No events give no batch.
[[nodiscard]] std::vector<v1::EventBatch> SplitEvents(std::vector<v1::Event> events,
                                                      std::int64_t epoch, std::int64_t bytes_max);

// The same for encoded events: every part holds at least one event.
[[nodiscard]] std::vector<std::vector<engine::EventRun>> SplitRuns(
    const std::vector<engine::EventRun>& runs, std::int64_t bytes_max);

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_EVENT_BATCHES_H_
