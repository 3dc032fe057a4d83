#include "server/tables/partitions_table.h"

#include <absl/strings/str_cat.h>

#include <string>

#include "server/pg/errors.h"
#include "server/tables/payload_indexes_table.h"

namespace eventstore::tables {
namespace {

constexpr pg::Statement kReadPartitions{
    "partitions_read",
    "SELECT name, bounds[1]::bigint, bounds[2]::bigint FROM ("
    "SELECT c.relname::text AS name, regexp_match(pg_get_expr(c.relpartbound, c.oid),"
    " 'FROM \\(''(\\d+)''\\) TO \\(''(\\d+)''\\)') AS bounds"
    " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'events'::regclass) p WHERE bounds IS NOT NULL ORDER BY 2"};

// Right-edge inserts all: every index but (stream_key, version) grows with the position.
std::string CreateSql(const std::string& name, const std::string& low, const std::string& high) {
  return absl::StrCat(
      "CREATE TABLE ", name,
      " (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE,"
      " PRIMARY KEY (global_position),"
      " CONSTRAINT ",
      name, "_range CHECK (global_position >= ", low, " AND global_position < ", high, "));",
      "CREATE UNIQUE INDEX ", name, "_stream ON ", name, " (stream_key, version);", "CREATE INDEX ",
      name, "_aggregate_type ON ", name, " (aggregate_type, global_position);", "CREATE INDEX ",
      name, "_event_type ON ", name, " (event_type, global_position);", "CREATE INDEX ", name,
      "_tenant ON ", name, " (tenant_id, global_position) WHERE tenant_id IS NOT NULL;",
      "CREATE INDEX ", name, "_times ON ", name, " USING brin (timestamp, created_at);");
}

absl::Status Classify(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  // The table, its index or its range is there already: another daemon was faster.
  if (error.has_value() && (error->sqlstate == "42P07" || error->sqlstate == "23505" ||
                            error->sqlstate == "42P17" || error->sqlstate == "42710")) {
    return absl::AbortedError("another daemon made this partition");
  }
  return status;
}

}  // namespace

absl::StatusOr<std::vector<Partition>> ReadPartitions(pg::Connection& connection,
                                                      Deadline deadline) {
  auto result = connection.Query(kReadPartitions, pg::Params(), deadline);
  if (!result.ok()) return result.status();
  std::vector<Partition> partitions(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    partitions[static_cast<std::size_t>(row)] = {std::string(result->Text(row, 0)),
                                                 result->Int64(row, 1), result->Int64(row, 2)};
  }
  return partitions;
}

absl::Status CreatePartition(pg::Connection& connection, std::int64_t first_position,
                             std::int64_t end_position, std::chrono::milliseconds lock_timeout,
                             Deadline deadline) {
  const std::string name = absl::StrCat("events_p", first_position);
  const std::string low = absl::StrCat(first_position);
  const std::string high = absl::StrCat(end_position);
  auto payload_indexes = PayloadIndexSqlFor(connection, name, deadline);
  if (!payload_indexes.ok()) return payload_indexes.status();
  // One transaction: a table that could not be attached does not stay behind. The parent is locked
  // at the very end, and for no longer than the attaching takes.
  absl::Status status = connection.RunScript(
      absl::StrCat("BEGIN;", CreateSql(name, low, high), *payload_indexes,
                   "SET LOCAL lock_timeout = ", lock_timeout.count(), ";",
                   "ALTER TABLE events ATTACH PARTITION ", name, " FOR VALUES FROM (", low,
                   ") TO (", high, ");", "ALTER TABLE ", name, " DROP CONSTRAINT ", name, "_range;",
                   "COMMIT;"),
      deadline);
  if (status.ok()) return status;
  if (connection.usable()) {
    const absl::Status rolled_back = connection.RunScript("ROLLBACK", deadline);
    if (!rolled_back.ok()) return rolled_back;
  }
  return Classify(status);
}

}  // namespace eventstore::tables
