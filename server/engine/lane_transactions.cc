// What the lane does for transactions that it need not do for appends.
#include <set>
#include <utility>

#include "server/engine/lane.h"

namespace eventstore::engine {

tables::StreamRow Lane::RowOf(const tables::StreamName& name, const StreamRows& rows) {
  const auto row = rows.find(name);
  return row != rows.end() ? row->second : *cache_.Find(name);
}

WriteAnswer Lane::DecideTransaction(const Transaction& transaction, const ConditionWindow& window,
                                    std::size_t index, const Slots& slots, BatchDecider* decider) {
  BatchDecider::TransactionInput input;
  input.request = &transaction.request;
  engine::VisitStreams(transaction.request, [&](const tables::StreamName& name) {
    input.slots.push_back(slots.at(name));
  });
  input.epoch = known_.epoch;
  WriteAnswer answer;
  const auto settle = [&answer](absl::StatusOr<v1::TransactResponse> response) {
    answer.status = response.status();
    if (!response.ok()) return;
    answer.transaction = std::make_unique<v1::TransactResponse>(*std::move(response));
  };
  if (window.is_stale(index)) {
    // A replay is one whatever its conditions say.
    auto replay = decider->FindReplay(input);
    answer.stale = replay.ok() && !replay->deduplicated();
    settle(std::move(replay));
    return answer;
  }
  if (!transaction.request.conditions.empty()) {
    input.matches = window.matches(index);
    input.refused = transaction.evaluation.refused;
  }
  settle(decider->Decide(input));
  return answer;
}

absl::Status Lane::LockSaves(const Batch& batch, const StreamRows& rows, std::int64_t now_micros,
                             BatchDecider* decider) {
  std::set<std::string> projections;
  absl::flat_hash_map<std::int64_t, tables::StreamName> streams;  // by key
  for (const auto& write : batch) {
    if (!write->has_saves()) continue;
    const ValidatedTransaction& request = write->transaction_->request;
    if (request.checkpoint.has_value()) projections.insert(request.checkpoint->projection_name());
    for (const auto& snapshot : request.snapshots) {
      const tables::StreamName name = NameOf(snapshot.request.stream(), snapshot.tenant);
      streams.emplace(RowOf(name, rows).stream_key, name);
    }
  }
  if (projections.empty() && streams.empty()) return absl::OkStatus();
  std::vector<std::int64_t> keys;
  std::vector<tables::StreamName> names;
  for (const auto& [key, name] : streams) {
    keys.push_back(key);
    names.push_back(name);
  }
  auto state = database_->LockSaves({projections.begin(), projections.end()}, names);
  if (!state.ok()) return state.status();
  SaveDecider& saves = decider->saves();
  saves.SetHistory(known_, std::move(state->epochs),
                   std::max(now_micros, known_.created_at_micros));
  for (v1::Checkpoint& checkpoint : state->checkpoints) saves.AddCheckpoint(std::move(checkpoint));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    saves.AddSnapshots(keys[i], state->snapshot_versions[i]);
  }
  return absl::OkStatus();
}

absl::Status Lane::QueryConditions(ConditionWindow* window) {
  if (window->probes().empty()) return absl::OkStatus();
  auto found = database_->FindMatches(window->probes());
  if (!found.ok()) return found.status();
  window->SetMatches(*found);
  return absl::OkStatus();
}

}  // namespace eventstore::engine
