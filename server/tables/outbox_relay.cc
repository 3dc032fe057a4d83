#include "server/tables/outbox_relay.h"

#include <utility>

#include "server/tables/log_table.h"

namespace eventstore::tables {
namespace {

using std::chrono::milliseconds;

// Looks before it writes: those who only wait for the lease cost no row lock and no WAL.
constexpr pg::Statement kIsFree{
    "outbox_lease_is_free",
    "SELECT NOT EXISTS (SELECT 1 FROM outbox_sinks WHERE sink = $1 AND daemon IS NOT NULL"
    " AND daemon <> $2 AND lease_until > clock_timestamp())"};

constexpr pg::Statement kTake{
    "outbox_lease_take",
    "INSERT INTO outbox_sinks AS s (sink, daemon, token, lease_until, state) VALUES"
    " ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond', 'running')"
    " ON CONFLICT (sink) DO UPDATE SET daemon = excluded.daemon, token = s.token + 1,"
    " lease_until = clock_timestamp() + $3 * interval '1 millisecond', state = 'running',"
    " last_error = NULL, updated_at = clock_timestamp() WHERE s.daemon IS NULL"
    " OR s.daemon = excluded.daemon OR s.lease_until IS NULL"
    " OR s.lease_until <= clock_timestamp() RETURNING s.token, s.paused"};

constexpr pg::Statement kRenew{
    "outbox_lease_renew",
    "UPDATE outbox_sinks SET lease_until = clock_timestamp() + $4 * interval '1 millisecond',"
    " state = $5, last_error = nullif($6, ''), updated_at = clock_timestamp()"
    " WHERE sink = $1 AND daemon = $2 AND token = $3 RETURNING token, paused"};

constexpr pg::Statement kRelease{
    "outbox_lease_release",
    "UPDATE outbox_sinks SET daemon = NULL, lease_until = NULL, state = 'idle', last_error = NULL,"
    " updated_at = clock_timestamp() WHERE sink = $1 AND daemon = $2 AND token = $3"};

constexpr pg::Statement kScan{
    "outbox_scan",
    "SELECT stream_key, global_position FROM event_outbox WHERE sink = $1 AND status = 'pending'"
    " AND global_position > $2 ORDER BY global_position LIMIT $3"};

// One snapshot of a stream, from its first entry that is not published: a gap in what is taken of
// it cannot go unnoticed.
constexpr pg::Statement kLook{
    "outbox_look",
    "SELECT o.id, s.stream_key, o.global_position, CASE WHEN o.status = 'pending' THEN"
    " CASE WHEN o.next_attempt_at > clock_timestamp() THEN 1 ELSE 0 END"
    " WHEN o.status = 'claimed' THEN 2 ELSE 3 END,"
    " greatest(0, ceil(extract(epoch FROM CASE WHEN o.status = 'claimed' THEN o.claimed_until"
    " WHEN o.status = 'pending' THEN o.next_attempt_at END - clock_timestamp()) * 1000))::bigint,"
    " o.bytes FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS s(stream_key, most, place)"
    " CROSS JOIN LATERAL (SELECT id, global_position, status, next_attempt_at, claimed_until,"
    " pg_column_size(event_data) AS bytes FROM event_outbox WHERE sink = $1"
    " AND stream_key = s.stream_key AND status <> 'published' AND NOT ($4 AND status = 'failed')"
    " ORDER BY global_position LIMIT s.most) o ORDER BY s.place, o.global_position"};

constexpr pg::Statement kLock{
    "outbox_lock",
    "SELECT id, stream_key, global_position, retry_count, event_data FROM event_outbox"
    " WHERE id = ANY($1) AND status = 'pending' ORDER BY global_position FOR UPDATE SKIP LOCKED"};

constexpr pg::Statement kMark{
    "outbox_mark",
    "WITH fence AS (SELECT 1 FROM outbox_sinks WHERE sink = $1 AND daemon = $2 AND token = $3),"
    " done AS (UPDATE event_outbox SET status = 'published', published_at = clock_timestamp(),"
    " next_attempt_at = NULL FROM fence WHERE id = ANY($4)),"
    " refused AS (UPDATE event_outbox o SET retry_count = o.retry_count + 1, last_error = n.error,"
    " status = CASE WHEN o.retry_count + 1 >= $8 THEN 'failed' ELSE 'pending' END,"
    " next_attempt_at = CASE WHEN o.retry_count + 1 < $8 THEN"
    " clock_timestamp() + n.delay_ms * interval '1 millisecond' END FROM fence,"
    " unnest($5::uuid[], $6::text[], $7::bigint[]) AS n(id, error, delay_ms) WHERE o.id = n.id)"
    " SELECT EXISTS (SELECT 1 FROM fence)"};

// A loose scan of idx_outbox_stream: one step a stream.
constexpr pg::Statement kSweep{
    "outbox_sweep",
    "WITH RECURSIVE streams AS ((SELECT stream_key FROM event_outbox WHERE sink = $1"
    " AND status <> 'published' AND stream_key > $2 ORDER BY stream_key LIMIT 1)"
    " UNION ALL SELECT (SELECT o.stream_key FROM event_outbox o WHERE o.sink = $1"
    " AND o.status <> 'published' AND o.stream_key > s.stream_key ORDER BY o.stream_key LIMIT 1)"
    " FROM streams s WHERE s.stream_key IS NOT NULL)"
    " SELECT s.stream_key, h.global_position, h.ready FROM (SELECT stream_key FROM streams"
    " WHERE stream_key IS NOT NULL LIMIT $3) s LEFT JOIN LATERAL (SELECT o.global_position,"
    " o.status = 'pending' AND (o.next_attempt_at IS NULL"
    " OR o.next_attempt_at <= clock_timestamp()) AS ready FROM event_outbox o WHERE o.sink = $1"
    " AND o.stream_key = s.stream_key AND o.status <> 'published'"
    " AND NOT ($4 AND o.status = 'failed') ORDER BY o.global_position LIMIT 1) h ON true"};

constexpr pg::Statement kFigures{
    "outbox_figures",
    "SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'failed'),"
    " coalesce((SELECT greatest(0, extract(epoch FROM clock_timestamp() - created_at))"
    " FROM event_outbox WHERE sink = $1 AND status = 'pending' ORDER BY global_position LIMIT 1),"
    " 0)::float8 FROM (SELECT status FROM event_outbox WHERE sink = $1 AND status <> 'published'"
    " LIMIT $2) counted"};

constexpr pg::Statement kDeletePublished{
    "outbox_delete_published",
    "DELETE FROM event_outbox WHERE id = ANY(ARRAY(SELECT id FROM event_outbox"
    " WHERE status = 'published' AND published_at < clock_timestamp() - $1 * interval '1 second'"
    " ORDER BY published_at LIMIT $2 FOR UPDATE SKIP LOCKED)) AND status = 'published'"};

std::optional<OutboxLeaseState> LeaseOf(const pg::Result& result) {
  if (result.rows() == 0) return std::nullopt;
  return OutboxLeaseState{result.Int64(0, 0), result.Bool(0, 1)};
}

double Milliseconds(milliseconds duration) { return static_cast<double>(duration.count()); }

}  // namespace

absl::StatusOr<std::optional<OutboxLeaseState>> TakeOutboxLease(pg::Connection& connection,
                                                                std::string_view sink,
                                                                const Uuid& daemon,
                                                                milliseconds lease,
                                                                Deadline deadline) {
  auto free = connection.Query(kIsFree, pg::Params().Text(sink).Uuid(daemon), deadline);
  if (!free.ok()) return free.status();
  if (!free->Bool(0, 0)) return std::optional<OutboxLeaseState>();
  auto taken = connection.Query(
      kTake, pg::Params().Text(sink).Uuid(daemon).Double(Milliseconds(lease)), deadline);
  if (!taken.ok()) return taken.status();
  return LeaseOf(*taken);
}

absl::StatusOr<std::optional<OutboxLeaseState>> RenewOutboxLease(
    pg::Connection& connection, const OutboxLease& lease, milliseconds duration,
    std::string_view state, std::string_view last_error, Deadline deadline) {
  auto renewed = connection.Query(kRenew,
                                  pg::Params()
                                      .Text(lease.sink)
                                      .Uuid(lease.daemon)
                                      .Int64(lease.token)
                                      .Double(Milliseconds(duration))
                                      .Text(state)
                                      .Text(last_error),
                                  deadline);
  if (!renewed.ok()) return renewed.status();
  return LeaseOf(*renewed);
}

absl::Status ReleaseOutboxLease(pg::Connection& connection, const OutboxLease& lease,
                                Deadline deadline) {
  return connection
      .Query(kRelease, pg::Params().Text(lease.sink).Uuid(lease.daemon).Int64(lease.token),
             deadline)
      .status();
}

absl::StatusOr<std::vector<OutboxSighting>> ScanOutbox(pg::Connection& connection,
                                                       std::string_view sink,
                                                       std::int64_t after_position,
                                                       std::int64_t limit, Deadline deadline) {
  auto result =
      connection.Query(kScan, pg::Params().Text(sink).Int64(after_position).Int64(limit), deadline);
  if (!result.ok()) return result.status();
  std::vector<OutboxSighting> sightings;
  sightings.reserve(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    sightings.push_back({result->Int64(row, 0), result->Int64(row, 1)});
  }
  return sightings;
}

absl::StatusOr<std::vector<OutboxCandidate>> LookAtOutboxStreams(
    pg::Connection& connection, std::string_view sink,
    const std::vector<OutboxStreamLimit>& streams, bool pass_failed, Deadline deadline) {
  pg::ArrayWriter keys(pg::kInt8), limits(pg::kInt8);
  for (const OutboxStreamLimit& stream : streams) {
    keys.Int64(stream.stream_key);
    limits.Int64(stream.limit);
  }
  auto result = connection.Query(
      kLook, pg::Params().Text(sink).Array(&keys).Array(&limits).Bool(pass_failed), deadline);
  if (!result.ok()) return result.status();
  std::vector<OutboxCandidate> candidates;
  candidates.reserve(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    OutboxCandidate& candidate = candidates.emplace_back();
    candidate.id = result->Uuid(row, 0);
    candidate.stream_key = result->Int64(row, 1);
    candidate.position = result->Int64(row, 2);
    candidate.hindrance = static_cast<OutboxHindrance>(result->Int32(row, 3));
    if (!result->IsNull(row, 4)) candidate.wait = milliseconds(result->Int64(row, 4));
    candidate.bytes = result->Int64(row, 5);
  }
  return candidates;
}

absl::StatusOr<std::vector<OutboxRow>> LockOutboxRows(pg::Connection& connection,
                                                      const std::vector<Uuid>& ids,
                                                      Deadline deadline) {
  pg::ArrayWriter array(pg::kUuid);
  for (const Uuid& id : ids) array.Uuid(id);
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kBegin, {});
  pg::Params params;
  params.Array(&array);
  pipeline.Add(kLock, std::move(params));
  auto outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) {
    if (connection.usable()) (void)RollBackOutboxRows(connection, deadline);
    return outcome.status;
  }
  const pg::Result& result = outcome.results[1];
  std::vector<OutboxRow> rows;
  rows.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    rows.push_back({result.Uuid(row, 0), result.Int64(row, 1), result.Int64(row, 2),
                    result.Int32(row, 3), std::string(result.Jsonb(row, 4))});
  }
  return rows;
}

