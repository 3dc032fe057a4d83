// The rules of transactions in a batch, one by one.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "server/core/errors.h"
#include "server/engine/batch_decider.h"

namespace eventstore::engine {
namespace {

constexpr std::int64_t kHead = 100;
constexpr std::int64_t kTime = 1'700'000'000'000'000;

v1::ExpectedVersion Any() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_any();
  return expected;
}
v1::ExpectedVersion NoStream() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_no_stream();
  return expected;
}
v1::ExpectedVersion Exact(std::int64_t version) {
  v1::ExpectedVersion expected;
  expected.set_exact(version);
  return expected;
}

Uuid Id(int number) {
  Uuid id{};
  id[0] = 1;
  id[15] = static_cast<std::uint8_t>(number);
  return id;
}

using Details = std::vector<v1::ErrorInfo>;

// A decider over the streams "a" at version 5, "b" at 2, "new" and "gone", which is deleted.
class World {
 public:
  World() : decider_(kHead, kTime) {
    names_ = {"a", "b", "new", "gone"};
    const tables::StreamRow rows[] = {{1, 5, false}, {2, 2, false}, {3, 0, false}, {4, 3, true}};
    for (std::size_t i = 0; i < names_.size(); ++i) {
      (void)decider_.AddStream({kNilUuid, "T", names_[i]}, rows[i]);
    }
    tables::Head head;
    head.position = kHead;
    head.epoch = 2;
    decider_.saves().SetHistory(head, {{1, 1}, {2, 51}}, kTime);
  }

  ValidatedTransaction& Begin() {
    requests_.push_back(std::make_unique<ValidatedTransaction>());
    return *requests_.back();
  }
  // Adds an append to the transaction begun last.
  v1::NewEvent& Append(const std::string& stream, const v1::ExpectedVersion& expected,
                       const std::vector<int>& ids) {
    ValidatedAppend append;
    *append.request.mutable_stream() = StreamOf(stream);
    *append.request.mutable_expected_version() = expected;
    for (const int id : ids) {
      append.event_ids.push_back(Id(id));
      append.event_bytes.push_back(1);
      v1::NewEvent* event = append.request.add_events();
      event->set_event_id(FormatUuid(Id(id)));
      event->set_event_type("Happened");
    }
    auto& appends = requests_.back()->appends;
    appends.push_back(std::move(append));
    return *appends.back().request.mutable_events(0);
  }
  void Check(const std::string& stream, const v1::ExpectedVersion& expected) {
    v1::StreamCheck check;
    *check.mutable_stream() = StreamOf(stream);
    *check.mutable_expected_version() = expected;
    requests_.back()->checks.push_back({check, kNilUuid});
  }
  v1::AppendCondition& NoTag(const std::string& tag) {
    v1::AppendCondition& condition = requests_.back()->conditions.emplace_back();
    condition.add_query()->add_tags(tag);
    return condition;
  }
  v1::SaveCheckpointRequest& Checkpoint(std::int64_t position) {
    v1::SaveCheckpointRequest checkpoint;
    checkpoint.set_projection_name("p");
    checkpoint.set_position(position);
    requests_.back()->checkpoint = checkpoint;
    return *requests_.back()->checkpoint;
  }
  void Snapshot(const std::string& stream, std::int64_t version, std::int32_t keep = 1) {
    ValidatedTransaction::Snapshot snapshot;
    *snapshot.request.mutable_stream() = StreamOf(stream);
    snapshot.request.set_version(version);
    snapshot.request.set_keep_versions(keep);
    requests_.back()->snapshots.push_back(snapshot);
  }
  absl::StatusOr<v1::TransactResponse> Decide(std::vector<std::int64_t> matches = {},
                                              absl::Status refused = absl::OkStatus()) {
    const ValidatedTransaction& request = *requests_.back();
    BatchDecider::TransactionInput input;
    input.request = &request;
    for (const auto& append : request.appends) Slot(append.request.stream(), &input);
    for (const auto& check : request.checks) Slot(check.check.stream(), &input);
    for (const auto& snapshot : request.snapshots) Slot(snapshot.request.stream(), &input);
    input.matches = std::move(matches);
    input.matches.resize(request.conditions.size());
    input.refused = std::move(refused);
    input.epoch = 2;
    return decider_.Decide(input);
  }
  Details Violations(std::vector<std::int64_t> matches = {}) {
    const auto answer = Decide(std::move(matches));
    REQUIRE_FALSE(answer.ok());
    return DetailsOf(answer.status());
  }
  // An event of a stream that is stored.
  void Know(int id, std::int64_t key, std::int64_t version, const std::string& stream) {
    decider_.AddKnownEvent(Id(id),
                           {0, version * 2, key, version, 1000 + version, StreamOf(stream)});
  }
  BatchDecider& operator*() { return decider_; }
  BatchDecider* operator->() { return &decider_; }

