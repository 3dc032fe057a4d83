#include "server/engine/condition_evaluation.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "server/core/errors.h"
#include "server/engine/batch_decider.h"
#include "server/engine/write_streams.h"
#include "server/pg/errors.h"
#include "server/tables/checkpoints_table.h"
#include "server/tables/condition_query.h"

namespace eventstore::engine {
namespace {

// So long transactions are evaluated that others may wait for.
constexpr std::chrono::milliseconds kTogether{100};

// Whether what a condition asks about can be known: its position belongs to this history, and what
// follows it was not archived.
absl::Status CheckPositions(pg::Connection& connection, const tables::Head& head,
                            const ValidatedTransaction& transaction, Deadline deadline) {
  for (std::size_t i = 0; i < transaction.conditions.size(); ++i) {
    const v1::AppendCondition& condition = transaction.conditions[i];
    absl::Status checked = tables::CheckPosition(connection, head, condition.after_position(),
                                                 condition.epoch(), deadline);
    if (checked.ok() && condition.after_position() + 1 < head.first_position) {
      checked = Archived(head.first_position,
                         absl::StrCat("events after position ", condition.after_position(),
                                      " were archived, so that the condition cannot be evaluated"));
    }
    if (checked.ok()) continue;
    std::vector<v1::ErrorInfo> details = DetailsOf(checked);
    if (details.empty()) return checked;  // the connection's
    details[0].set_field(absl::StrCat("conditions[", i, "].after_position"));
    details[0].set_index(static_cast<int>(i));
    return MakeError(std::move(details));
  }
  return absl::OkStatus();
}

// All that is to be said against a transaction that is not written anyway.
absl::Status Reject(pg::Connection& connection, const ValidatedTransaction& transaction,
                    const tables::Head& head, const Evaluation& evaluation, Deadline deadline) {
  std::vector<tables::StreamName> names;
  absl::flat_hash_map<tables::StreamName, int> slots;
  VisitStreams(transaction, [&](const tables::StreamName& name) {
    if (slots.emplace(name, static_cast<int>(names.size())).second) names.push_back(name);
  });
  pg::Pipeline pipeline(&connection);
  tables::AddLookUpStreams(&pipeline, names);
  tables::AddReadEpochs(&pipeline);
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  const std::vector<tables::StreamRow> rows = tables::ParseLookUpStreams(outcome.results[0]);
  BatchDecider decider(head.position, /*created_at_micros=*/0);
  for (std::size_t i = 0; i < names.size(); ++i) (void)decider.AddStream(names[i], rows[i]);
  decider.saves().SetHistory(head, tables::ParseReadEpochs(outcome.results[1]), 0);
  if (transaction.checkpoint.has_value()) {
    auto checkpoint =
        tables::ReadCheckpoint(connection, transaction.checkpoint->projection_name(), deadline);
    if (!checkpoint.ok()) return checkpoint.status();
    if (checkpoint->has_value()) decider.saves().AddCheckpoint(**std::move(checkpoint));
  }
  BatchDecider::TransactionInput input;
  input.request = &transaction;
  VisitStreams(transaction,
               [&](const tables::StreamName& name) { input.slots.push_back(slots.at(name)); });
  input.matches = evaluation.matches;
  input.refused = evaluation.refused;
  input.epoch = evaluation.epoch;
  return decider.Decide(input).status();
}

// One transaction of several that were looked up together.
absl::StatusOr<Evaluation> EvaluationOf(pg::Connection& connection,
                                        const ValidatedTransaction& transaction,
                                        const tables::Head& head, std::vector<std::int64_t> matches,
                                        bool any_id_is_stored, Deadline deadline) {
  Evaluation evaluation;
  evaluation.position = head.position;
  evaluation.epoch = head.epoch;
  evaluation.matches = std::move(matches);
  evaluation.refused = CheckPositions(connection, head, transaction, deadline);
  if (!evaluation.refused.ok() && DetailsOf(evaluation.refused).empty()) return evaluation.refused;
  const auto is_match = [](std::int64_t position) { return position > 0; };
  const bool rejected = !evaluation.refused.ok() ||
                        std::any_of(evaluation.matches.begin(), evaluation.matches.end(), is_match);
  if (!rejected || any_id_is_stored) return evaluation;
  absl::Status rejection = Reject(connection, transaction, head, evaluation, deadline);
  if (!rejection.ok()) return rejection;
  return evaluation;
}

}  // namespace

bool IsOfOne(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  return error.has_value() && !error->connection_lost && !error->timed_out;
}

absl::StatusOr<Evaluations> EvaluateConditions(
    pg::Connection& connection, const std::vector<const ValidatedTransaction*>& transactions,
    bool limited, Deadline deadline) {
  std::vector<tables::ConditionProbe> probes;
  std::vector<Uuid> ids;
  std::vector<std::size_t> owners;  // of the ids
  for (std::size_t i = 0; i < transactions.size(); ++i) {
    for (const v1::AppendCondition& condition : transactions[i]->conditions) {
      probes.push_back({&condition, condition.after_position()});
    }
    for (const ValidatedAppend& append : transactions[i]->appends) {
      ids.insert(ids.end(), append.event_ids.begin(), append.event_ids.end());
      owners.resize(ids.size(), i);
    }
  }
  tables::ConditionSearch search(probes);
  std::vector<bool> stored(transactions.size());
  while (!search.done()) {
    // The ids come after: whatever the conditions saw of a first attempt, the look-up sees as well.
    pg::Pipeline pipeline(&connection);
    if (limited) tables::AddLimitTime(&pipeline, kTogether);
    search.AddTo(&pipeline);
    tables::AddLookUpEventIds(&pipeline, ids);
    const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
    if (!outcome.status.ok()) return outcome.status;
    search.Take(std::span(outcome.results).subspan(limited ? 1 : 0));
    for (const tables::KnownEvent& known : tables::ParseLookUpEventIds(outcome.results.back())) {
      stored[owners[static_cast<std::size_t>(known.index)]] = true;
    }
  }
  const tables::Matches& found = search.matches();
  Evaluations evaluations;
  auto next = found.positions.begin();
  for (std::size_t i = 0; i < transactions.size(); ++i) {
    const auto end = next + std::ssize(transactions[i]->conditions);
    evaluations.push_back(
        EvaluationOf(connection, *transactions[i], found.head, {next, end}, stored[i], deadline));
    next = end;
    // The connection's trouble is everybody's.
    const absl::Status& status = evaluations.back().status();
    if (pg::ErrorOf(status).has_value()) return status;
  }
  return evaluations;
}

}  // namespace eventstore::engine