absl::StatusOr<bool> MarkOutboxRows(pg::Connection& connection, const OutboxLease& lease,
                                    const OutboxMarks& marks, Deadline deadline) {
  pg::ArrayWriter published(pg::kUuid), refused(pg::kUuid), errors(pg::kText), delays(pg::kInt8);
  for (const Uuid& id : marks.published) published.Uuid(id);
  for (const OutboxRefusal& refusal : marks.refused) {
    refused.Uuid(refusal.id);
    errors.Text(refusal.error);
    delays.Int64(refusal.delay.count());
  }
  pg::Params params;
  params.Text(lease.sink)
      .Uuid(lease.daemon)
      .Int64(lease.token)
      .Array(&published)
      .Array(&refused)
      .Array(&errors)
      .Array(&delays)
      .Int64(marks.attempts_max);
  // One round trip: without the lease nothing was changed, and committing nothing is a roll-back.
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kMark, std::move(params));
  pipeline.Add(kCommit, {});
  auto outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) {
    if (connection.usable()) (void)RollBackOutboxRows(connection, deadline);
    return outcome.status;
  }
  return outcome.results[0].Bool(0, 0);
}

absl::Status RollBackOutboxRows(pg::Connection& connection, Deadline deadline) {
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kRollback, {});
  return pipeline.Run(deadline).status;
}

