// Projection checkpoints on a real PostgreSQL.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "server/tables/checkpoint_lag.h"
#include "server/tables/checkpoints_table.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Clock = std::chrono::steady_clock;

v1::SaveCheckpointRequest Save(std::int64_t position, const std::string& name = "orders") {
  v1::SaveCheckpointRequest request;
  request.set_projection_name(name);
  request.set_position(position);
  return request;
}

struct Projecting {
  Projecting()
      : conninfo(CreateStoreDatabase()),
        store(SmallOptions(conninfo)),
        sql(Connect(conninfo, "public")) {}

  void AppendTyped(int count, const std::string& type) {
    auto request = Request(Stream(NewId()), Any(), NewIds(count));
    for (v1::NewEvent& event : *request.mutable_events()) event.set_event_type(type);
    const Answer answer = Append(*store, request);
    REQUIRE(answer.ok());
  }
  absl::StatusOr<v1::SaveCheckpointResponse> Try(const v1::SaveCheckpointRequest& request) {
    return AwaitDone<v1::SaveCheckpointResponse>([&](auto done) {
      store->projections().SaveCheckpoint(request, Clock::now() + kPatience, std::move(done));
    });
  }
  v1::SaveCheckpointResponse Must(const v1::SaveCheckpointRequest& request) {
    auto response = Try(request);
    INFO(response.status());
    REQUIRE(response.ok());
    return *std::move(response);
  }
  v1::CheckpointStatus Get(const std::string& name = "orders", double stale_after_s = 300) {
    v1::GetCheckpointRequest request;
    request.set_projection_name(name);
    request.mutable_stale_after()->set_seconds(static_cast<std::int64_t>(stale_after_s));
    request.mutable_stale_after()->set_nanos(static_cast<std::int32_t>(
        (stale_after_s - static_cast<double>(request.stale_after().seconds())) * 1e9));
    auto response = AwaitDone<v1::GetCheckpointResponse>([&](auto done) {
      store->projections().GetCheckpoint(request, Clock::now() + kPatience, std::move(done));
    });
    REQUIRE(response.ok());
    return response->status();
  }

  std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
};

TEST_CASE("A checkpoint never moves backwards unless it is told to", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(10, "A");
  CHECK(p.Must(Save(5)).saved());
  for (const std::int64_t older : {4, 5, 0}) {
    const auto response = p.Must(Save(older));
    CHECK_FALSE(response.saved());
    CHECK(response.checkpoint().position() == 5);
  }
  CHECK(p.Must(Save(6)).saved());
  auto rewind = Save(2);
  rewind.set_allow_rewind(true);
  const auto response = p.Must(rewind);
  CHECK(response.saved());
  CHECK(response.checkpoint().position() == 2);
  CHECK(p.Must(Save(3)).saved());
}

TEST_CASE("A save that changes nothing counts nothing and keeps the last event", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(10, "A");
  auto save = Save(5);
  save.set_events_processed(5);
  save.set_last_event_id(NewId());
  save.set_last_event_type("A");
  const auto first = p.Must(save).checkpoint();
  CHECK(first.events_processed() == 5);
  CHECK(first.last_event_id() == save.last_event_id());
  CHECK(first.has_last_processed_at());
  CHECK(first.epoch() == 1);
  const auto repeat = p.Must(save).checkpoint();
  CHECK(repeat.SerializeAsString() == first.SerializeAsString());
  auto later = Save(8);
  later.set_events_processed(2);
  const auto second = p.Must(later).checkpoint();
  CHECK(second.events_processed() == 7);
  CHECK(second.last_event_id() == save.last_event_id());
  CHECK(second.last_event_type() == "A");
}

TEST_CASE("Compare and set tells where the checkpoint is", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(10, "A");
  auto save = Save(5);
  save.set_expected_position(3);
  auto refused = p.Try(save);
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(DetailOf(refused.status()).position() == 0);
  CHECK(SelectInt(*p.sql, "SELECT count(*) FROM projection_checkpoints") == 0);
  save.set_expected_position(0);
  CHECK(p.Must(save).saved());
  refused = p.Try(save);  // a repeat
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_CONDITION_FAILED);
  CHECK(DetailOf(refused.status()).position() == 5);
  CHECK(DetailOf(refused.status()).epoch() == 1);
  CHECK(DetailOf(refused.status()).value() == 0);
  auto next = Save(7);
  next.set_expected_position(5);
  CHECK(p.Must(next).saved());
  // What is expected may hold and the save not be newer.
  auto older = Save(6);
  older.set_expected_position(7);
  CHECK_FALSE(p.Must(older).saved());
}