 private:
  static v1::StreamId StreamOf(const std::string& name) {
    v1::StreamId stream;
    stream.set_aggregate_type("T");
    stream.set_aggregate_id(name);
    return stream;
  }
  void Slot(const v1::StreamId& stream, BatchDecider::TransactionInput* input) {
    const auto found = std::find(names_.begin(), names_.end(), stream.aggregate_id());
    input->slots.push_back(static_cast<int>(found - names_.begin()));
  }

  std::vector<std::string> names_;
  BatchDecider decider_;
  std::vector<std::unique_ptr<ValidatedTransaction>> requests_;
};

TEST_CASE("SeveralAppendsAreWrittenAtConsecutivePositions", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Exact(5), {1, 2});
  world.Append("new", NoStream(), {3});
  world.Append("a", Exact(7), {4});  // what the first has left
  const auto answer = world.Decide();
  REQUIRE(answer.ok());
  REQUIRE(answer->results_size() == 3);
  CHECK(answer->results(0).first_position() == 101);
  CHECK(answer->results(0).last_version() == 7);
  CHECK(answer->results(1).first_position() == 103);
  CHECK(answer->results(1).first_version() == 1);
  CHECK(answer->results(2).first_position() == 104);
  CHECK(answer->results(2).first_version() == 8);
  CHECK_FALSE(answer->deduplicated());
  CHECK(world->last_position() == 104);
  CHECK(world->StreamChanges().size() == 2);
}

TEST_CASE("EveryViolatedExpectationIsListedWithItsPlace", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Exact(4), {1});
  world.Append("b", Exact(2), {2});
  world.Append("new", Exact(3), {3});
  world.Check("b", NoStream());
  world.Check("a", Exact(5));
  world.NoTag("x");
  world.NoTag("y");
  world.Checkpoint(60).set_expected_position(7);
  const Details found = world.Violations({0, 42});
  REQUIRE(found.size() == 5);
  CHECK(found[0].reason() == v1::ERROR_REASON_VERSION_CONFLICT);
  CHECK(found[0].field() == "appends[0].expected_version");
  CHECK(found[0].index() == 0);
  CHECK(found[0].expected().exact() == 4);
  CHECK(found[0].actual() == 5);
  CHECK(found[1].field() == "appends[2].expected_version");
  CHECK(found[1].actual() == 0);
  CHECK(found[2].field() == "checks[0].expected_version");
  CHECK(found[2].index() == 0);
  CHECK(found[2].actual() == 2);
  CHECK(found[3].reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(found[3].field() == "conditions[1]");
  CHECK(found[3].index() == 1);
  CHECK(found[3].position() == 42);
  CHECK(found[3].epoch() == 2);
  CHECK(found[4].field() == "checkpoint.expected_position");
  CHECK(found[4].value() == 7);
}

TEST_CASE("ARejectedTransactionLeavesNoTrace", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Exact(5), {1});
  world.Append("a", Exact(6), {2}).add_tags("x");
  world.Append("new", Exact(9), {3});
  CHECK_FALSE(world.Decide().ok());
  CHECK(world->rows().empty());
  CHECK(world->StreamChanges().empty());
  CHECK(world->last_position() == kHead);
  // Neither its versions nor its ids nor its tags are there for the next one.
  world.Begin();
  world.Append("a", Exact(5), {1});
  world.Append("new", NoStream(), {3});
  world.NoTag("x");
  const auto next = world.Decide();
  REQUIRE(next.ok());
  CHECK_FALSE(next->deduplicated());
  CHECK(next->results(0).first_position() == 101);
}

