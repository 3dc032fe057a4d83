// What BatchDecider does with a transaction.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "server/core/append_condition.h"
#include "server/core/errors.h"
#include "server/engine/batch_decider.h"

namespace eventstore::engine {
namespace {

// An error's only detail, with its place in the request.
v1::ErrorInfo DetailAt(const absl::Status& error, std::string_view list, int index,
                       std::string_view field) {
  v1::ErrorInfo detail = std::move(DetailsOf(error).at(0));
  const absl::string_view part(field.data(), field.size());
  detail.set_field(absl::StrCat(absl::string_view(list.data(), list.size()), "[", index, "]",
                                part.empty() ? "" : ".", part));
  detail.set_index(index);
  return detail;
}

}  // namespace

absl::StatusOr<v1::TransactResponse> BatchDecider::Decide(const TransactionInput& input) {
  absl::StatusOr<v1::TransactResponse> response = FindReplay(input);
  if (!response.ok() || response->deduplicated()) return response;
  Details deleted = CheckTombstones(input);
  if (!deleted.empty()) return MakeError(std::move(deleted));

  // What this transaction stages follows these; checks and conditions look at what was before.
  const std::size_t rows = rows_.size();
  const std::int64_t position = position_;
  std::vector<std::pair<int, Slot>> before;
  for (std::size_t i = 0; i < input.request->appends.size(); ++i) {
    before.emplace_back(input.slots[i], slots_[static_cast<std::size_t>(input.slots[i])]);
  }
  Details violations, checks;
  CheckChecks(input, &checks);
  Stage(input, &*response, &violations);
  std::move(checks.begin(), checks.end(), std::back_inserter(violations));
  CheckConditions(input, rows, &violations);
  absl::Status problem = input.refused;
  if (input.request->checkpoint.has_value()) {
    const absl::Status saved = saves_.Check(*input.request->checkpoint);
    if (absl::IsAborted(saved)) {
      violations.push_back(std::move(DetailsOf(saved).at(0)));
      violations.back().set_field(absl::StrCat("checkpoint.", violations.back().field()));
    } else if (problem.ok()) {
      problem = saved;
    }
  }
  if (!violations.empty()) {
    problem = MakeError(std::move(violations));
  } else if (problem.ok()) {
    problem = CheckSnapshots(input);
  }
  if (problem.ok()) {
    Save(input, &*response);
    return response;
  }
  for (std::size_t row = rows; row < rows_.size(); ++row) known_.erase(rows_[row].event_id);
  rows_.resize(rows);
  position_ = position;
  // The first copy of a slot is the one from before.
  for (auto it = before.rbegin(); it != before.rend(); ++it) {
    slots_[static_cast<std::size_t>(it->first)] = it->second;
  }
  return problem;
}

absl::StatusOr<v1::TransactResponse> BatchDecider::FindReplay(const TransactionInput& input) const {
  v1::TransactResponse response;
  Details duplicates;
  int replayed = -1;
  bool all = true;
  const auto& appends = input.request->appends;
  for (std::size_t i = 0; i < appends.size(); ++i) {
    const auto slot = static_cast<std::size_t>(input.slots[i]);
    auto result = CheckReplay(appends[i], slots_[slot]);
    if (!result.ok()) {
      const std::string event =
          absl::StrCat("events[", DetailsOf(result.status()).at(0).index(), "].event_id");
      duplicates.push_back(DetailAt(result.status(), "appends", static_cast<int>(i), event));
      continue;
    }
    if (result->deduplicated() && replayed < 0) replayed = static_cast<int>(i);
    all = all && result->deduplicated();
    *response.add_results() = *std::move(result);
  }
  if (!duplicates.empty()) return MakeError(std::move(duplicates));
  response.set_deduplicated(all && replayed >= 0);
  if (replayed >= 0 && !all) {
    const ValidatedAppend& append = appends[static_cast<std::size_t>(replayed)];
    return MakeError(DetailAt(
        DuplicateEventId(append.request.events(0).event_id(), &append.request.stream(),
                         response.results(replayed).first_position(), 0,
                         "the events of some of the request's appends are stored already and "
                         "those of others are not; a retry must repeat a request as it was, and "
                         "new events need new ids"),
        "appends", replayed, "events[0].event_id"));
  }
  if (!response.deduplicated()) {
    response.clear_results();
    return response;
  }
  // What was saved then is not saved again.
  if (input.request->checkpoint.has_value()) {
    *response.mutable_checkpoint() =
        saves_.CheckpointOf(input.request->checkpoint->projection_name());
  }
  for (std::size_t i = 0; i < input.request->snapshots.size(); ++i) {
    response.add_snapshots_saved(false);
  }
  return response;
}

BatchDecider::Details BatchDecider::CheckTombstones(const TransactionInput& input) const {
  Details deleted;
  const auto check = [&](const v1::StreamId& stream, int slot, const char* list, std::size_t i) {
    if (!slots_[static_cast<std::size_t>(slot)].row.tombstoned) return;
    deleted.push_back(DetailAt(StreamDeleted(stream), list, static_cast<int>(i), "stream"));
  };
  const ValidatedTransaction& request = *input.request;
  for (std::size_t i = 0; i < request.appends.size(); ++i) {
    check(request.appends[i].request.stream(), input.slots[i], "appends", i);
  }
  const std::size_t first = request.appends.size() + request.checks.size();
  for (std::size_t i = 0; i < request.snapshots.size(); ++i) {
    check(request.snapshots[i].request.stream(), input.slots[first + i], "snapshots", i);
  }
  return deleted;
}

void BatchDecider::Stage(const TransactionInput& input, v1::TransactResponse* response,
                         Details* violations) {
  const auto& appends = input.request->appends;
  for (std::size_t i = 0; i < appends.size(); ++i) {
    Slot& slot = slots_[static_cast<std::size_t>(input.slots[i])];
    const absl::Status version = CheckVersion(appends[i], slot);
    if (!version.ok()) {
      violations->push_back(DetailAt(version, "appends", static_cast<int>(i), "expected_version"));
    }
    Write(appends[i], &slot, response->add_results());
  }
}

void BatchDecider::CheckChecks(const TransactionInput& input, Details* violations) const {
  const ValidatedTransaction& request = *input.request;
  for (std::size_t i = 0; i < request.checks.size(); ++i) {
    const v1::StreamCheck& check = request.checks[i].check;
    const Slot& slot = slots_[static_cast<std::size_t>(input.slots[request.appends.size() + i])];
    if (VersionHolds(check.expected_version(), slot.row)) continue;
    violations->push_back(DetailAt(
        VersionConflict(check.stream(), check.expected_version(), slot.row.readable_version()),
        "checks", static_cast<int>(i), "expected_version"));
  }
}

std::int64_t BatchDecider::FindInBatch(const v1::AppendCondition& condition,
                                       std::size_t rows) const {
  for (std::size_t i = 0; i < rows; ++i) {
    const tables::NewEventRow& row = rows_[i];
    const EventTraits event{row.event->event_type(), row.stream->tenant_id(), &row.event->tags()};
    if (Matches(condition, event)) return row.global_position;
  }
  return 0;
}

void BatchDecider::CheckConditions(const TransactionInput& input, std::size_t rows,
                                   Details* violations) const {
  for (std::size_t i = 0; i < input.matches.size(); ++i) {
    std::int64_t position = input.matches[i];
    if (position == 0) position = FindInBatch(input.request->conditions[i], rows);
    if (position == 0) continue;
    violations->push_back(
        std::move(DetailsOf(ConditionFailed(static_cast<int>(i), position, input.epoch)).at(0)));
  }
}

absl::Status BatchDecider::CheckSnapshots(const TransactionInput& input) const {
  const ValidatedTransaction& request = *input.request;
  const std::size_t first = request.appends.size() + request.checks.size();
  Details problems;
  for (std::size_t i = 0; i < request.snapshots.size(); ++i) {
    const std::int64_t version =
        slots_[static_cast<std::size_t>(input.slots[first + i])].row.readable_version();
    const v1::SaveSnapshotRequest& snapshot = request.snapshots[i].request;
    if (snapshot.version() <= version) continue;
    const std::string field = absl::StrCat("snapshots[", i, "].version");
    problems.push_back(
        std::move(DetailsOf(InvalidRequest(field, absl::StrCat(field, ": is ", snapshot.version(),
                                                               ", but the stream is at version ",
                                                               version, " after this transaction")))
                      .at(0)));
    problems.back().set_index(static_cast<int>(i));
  }
  return problems.empty() ? absl::OkStatus() : MakeError(std::move(problems));
}

void BatchDecider::Save(const TransactionInput& input, v1::TransactResponse* response) {
  const ValidatedTransaction& request = *input.request;
  if (request.checkpoint.has_value()) {
    *response->mutable_checkpoint() = saves_.Save(*request.checkpoint);
  }
  const std::size_t first = request.appends.size() + request.checks.size();
  for (std::size_t i = 0; i < request.snapshots.size(); ++i) {
    const Slot& slot = slots_[static_cast<std::size_t>(input.slots[first + i])];
    response->add_snapshots_saved(saves_.Save(request.snapshots[i], slot.row.stream_key));
  }
}

}  // namespace eventstore::engine
