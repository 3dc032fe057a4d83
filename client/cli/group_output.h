// Consumer groups for people and for programs. Pure; any thread.
#ifndef EVENTSTORE_CLIENT_CLI_GROUP_OUTPUT_H_
#define EVENTSTORE_CLIENT_CLI_GROUP_OUTPUT_H_

#include <string>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "client/cli/json.h"

namespace eventstore::cli {

// Members and lanes are left out where the server sent none, as in lists.
void AddGroupJson(const v1::ConsumerGroup& group, JsonLine* line);
[[nodiscard]] std::string GroupText(const v1::ConsumerGroup& group);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_GROUP_OUTPUT_H_
