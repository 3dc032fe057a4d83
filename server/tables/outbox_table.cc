#include "server/tables/outbox_table.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "server/core/ids.h"
#include "server/tables/log_table.h"
#include "server/tables/outbox_data.h"

namespace eventstore::tables {
namespace {

// See streams_table.cc for LATERAL with LIMIT.
constexpr pg::Statement kInsert{
    "outbox_insert",
    "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, tenant_id,"
    " event_data, created_at, sink, global_position, stream_key)"
    " SELECT e.event_id, e.event_type, e.aggregate_id, e.aggregate_type,"
    " e.tenant_id, " EVENTSTORE_OUTBOX_DATA
    ", e.created_at, n.sink, e.global_position, e.stream_key"
    " FROM unnest($1::bigint[], $2::text[]) AS n(position, sink)"
    " CROSS JOIN LATERAL (SELECT * FROM events WHERE events.global_position = n.position"
    " LIMIT 1) e"};

// What a claim leaves behind.
#define EVENTSTORE_OUTBOX_NO_CLAIM "claim_token = NULL, claimed_by = NULL, claimed_until = NULL"

constexpr pg::Statement kComplete{
    "outbox_complete",
    "UPDATE event_outbox SET status = 'published', published_at = clock_timestamp(),"
    " next_attempt_at = NULL, " EVENTSTORE_OUTBOX_NO_CLAIM
    " WHERE id IN (SELECT id FROM event_outbox WHERE id = ANY($2) AND claim_token = $1"
    " AND status = 'claimed' ORDER BY id FOR UPDATE) AND claim_token = $1 AND status = 'claimed'"};

// All that a claim holds, in the order in which every change locks.
constexpr pg::Statement kLockClaim{
    "outbox_lock_claim",
    "SELECT id, sink, stream_key, global_position, retry_count FROM event_outbox"
    " WHERE claim_token = $1 AND status = 'claimed' ORDER BY id FOR UPDATE"};

// $5: the part of a wait that is not left to chance.
constexpr pg::Statement kFail{
    "outbox_fail",
    "UPDATE event_outbox o SET retry_count = o.retry_count + 1, last_error = n.error,"
    " status = n.status, next_attempt_at = CASE WHEN n.status = 'pending' THEN clock_timestamp()"
    " + n.delay_ms * ($5 + (1 - $5) * random()) * interval '1 millisecond'"
    " END, " EVENTSTORE_OUTBOX_NO_CLAIM
    " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])"
    " AS n(id, error, status, delay_ms) WHERE o.id = n.id"};

constexpr pg::Statement kRelease{
    "outbox_release", "UPDATE event_outbox SET status = 'pending', " EVENTSTORE_OUTBOX_NO_CLAIM
                      " WHERE id = ANY($1)"};

constexpr pg::Statement kReleaseExpired{
    "outbox_release_expired",
    "UPDATE event_outbox SET status = 'pending', " EVENTSTORE_OUTBOX_NO_CLAIM
    " WHERE id IN (SELECT id FROM event_outbox WHERE sink = $1 AND status = 'claimed'"
    " AND claimed_until <= clock_timestamp() ORDER BY claimed_until LIMIT $2"
    " FOR UPDATE SKIP LOCKED) AND status = 'claimed'"};

struct ClaimedEntry {
  Uuid id{};
  std::string sink;
  std::int64_t stream_key = 0;
  std::int64_t position = 0;
  std::int64_t attempts = 0;
};

std::vector<ClaimedEntry> ParseClaim(const pg::Result& result) {
  std::vector<ClaimedEntry> entries(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    entries[static_cast<std::size_t>(row)] = {result.Uuid(row, 0), std::string(result.Text(row, 1)),
                                              result.Int64(row, 2), result.Int64(row, 3),
                                              result.Int32(row, 4)};
  }
  return entries;
}

std::int64_t BackoffMillis(const OutboxRetryRules& rules, std::int64_t failures) {
  std::int64_t delay = std::min(rules.backoff_min, rules.backoff_max).count();
  for (std::int64_t i = 1; i < failures && delay < rules.backoff_max.count(); ++i) delay *= 2;
  return std::min<std::int64_t>(delay, rules.backoff_max.count());
}

// What FailOutbox changes of a claim.
class Failures {
 public:
  Failures(const v1::FailOutboxRequest& request, const std::vector<OutboxRetryRules>& rules)
      : rules_(rules), has_delay_(request.has_retry_delay()) {
    for (const v1::FailedOutboxEntry& entry : request.entries()) {
      errors_.emplace(ParseUuid(entry.id()).value_or(kNilUuid), &entry.error());
    }
    delay_ms_ = request.retry_delay().seconds() * 1000 + request.retry_delay().nanos() / 1'000'000;
  }

