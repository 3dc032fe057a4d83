// A condition of a transaction, ready to be applied to events in memory.
#ifndef EVENTSTORE_SERVER_CORE_APPEND_CONDITION_H_
#define EVENTSTORE_SERVER_CORE_APPEND_CONDITION_H_

#include <google/protobuf/repeated_ptr_field.h>

#include <string>
#include <string_view>

#include "eventstore/v1/transaction.pb.h"

namespace eventstore {

// What a condition may ask of an event. The views and the tags must outlive this object.
struct EventTraits {
  std::string_view event_type;
  std::string_view tenant_id;                                             // normalized; empty: none
  const google::protobuf::RepeatedPtrField<std::string>* tags = nullptr;  // sorted
};

// Whether an event is one that the condition forbids, wherever it lies. `condition` is validated:
// its types and tags are sorted. Pure.
[[nodiscard]] bool Matches(const v1::AppendCondition& condition, const EventTraits& event);

// How many alternatives a condition has: what one event costs to compare.
[[nodiscard]] inline int ItemsOf(const v1::AppendCondition& condition) {
  return condition.query().empty() ? 1 : condition.query_size();
}

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_APPEND_CONDITION_H_
