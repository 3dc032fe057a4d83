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

// All that is to be said against a transaction that is not written anyway; nothing where it may be
// a replay.
absl::Status Reject(pg::Connection& connection, const ValidatedTransaction& transaction,
                    const tables::Head& head, const Evaluation& evaluation, Deadline deadline) {
  std::vector<tables::StreamName> names;
  absl::flat_hash_map<tables::StreamName, int> slots;
  VisitStreams(transaction, [&](const tables::StreamName& name) {
    if (slots.emplace(name, static_cast<int>(names.size())).second) names.push_back(name);
  });
  std::vector<Uuid> ids;
  for (const ValidatedAppend& append : transaction.appends) {
    ids.insert(ids.end(), append.event_ids.begin(), append.event_ids.end());
  }
  pg::Pipeline pipeline(&connection);
  tables::AddLookUpStreams(&pipeline, names);
  tables::AddReadEpochs(&pipeline);
  // They come last: whatever was seen of a first attempt before, this sees as well.
  tables::AddLookUpEventIds(&pipeline, ids);
  const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
  if (!outcome.status.ok()) return outcome.status;
  if (outcome.results[2].rows() > 0) return absl::OkStatus();
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

// One transaction of several whose conditions were looked up together.
absl::StatusOr<Evaluation> EvaluationOf(pg::Connection& connection,
                                        const ValidatedTransaction& transaction,
                                        const tables::Head& head, std::vector<std::int64_t> matches,
                                        Deadline deadline) {
  Evaluation evaluation;
  evaluation.position = head.position;
  evaluation.epoch = head.epoch;
  evaluation.matches = std::move(matches);
  evaluation.refused = CheckPositions(connection, head, transaction, deadline);
  if (!evaluation.refused.ok() && DetailsOf(evaluation.refused).empty()) return evaluation.refused;
  const auto is_match = [](std::int64_t position) { return position > 0; };
  if (evaluation.refused.ok() &&
      std::none_of(evaluation.matches.begin(), evaluation.matches.end(), is_match)) {
    return evaluation;
  }
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
  for (const ValidatedTransaction* const transaction : transactions) {
    for (const v1::AppendCondition& condition : transaction->conditions) {
      probes.push_back({&condition, condition.after_position()});
    }
  }
  tables::ConditionSearch search(probes);
  while (!search.done()) {
    pg::Pipeline pipeline(&connection);
    if (limited) tables::AddLimitTime(&pipeline, kTogether);
    search.AddTo(&pipeline);
    const pg::Pipeline::Outcome outcome = pipeline.Run(deadline);
    if (!outcome.status.ok()) return outcome.status;
    search.Take(std::span(outcome.results).subspan(limited ? 1 : 0));
  }
  const tables::Matches& found = search.matches();
  Evaluations evaluations;
  auto next = found.positions.begin();
  for (const ValidatedTransaction* const transaction : transactions) {
    const auto end = next + std::ssize(transaction->conditions);
    evaluations.push_back(
        EvaluationOf(connection, *transaction, found.head, {next, end}, deadline));
    next = end;
    // The connection's trouble is everybody's.
    const absl::Status& status = evaluations.back().status();
    if (pg::ErrorOf(status).has_value()) return status;
  }
  return evaluations;
}

}  // namespace eventstore::engine
