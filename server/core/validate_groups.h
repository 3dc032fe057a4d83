// Checks and normalizes requests of the consumer group service. Pure: no I/O, any thread.
#ifndef EVENTSTORE_SERVER_CORE_VALIDATE_GROUPS_H_
#define EVENTSTORE_SERVER_CORE_VALIDATE_GROUPS_H_

#include <absl/status/status.h>

#include <string>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/core/limits.h"

namespace eventstore {

// Each checks all of its request and normalizes it; the settings of a new group are complete after.
[[nodiscard]] absl::Status ValidateCreateGroup(const Limits& limits,
                                               v1::CreateConsumerGroupRequest* request);
[[nodiscard]] absl::Status ValidateUpdateGroup(const Limits& limits,
                                               v1::UpdateConsumerGroupRequest* request);
[[nodiscard]] absl::Status ValidateGroupName(const Limits& limits, const std::string& name,
                                             std::string* tenant_id);
[[nodiscard]] absl::Status ValidateListGroups(const Limits& limits,
                                              v1::ListConsumerGroupsRequest* request);
// A member's first message, and every other one.
[[nodiscard]] absl::Status ValidateJoin(const Limits& limits, v1::ConsumeRequest* request);
[[nodiscard]] absl::Status ValidateConsume(const v1::ConsumeRequest& request);

// Puts what is set in `change` over `settings`, which are complete. INVALID_REQUEST where that is
// not possible: other lanes, another filter, or bounds that contradict each other.
[[nodiscard]] absl::Status MergeGroupSettings(const v1::ConsumerGroupSettings& change,
                                              v1::ConsumerGroupSettings* settings);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_VALIDATE_GROUPS_H_