TEST_CASE("ChecksLookAtStreamsBeforeTheAppends", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Any(), {1});
  world.Check("a", Exact(5));
  CHECK(world.Decide().ok());
  world.Begin();
  world.Append("b", Any(), {2});
  world.Check("a", Exact(5));  // an earlier transaction of the batch has moved it
  CHECK(world.Violations().at(0).actual() == 6);
}

TEST_CASE("AConditionCountsTheBatchSoFarButNotItsOwnEvents", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Any(), {1}).add_tags("x");
  world.NoTag("x");
  REQUIRE(world.Decide().ok());
  world.Begin();
  world.Append("b", Any(), {2});
  world.NoTag("x");
  const Details found = world.Violations();
  REQUIRE(found.size() == 1);
  CHECK(found[0].position() == 101);
  world.Begin();
  world.Append("b", Any(), {3});
  world.NoTag("other");
  CHECK(world.Decide().ok());
}

TEST_CASE("AReplayComesBeforeEveryOtherCheck", "[transaction]") {
  World world;
  world.Know(1, 1, 3, "a");
  world.Know(2, 1, 4, "a");
  world.Know(3, 2, 1, "b");
  world.Begin();
  world.Append("a", Exact(99), {1, 2});
  world.Append("b", NoStream(), {3});
  world.Check("new", Exact(7));
  world.NoTag("x");
  const auto answer = world.Decide({42}, PositionAhead(9, 1, 5, 2, 100));
  REQUIRE(answer.ok());
  CHECK(answer->deduplicated());
  REQUIRE(answer->results_size() == 2);
  CHECK(answer->results(0).deduplicated());
  CHECK(answer->results(0).first_version() == 3);
  CHECK(answer->results(0).last_position() == 8);
  CHECK(answer->results(1).first_version() == 1);
  CHECK(world->rows().empty());
}

TEST_CASE("ARepeatInTheSameBatchIsAReplay", "[transaction]") {
  World world;
  for (const bool replay : {false, true}) {
    world.Begin();
    world.Append("a", Exact(5), {1}).add_tags("x");
    world.Append("b", Exact(2), {2});
    world.NoTag("x");
    const auto answer = world.Decide();
    REQUIRE(answer.ok());
    CHECK(answer->deduplicated() == replay);
    CHECK(answer->results(1).first_position() == 102);
  }
  CHECK(world->rows().size() == 2);
}

TEST_CASE("OldIdsMixedWithNewOnesAreDuplicates", "[transaction]") {
  World world;
  world.Know(1, 1, 3, "a");
  world.Begin();
  world.Append("b", Exact(2), {2});
  world.Append("a", Exact(5), {1});
  const Details whole = world.Violations();
  REQUIRE(whole.size() == 1);
  CHECK(whole[0].reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
  CHECK(whole[0].field() == "appends[1].events[0].event_id");
  CHECK(whole[0].index() == 1);
  CHECK(whole[0].position() == 6);
  world.Begin();
  world.Append("a", Exact(5), {4, 1});
  const Details part = world.Violations();
  REQUIRE(part.size() == 1);
  CHECK(part[0].field() == "appends[0].events[1].event_id");
  CHECK(world->rows().empty());
}

TEST_CASE("ADeletedStreamComesBeforeVersions", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Exact(1), {1});
  world.Append("gone", Exact(3), {2});
  const Details found = world.Violations();
  REQUIRE(found.size() == 1);
  CHECK(found[0].reason() == v1::ERROR_REASON_STREAM_DELETED);
  CHECK(found[0].field() == "appends[1].stream");
}

TEST_CASE("CheckpointsOfOneBatchAreDecidedInOrder", "[transaction]") {
  World world;
  v1::Checkpoint stored;
  stored.set_projection_name("p");
  stored.set_position(40);
  stored.set_epoch(2);
  stored.set_events_processed(3);
  world->saves().AddCheckpoint(stored);
  world.Begin();
  world.Append("a", Any(), {1});
  world.Checkpoint(50).set_expected_position(40);
  world.Begin().checkpoint = std::nullopt;
  world.Checkpoint(60).set_expected_position(50);
  // The second one was begun before the first was decided, and has to wait for it.
  CHECK(world.Violations().at(0).position() == 40);
  world.Begin();
  world.Append("a", Any(), {2});
  world.Checkpoint(50).set_expected_position(40);
  const auto first = world.Decide();
  REQUIRE(first.ok());
  CHECK(first->checkpoint().position() == 50);
  world.Begin();
  world.Checkpoint(60).set_expected_position(50);
  world.Checkpoint(60).set_events_processed(2);
  const auto second = world.Decide();
  REQUIRE(second.ok());
  CHECK(second->checkpoint().position() == 60);
  CHECK(second->checkpoint().events_processed() == 5);
  const auto writes = world->saves().CheckpointWrites();
  REQUIRE(writes.size() == 1);
  CHECK(writes[0].existed);
  CHECK(writes[0].checkpoint.position() == 60);
}

