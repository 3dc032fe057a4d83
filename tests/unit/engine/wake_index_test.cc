// Whom a new event wakes.
#include "server/engine/wake_index.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>

namespace eventstore::engine {
namespace {

using Woken = std::vector<WakeIndex::Subscriber>;

v1::Event MakeEvent(std::int64_t position, const std::string& type, const std::string& id,
                    const std::string& event_type = "E", const std::vector<std::string>& tags = {},
                    const std::string& tenant = "") {
  v1::Event event;
  event.set_global_position(position);
  event.mutable_stream()->set_aggregate_type(type);
  event.mutable_stream()->set_aggregate_id(id);
  event.mutable_stream()->set_tenant_id(tenant);
  event.set_event_type(event_type);
  for (const std::string& tag : tags) event.add_tags(tag);
  return event;
}

std::vector<std::string> StreamKeys(const v1::Event& event) {
  return WakeIndex::KeysOf(&event.stream(), nullptr);
}

std::vector<std::string> FilterKeys(const v1::Filter& filter) {
  return WakeIndex::KeysOf(nullptr, EventFilter::Make(filter, "filter", Limits())->get());
}

Woken Sorted(Woken woken) {
  std::sort(woken.begin(), woken.end());
  return woken;
}

TEST_CASE("An event wakes who follows its stream, and whoever follows everything", "[wake]") {
  WakeIndex index;
  const auto a = StreamKeys(MakeEvent(0, "T", "a"));
  const auto b = StreamKeys(MakeEvent(0, "T", "b"));
  const auto a_of_tenant = StreamKeys(MakeEvent(0, "T", "a", "E", {}, "t"));
  const auto everything = WakeIndex::KeysOf(nullptr, nullptr);
  index.Park(1, &a, 100);
  index.Park(2, &b, 100);
  index.Park(3, &a_of_tenant, 100);
  index.Park(4, &everything, 100);
  CHECK(Sorted(index.Advance(*EventBlock::Make({MakeEvent(5, "T", "x"), MakeEvent(6, "T", "a"),
                                                MakeEvent(7, "T", "a")}))) == Woken{1, 4});
  CHECK(index.Unpark(1, 7) == 5);  // the first that concerns it is 6
  CHECK(index.Unpark(4, 7) == 4);
  CHECK(index.Unpark(4, 7) == std::nullopt);
  CHECK(index.parked() == 2);
  // Whoever was not woken has nothing to see up to the end.
  CHECK(index.Unpark(2, 7) == 7);
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(8, "T", "b")})).empty());
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(9, "T", "a", "E", {}, "t")})) == Woken{3});
}

TEST_CASE("A filter is parked under the narrowest field that can be looked up", "[wake]") {
  WakeIndex index;
  v1::Filter filter;
  filter.set_event_type_regex("^A");
  const auto regex = FilterKeys(filter);  // any event may match
  filter.set_tenant_id("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
  const auto tenant = FilterKeys(filter);
  filter.add_aggregate_types("T");
  filter.add_aggregate_types("U");
  const auto types = FilterKeys(filter);
  filter.add_event_types("E");
  const auto event_types = FilterKeys(filter);
  filter.add_tags("red");
  const auto tags = FilterKeys(filter);
  CHECK(types.size() == 2);
  index.Park(1, &regex, 100);
  index.Park(2, &tenant, 100);
  index.Park(3, &types, 100);
  index.Park(4, &event_types, 100);
  index.Park(5, &tags, 100);
  CHECK(Sorted(index.Advance(*EventBlock::Make({MakeEvent(1, "U", "a", "X")}))) == Woken{1, 3});
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(2, "V", "a", "E")})) == Woken{4});
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(3, "V", "a", "X", {"blue", "red"})})) ==
        Woken{5});
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(
            4, "T", "a", "E", {"red"}, "6ba7b810-9dad-11d1-80b4-00c04fd430c8")})) == Woken{2});
  CHECK(index.Unpark(3, 4) == 0);
  CHECK(index.Unpark(2, 4) == 3);
}

TEST_CASE("A position that is due wakes whom no event did", "[wake]") {
  WakeIndex index;
  const auto keys = StreamKeys(MakeEvent(0, "T", "a"));
  index.Park(1, &keys, 10);
  index.Park(2, &keys, 12);
  const auto other = [](std::int64_t position) {
    return EventBlock::Make({MakeEvent(position, "T", "b")});
  };
  CHECK(index.Advance(*other(9)).empty());
  CHECK(index.Advance(*other(10)) == Woken{1});
  CHECK(index.Advance(*other(11)).empty());
  CHECK(index.Unpark(1, 11) == 10);
  // An event in the same block goes first: what follows it was not looked at.
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(12, "T", "a"), MakeEvent(13, "T", "b")})) ==
        Woken{2});
  CHECK(index.Unpark(2, 13) == 11);
}