TEST_CASE("A position beyond the end of its epoch is POSITION_AHEAD", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(10, "A");
  CHECK(ReasonOf(p.Try(Save(11)).status()) == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(p.Must(Save(10)).saved());
  // The history is rewound to 6, and goes on.
  Run(*p.sql, "UPDATE log_head SET epoch = 2; INSERT INTO log_epochs VALUES (2, 7)");
  const auto status = p.Get();
  CHECK(status.is_rewound());
  CHECK(status.is_stale());
  CHECK(status.rewind_position() == 6);
  CHECK(status.lag_positions() == 4);
  auto lost = Save(8);
  lost.set_epoch(1);
  const auto refused = p.Try(lost);
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(DetailOf(refused.status()).position() == 6);
  // Of the new history a lower position is newer than what was lost, but not than what was kept.
  auto kept = Save(6);
  kept.set_epoch(2);
  CHECK_FALSE(p.Must(kept).saved());
  auto anew = Save(7);
  anew.set_epoch(2);
  const auto saved = p.Must(anew);
  CHECK(saved.saved());
  CHECK(saved.checkpoint().position() == 7);
  CHECK(saved.checkpoint().epoch() == 2);
  CHECK_FALSE(p.Get().is_rewound());
  CHECK_FALSE(p.Must(Save(7)).saved());
}

TEST_CASE("However many save at once, a checkpoint only moves forwards", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(500, "A");
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  constexpr int kThreads = 4;
  constexpr int kSaves = 60;
  std::atomic<bool> stop{false};
  std::atomic<int> backwards{0};
  std::thread watcher([&] {
    const auto sql = Connect(p.conninfo, "public");
    std::int64_t last = 0;
    while (!stop.load()) {
      const std::int64_t now =
          SelectInt(*sql, "SELECT coalesce(max(global_position), 0) FROM projection_checkpoints");
      if (now < last) backwards.fetch_add(1);
      last = now;
    }
  });
  std::atomic<std::int64_t> counted{0};
  std::atomic<std::int64_t> highest{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      for (int i = 0; i < kSaves; ++i) {
        auto save = Save(static_cast<std::int64_t>(random() % 500) + 1);
        save.set_events_processed(1);
        auto response = AwaitDone<v1::SaveCheckpointResponse>([&](auto done) {
          p.store->projections().SaveCheckpoint(save, Clock::now() + kPatience, std::move(done));
        });
        if (!response.ok() || response->checkpoint().position() < save.position()) {
          failed.fetch_add(1);
          continue;
        }
        if (response->saved()) counted.fetch_add(1);
        std::int64_t seen = highest.load();
        while (seen < save.position() && !highest.compare_exchange_weak(seen, save.position())) {
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop.store(true);
  watcher.join();
  CHECK(failed.load() == 0);
  CHECK(backwards.load() == 0);
  CHECK(p.Get().checkpoint().position() == highest.load());
  // Each save that moved it is counted once, no other is.
  CHECK(p.Get().checkpoint().events_processed() == counted.load());
}

TEST_CASE("Of many who compare and set from one position, one wins", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(100, "A");
  for (std::int64_t round = 0; round < 10; ++round) {
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        auto save = Save(round * 10 + t + 1);
        save.set_expected_position(round * 10);
        auto response = AwaitDone<v1::SaveCheckpointResponse>([&](auto done) {
          p.store->projections().SaveCheckpoint(save, Clock::now() + kPatience, std::move(done));
        });
        if (response.ok() && response->saved()) won.fetch_add(1);
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(won.load() == 1);
    REQUIRE(p.Must(Save((round + 1) * 10)).saved());
  }
}

TEST_CASE("Lag counts from the oldest unprocessed event that matches", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(3, "A");
  p.AppendTyped(4, "B");
  p.AppendTyped(2, "A");
  REQUIRE(p.Must(Save(2, "all")).saved());
  auto filtered = Save(3, "b");
  filtered.mutable_filter()->add_event_types("B");
  REQUIRE(p.Must(filtered).saved());
  auto regex = Save(0, "regex");
  regex.mutable_filter()->set_event_type_regex("^B$");
  REQUIRE(p.Must(regex).saved());
  Run(*p.sql,
      "UPDATE events SET created_at = created_at - interval '100 s' WHERE global_position"
      " <= 4");
  CHECK(p.Get("all").lag_positions() == 7);
  CHECK(p.Get("all").lag_seconds() >= 100);
  CHECK(p.Get("b").lag_positions() == 6);
  CHECK(p.Get("b").lag_seconds() >= 100);
  CHECK(p.Get("regex").lag_positions() == 6);
  CHECK(p.Get("b").checkpoint().filter().event_types(0) == "B");
  // A save without a filter keeps it; with an empty one it takes it away.
  REQUIRE(p.Must(Save(5, "b")).saved());
  CHECK(p.Get("b").lag_positions() == 4);
  CHECK(p.Get("b").lag_seconds() < 100);
  REQUIRE(p.Must(Save(7, "b")).saved());
  CHECK(p.Get("b").lag_positions() == 0);
  CHECK(p.Get("b").lag_seconds() == 0);
  CHECK_FALSE(p.Get("b").lag_is_lower_bound());
  auto every = Save(8, "b");
  every.mutable_filter();
  REQUIRE(p.Must(every).saved());
  CHECK_FALSE(p.Get("b").checkpoint().has_filter());
  CHECK(p.Get("b").lag_positions() == 1);
}

TEST_CASE("A search for what matches is bounded, and says so", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(30, "A");
  p.AppendTyped(1, "B");
  auto filtered = Save(0);
  filtered.mutable_filter()->add_event_types("B");
  REQUIRE(p.Must(filtered).saved());
  const auto measure = [&](tables::LagBudget budget) {
    auto page = tables::ReadCheckpoints(*p.sql, "", 10, Clock::now() + kPatience);
    REQUIRE(page.ok());
    auto lags = tables::MeasureLag(*p.sql, *std::move(page), std::chrono::seconds(300), budget,
                                   Clock::now() + kPatience);
    REQUIRE(lags.ok());
    return lags->statuses.at(0);
  };
  CHECK(measure({20, 1000, 10}).lag_is_lower_bound());
  CHECK(measure({20, 1000, 10}).lag_positions() == 0);
  CHECK_FALSE(measure({40, 1000, 10}).lag_is_lower_bound());
  CHECK(measure({40, 1000, 10}).lag_positions() == 1);
}

TEST_CASE("A filter that somebody else spoiled does not hide the other checkpoints",
          "[checkpoints]") {
  Projecting p;
  p.AppendTyped(3, "A");
  REQUIRE(p.Must(Save(1, "good")).saved());
  REQUIRE(p.Must(Save(1, "spoiled")).saved());
  Run(*p.sql,
      "UPDATE projection_checkpoints SET filter = '{\"eventTypeRegex\": \"(\"}'"
      " WHERE projection_name = 'spoiled'");
  CHECK(p.Get("spoiled").lag_is_lower_bound());
  CHECK(p.Get("good").lag_positions() == 2);
  Run(*p.sql,
      "UPDATE projection_checkpoints SET filter = '[7]'"
      " WHERE projection_name = 'spoiled'");
  CHECK(p.Get("spoiled").lag_positions() == 2);
}

TEST_CASE("A checkpoint is stale if old work waits and it does not move", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(3, "A");
  REQUIRE(p.Must(Save(3)).saved());
  Run(*p.sql, "UPDATE projection_checkpoints SET updated_at = updated_at - interval '1 hour'");
  CHECK_FALSE(p.Get().is_stale());  // nothing to do
  p.AppendTyped(1, "A");
  CHECK_FALSE(p.Get().is_stale());  // the work is new
  Run(*p.sql,
      "UPDATE events SET created_at = created_at - interval '10 min'"
      " WHERE global_position = 4");
  CHECK(p.Get().is_stale());
  CHECK_FALSE(p.Get("orders", 1000).is_stale());
  Run(*p.sql, "UPDATE projection_checkpoints SET updated_at = now()");
  CHECK_FALSE(p.Get().is_stale());  // it has just moved
}

TEST_CASE("Checkpoints are listed page by page, and reset and deleted", "[checkpoints]") {
  Projecting p;
  p.AppendTyped(9, "A");
  for (int i = 0; i < 7; ++i) REQUIRE(p.Must(Save(i + 1, "p" + std::to_string(i))).saved());
  v1::ListCheckpointsRequest list;
  list.set_page_size(3);
  list.mutable_stale_after()->set_seconds(300);
  std::vector<std::string> names;
  int pages = 0;
  do {
    auto page = AwaitDone<v1::ListCheckpointsResponse>([&](auto done) {
      p.store->projections().ListCheckpoints(list, Clock::now() + kPatience, std::move(done));
    });
    REQUIRE(page.ok());
    CHECK(page->head_position() == 9);
    for (const auto& status : page->checkpoints()) {
      names.push_back(status.checkpoint().projection_name());
      CHECK(status.lag_positions() == 9 - status.checkpoint().position());
    }
    list.set_page_token(page->next_page_token());
    ++pages;
  } while (!list.page_token().empty() && pages < 10);
  CHECK(names == std::vector<std::string>{"p0", "p1", "p2", "p3", "p4", "p5", "p6"});
  list.set_page_token("bm8");
  auto refused = AwaitDone<v1::ListCheckpointsResponse>([&](auto done) {
    p.store->projections().ListCheckpoints(list, Clock::now() + kPatience, std::move(done));
  });
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_INVALID_REQUEST);

  v1::ResetCheckpointRequest reset;
  reset.set_projection_name("p6");
  reset.set_position(2);
  const auto try_reset = [&] {
    return AwaitDone<v1::ResetCheckpointResponse>([&](auto done) {
      p.store->projections().ResetCheckpoint(reset, Clock::now() + kPatience, std::move(done));
    });
  };
  auto done_reset = try_reset();
  REQUIRE(done_reset.ok());
  CHECK(done_reset->checkpoint().position() == 2);
  CHECK(done_reset->checkpoint().events_processed() == 0);
  CHECK_FALSE(done_reset->checkpoint().has_last_processed_at());
  reset.set_position(10);
  CHECK(ReasonOf(try_reset().status()) == v1::ERROR_REASON_POSITION_AHEAD);
  reset.set_position(0);
  reset.set_projection_name("none");
  CHECK(ReasonOf(try_reset().status()) == v1::ERROR_REASON_NOT_FOUND);
  v1::DeleteCheckpointRequest remove;
  remove.set_projection_name("p6");
  for (const bool there : {true, false}) {
    auto deleted = AwaitDone<v1::DeleteCheckpointResponse>([&](auto done) {
      p.store->projections().DeleteCheckpoint(remove, Clock::now() + kPatience, std::move(done));
    });
    REQUIRE(deleted.ok());
    CHECK(deleted->deleted() == there);
  }
}

TEST_CASE("The store's upkeep shows projections and dead letters as metrics", "[checkpoints]") {
  const std::string conninfo = CreateStoreDatabase();
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "INSERT INTO projection_checkpoints (projection_name, global_position)"
      " SELECT 'p' || i, 0 FROM generate_series(1, 150) i");
  Run(*sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message, status) SELECT gen_random_uuid(), 'p', 'T', '{}', 'x', s FROM"
      " unnest(ARRAY['failed', 'failed', 'retrying', 'resolved']) s");
  TestStore store(SmallOptions(conninfo));
  const Deadline deadline = Clock::now() + kPatience;
  while (store.Metric("eventstore_projection_checkpoints") < 150 && Clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(store.Metric("eventstore_projection_checkpoints") == 150);
  while (store.Metric("eventstore_dead_letters") < 3 && Clock::now() < deadline) {
    std::this_thread::yield();
  }
  CHECK(store.Metric("eventstore_dead_letters") == 3);
}

}  // namespace
}  // namespace eventstore::engine