TEST_CASE("ACheckpointThatIsNotNewerFailsUnlessRewindIsAllowed", "[transaction]") {
  World world;
  v1::Checkpoint stored;
  stored.set_projection_name("p");
  stored.set_position(40);
  stored.set_epoch(2);
  world->saves().AddCheckpoint(stored);
  world.Begin();
  world.Append("a", Any(), {1});
  world.Checkpoint(40);
  const Details found = world.Violations();
  REQUIRE(found.size() == 1);
  CHECK(found[0].reason() == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(found[0].field() == "checkpoint.position");
  CHECK(found[0].position() == 40);
  CHECK(world->rows().empty());
  world.Begin();
  world.Append("a", Any(), {1});
  world.Checkpoint(30).set_allow_rewind(true);
  CHECK(world.Decide()->checkpoint().position() == 30);
}

TEST_CASE("ACheckpointOfALostHistoryIsWhereThatEnded", "[transaction]") {
  World world;
  v1::Checkpoint stored;
  stored.set_projection_name("p");
  stored.set_position(80);  // of epoch 1, which ended at 50
  stored.set_epoch(1);
  world->saves().AddCheckpoint(stored);
  world.Begin();
  world.Checkpoint(50);
  CHECK_FALSE(world.Decide().ok());
  world.Begin();
  world.Checkpoint(51);
  CHECK(world.Decide().ok());
  // And a position beyond that end is ahead.
  world.Begin();
  world.Checkpoint(60).set_epoch(1);
  const Details ahead = world.Violations();
  CHECK(ahead.at(0).reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(ahead.at(0).position() == 50);
}

TEST_CASE("ASnapshotIsOfAVersionThatTheStreamHasThen", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Any(), {1});
  world.Snapshot("a", 7);
  const Details found = world.Violations();
  REQUIRE(found.size() == 1);
  CHECK(found[0].reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(found[0].field() == "snapshots[0].version");
  CHECK(world->rows().empty());
  world.Begin();
  world.Append("a", Any(), {1});
  world.Snapshot("a", 6);
  world.Snapshot("a", 5);  // a newer one is there now, and one is kept
  world.Snapshot("a", 5, 2);
  const auto answer = world.Decide();
  REQUIRE(answer.ok());
  REQUIRE(answer->snapshots_saved_size() == 3);
  CHECK(answer->snapshots_saved(0));
  CHECK_FALSE(answer->snapshots_saved(1));
  CHECK(answer->snapshots_saved(2));
  CHECK(world->saves().snapshot_writes().size() == 2);
}

TEST_CASE("ATransactionWithoutEventsTakesNoPosition", "[transaction]") {
  World world;
  world.Begin();
  world.Check("a", Exact(5));
  world.Checkpoint(10);
  const auto answer = world.Decide();
  REQUIRE(answer.ok());
  CHECK(answer->results().empty());
  CHECK_FALSE(answer->deduplicated());
  CHECK(world->last_position() == kHead);
  CHECK_FALSE(world->saves().empty());
}

TEST_CASE("MoreViolationsThanFitAreCounted", "[transaction]") {
  World world;
  world.Begin();
  world.Append("a", Any(), {1});
  for (int i = 0; i < 90; ++i) world.Check("b", Exact(77));
  const auto answer = world.Decide();
  REQUIRE_FALSE(answer.ok());
  const Details found = DetailsOf(answer.status());
  CHECK(found.size() > 3);
  CHECK(found[0].total() == 90);
  CHECK(found[0].truncated());
}

}  // namespace
}  // namespace eventstore::engine