TEST_CASE("Where the ring starts anew everybody keeps the place he had", "[wake]") {
  WakeIndex index;
  const auto a = StreamKeys(MakeEvent(0, "T", "a"));
  index.Park(1, &a, 100);
  index.Park(2, &a, 8);
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(8, "T", "b")})) == Woken{2});
  index.WakeAll(9);
  CHECK(index.parked() == 0);
  CHECK(index.Unpark(1, 50) == 9);
  CHECK(index.Unpark(2, 50) == 8);
  // Nothing of them is left behind.
  index.Park(1, &a, 100);
  CHECK(index.Advance(*EventBlock::Make({MakeEvent(51, "T", "a")})) == Woken{1});
}

// What the index has to do, event by event and subscriber by subscriber.
struct Plain {
  std::shared_ptr<const EventFilter> filter;
  std::optional<v1::StreamId> stream;
  std::vector<std::string> keys;
  bool parked = false;
  std::int64_t due = 0;
  std::int64_t seen = 0;  // everything up to here is known not to concern it, or was looked at

  [[nodiscard]] bool Wants(const v1::Event& event) const {
    if (stream.has_value() && stream->SerializeAsString() != event.stream().SerializeAsString()) {
      return false;
    }
    return filter == nullptr || filter->Matches(event);
  }
};

std::string Some(std::mt19937_64& random, const char* prefix, std::uint64_t below) {
  return prefix + std::to_string(random() % below);
}

Plain RandomSubscriber(std::mt19937_64& random) {
  Plain plain;
  v1::Filter filter;
  if (random() % 3 == 0)
    plain.stream = MakeEvent(0, Some(random, "T", 3), Some(random, "s", 4)).stream();
  if (random() % 3 == 0) filter.add_aggregate_types(Some(random, "T", 3));
  if (random() % 3 == 0) filter.add_event_types(Some(random, "E", 4));
  if (random() % 6 == 0) filter.add_event_types(Some(random, "E", 4));
  if (random() % 4 == 0) filter.add_tags(Some(random, "t", 3));
  if (random() % 6 == 0) filter.add_event_type_prefixes(Some(random, "E", 4));
  if (random() % 4 > 0) plain.filter = *EventFilter::Make(filter, "filter", Limits());
  plain.keys =
      WakeIndex::KeysOf(plain.stream.has_value() ? &*plain.stream : nullptr, plain.filter.get());
  return plain;
}

TEST_CASE("Nobody sleeps through an event that he wants, nor past what is due", "[wake][random]") {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WakeIndex index;
  std::map<WakeIndex::Subscriber, Plain> all;
  std::int64_t end = 0;
  for (WakeIndex::Subscriber number = 1; number <= 40; ++number) {
    all[number] = RandomSubscriber(random);
  }
  for (int step = 0; step < 2000; ++step) {
    for (auto& [number, plain] : all) {  // some come back to wait
      if (plain.parked || random() % 3 == 0) continue;
      plain.parked = true;
      plain.seen = end;
      plain.due = end + 1 + static_cast<std::int64_t>(random() % 40);
      index.Park(number, &plain.keys, plain.due);
    }
    std::vector<v1::Event> events;
    for (std::uint64_t i = 0; i <= random() % 3; ++i) {
      std::vector<std::string> tags;
      if (random() % 4 == 0) tags.push_back(Some(random, "t", 3));
      events.push_back(
          MakeEvent(++end, Some(random, "T", 3), Some(random, "s", 4), Some(random, "E", 4), tags));
    }
    const Woken woken = index.Advance(*EventBlock::Make(events));
    const Woken sorted = Sorted(woken);
    REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());  // each once
    for (const WakeIndex::Subscriber number : woken) {
      REQUIRE(all[number].parked);
      all[number].parked = false;
      const auto resume = index.Unpark(number, end);
      REQUIRE(resume.has_value());
      REQUIRE(*resume >= all[number].seen);
      REQUIRE(*resume <= end);
      for (const v1::Event& event : events) {  // it did not skip what it wants
        if (event.global_position() <= *resume) REQUIRE_FALSE(all[number].Wants(event));
      }
    }
    for (auto& [number, plain] : all) {  // and who sleeps on has nothing to see
      if (!plain.parked) continue;
      REQUIRE(plain.due > end);
      for (const v1::Event& event : events) REQUIRE_FALSE(plain.Wants(event));
      if (random() % 50 > 0) continue;  // some leave
      REQUIRE(index.Unpark(number, end) == end);
      plain.parked = false;
      plain = RandomSubscriber(random);
    }
  }
}

}  // namespace
}  // namespace eventstore::engine
