// Dynamic consistency boundaries under many writers: what is acknowledged is what is stored, and no
// condition was violated in position order.
#include <atomic>
#include <catch2/catch.hpp>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/integration/engine/transacting.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

constexpr int kWriters = 16;
constexpr int kRounds = 25;
constexpr int kSharedTags = 6;

// What a writer asked for, and got.
struct Attempt {
  v1::TransactRequest request;
  std::int64_t first_position = 0;  // 0: rejected
};

// A writer reads (its view is as old as it likes), then writes under the condition that nothing of
// its query was added since.
class CourseWriter {
 public:
  CourseWriter(Store* store, std::uint64_t seed, int number)
      : store_(store), random_(seed), number_(number) {}

  void Run() {
    for (int round = 0; round < kRounds; ++round) {
      Attempt attempt{Decide(), 0};
      const Transacted answer = Transact(*store_, attempt.request);
      if (answer.ok()) {
        attempt.first_position = answer->results(0).first_position();
        head_ = std::max(head_, answer->results(0).last_position());
      } else if (absl::IsAborted(answer.status())) {
        ++rejected;
        // As told by the error: what is there by now was seen.
        for (const v1::ErrorInfo& detail : DetailsOf(answer.status())) {
          head_ = std::max(head_, detail.position());
        }
      } else {
        ++failed;
      }
      attempts.push_back(std::move(attempt));
      if (random_() % 2 == 0) Read();
    }
  }

  std::vector<Attempt> attempts;
  int rejected = 0;
  int failed = 0;

 private:
  std::string Tag() {
    // Most tags are shared by all; some are the writer's own, so that nobody comes between.
    return random_() % 3 == 0 ? "own" + std::to_string(number_)
                              : "shared" + std::to_string(random_() % kSharedTags);
  }
  v1::TransactRequest Decide() {
    v1::TransactRequest request;
    const std::string tag = Tag();
    const std::string more = Tag();
    for (std::uint64_t i = 0; i <= random_() % 2; ++i) {
      v1::AppendEventsRequest append = Tagged("w" + std::to_string(number_), {tag, more});
      append.mutable_events(0)->set_event_type("type" + std::to_string(random_() % 3));
      *request.add_appends() = append;
    }
    v1::AppendCondition* condition = NoTags({tag}, head_, &request);
    condition->set_epoch(1);
    if (random_() % 2 == 0) {
      condition->mutable_query(0)->add_event_types("type" + std::to_string(random_() % 3));
    }
    if (random_() % 3 == 0) {
      v1::QueryItem* item = condition->add_query();
      item->add_tags(tag);
      item->add_tags(more);
    }
    return request;
  }
  void Read() {
    const auto head = AwaitDone<tables::Head>(
        [&](Done<tables::Head> done) { store_->reader().GetHead(In(kPatience), std::move(done)); });
    if (head.ok()) head_ = head->position;
  }

  Store* const store_;
  std::mt19937_64 random_;
  const int number_;
  std::int64_t head_ = 0;
};

// By the letter of dcb.events, without the server's help.
bool Forbids(const v1::AppendCondition& condition, const v1::Event& event) {
  for (const v1::QueryItem& item : condition.query()) {
    const auto& types = item.event_types();
    bool all = types.empty() || std::count(types.begin(), types.end(), event.event_type()) > 0;
    for (const std::string& tag : item.tags()) {
      all = all && std::count(event.tags().begin(), event.tags().end(), tag) > 0;
    }
    if (all) return true;
  }
  return false;
}

TEST_CASE("SixteenWritersViolateNoConditionInPositionOrder", "[transact][conditions][random]") {
  const std::uint64_t seed = TestSeed();
  std::cout << "EVENTSTORE_TEST_SEED=" << seed << "\n";
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.reader.queue_requests_max = 1'000;
  options.writer.condition_memory_positions_max = GENERATE(0, 20, 500);
  TestStore one(options);
  TestStore two(options);
  std::vector<std::unique_ptr<CourseWriter>> writers;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWriters; ++i) {
    Store& store = i % 4 == 3 ? *two : *one;  // most on one daemon, some on another
    writers.push_back(
        std::make_unique<CourseWriter>(&store, seed + static_cast<std::uint64_t>(i), i));
    threads.emplace_back([writer = writers.back().get()] { writer->Run(); });
  }
  for (std::thread& thread : threads) thread.join();

  const std::vector<v1::Event> log = ReadAll(*one);
  std::set<std::string> stored;
  for (const v1::Event& event : log) stored.insert(event.event_id());
  std::set<std::string> acknowledged;
  int rejected = 0;
  int written = 0;
  for (const auto& writer : writers) {
    CHECK(writer->failed == 0);
    rejected += writer->rejected;
    for (const Attempt& attempt : writer->attempts) {
      if (attempt.first_position == 0) continue;
      ++written;
      for (const auto& append : attempt.request.appends()) {
        acknowledged.insert(append.events(0).event_id());
      }
      const v1::AppendCondition& condition = attempt.request.conditions(0);
      for (std::int64_t p = condition.after_position() + 1; p < attempt.first_position; ++p) {
        const v1::Event& event = log.at(static_cast<std::size_t>(p - 1));
        INFO("EVENTSTORE_TEST_SEED=" << seed << ", event " << p << " before "
                                     << attempt.first_position);
        REQUIRE_FALSE(Forbids(condition, event));
      }
    }
  }
  CHECK(stored == acknowledged);
  // Both happened, or the test would say nothing.
  CHECK(rejected > 20);
  CHECK(written > 20);
  CHECK(one.Metric("eventstore_conditions_total") > 0);
}

}  // namespace
}  // namespace eventstore::engine
