#include "server/engine/condition_window.h"

#include <algorithm>
#include <utility>

namespace eventstore::engine {

ConditionWindow::ConditionWindow(const WriterOptions& options, const tables::Head& head,
                                 const Batch& batch)
    : head_(head), ranges_(batch.size()), lowest_(head.position) {
  std::int64_t comparisons = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i]->has_conditions()) continue;
    Range& range = ranges_[i];
    range.transaction = batch[i]->transaction_.get();
    const Evaluation& evaluation = range.transaction->evaluation;
    range.matches = evaluation.matches;
    const std::int64_t positions = head.position - evaluation.position;
    std::int64_t cost = 0;
    for (const v1::AppendCondition& condition : range.transaction->request.conditions) {
      cost += std::max<std::int64_t>(positions, 0) * ItemsOf(condition);
    }
    // In another epoch other events may lie at the positions that were looked at; where the head is
    // before them, either the lane does not know the newest one yet or the history was rewound.
    range.stale = evaluation.epoch != head.epoch || positions < 0 ||
                  positions > options.condition_positions_max ||
                  comparisons + cost > options.condition_comparisons_max;
    if (range.stale || positions == 0) continue;
    comparisons += cost;
    lowest_ = std::min(lowest_, evaluation.position);
    any_ = true;
  }
}

std::int64_t ConditionWindow::Gather(const RecentEvents& own, const LaneCallbacks& callbacks,
                                     std::int64_t after_position) {
  std::int64_t covered = head_.position;
  const bool has_own =
      !own.events().empty() && own.epoch() == head_.epoch && own.end_position() == head_.position;
  if (has_own) covered = std::max(after_position, own.events().front().position - 1);
  if (covered > after_position && callbacks.recent) {
    RecentBlocks ring = callbacks.recent(head_.epoch, after_position);
    if (ring.end_position >= covered) {
      for (auto& block : ring.blocks) {
        for (std::size_t i = 0; i < block->size(); ++i) {
          const v1::Event& event = block->header(i);
          if (event.global_position() <= ring.after_position) continue;
          if (event.global_position() > covered) break;
          seen_.push_back({event.global_position(),
                           {event.event_type(), event.stream().tenant_id(), &event.tags()}});
        }
        blocks_.push_back(std::move(block));
      }
      covered = std::min(covered, ring.after_position);
    }
  }
  if (!has_own) return covered;
  // Positions are dense, which says where to begin.
  const std::int64_t known_before = own.events().front().position - 1;
  const std::int64_t skipped = std::max(after_position, known_before) - known_before;
  for (auto event = own.events().begin() + skipped; event != own.events().end(); ++event) {
    seen_.push_back({event->position, event->traits()});
  }
  return covered;
}

void ConditionWindow::Search(const RecentEvents& own, const LaneCallbacks& callbacks) {
  if (!any_) return;
  const std::int64_t covered = Gather(own, callbacks, lowest_);
  for (Range& range : ranges_) {
    if (range.transaction == nullptr || range.stale) continue;
    const Evaluation& evaluation = range.transaction->evaluation;
    if (evaluation.position >= head_.position) continue;
    if (evaluation.position >= covered) {
      SearchSeen(&range);
      continue;
    }
    range.by_query = true;
    for (std::size_t i = 0; i < range.matches.size(); ++i) {
      if (range.matches[i] != 0) continue;
      const v1::AppendCondition& condition = range.transaction->request.conditions[i];
      probes_.push_back({&condition, std::max(evaluation.position, condition.after_position())});
      probed_.push_back(&range.matches[i]);
    }
  }
}

void ConditionWindow::SearchSeen(Range* range) const {
  range->by_memory = true;
  for (std::size_t i = 0; i < range->matches.size(); ++i) {
    if (range->matches[i] != 0) continue;
    const v1::AppendCondition& condition = range->transaction->request.conditions[i];
    const std::int64_t after =
        std::max(range->transaction->evaluation.position, condition.after_position());
    const auto first = std::partition_point(
        seen_.begin(), seen_.end(), [after](const Seen& event) { return event.position <= after; });
    const auto found = std::find_if(
        first, seen_.end(), [&](const Seen& event) { return Matches(condition, event.traits); });
    if (found != seen_.end()) range->matches[i] = found->position;
  }
}

void ConditionWindow::SetMatches(const std::vector<std::int64_t>& positions) {
  for (std::size_t i = 0; i < probed_.size(); ++i) *probed_[i] = positions[i];
}

void ConditionWindow::Count(const telemetry::LaneMetrics& metrics) const {
  for (const Range& range : ranges_) {
    if (range.transaction == nullptr || range.stale) continue;
    (range.by_query    ? metrics.conditions_by_query
     : range.by_memory ? metrics.conditions_by_memory
                       : metrics.conditions_current)
        ->Increment();
  }
}

}  // namespace eventstore::engine
