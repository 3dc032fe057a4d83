#include "server/engine/batch_decider.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>

#include "server/core/errors.h"

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
v1::ExpectedVersion StreamExists() {
  v1::ExpectedVersion expected;
  (void)expected.mutable_stream_exists();
  return expected;
}
v1::ExpectedVersion Exact(std::int64_t version) {
  v1::ExpectedVersion expected;
  expected.set_exact(version);
  return expected;
}

// A UUID that stands for a number.
Uuid Id(int number) {
  Uuid id{};
  id[0] = 1;
  id[14] = static_cast<std::uint8_t>(number / 256);
  id[15] = static_cast<std::uint8_t>(number % 256);
  return id;
}

ValidatedAppend AppendOf(const v1::ExpectedVersion& expected, const std::vector<int>& ids,
                         const std::string& stream = "s") {
  ValidatedAppend append;
  append.request.mutable_stream()->set_aggregate_id(stream);
  append.request.mutable_stream()->set_aggregate_type("T");
  *append.request.mutable_expected_version() = expected;
  for (const int id : ids) {
    append.event_ids.push_back(Id(id));
    append.event_bytes.push_back(10);
    append.request.add_events()->set_event_id(FormatUuid(Id(id)));
  }
  return append;
}

// A decider over stream "s" with key 7 at `version`.
struct OneStream {
  explicit OneStream(std::int64_t version, bool tombstoned = false) : decider(kHead, kTime) {
    slot = decider.AddStream({kNilUuid, "T", "s"}, {7, version, tombstoned});
  }
  // The stored event of a version of this stream, or of another.
  void Know(int id, std::int64_t version, std::int64_t key = 7, const std::string& name = "s",
            const std::string& tenant = "") {
    tables::KnownEvent known{0, version * 2, key, version, 1000 + version, {}};
    known.stream.set_aggregate_type("T");
    known.stream.set_aggregate_id(name);
    known.stream.set_tenant_id(tenant);
    decider.AddKnownEvent(Id(id), known);
  }
  absl::StatusOr<v1::AppendEventsResponse> Decide(const v1::ExpectedVersion& expected,
                                                  const std::vector<int>& ids) {
    kept.push_back(std::make_unique<ValidatedAppend>(AppendOf(expected, ids)));
    return decider.Decide(*kept.back(), slot);
  }
  BatchDecider decider;
  int slot;
  std::vector<std::unique_ptr<ValidatedAppend>> kept;  // the rows point into them
};

v1::ErrorInfo Detail(const absl::Status& status) {
  const auto details = DetailsOf(status);
  return details.empty() ? v1::ErrorInfo() : details.front();
}

TEST_CASE("Each kind of expected version holds or conflicts", "[decider]") {
  struct Case {
    v1::ExpectedVersion expected;
    std::int64_t version;
    bool holds;
  };
  for (const Case& c : std::vector<Case>{{Any(), 0, true},
                                         {Any(), 5, true},
                                         {NoStream(), 0, true},
                                         {NoStream(), 2, false},
                                         {StreamExists(), 0, false},
                                         {StreamExists(), 1, true},
                                         {Exact(1), 0, false},
                                         {Exact(5), 5, true},
                                         {Exact(4), 5, false},
                                         {Exact(999), 1, false},
                                         {v1::ExpectedVersion(), 0, false}}) {
    OneStream stream(c.version);
    const auto answer = stream.Decide(c.expected, {1, 2});
    INFO(c.expected.ShortDebugString() << " at " << c.version);
    REQUIRE(answer.ok() == c.holds);
    if (c.holds) {
      CHECK(answer->first_version() == c.version + 1);
      CHECK(answer->last_version() == c.version + 2);
      CHECK(answer->first_position() == kHead + 1);
      CHECK(answer->last_position() == kHead + 2);
      CHECK(answer->created_at().seconds() == kTime / 1'000'000);
      CHECK(answer->event_ids_size() == 2);
    } else {
      CHECK(Detail(answer.status()).reason() == v1::ERROR_REASON_VERSION_CONFLICT);
      CHECK(Detail(answer.status()).actual() == c.version);
      CHECK(stream.decider.rows().empty());
      CHECK(stream.decider.last_position() == kHead);
      CHECK(stream.decider.StreamChanges().empty());
    }
  }
}

TEST_CASE("A replay is found before the version, whole or as a consecutive part", "[decider]") {
  OneStream stream(9);
  for (int id = 1; id <= 4; ++id) stream.Know(id, 4 + id);  // versions 5 to 8
  for (const std::vector<int>& ids : {std::vector<int>{1, 2, 3, 4}, {2, 3}, {4}}) {
    const auto answer = stream.Decide(NoStream(), ids);
    REQUIRE(answer.ok());
    CHECK(answer->deduplicated());
    CHECK(answer->first_version() == 4 + ids.front());
    CHECK(answer->last_version() == 4 + ids.back());
    CHECK(answer->first_position() == (4 + ids.front()) * 2);
    CHECK(answer->last_position() == (4 + ids.back()) * 2);
    CHECK(answer->created_at().nanos() == (1004 + ids.back()) * 1000);
    CHECK(answer->event_ids_size() == static_cast<int>(ids.size()));
  }
  CHECK(stream.decider.rows().empty());
}

