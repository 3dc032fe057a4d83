// What the engine keeps in memory: the stream cache, encoded events, the ring.
#include <catch2/catch.hpp>

#include "server/engine/event_block.h"
#include "server/engine/ring.h"
#include "server/engine/stream_cache.h"

namespace eventstore::engine {
namespace {

Uuid Tenant(std::uint8_t last) {
  Uuid tenant{};
  tenant[15] = last;
  return tenant;
}

TEST_CASE("The stream cache forgets the least recently used", "[cache]") {
  StreamCache cache(3);
  cache.Put({kNilUuid, "T", "a"}, {1, 10, false});
  cache.Put({kNilUuid, "T", "b"}, {2, 20, false});
  cache.Put({kNilUuid, "T", "c"}, {3, 30, false});
  REQUIRE(cache.Find({kNilUuid, "T", "a"}) != nullptr);  // used: b is the oldest now
  cache.Put({kNilUuid, "T", "d"}, {4, 40, true});
  CHECK(cache.size() == 3);
  CHECK(cache.Find({kNilUuid, "T", "b"}) == nullptr);
  CHECK(cache.Find({kNilUuid, "T", "a"})->version == 10);
  CHECK(cache.Find({kNilUuid, "T", "d"})->tombstoned);
  // Putting again is a use and no growth.
  cache.Put({kNilUuid, "T", "c"}, {3, 31, false});
  cache.Put({kNilUuid, "T", "e"}, {5, 50, false});
  CHECK(cache.size() == 3);
  CHECK(cache.Find({kNilUuid, "T", "c"})->version == 31);
  CHECK(cache.Find({kNilUuid, "T", "a"}) == nullptr);
}

TEST_CASE("A stream that somebody else wrote to is not deleted any more", "[cache]") {
  StreamCache cache(3);
  cache.Put({kNilUuid, "T", "a"}, {1, 10, false, /*deleted=*/true});
  CHECK(cache.Find({kNilUuid, "T", "a"})->readable_version() == 0);
  cache.SetVersion(1, 11);
  CHECK(cache.Find({kNilUuid, "T", "a"})->readable_version() == 11);
}

TEST_CASE("The stream cache tells apart what only runs together", "[cache]") {
  StreamCache cache(10);
  cache.Put({kNilUuid, "T", "ab"}, {1, 1, false});
  CHECK(cache.Find({kNilUuid, "Ta", "b"}) == nullptr);
  CHECK(cache.Find({Tenant(1), "T", "ab"}) == nullptr);
  cache.Put({Tenant(1), "T", "ab"}, {2, 2, false});
  CHECK(cache.Find({kNilUuid, "T", "ab"})->stream_key == 1);
  CHECK(cache.Find({Tenant(1), "T", "ab"})->stream_key == 2);
}

TEST_CASE("The stream cache is repaired by key", "[cache]") {
  StreamCache cache(10);
  cache.Put({kNilUuid, "T", "a"}, {1, 10, false});
  cache.Put({kNilUuid, "T", "b"}, {2, 20, false});
  cache.SetVersion(1, 15);
  cache.SetVersion(99, 1);  // unknown: nothing happens
  CHECK(cache.Find({kNilUuid, "T", "a"})->version == 15);
  cache.Forget(1);
  cache.Forget(99);
  CHECK(cache.Find({kNilUuid, "T", "a"}) == nullptr);
  CHECK(cache.Find({kNilUuid, "T", "b"})->version == 20);
  // A stream that came back under another key.
  cache.Put({kNilUuid, "T", "b"}, {7, 1, false});
  cache.SetVersion(2, 99);
  CHECK(cache.Find({kNilUuid, "T", "b"})->version == 1);
  cache.SetVersion(7, 2);
  CHECK(cache.Find({kNilUuid, "T", "b"})->version == 2);
  cache.Clear();
  CHECK(cache.size() == 0);
  CHECK(cache.Find({kNilUuid, "T", "b"}) == nullptr);
  cache.SetVersion(7, 3);
  cache.Put({kNilUuid, "T", "b"}, {7, 4, false});
  CHECK(cache.Find({kNilUuid, "T", "b"})->version == 4);
}

std::vector<v1::Event> Events(std::int64_t first, std::int64_t last, std::size_t payload = 10) {
  std::vector<v1::Event> events;
  for (std::int64_t position = first; position <= last; ++position) {
    v1::Event& event = events.emplace_back();
    event.set_global_position(position);
    event.mutable_stream()->set_aggregate_id("s");
    event.set_payload(std::string(payload + static_cast<std::size_t>(position % 300), 'x'));
    (*event.mutable_metadata())["key"] = "value";
    event.add_tags("tag");
  }
  return events;
}

TEST_CASE("Any run of an event block is the bytes of a batch", "[block]") {
  const auto events = Events(5, 24);
  const auto block = EventBlock::Make(events);
  REQUIRE(block->size() == 20);
  CHECK(block->first_position() == 5);
  CHECK(block->last_position() == 24);
  for (std::size_t begin = 0; begin <= block->size(); ++begin) {
    for (std::size_t end = begin; end <= block->size(); ++end) {
      v1::EventBatch batch;
      REQUIRE(batch.ParseFromString(std::string(block->bytes(begin, end))));
      REQUIRE(batch.events_size() == static_cast<int>(end - begin));
      for (int i = 0; i < batch.events_size(); ++i) {
        REQUIRE(batch.events(i).SerializeAsString() ==
                events[begin + static_cast<std::size_t>(i)].SerializeAsString());
      }
    }
  }
}

TEST_CASE("An event block keeps payloads once: its headers have none", "[block]") {
  const auto block = EventBlock::Make(Events(1, 10, 100'000));
  for (std::size_t i = 0; i < block->size(); ++i) {
    CHECK(block->header(i).payload().empty());
    CHECK(block->header(i).metadata().empty());
    CHECK(block->header(i).tags_size() == 1);  // filters need them
    CHECK(block->header(i).global_position() == static_cast<std::int64_t>(i) + 1);
  }
  CHECK(block->memory_bytes() >= 10 * 100'000);
  CHECK(block->memory_bytes() < 11 * 100'000);
}

std::vector<std::int64_t> FirstPositions(
    const std::vector<std::shared_ptr<const EventBlock>>& blocks) {
  std::vector<std::int64_t> positions;
  for (const auto& block : blocks) positions.push_back(block->first_position());
  return positions;
}

TEST_CASE("The ring gives the blocks after a position", "[ring]") {
  using Numbers = std::vector<std::int64_t>;
  Ring ring(1 << 20);
  ring.Reset(3, 10);
  CHECK(ring.epoch() == 3);
  CHECK(ring.end_position() == 10);
  CHECK(ring.events() == 0);
  CHECK(ring.Covers(10));
  CHECK_FALSE(ring.Covers(9));
  CHECK(ring.After(10, 9).empty());
  ring.Append(EventBlock::Make(Events(11, 13)));
  ring.Append(EventBlock::Make(Events(14, 14)));
  ring.Append(EventBlock::Make(Events(15, 20)));
  CHECK(ring.end_position() == 20);
  CHECK(ring.events() == 10);
  CHECK(FirstPositions(ring.After(10, 9)) == Numbers{11, 14, 15});
  CHECK(FirstPositions(ring.After(12, 9)) == Numbers{11, 14, 15});
  CHECK(FirstPositions(ring.After(13, 9)) == Numbers{14, 15});
  CHECK(FirstPositions(ring.After(13, 1)) == Numbers{14});
  CHECK(FirstPositions(ring.After(19, 9)) == Numbers{15});
  CHECK(ring.After(20, 9).empty());
  ring.Reset(4, 5);
  CHECK(ring.memory_bytes() == 0);
  CHECK(ring.After(5, 9).empty());
  CHECK_FALSE(ring.Covers(4));
}

TEST_CASE("The ring is bounded in bytes and drops its oldest blocks", "[ring]") {
  constexpr std::int64_t kBytes = 100'000;
  Ring ring(kBytes);
  ring.Reset(1, 0);
  for (std::int64_t first = 1; first < 1000; first += 10) {
    ring.Append(EventBlock::Make(Events(first, first + 9, 500)));
    CHECK(ring.memory_bytes() <= kBytes);
    CHECK(ring.end_position() == first + 9);
    const std::int64_t begin = ring.end_position() - ring.events() + 1;
    CHECK(ring.Covers(begin - 1));
    CHECK_FALSE(ring.Covers(begin - 2));
    CHECK(ring.After(begin - 1, 1)[0]->first_position() == begin);
  }
  CHECK(ring.events() < 300);
  // A block that is larger than the whole ring leaves it empty, and in its place.
  ring.Append(EventBlock::Make(Events(1001, 1001, 2 * kBytes)));
  CHECK(ring.events() == 0);
  CHECK(ring.end_position() == 1001);
  CHECK(ring.Covers(1001));
  CHECK_FALSE(ring.Covers(1000));
}

}  // namespace
}  // namespace eventstore::engine
