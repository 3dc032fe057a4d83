#include "server/engine/condition_memory.h"

#include <algorithm>

#include "server/core/append_condition.h"
#include "server/engine/event_block.h"

namespace eventstore::engine {
namespace {

bool AnyMatches(const ValidatedTransaction& transaction, const RecentBlocks& recent) {
  for (const auto& block : recent.blocks) {
    for (std::size_t i = 0; i < block->size(); ++i) {
      const v1::Event& event = block->header(i);
      const EventTraits traits{event.event_type(), event.stream().tenant_id(), &event.tags()};
      for (const v1::AppendCondition& condition : transaction.conditions) {
        if (event.global_position() > condition.after_position() && Matches(condition, traits)) {
          return true;
        }
      }
    }
  }
  return false;
}

}  // namespace

std::optional<Evaluation> ConditionMemory::Evaluate(const ValidatedTransaction& transaction) const {
  if (positions_max_ == 0) return std::nullopt;
  const RecentRange range = source_.range();
  const std::int64_t oldest = std::max(range.after_position, range.end_position - positions_max_);
  std::int64_t after_position = range.end_position;
  for (const v1::AppendCondition& condition : transaction.conditions) {
    const std::int64_t after = condition.after_position();
    const bool is_other_epoch = condition.epoch() != 0 && condition.epoch() != range.epoch;
    if (is_other_epoch || after < oldest || after > range.end_position) return std::nullopt;
    after_position = std::min(after_position, after);
  }
  const RecentBlocks recent = source_.events(range.epoch, after_position);
  // Meanwhile more came, or the beginning went.
  if (recent.end_position < range.end_position || recent.after_position > after_position) {
    return std::nullopt;
  }
  if (AnyMatches(transaction, recent)) return std::nullopt;
  Evaluation evaluation;
  evaluation.position = recent.end_position;
  evaluation.epoch = range.epoch;
  evaluation.matches.assign(transaction.conditions.size(), 0);
  return evaluation;
}

}  // namespace eventstore::engine