  void Decide(const std::vector<ClaimedEntry>& claim) {
    std::map<std::int64_t, std::int64_t> first_failed;  // position, by stream
    for (const ClaimedEntry& entry : claim) {
      const auto error = errors_.find(entry.id);
      if (error == errors_.end()) continue;
      Fail(entry, *error->second);
      const auto [first, is_new] = first_failed.emplace(entry.stream_key, entry.position);
      if (!is_new) first->second = std::min(first->second, entry.position);
    }
    for (const ClaimedEntry& entry : claim) {
      const auto first = first_failed.find(entry.stream_key);
      if (errors_.contains(entry.id) || first == first_failed.end()) continue;
      if (entry.position > first->second) released_.Uuid(entry.id);
    }
    response_.set_released(released_.size());
    response_.set_skipped(static_cast<std::int64_t>(errors_.size()) - ids_.size());
  }

  void AddTo(pg::Pipeline* pipeline) {
    pg::Params failed;
    failed.Array(&ids_).Array(&texts_).Array(&statuses_).Array(&delays_);
    pipeline->Add(kFail, std::move(failed.Double(has_delay_ ? 1 : 0.5)));
    pg::Params released;
    pipeline->Add(kRelease, std::move(released.Array(&released_)));
  }

  [[nodiscard]] const v1::FailOutboxResponse& response() const { return response_; }

 private:
  void Fail(const ClaimedEntry& entry, const std::string& error) {
    static const OutboxRetryRules kDefaults;
    const auto of_sink = [&entry](const auto& known) { return known.sink == entry.sink; };
    const auto found = std::find_if(rules_.begin(), rules_.end(), of_sink);
    const OutboxRetryRules& rules = found == rules_.end() ? kDefaults : *found;
    const bool is_last = entry.attempts + 1 >= rules.attempts_max;
    is_last ? response_.set_failed(response_.failed() + 1)
            : response_.set_retrying(response_.retrying() + 1);
    ids_.Uuid(entry.id);
    texts_.Text(error);
    statuses_.Text(is_last ? "failed" : "pending");
    delays_.Int64(has_delay_ ? delay_ms_ : BackoffMillis(rules, entry.attempts + 1));
  }

  const std::vector<OutboxRetryRules>& rules_;
  const bool has_delay_;
  std::int64_t delay_ms_ = 0;
  std::map<Uuid, const std::string*> errors_;
  pg::ArrayWriter ids_{pg::kUuid}, texts_{pg::kText}, statuses_{pg::kText}, delays_{pg::kInt8},
      released_{pg::kUuid};
  v1::FailOutboxResponse response_;
};

}  // namespace

void AddInsertOutbox(pg::Pipeline* pipeline, const std::vector<OutboxTarget>& targets) {
  pg::ArrayWriter positions(pg::kInt8), sinks(pg::kText);
  for (const OutboxTarget& target : targets) {
    positions.Int64(target.global_position);
    sinks.Text(target.sink);
  }
  pg::Params params;
  params.Array(&positions).Array(&sinks);
  pipeline->Add(kInsert, std::move(params));
}

absl::StatusOr<v1::CompleteOutboxResponse> CompleteOutbox(pg::Connection& connection,
                                                          const v1::CompleteOutboxRequest& request,
                                                          Deadline deadline) {
  pg::ArrayWriter ids(pg::kUuid);
  std::set<std::string_view> named;
  for (const std::string& id : request.ids()) {
    if (named.insert(id).second) ids.Uuid(ParseUuid(id).value_or(kNilUuid));
  }
  pg::Params params;
  params.Uuid(ParseUuid(request.claim_token()).value_or(kNilUuid)).Array(&ids);
  auto result = connection.Query(kComplete, params, deadline);
  if (!result.ok()) return result.status();
  v1::CompleteOutboxResponse response;
  response.set_completed(result->affected());
  response.set_skipped(static_cast<std::int64_t>(named.size()) - result->affected());
  return response;
}

absl::StatusOr<v1::FailOutboxResponse> FailOutbox(pg::Connection& connection,
                                                  const v1::FailOutboxRequest& request,
                                                  const std::vector<OutboxRetryRules>& rules,
                                                  Deadline deadline) {
  pg::Pipeline lock(&connection);
  lock.Add(kBegin, {});
  lock.Add(kLockClaim,
           std::move(pg::Params().Uuid(ParseUuid(request.claim_token()).value_or(kNilUuid))));
  const pg::Pipeline::Outcome locked = lock.Run(deadline);
  if (!locked.status.ok()) return locked.status;
  Failures failures(request, rules);
  failures.Decide(ParseClaim(locked.results[1]));
  pg::Pipeline change(&connection);
  failures.AddTo(&change);
  change.Add(kCommit, {});
  const pg::Pipeline::Outcome changed = change.Run(deadline);
  if (!changed.status.ok()) return changed.status;
  return failures.response();
}

absl::StatusOr<std::int64_t> ReleaseExpiredClaims(pg::Connection& connection, std::string_view sink,
                                                  Deadline deadline) {
  auto result = connection.Query(kReleaseExpired,
                                 pg::Params().Text(sink).Int64(kOutboxReleasedRowsMax), deadline);
  if (!result.ok()) return result.status();
  return result->affected();
}

}  // namespace eventstore::tables
