#include "server/engine/relay/relay_progress.h"

#include <catch2/catch.hpp>
#include <limits>

#include "server/engine/relay/backoff.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;
using tables::OutboxHindrance;

const Deadline kNow{std::chrono::hours(1)};
constexpr std::int64_t kMuch = 1 << 20;

Uuid Id(int number) { return Uuid{static_cast<std::uint8_t>(number)}; }

tables::OutboxCandidate Candidate(std::int64_t stream, int position,
                                  OutboxHindrance hindrance = OutboxHindrance::kNone,
                                  milliseconds wait = milliseconds(0)) {
  return {Id(position), stream, position, hindrance, wait, 10};
}

// A batch of what a scan saw, with everything there.
RelayBatch Batch(const RelayProgress& progress, const std::vector<tables::OutboxSighting>& seen,
                 const std::vector<tables::OutboxCandidate>& candidates,
                 std::int64_t entries_max = 100, std::int64_t bytes_max = kMuch) {
  RelayBatch batch = progress.Plan(seen, true, entries_max, kNow);
  batch.Take(candidates, bytes_max);
  return batch;
}

TEST_CASE("Backoff doubles from the least to the most, and is at least half of it") {
  const milliseconds min(100), max(1'000);
  CHECK(Backoff(min, max, 1, 1.0) == milliseconds(100));
  CHECK(Backoff(min, max, 1, 0.0) == milliseconds(50));
  CHECK(Backoff(min, max, 3, 1.0) == milliseconds(400));
  CHECK(Backoff(min, max, 5, 1.0) == max);
  CHECK(Backoff(min, max, std::numeric_limits<std::int64_t>::max(), 0.5) == milliseconds(750));
  CHECK(Backoff(max, min, 4, 1.0) == min);
}

TEST_CASE("An entry is taken only with every earlier one of its stream") {
  RelayProgress progress(milliseconds(1'000));
  for (const OutboxHindrance hindrance :
       {OutboxHindrance::kNotDue, OutboxHindrance::kClaimed, OutboxHindrance::kFailed}) {
    const RelayBatch batch =
        Batch(progress, {{1, 2}, {2, 3}, {1, 4}, {1, 5}},
              {Candidate(1, 2), Candidate(1, 4, hindrance), Candidate(1, 5), Candidate(2, 3)});
    CHECK(batch.TakenIds() == std::vector<Uuid>{Id(2), Id(3)});
  }
}

TEST_CASE("What was not locked holds back what is behind it in its stream") {
  RelayProgress progress(milliseconds(1'000));
  RelayBatch batch = Batch(progress, {{1, 1}, {2, 2}, {1, 3}, {1, 4}},
                           {Candidate(1, 1), Candidate(1, 3), Candidate(1, 4), Candidate(2, 2)});
  std::vector<tables::OutboxRow> rows = {
      {Id(1), 1, 1, 0, ""}, {Id(2), 2, 2, 0, ""}, {Id(4), 1, 4, 0, ""}};
  batch.KeepLocked(&rows);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].position == 1);
  CHECK(rows[1].position == 2);
  progress.Apply(batch, kNow);
  CHECK(progress.IsHeld(1));
  CHECK_FALSE(progress.IsHeld(2));
}

TEST_CASE("The scan passes a held stream, which is looked at when it is due") {
  RelayProgress progress(milliseconds(1'000));
  progress.Apply(
      Batch(progress, {{1, 1}}, {Candidate(1, 1, OutboxHindrance::kNotDue, milliseconds(70))}),
      kNow);
  CHECK(progress.cursor() == 1);
  CHECK(progress.NextDue() == kNow + milliseconds(70));
  const std::vector<tables::OutboxSighting> seen = {{1, 2}, {2, 3}};
  const RelayBatch early = progress.Plan(seen, true, 100, kNow);
  REQUIRE(early.streams.size() == 1);
  CHECK(early.streams[0].key == 2);
  CHECK(early.cursor == 3);
  const RelayBatch later = progress.Plan(seen, true, 100, kNow + milliseconds(70));
  REQUIRE(later.streams.size() == 2);
  CHECK(later.streams[0].key == 1);
}

TEST_CASE("A stream that somebody else has is looked at less and less often") {
  RelayProgress progress(milliseconds(300));
  const std::vector<tables::OutboxCandidate> claimed = {Candidate(1, 1, OutboxHindrance::kClaimed)};
  std::vector<milliseconds> waits;
  for (int i = 0; i < 5; ++i) {
    RelayBatch batch =
        progress.Plan(std::vector<tables::OutboxSighting>{{1, 1}}, true, 100,
                      progress.NextDue() == Deadline::max() ? kNow : progress.NextDue());
    batch.Take(claimed, kMuch);
    progress.Apply(batch, kNow);
    waits.push_back(std::chrono::duration_cast<milliseconds>(progress.NextDue() - kNow));
  }
  CHECK(waits == std::vector<milliseconds>{milliseconds(50), milliseconds(100), milliseconds(200),
                                           milliseconds(300), milliseconds(300)});
}

TEST_CASE("A failed event's stream is not looked at before a sweep finds it ready") {
  RelayProgress progress(milliseconds(1'000));
  progress.Apply(Batch(progress, {{1, 1}}, {Candidate(1, 1, OutboxHindrance::kFailed)}), kNow);
  CHECK(progress.NextDue() == Deadline::max());
  progress.NoteHeads({{1, 1, false}}, kNow);
  CHECK(progress.NextDue() == Deadline::max());
  progress.NoteHeads({{1, 1, true}}, kNow);
  CHECK(progress.NextDue() == kNow);
}

TEST_CASE("A sweep finds what the scan has passed, and leaves to it what lies before it") {
  RelayProgress progress(milliseconds(1'000));
  progress.Apply(Batch(progress, {{1, 10}}, {Candidate(1, 10)}), kNow);
  progress.NoteHeads({{2, 7, true}, {3, 11, true}}, kNow);
  CHECK(progress.IsHeld(2));
  CHECK_FALSE(progress.IsHeld(3));
}

TEST_CASE("Where a batch is full the scan goes on behind what it took") {
  RelayProgress progress(milliseconds(1'000));
  const RelayBatch batch = progress.Plan(
      std::vector<tables::OutboxSighting>{{1, 1}, {2, 2}, {1, 3}, {3, 4}}, true, 3, kNow);
  CHECK(batch.has_more);
  CHECK(batch.cursor == 3);
  REQUIRE(batch.streams.size() == 2);
  CHECK(batch.streams[0].limit == 2);
}

TEST_CASE("Bytes end a batch, but not before its first entry; the rest comes next") {
  RelayProgress progress(milliseconds(1'000));
  const RelayBatch batch = Batch(progress, {{1, 1}, {1, 2}, {2, 3}},
                                 {Candidate(1, 1), Candidate(1, 2), Candidate(2, 3)}, 100, 5);
  CHECK(batch.TakenIds() == std::vector<Uuid>{Id(1)});
  progress.Apply(batch, kNow);
  CHECK(progress.cursor() == 3);
  CHECK(progress.NextDue() == kNow);
  CHECK(progress.IsHeld(1));
  CHECK(progress.IsHeld(2));
}

TEST_CASE("An entry behind the scan takes the place of the one that was seen") {
  // The limit of one goes to the earlier entry, so the one that was seen must not be forgotten.
  RelayProgress progress(milliseconds(1'000));
  const RelayBatch batch = Batch(progress, {{1, 9}}, {Candidate(1, 4)});
  CHECK(batch.TakenIds() == std::vector<Uuid>{Id(4)});
  progress.Apply(batch, kNow);
  CHECK(progress.IsHeld(1));
}

TEST_CASE("Held streams are bounded, and those that are due stay") {
  RelayProgress progress(milliseconds(1'000));
  std::vector<tables::OutboxStreamHead> heads;
  const int most = static_cast<int>(RelayProgress::kHeldMax);
  for (int i = 0; i < most; ++i) heads.push_back({i, 0, true});
  progress.NoteHeads(heads, kNow + milliseconds(1));
  progress.Apply(Batch(progress, {{most, 1}}, {Candidate(most, 1, OutboxHindrance::kFailed)}),
                 kNow);
  CHECK_FALSE(progress.IsHeld(most));
  CHECK(progress.IsHeld(1));
}

}  // namespace
}  // namespace eventstore::engine
