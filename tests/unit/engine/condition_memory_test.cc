// Which conditions memory alone can tell about.
#include "server/engine/condition_memory.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "server/engine/event_block.h"

namespace eventstore::engine {
namespace {

// Positions 11 to 20 of epoch 3, in blocks of four; each has its position as its tag.
class Recent {
 public:
  Recent() {
    for (std::int64_t first = 11; first <= 20; first += 4) {
      std::vector<v1::Event> events;
      for (std::int64_t p = first; p < first + 4 && p <= 20; ++p) {
        v1::Event& event = events.emplace_back();
        event.set_global_position(p);
        event.set_event_type("T");
        event.add_tags(std::to_string(p));
      }
      blocks_.push_back(EventBlock::Make(std::move(events)));
    }
  }

  RecentRange range{.epoch = 3, .after_position = 10, .end_position = 20};
  RecentRange later = range;  // when the events are asked for

  std::optional<Evaluation> Evaluate(const ValidatedTransaction& transaction,
                                     std::int64_t positions_max = 100) const {
    const ConditionMemory memory(positions_max,
                                 {[this] { return range; },
                                  [this](std::int64_t epoch, std::int64_t after) {
                                    RecentBlocks recent;
                                    if (epoch != later.epoch) return recent;
                                    recent.after_position = std::max(after, later.after_position);
                                    recent.end_position = later.end_position;
                                    for (const auto& block : blocks_) {
                                      if (block->last_position() > recent.after_position)
                                        recent.blocks.push_back(block);
                                    }
                                    return recent;
                                  }});
    return memory.Evaluate(transaction);
  }

 private:
  std::vector<std::shared_ptr<const EventBlock>> blocks_;
};

void NoTag(std::int64_t tag, std::int64_t after, ValidatedTransaction* transaction,
           std::int64_t epoch = 0) {
  v1::AppendCondition& condition = transaction->conditions.emplace_back();
  condition.add_query()->add_tags(std::to_string(tag));
  condition.set_after_position(after);
  condition.set_epoch(epoch);
}

ValidatedTransaction NoTag(std::int64_t tag, std::int64_t after, std::int64_t epoch = 0) {
  ValidatedTransaction transaction;
  NoTag(tag, after, &transaction, epoch);
  return transaction;
}

TEST_CASE("What memory has whole is evaluated up to its end", "[conditions]") {
  const Recent recent;
  for (std::int64_t after = 10; after <= 20; ++after) {
    const auto evaluation = recent.Evaluate(NoTag(99, after));
    REQUIRE(evaluation.has_value());
    CHECK(evaluation->position == 20);
    CHECK(evaluation->epoch == 3);
    CHECK(evaluation->matches == std::vector<std::int64_t>{0});
    CHECK(evaluation->refused.ok());
  }
  CHECK(recent.Evaluate(NoTag(99, 15, 3)).has_value());
}

TEST_CASE("Each condition counts what follows its own position", "[conditions]") {
  const Recent recent;
  for (std::int64_t tag = 11; tag <= 20; ++tag) {
    INFO("tag " << tag);
    CHECK_FALSE(recent.Evaluate(NoTag(tag, tag - 1)).has_value());
    CHECK(recent.Evaluate(NoTag(tag, tag)).has_value());
    ValidatedTransaction both = NoTag(tag, tag);
    NoTag(99, 10, &both);
    CHECK(recent.Evaluate(both).has_value());
    NoTag(tag, tag - 1, &both);
    CHECK_FALSE(recent.Evaluate(both).has_value());
  }
}

TEST_CASE("The tables are asked for what memory does not have", "[conditions]") {
  const Recent recent;
  CHECK_FALSE(recent.Evaluate(NoTag(99, 9)).has_value());
  CHECK_FALSE(recent.Evaluate(NoTag(99, 0)).has_value());
  CHECK_FALSE(recent.Evaluate(NoTag(99, 21)).has_value());  // ahead, or memory is behind
  CHECK_FALSE(recent.Evaluate(NoTag(99, 15, 2)).has_value());
  ValidatedTransaction one_too_old = NoTag(99, 15);
  NoTag(99, 9, &one_too_old);
  CHECK_FALSE(recent.Evaluate(one_too_old).has_value());
  CHECK_FALSE(recent.Evaluate(NoTag(99, 15), 4).has_value());
  CHECK(recent.Evaluate(NoTag(99, 16), 4).has_value());
  CHECK_FALSE(recent.Evaluate(NoTag(99, 20), 0).has_value());
}

TEST_CASE("What moves on meanwhile is not mistaken for what was asked", "[conditions]") {
  Recent recent;
  recent.range.end_position = 18;
  const auto more = recent.Evaluate(NoTag(99, 15));
  REQUIRE(more.has_value());
  CHECK(more->position == 20);
  recent.later = {.epoch = 3, .after_position = 16, .end_position = 20};
  CHECK_FALSE(recent.Evaluate(NoTag(99, 15)).has_value());
  CHECK(recent.Evaluate(NoTag(99, 16)).has_value());
  recent.later.epoch = 4;
  CHECK_FALSE(recent.Evaluate(NoTag(99, 16)).has_value());
  recent.later = {.epoch = 3, .after_position = 10, .end_position = 17};
  CHECK_FALSE(recent.Evaluate(NoTag(99, 15)).has_value());
}

}  // namespace
}  // namespace eventstore::engine
