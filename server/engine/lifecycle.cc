#include "server/engine/lifecycle.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/engine/lane_session.h"
#include "server/tables/streams_table.h"

namespace eventstore::engine {
namespace {

using State = std::optional<tables::StreamState>;

std::string NameOf(const v1::StreamId& stream) {
  return absl::StrCat(stream.aggregate_type(), "/", stream.aggregate_id());
}

absl::Status Commit(pg::Connection& connection, Deadline deadline) {
  pg::Pipeline pipeline(&connection);
  pipeline.Add(tables::kCommit, {});
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  if (std::any_of(outcome.notices.begin(), outcome.notices.end(), SaysCommitIsInDoubt)) {
    return StoreUnavailable(
        "the change was committed here, but the database stopped waiting for its replica; what a "
        "retry does is told with the RPC");
  }
  return absl::OkStatus();
}

// Ends the transaction at once: others wait for the head.
void Rollback(pg::Connection& connection, Deadline deadline) {
  if (!connection.usable() || !connection.in_transaction()) return;
  // Where it fails the pool closes the connection, which does the same.
  (void)connection.Query(tables::kRollback, pg::Params(), deadline);
}

absl::Status CheckTruncate(const v1::TruncateStreamRequest& request, const State& state) {
  if (state.has_value() && state->tombstoned) return StreamDeleted(request.stream());
  if (!state.has_value() || state->deleted) return NotFound("stream", NameOf(request.stream()));
  if (request.before_version() <= state->version) return absl::OkStatus();
  return InvalidRequest(
      "before_version",
      absl::StrCat("before_version is ", request.before_version(), ", but the stream's version is ",
                   state->version, ": at least its last event stays; DeleteStream removes all"));
}

absl::Status CheckDelete(const v1::DeleteStreamRequest& request, const State& state) {
  const v1::ExpectedVersion& expected = request.expected_version();
  if (!state.has_value()) return NotFound("stream", NameOf(request.stream()));
  if (state->tombstoned) {
    if (!expected.has_any()) return StreamDeleted(request.stream());
    return request.permanent() ? absl::OkStatus() : NotFound("stream", NameOf(request.stream()));
  }
  if (state->deleted && !request.permanent()) return NotFound("stream", NameOf(request.stream()));
  const std::int64_t actual = state->deleted ? 0 : state->version;
  const bool holds = expected.has_any() || (expected.has_stream_exists() && actual > 0) ||
                     (expected.has_exact() && expected.exact() == actual);
  return holds ? absl::OkStatus() : VersionConflict(request.stream(), expected, actual);
}

using Found = std::vector<tables::ErasedEvent>;

absl::Status CheckFoundOfStream(const v1::EraseEventsRequest& request,
                                const tables::StreamState& stream, const Found& found,
                                const tables::Head& head, std::int64_t limit) {
  const auto missing = [&](std::int64_t version) {
    if (version > stream.version) {
      return NotFound("event", absl::StrCat(NameOf(request.stream()), " version ", version));
    }
    return Archived(head.first_position,
                    absl::StrCat("version ", version,
                                 " of the stream was archived; nothing was "
                                 "erased. Erase what is still here by its versions, and the rest "
                                 "in the archive"));
  };
  const bool all = request.versions().empty();
  const std::int64_t expected = all ? stream.version : request.versions().size();
  if (expected > limit) {
    return TooLarge(all ? "stream" : "versions", "erase_events_max", limit, expected);
  }
  // Both are sorted, and each version is there once.
  for (std::int64_t i = 0; i < expected; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t version = all ? i + 1 : request.versions(static_cast<int>(i));
    if (at >= found.size() || found[at].version != version) return missing(version);
  }
  return absl::OkStatus();
}

absl::Status CheckFoundById(const v1::EraseEventsRequest& request, const Found& found,
                            const tables::Head& head, std::int64_t limit) {
  if (request.event_ids_size() > limit) {
    return TooLarge("event_ids", "erase_events_max", limit, request.event_ids_size());
  }
  const Uuid tenant = tables::TenantOf(request.tenant_id());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string& id = request.event_ids(static_cast<int>(i));
    const bool other_tenant = !request.tenant_id().empty() && found[i].tenant != tenant;
    if (found[i].global_position == 0 || other_tenant) return NotFound("event", id);
    if (!found[i].is_here) {
      return Archived(head.first_position,
                      absl::StrCat("event ", id, " was archived; nothing was erased"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

TableLifecycle::TableLifecycle(const StoreOptions& options, Workers* workers,
                               telemetry::LifecycleMetrics metrics, Callbacks callbacks)
    : options_(options), workers_(workers), metrics_(metrics), callbacks_(std::move(callbacks)) {}

absl::Status TableLifecycle::Change::Raise(const char* kind, const std::vector<std::int64_t>& keys,
                                           prometheus::Counter* kind_counter) {
  counter = kind_counter;
  auto revision = tables::RaiseRevision(connection, kind, keys, deadline);
  if (!revision.ok()) return revision.status();
  changes.revision = *revision;
  changes.after = *revision - 1;
  return absl::OkStatus();
}

template <typename Response>
absl::StatusOr<Response> TableLifecycle::Attempt(
    const std::function<absl::StatusOr<Response>(Change*)>& work, Change* change) {
  const tables::ChangeTimeouts timeouts{options_.writer.lock_timeout_ms,
                                        options_.writer.statement_timeout_ms,
                                        options_.writer.idle_in_transaction_timeout_ms};
  auto head = tables::BeginChange(change->connection, timeouts, change->deadline);
  if (!head.ok()) {
    Rollback(change->connection, change->deadline);
    return head.status();
  }
  change->changes.head = *head;
  absl::StatusOr<Response> response = work(change);
  if (!response.ok() || change->changes.revision == 0) {
    Rollback(change->connection, change->deadline);
    return response;
  }
  absl::Status committed = Commit(change->connection, change->deadline);
  if (!committed.ok()) return committed;
  change->counter->Increment();
  metrics_.events_erased->Increment(static_cast<double>(change->changes.erased.size()));
  callbacks_.changed(change->changes);
  return response;
}

template <typename Response>
void TableLifecycle::Run(Deadline deadline, std::function<absl::StatusOr<Response>(Change*)> work,
                         Done<Response> done) {
  workers_->Run<Response>(
      Workers::Kind::kWrite, deadline,
      [this, work = std::move(work)](pg::Connection& connection,
                                     Deadline until) -> absl::StatusOr<Response> {
        while (true) {
          Change change{connection, until, {}, nullptr, {}};
          absl::StatusOr<Response> response = Attempt<Response>(work, &change);
          if (change.awaited.empty()) return response;
          absl::Status awaited = tables::AwaitOutboxOf(connection, change.awaited, until);
          if (!awaited.ok()) return awaited;
        }
      },
      [this, done = std::move(done)](absl::StatusOr<Response> response) {
        if (!response.ok()) return done(std::move(response));
        auto shared = std::make_shared<Response>(*std::move(response));
        callbacks_.settle([done, shared] { done(std::move(*shared)); });
      });
}

absl::StatusOr<v1::TruncateStreamResponse> TableLifecycle::Truncate(
    const v1::TruncateStreamRequest& request, Change* change) {
  auto state = tables::FindStreamState(change->connection, request.stream(), change->deadline);
  if (!state.ok()) return state.status();
  absl::Status checked = CheckTruncate(request, *state);
  if (!checked.ok()) return checked;
  if (request.before_version() > (*state)->first_version) {
    absl::Status truncated = tables::TruncateStream(change->connection, (*state)->stream_key,
                                                    request.before_version(), change->deadline);
    if (!truncated.ok()) return truncated;
    absl::Status raised = change->Raise("truncate", {(*state)->stream_key}, metrics_.truncated);
    if (!raised.ok()) return raised;
    change->changes.streams.push_back(request.stream());
  }
  auto info = tables::ReadStreamInfo(change->connection, request.stream(), change->deadline);
  if (!info.ok()) return info.status();
  v1::TruncateStreamResponse response;
  *response.mutable_info() = *std::move(info);
  return response;
}

absl::StatusOr<v1::DeleteStreamResponse> TableLifecycle::Delete(
    const v1::DeleteStreamRequest& request, Change* change) {
  auto state = tables::FindStreamState(change->connection, request.stream(), change->deadline);
  if (!state.ok()) return state.status();
  absl::Status checked = CheckDelete(request, *state);
  if (!checked.ok()) return checked;
  if (!(*state)->tombstoned) {
    absl::Status deleted = tables::DeleteStream(change->connection, (*state)->stream_key,
                                                request.permanent(), change->deadline);
    if (!deleted.ok()) return deleted;
    absl::Status raised =
        request.permanent()
            ? change->Raise("tombstone", {(*state)->stream_key}, metrics_.tombstoned)
            : change->Raise("delete", {(*state)->stream_key}, metrics_.deleted);
    if (!raised.ok()) return raised;
    change->changes.streams.push_back(request.stream());
  }
  auto info = tables::ReadStreamInfo(change->connection, request.stream(), change->deadline);
  if (!info.ok()) return info.status();
  v1::DeleteStreamResponse response;
  *response.mutable_info() = *std::move(info);
  return response;
}

absl::StatusOr<v1::EraseEventsResponse> TableLifecycle::Erase(const v1::EraseEventsRequest& request,
                                                              Change* change) {
  const std::int64_t limit = options_.limits.erase_events_max;
  Found found;
  if (request.has_stream()) {
    auto state = tables::FindStreamState(change->connection, request.stream(), change->deadline);
    if (!state.ok()) return state.status();
    if (!state->has_value()) return NotFound("stream", NameOf(request.stream()));
    auto events = tables::FindEventsOfStream(change->connection, **state, request.versions(), limit,
                                             change->deadline);
    if (!events.ok()) return events.status();
    found = *std::move(events);
    absl::Status checked = CheckFoundOfStream(request, **state, found, change->changes.head, limit);
    if (!checked.ok()) return checked;
  } else {
    auto events = tables::FindEventsById(change->connection, request.event_ids(), change->deadline);
    if (!events.ok()) return events.status();
    found = *std::move(events);
    absl::Status checked = CheckFoundById(request, found, change->changes.head, limit);
    if (!checked.ok()) return checked;
  }
  std::erase_if(found, [](const tables::ErasedEvent& event) { return event.is_erased; });
  v1::EraseEventsResponse response;
  if (found.empty()) return response;
  std::vector<std::int64_t> keys;
  std::vector<Uuid> ids;
  for (const tables::ErasedEvent& event : found) {
    keys.push_back(event.stream_key);
    ids.push_back(event.event_id);
    change->changes.erased.push_back(event.global_position);
  }
  auto locked = tables::LockOutboxOf(change->connection, ids, change->deadline);
  if (!locked.ok()) return locked.status();
  if (!*locked) {
    change->awaited = std::move(ids);
    return response;
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  absl::Status raised = change->Raise("erase", keys, metrics_.erased);
  if (!raised.ok()) return raised;
  absl::Status erased = tables::EraseEvents(
      change->connection, found, {change->changes.revision, request.reason(), request.erased_by()},
      change->deadline);
  if (!erased.ok()) return erased;
  response.set_erased(static_cast<std::int64_t>(found.size()));
  return response;
}

void TableLifecycle::TruncateStream(v1::TruncateStreamRequest request, Deadline deadline,
                                    Done<v1::TruncateStreamResponse> done) {
  Run<v1::TruncateStreamResponse>(
      deadline,
      [this, request = std::move(request)](Change* change) { return Truncate(request, change); },
      std::move(done));
}

void TableLifecycle::DeleteStream(v1::DeleteStreamRequest request, Deadline deadline,
                                  Done<v1::DeleteStreamResponse> done) {
  Run<v1::DeleteStreamResponse>(
      deadline,
      [this, request = std::move(request)](Change* change) { return Delete(request, change); },
      std::move(done));
}

void TableLifecycle::EraseEvents(v1::EraseEventsRequest request, Deadline deadline,
                                 Done<v1::EraseEventsResponse> done) {
  Run<v1::EraseEventsResponse>(
      deadline,
      [this, request = std::move(request)](Change* change) { return Erase(request, change); },
      std::move(done));
}

}  // namespace eventstore::engine
