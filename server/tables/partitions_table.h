// Partitions of the events table.
#ifndef EVENTSTORE_SERVER_TABLES_PARTITIONS_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_PARTITIONS_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

struct Partition {
  std::string name;
  std::int64_t first_position = 0;  // inclusive
  std::int64_t end_position = 0;    // exclusive
};

// The attached partitions in order, from the catalog.
[[nodiscard]] absl::StatusOr<std::vector<Partition>> ReadPartitions(pg::Connection& connection,
                                                                    Deadline deadline);

// Makes the partition [first_position, end_position): a standalone table with its indexes (those
// over payloads too) and a CHECK, which is then attached under `lock_timeout`. (CREATE TABLE ...
// PARTITION OF would wait behind an open reader and stall every insert meanwhile.) Harmless if
// another daemon makes the same one: whoever comes second gets ABORTED and reads the catalog again.
[[nodiscard]] absl::Status CreatePartition(pg::Connection& connection, std::int64_t first_position,
                                           std::int64_t end_position,
                                           std::chrono::milliseconds lock_timeout,
                                           Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_PARTITIONS_TABLE_H_
