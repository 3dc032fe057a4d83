// The table of consumer groups, and what is seen of a group from outside.
#ifndef EVENTSTORE_SERVER_TABLES_CONSUMER_GROUPS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_CONSUMER_GROUPS_TABLE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

// A group's own row.
struct GroupRow {
  std::int64_t key = 0;
  std::string name;
  v1::ConsumerGroupSettings settings;  // all set
  std::int64_t revision = 0;
};

// Requests are validated; settings to create a group with are complete. Errors beside the
// database's: ALREADY_EXISTS, POSITION_AHEAD, ARCHIVED.
[[nodiscard]] absl::Status CreateGroup(pg::Connection& connection,
                                       const v1::CreateConsumerGroupRequest& request,
                                       Deadline deadline);

// NOT_FOUND if there is none.
[[nodiscard]] absl::StatusOr<GroupRow> ReadGroup(pg::Connection& connection, std::string_view name,
                                                 Deadline deadline);

// Writes settings over the revision that they were made from; false if the group has another one by
// now.
[[nodiscard]] absl::StatusOr<bool> UpdateGroup(pg::Connection& connection, const GroupRow& row,
                                               Deadline deadline);

// Deletes a group with all that belongs to it. NOT_FOUND.
[[nodiscard]] absl::Status DeleteGroup(pg::Connection& connection, std::string_view name,
                                       Deadline deadline);

// With members and lanes. NOT_FOUND.
[[nodiscard]] absl::StatusOr<v1::ConsumerGroup> DescribeGroup(pg::Connection& connection,
                                                              std::string_view name,
                                                              Deadline deadline);

// In the order of names.
[[nodiscard]] absl::StatusOr<v1::ListConsumerGroupsResponse> ListGroups(
    pg::Connection& connection, const v1::ListConsumerGroupsRequest& request, Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CONSUMER_GROUPS_TABLE_H_
