// Random writers and subscribers on two stores of one database.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>

#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

constexpr char kTenant[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

// A subscriber with what it asked for.
struct Subscriber {
  SubscriptionQuery query;
  std::unique_ptr<Follower> follower;

  [[nodiscard]] bool Wants(const v1::Event& event) const {
    if (query.stream.has_value() &&
        event.stream().SerializeAsString() != query.stream->SerializeAsString()) {
      return false;
    }
    return query.filter == nullptr || query.filter->Matches(event);
  }
};

std::string Digit(std::mt19937_64& random, std::uint64_t below) {
  return std::to_string(random() % below);
}

v1::StreamId RandomStream(std::mt19937_64& random) {
  return Stream("s" + Digit(random, 6), "T" + Digit(random, 3), random() % 4 == 0 ? kTenant : "");
}

SubscriptionQuery RandomQuery(std::mt19937_64& random, std::int64_t head) {
  SubscriptionQuery query;
  switch (random() % 3) {
    case 0:
      break;  // from the beginning
    case 1:
      query.start = SubscriptionQuery::FromEnd();
      break;
    default:
      query.start = SubscriptionQuery::AfterPosition{
          static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(head + 1)), 1};
  }
  query.batch_events_max = 1 + static_cast<std::int64_t>(random() % 50);
  query.checkpoint_interval = 1 + static_cast<std::int64_t>(random() % 60);
  if (random() % 3 == 0) query.stream = RandomStream(random);
  v1::Filter filter;
  if (random() % 4 == 0) filter.add_aggregate_types("T" + Digit(random, 3));
  if (random() % 3 == 0) filter.add_event_types("E" + Digit(random, 10));
  if (random() % 6 == 0) filter.add_event_types("E" + Digit(random, 10));
  if (random() % 5 == 0) filter.add_tags("t" + Digit(random, 4));
  if (random() % 8 == 0) filter.add_tags("t" + Digit(random, 4));
  if (random() % 6 == 0) filter.add_aggregate_id_prefixes("s" + Digit(random, 6));
  if (random() % 6 == 0) filter.add_event_type_prefixes("E" + Digit(random, 4));
  if (random() % 6 == 0) filter.set_event_type_regex("E[" + Digit(random, 4) + "9]$");
  if (random() % 6 == 0 && !query.stream.has_value()) filter.set_tenant_id(kTenant);
  query.filter = *EventFilter::Make(filter, "filter", Limits());
  if (query.filter->matches_everything()) query.filter = nullptr;
  return query;
}

void Write(std::uint64_t seed, const std::vector<TestStore*>& stores, std::atomic<int>* failures) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 60; ++i) {
    auto request = Request(RandomStream(random), Any(), NewIds(1 + static_cast<int>(random() % 6)));
    for (v1::NewEvent& event : *request.mutable_events()) {
      event.set_event_type("E" + Digit(random, 10));
      if (random() % 4 == 0) event.add_tags("t" + Digit(random, 4));
    }
    if (!Append(**stores[random() % stores.size()], request).ok()) ++*failures;
  }
}

// What is wrong with what a subscriber was sent, given the whole history; empty if nothing is.
std::string Judge(const Subscriber& subscriber, const std::vector<v1::Event>& history) {
  const auto messages = subscriber.follower->Messages();
  if (messages.empty() || messages.front().kind != Kind::kConfirmed) return "not confirmed first";
  std::size_t next = static_cast<std::size_t>(messages.front().position);  // index into the history
  std::int64_t last = messages.front().position;
  int behind = 1;
  for (const Follower::Message& message : messages) {
    if (message.position < last) return "positions go back";
    last = message.position;
    if (message.kind == Kind::kCaughtUp && --behind != 0) return "caught up twice";
    if (message.kind == Kind::kFellBehind && ++behind != 1)
      return "fell behind before it caught up";
    for (const v1::Event& event : message.events) {
      while (next < history.size() && !subscriber.Wants(history[next])) ++next;
      if (next == history.size()) return "an event too many";
      if (history[next].SerializeAsString() != event.SerializeAsString()) {
        return "expected position " + std::to_string(history[next].global_position()) + ", got " +
               std::to_string(event.global_position());
      }
      ++next;
    }
    // Everything up to the message's position that it wants has come.
    for (std::size_t i = next; i < static_cast<std::size_t>(message.position); ++i) {
      if (subscriber.Wants(history[i])) return "passed position " + std::to_string(i + 1);
    }
    next = std::max(next, static_cast<std::size_t>(message.position));
  }
  for (; next < history.size(); ++next) {
    if (subscriber.Wants(history[next])) return "misses position " + std::to_string(next + 1);
  }
  return "";
}

TEST_CASE("Random subscribers of two daemons each see what they want once and in order",
          "[hub][random]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.reader.page_events_max = 20;
  options.reader.window_positions = 50;
  options.hub.ring_bytes_max = 40'000;  // so that slow ones fall off
  options.hub.poll_interval_ms = std::chrono::milliseconds(500);
  TestStore one(options);
  TestStore two(options);
  const std::vector<TestStore*> stores = {&one, &two};
  std::atomic<int> failures{0};
  Write(seed, stores, &failures);
  const auto head = static_cast<std::int64_t>(ReadAll(*one).size());

  std::vector<Subscriber> subscribers;
  for (std::uint64_t i = 0; i < 24; ++i) {
    const SubscriptionQuery query = RandomQuery(random, head);
    // A slow client is busy with a message now and then.
    auto pace = std::make_shared<std::mt19937_64>(seed + i);
    const bool slow = i % 3 == 0;
    Follower::Before before = [pace, slow] {
      if (!slow || (*pace)() % 4 != 0) return;
      Eventually([] { return false; }, std::chrono::milliseconds((*pace)() % 60));
    };
    subscribers.push_back(
        {query, std::make_unique<Follower>(**stores[i % 2], query, /*held=*/false, before)});
  }
  std::vector<std::thread> writers;
  for (std::uint64_t w = 1; w <= 3; ++w) {
    writers.emplace_back([&, w] { Write(seed + 1000 * w, stores, &failures); });
  }
  for (std::thread& writer : writers) writer.join();
  REQUIRE(failures == 0);
  const std::vector<v1::Event> history = ReadAll(*one);
  for (std::size_t i = 0; i < subscribers.size(); ++i) {
    std::string verdict;
    Eventually([&] { return (verdict = Judge(subscribers[i], history)).empty(); });
    const SubscriptionQuery& asked = subscribers[i].query;
    INFO("subscriber " << i << " of "
                       << (asked.stream.has_value() ? asked.stream->ShortDebugString() : "all")
                       << " where "
                       << (asked.filter ? asked.filter->proto().ShortDebugString() : "any"));
    CHECK(verdict == "");
  }
}

}  // namespace
}  // namespace eventstore::engine