absl::StatusOr<std::vector<OutboxStreamHead>> SweepOutboxStreams(
    pg::Connection& connection, std::string_view sink, std::int64_t after_stream_key,
    std::int64_t limit, bool pass_failed, Deadline deadline) {
  auto result = connection.Query(
      kSweep, pg::Params().Text(sink).Int64(after_stream_key).Int64(limit).Bool(pass_failed),
      deadline);
  if (!result.ok()) return result.status();
  std::vector<OutboxStreamHead> heads;
  heads.reserve(static_cast<std::size_t>(result->rows()));
  for (int row = 0; row < result->rows(); ++row) {
    OutboxStreamHead& head = heads.emplace_back();
    head.stream_key = result->Int64(row, 0);
    if (result->IsNull(row, 1)) continue;  // nothing but failed ones, which are passed
    head.position = result->Int64(row, 1);
    head.is_ready = result->Bool(row, 2);
  }
  return heads;
}

absl::StatusOr<OutboxFigures> ReadOutboxFigures(pg::Connection& connection, std::string_view sink,
                                                std::int64_t count_max, Deadline deadline) {
  auto result = connection.Query(kFigures, pg::Params().Text(sink).Int64(count_max), deadline);
  if (!result.ok()) return result.status();
  return OutboxFigures{result->Int64(0, 0), result->Int64(0, 1), result->Double(0, 2)};
}

absl::StatusOr<std::int64_t> DeletePublishedOutbox(pg::Connection& connection,
                                                   std::chrono::seconds retention,
                                                   std::int64_t limit, Deadline deadline) {
  auto result = connection.Query(
      kDeletePublished, pg::Params().Double(static_cast<double>(retention.count())).Int64(limit),
      deadline);
  if (!result.ok()) return result.status();
  return result->affected();
}

}  // namespace eventstore::tables