TEST_CASE("Known ids that are no replay are refused, and nothing is written", "[decider]") {
  OneStream stream(9);
  for (int id = 1; id <= 4; ++id) stream.Know(id, 4 + id);
  stream.Know(21, 1, /*key=*/8, "other");
  stream.Know(22, 2, /*key=*/8, "other");
  stream.Know(31, 1, /*key=*/9, "secret", "01890a5d-ac96-774b-bcce-b302099a8057");
  struct Case {
    std::vector<int> ids;
    int blamed;          // index
    std::string stream;  // where the blamed event is; empty: not told
  };
  for (const Case& c : std::vector<Case>{{{2, 1}, 0, "s"},         // wrong order
                                         {{1, 3}, 0, "s"},         // not consecutive
                                         {{1, 99}, 0, "s"},        // mixed with new ones
                                         {{98, 99, 4}, 2, "s"},    // new ones first
                                         {{21, 22}, 0, "other"},   // another stream's
                                         {{31}, 0, ""},            // another tenant's
                                         {{1, 2, 21}, 0, "s"}}) {  // of two streams
    const auto answer = stream.Decide(Any(), c.ids);
    const v1::ErrorInfo detail = Detail(answer.status());
    CHECK(detail.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    CHECK(detail.index() == c.blamed);
    CHECK(detail.event_id() == FormatUuid(Id(c.ids[static_cast<std::size_t>(c.blamed)])));
    CHECK(detail.stream().aggregate_id() == c.stream);
    CHECK((detail.position() != 0) == !c.stream.empty());
  }
  CHECK(stream.decider.rows().empty());
}

TEST_CASE("A tombstone comes before the version and after the replay", "[decider]") {
  OneStream stream(9, /*tombstoned=*/true);
  stream.Know(1, 9);
  CHECK(Detail(stream.Decide(Exact(3), {2}).status()).reason() == v1::ERROR_REASON_STREAM_DELETED);
  CHECK(Detail(stream.Decide(Any(), {2}).status()).reason() == v1::ERROR_REASON_STREAM_DELETED);
  CHECK(stream.Decide(Exact(3), {1})->deduplicated());
  CHECK(Detail(stream.Decide(Any(), {1, 2}).status()).reason() ==
        v1::ERROR_REASON_DUPLICATE_EVENT_ID);
}

TEST_CASE("A softly deleted stream reads as empty, and goes on with the next version",
          "[decider]") {
  BatchDecider decider(kHead, kTime);
  const int slot = decider.AddStream({kNilUuid, "T", "s"}, {7, 9, false, /*deleted=*/true});
  std::vector<std::unique_ptr<ValidatedAppend>> kept;
  const auto decide = [&](const v1::ExpectedVersion& expected, int id) {
    kept.push_back(std::make_unique<ValidatedAppend>(AppendOf(expected, {id})));
    return decider.Decide(*kept.back(), slot);
  };
  for (const auto& expected : {StreamExists(), Exact(9)}) {
    const auto refused = decide(expected, 1);
    CHECK(Detail(refused.status()).reason() == v1::ERROR_REASON_VERSION_CONFLICT);
    CHECK(Detail(refused.status()).actual() == 0);
  }
  CHECK(decide(NoStream(), 2)->first_version() == 10);
  // From then on it is there.
  CHECK(Detail(decide(NoStream(), 3).status()).actual() == 10);
  CHECK(decide(Exact(10), 4)->first_version() == 11);
  REQUIRE(decider.StreamChanges().size() == 1);
  CHECK(decider.StreamChanges()[0].old_version == 9);
  CHECK_FALSE(decider.slots()[0].row.deleted);
}

TEST_CASE("Appends are decided against what the batch did before them", "[decider]") {
  OneStream stream(0);
  REQUIRE(stream.Decide(NoStream(), {1, 2}).ok());
  CHECK(Detail(stream.Decide(NoStream(), {3}).status()).actual() == 2);
  REQUIRE(stream.Decide(Exact(2), {4}).ok());
  // A replay of an append of this batch.
  const auto replay = stream.Decide(NoStream(), {1, 2});
  REQUIRE(replay.ok());
  CHECK(replay->deduplicated());
  CHECK(replay->first_position() == kHead + 1);
  CHECK(replay->last_version() == 2);
  // A refused append's ids are as free as ever.
  REQUIRE(stream.Decide(Exact(3), {3}).ok());
  CHECK(stream.decider.last_position() == kHead + 4);

  // One change for the stream, however often it was appended to.
  const auto changes = stream.decider.StreamChanges();
  REQUIRE(changes.size() == 1);
  CHECK(changes[0].old_version == 0);
  CHECK(changes[0].new_version == 4);
  CHECK(changes[0].stream_key == 7);
  CHECK(changes[0].first_position == kHead + 1);
  CHECK(changes[0].last_position == kHead + 4);
  std::int64_t version = 0;
  for (const tables::NewEventRow& row : stream.decider.rows()) {
    CHECK(row.version == ++version);
    CHECK(row.global_position == kHead + version);
    CHECK(row.stream_key == 7);
  }
  CHECK(version == 4);
}

// --- against a model that knows nothing of batches, maps or pointers ---

struct ModelEvent {
  std::string stream;
  std::int64_t version;
};

// What becomes of an append, as a word.
std::string Model(const ValidatedAppend& append, const std::string& stream, bool tombstoned,
                  std::map<Uuid, ModelEvent>* events,
                  std::map<std::string, std::int64_t>* versions) {
  std::size_t known = 0;
  bool replay = true;
  for (std::size_t i = 0; i < append.event_ids.size(); ++i) {
    const auto found = events->find(append.event_ids[i]);
    if (found == events->end()) continue;
    ++known;
    const auto first = events->find(append.event_ids[0]);
    replay = replay && found->second.stream == stream && first != events->end() &&
             found->second.version == first->second.version + static_cast<std::int64_t>(i);
  }
  if (known > 0 && known < append.event_ids.size()) return "duplicate";
  if (known > 0) return replay ? "replay" : "duplicate";
  if (tombstoned) return "deleted";
  std::int64_t& version = (*versions)[stream];
  const v1::ExpectedVersion& expected = append.request.expected_version();
  if ((expected.has_no_stream() && version != 0) ||
      (expected.has_stream_exists() && version == 0) ||
      (expected.kind_case() == v1::ExpectedVersion::kExact && expected.exact() != version)) {
    return "conflict at " + std::to_string(version);
  }
  for (const Uuid& id : append.event_ids) (*events)[id] = {stream, ++version};
  return "written to " + std::to_string(version);
}

std::string Word(const absl::StatusOr<v1::AppendEventsResponse>& answer) {
  if (answer.ok() && answer->deduplicated()) return "replay";
  if (answer.ok()) return "written to " + std::to_string(answer->last_version());
  const v1::ErrorInfo detail = Detail(answer.status());
  if (detail.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID) return "duplicate";
  if (detail.reason() == v1::ERROR_REASON_STREAM_DELETED) return "deleted";
  return "conflict at " + std::to_string(detail.actual());
}

TEST_CASE("Random batches are decided as by a naive model", "[decider][random]") {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto below = [&random](std::uint64_t n) { return static_cast<int>(random() % n); };
  std::map<std::string, int> seen;
  for (int run = 0; run < 200; ++run) {
    std::map<Uuid, ModelEvent> events;
    std::map<std::string, std::int64_t> versions;
    std::map<Uuid, tables::KnownEvent> committed;
    std::int64_t head = 0;
    for (int batch = 0; batch < 5; ++batch) {
      BatchDecider decider(head, kTime);
      std::map<std::string, int> slots;
      const std::vector<std::string> names = {"a", "b", "c", "dead"};
      for (std::size_t i = 0; i < names.size(); ++i) {
        const auto key = static_cast<std::int64_t>(i) + 1;
        slots[names[i]] = decider.AddStream({kNilUuid, "T", names[i]},
                                            {key, versions[names[i]], names[i] == "dead"});
      }
      for (const auto& [id, known] : committed) decider.AddKnownEvent(id, known);
      std::vector<std::unique_ptr<ValidatedAppend>> appends;
      for (int i = below(8); i >= 0; --i) {
        const std::string name = names[static_cast<std::size_t>(below(names.size()))];
        // Ids from a small range, in runs, so that parts of earlier appends come again.
        std::vector<int> ids;
        const int first = below(60);
        for (int n = 0; n <= below(4); ++n) ids.push_back(first + n);
        if (below(5) == 0) std::reverse(ids.begin(), ids.end());
        const v1::ExpectedVersion kinds[] = {Any(), Any(), NoStream(), StreamExists(),
                                             Exact(1 + below(8))};
        appends.push_back(std::make_unique<ValidatedAppend>(AppendOf(kinds[below(5)], ids, name)));
        const std::string expected =
            Model(*appends.back(), name, name == "dead", &events, &versions);
        const std::string word = Word(decider.Decide(*appends.back(), slots[name]));
        REQUIRE(word == expected);
        ++seen[word.substr(0, word.find(' '))];
      }
      for (const tables::NewEventRow& row : decider.rows()) {
        REQUIRE(row.global_position == ++head);
        committed[row.event_id] = {0, row.global_position, row.stream_key, row.version, kTime};
      }
      REQUIRE(decider.last_position() == head);
    }
  }
  // It was all there.
  for (const char* word : {"written", "replay", "duplicate", "conflict"}) CHECK(seen[word] > 50);
}

}  // namespace
}  // namespace eventstore::engine
