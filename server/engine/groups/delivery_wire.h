// Deliveries in their wire format, made from events that are encoded already.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_DELIVERY_WIRE_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_DELIVERY_WIRE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace eventstore::engine {

// Appends one `DeliveredEvents.events`. `event` has the tag and length of `EventBatch.events`, as
// EventBlock::bytes gives it: DeliveredEvent.event has the same.
void AppendDelivery(std::string_view event, std::int64_t delivery_id, std::int32_t lane,
                    std::int32_t attempt, bool is_redelivered, std::string* out);

// The ConsumeResponse of these DeliveredEvents.
[[nodiscard]] std::string WrapDeliveries(std::string_view events);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_DELIVERY_WIRE_H_
