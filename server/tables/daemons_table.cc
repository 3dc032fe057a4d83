#include "server/tables/daemons_table.h"

namespace eventstore::tables {
namespace {

constexpr pg::Statement kHeartbeat{
    "daemons_heartbeat",
    "WITH alive AS (INSERT INTO daemons (daemon, address) VALUES ($1, $2)"
    " ON CONFLICT (daemon) DO UPDATE SET heartbeat_at = clock_timestamp(), address = $2),"
    " gone AS (DELETE FROM daemons WHERE heartbeat_at < clock_timestamp() - interval '1 hour'"
    " AND daemon <> $1),"
    " old_batches AS (DELETE FROM lane_batches b WHERE b.daemon <> $1"
    " AND b.updated_at < clock_timestamp() - interval '1 day'"
    " AND NOT EXISTS (SELECT FROM daemons d WHERE d.daemon = b.daemon))"
    " SELECT count(*)::int FROM daemons WHERE daemon <> $1"
    " AND heartbeat_at >= clock_timestamp() - $3 * interval '1 millisecond'"};

constexpr pg::Statement kSignOff{"daemons_sign_off", "DELETE FROM daemons WHERE daemon = $1"};

}  // namespace

absl::StatusOr<int> Heartbeat(pg::Connection& connection, const Uuid& daemon,
                              std::string_view address, std::chrono::milliseconds expire,
                              Deadline deadline) {
  auto result = connection.Query(
      kHeartbeat,
      pg::Params().Uuid(daemon).Text(address).Double(static_cast<double>(expire.count())),
      deadline);
  if (!result.ok()) return result.status();
  return result->Int32(0, 0);
}

absl::Status SignOff(pg::Connection& connection, const Uuid& daemon, Deadline deadline) {
  return connection.Query(kSignOff, pg::Params().Uuid(daemon), deadline).status();
}

}  // namespace eventstore::tables
