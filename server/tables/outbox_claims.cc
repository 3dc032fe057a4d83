// Giving entries to a worker: the claiming half of outbox_table.h.
#include <algorithm>
#include <utility>

#include "server/core/ids.h"
#include "server/tables/log_table.h"
#include "server/tables/outbox_row.h"
#include "server/tables/outbox_table.h"

namespace eventstore::tables {
namespace {

// The oldest pending entries that are looked at: so many times what is asked for, and at least.
constexpr std::int64_t kWindowFactor = 10;
constexpr std::int64_t kWindowRowsMin = 1'000;

// Claimers of a sink take turns by its row.
constexpr pg::Statement kAddSink{
    "outbox_add_sink", "INSERT INTO outbox_sinks (sink) VALUES ($1) ON CONFLICT DO NOTHING"};
constexpr pg::Statement kLockSink{"outbox_lock_sink",
                                  "SELECT FROM outbox_sinks WHERE sink = $1 FOR UPDATE"};

// What keeps `o` and everything behind it in its stream from being given; $2: a stream goes on
// after a failed entry.
#define EVENTSTORE_OUTBOX_BLOCKS                                                       \
  "(o.status = 'claimed' OR (o.status = 'failed' AND NOT $2) OR (o.status = 'pending'" \
  " AND o.next_attempt_at > c.now))"
#define EVENTSTORE_OUTBOX_CLOCK "(SELECT clock_timestamp() AS now OFFSET 0) c"

// Entries of the window before the first of their stream that blocks, in order. What is pending
// before them in their stream is in the window as well.
constexpr pg::Statement kFindInWindow{
    "outbox_find_in_window",
    "WITH seen AS MATERIALIZED (SELECT id, stream_key, global_position FROM event_outbox"
    " WHERE sink = $1 AND status = 'pending' ORDER BY global_position LIMIT $4),"
    " ends AS MATERIALIZED (SELECT s.stream_key, b.global_position AS position"
    " FROM (SELECT stream_key, max(global_position) AS last FROM seen GROUP BY stream_key) s"
    " CROSS JOIN " EVENTSTORE_OUTBOX_CLOCK
    " LEFT JOIN LATERAL (SELECT o.global_position FROM event_outbox o WHERE o.sink = $1"
    " AND o.stream_key = s.stream_key AND o.status <> 'published'"
    " AND o.global_position <= s.last AND " EVENTSTORE_OUTBOX_BLOCKS
    " ORDER BY o.sink, o.stream_key, o.global_position LIMIT 1) b ON true),"
    " free AS (SELECT s.id, s.stream_key, s.global_position FROM seen s JOIN ends e"
    " ON e.stream_key = s.stream_key WHERE e.position IS NULL OR s.global_position < e.position"
    " ORDER BY s.global_position LIMIT $3)"
    " SELECT f.id, f.stream_key, f.global_position, n.seen FROM (SELECT count(*) AS seen FROM seen)"
    " n LEFT JOIN free f ON true ORDER BY f.global_position"};

// Walks from stream to stream; of each whose first entry is free, takes that and what follows it.
constexpr pg::Statement kFindInStreams{
    "outbox_find_in_streams",
    "WITH RECURSIVE walked AS ((SELECT stream_key FROM event_outbox WHERE sink = $1"
    " AND status <> 'published' ORDER BY sink, stream_key LIMIT 1) UNION ALL"
    " SELECT (SELECT o.stream_key FROM event_outbox o WHERE o.sink = $1"
    " AND o.status <> 'published' AND o.stream_key > w.stream_key"
    " ORDER BY o.sink, o.stream_key LIMIT 1) FROM walked w WHERE w.stream_key IS NOT NULL),"
    " heads AS MATERIALIZED (SELECT o.stream_key, o.global_position FROM walked w"
    " CROSS JOIN " EVENTSTORE_OUTBOX_CLOCK
    " CROSS JOIN LATERAL (SELECT * FROM event_outbox x WHERE x.sink = $1"
    " AND x.stream_key = w.stream_key AND x.status <> 'published'"
    " AND NOT (x.status = 'failed' AND $2) ORDER BY x.sink, x.stream_key, x.global_position"
    " LIMIT 1) o WHERE w.stream_key IS NOT NULL AND NOT " EVENTSTORE_OUTBOX_BLOCKS
    " ORDER BY o.global_position LIMIT $3),"
    " each AS MATERIALIZED (SELECT $3 / greatest(count(*), 1) AS rows FROM heads)"
    " SELECT f.id, f.stream_key, f.global_position FROM heads h"
    " CROSS JOIN " EVENTSTORE_OUTBOX_CLOCK
    " CROSS JOIN LATERAL (SELECT o.id, o.stream_key, o.global_position, "
    "bool_or(" EVENTSTORE_OUTBOX_BLOCKS
    ") OVER (ORDER BY o.global_position) AS blocked"
    " FROM (SELECT * FROM event_outbox x WHERE x.sink = $1 AND x.stream_key = h.stream_key"
    " AND x.status <> 'published' AND NOT (x.status = 'failed' AND $2)"
    " ORDER BY x.sink, x.stream_key, x.global_position LIMIT (SELECT rows FROM each)) o) f"
    " WHERE NOT f.blocked ORDER BY f.global_position LIMIT $3"};

// Takes those that are still free and that nobody has locked, a relay or another program; behind
// one that is not, nothing of its stream. Those that come before $7 bytes are used up, so that one
// answer is bounded.
constexpr pg::Statement kTake{
    "outbox_take",
    "WITH found AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])"
    " AS n(id, stream_key, global_position)),"
    " locked AS MATERIALIZED (SELECT o.id, octet_length(o.event_data::text) AS size"
    " FROM event_outbox o WHERE o.id = ANY($1) AND o.status = 'pending' AND"
    " (o.next_attempt_at IS NULL OR o.next_attempt_at <= clock_timestamp())"
    " FOR UPDATE SKIP LOCKED),"
    " taken AS (SELECT id FROM (SELECT f.id, bool_and(l.id IS NOT NULL) OVER"
    " (PARTITION BY f.stream_key ORDER BY f.global_position) AS whole,"
    " sum(coalesce(l.size, 0)) OVER (ORDER BY f.global_position, f.id)"
    " - coalesce(l.size, 0) AS before FROM found f LEFT JOIN locked l ON l.id = f.id) w"
    " WHERE whole AND before < $7),"
    " q AS (UPDATE event_outbox o SET status = 'claimed', claim_token = $4, claimed_by = $5,"
    " claimed_until = clock_timestamp() + $6 * interval '1 millisecond', next_attempt_at = NULL"
    " FROM taken t WHERE o.id = t.id RETURNING o.*)"
    " SELECT " EVENTSTORE_OUTBOX_COLUMNS "FROM q ORDER BY q.global_position, q.id"};

struct Candidates {
  pg::ArrayWriter ids{pg::kUuid}, streams{pg::kInt8}, positions{pg::kInt8};
};

void AddCandidates(const pg::Result& result, Candidates* candidates) {
  for (int row = 0; row < result.rows(); ++row) {
    if (result.IsNull(row, 0)) continue;  // the row that only counts
    candidates->ids.Uuid(result.Uuid(row, 0));
    candidates->streams.Int64(result.Int64(row, 1));
    candidates->positions.Int64(result.Int64(row, 2));
  }
}

// Opens the transaction in which it is this claim's turn, and finds what it may take.
absl::Status FindCandidates(pg::Connection& connection, const v1::ClaimOutboxRequest& request,
                            bool pass_failed, Deadline deadline, Candidates* candidates) {
  const std::int64_t window = std::max(kWindowRowsMin, kWindowFactor * request.limit());
  const auto look = [&] {
    return pg::Params().Text(request.sink()).Bool(pass_failed).Int64(request.limit());
  };
  pg::Pipeline pipeline(&connection);
  pipeline.Add(kAddSink, std::move(pg::Params().Text(request.sink())));
  pipeline.Add(kBegin, {});
  pipeline.Add(kLockSink, std::move(pg::Params().Text(request.sink())));
  pipeline.Add(kFindInWindow, std::move(look().Int64(window)));
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  const pg::Result& found = outcome.results.back();
  AddCandidates(found, candidates);
  if (candidates->ids.size() > 0 || found.Int64(0, 3) < window) return absl::OkStatus();
  auto walked = connection.Query(kFindInStreams, look(), deadline);
  if (!walked.ok()) return walked.status();
  AddCandidates(*walked, candidates);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::ClaimOutboxResponse> ClaimOutbox(pg::Connection& connection,
                                                    const v1::ClaimOutboxRequest& request,
                                                    bool pass_failed, Deadline deadline) {
  auto released = ReleaseExpiredClaims(connection, request.sink(), deadline);
  if (!released.ok()) return released.status();
  Candidates candidates;
  absl::Status found = FindCandidates(connection, request, pass_failed, deadline, &candidates);
  if (!found.ok()) return found;
  v1::ClaimOutboxResponse response;
  const Uuid token = MakeUuidV7();
  pg::Pipeline pipeline(&connection);
  const bool any = candidates.ids.size() > 0;
  if (any) {
    pg::Params params;
    params.Array(&candidates.ids).Array(&candidates.streams).Array(&candidates.positions);
    params.Uuid(token).Text(request.worker());
    params.Int64(request.lease().seconds() * 1000 + request.lease().nanos() / 1'000'000)
        .Int64(kOutboxPageBytesMax);
    pipeline.Add(kTake, std::move(params));
  }
  pipeline.Add(kCommit, {});
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  for (int row = 0; any && row < outcome.results[0].rows(); ++row) {
    *response.add_entries() = ParseOutboxRow(outcome.results[0], row, 0);
  }
  if (response.entries_size() > 0) response.set_claim_token(FormatUuid(token));
  return response;
}

}  // namespace eventstore::tables
