// Workers that claim, complete and fail entries.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/integration/engine/outboxing.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using std::chrono::milliseconds;
using Positions = std::vector<std::int64_t>;
using Ids = std::vector<std::string>;

constexpr milliseconds kAtOnce{1};

// Claims until something comes; leases end by the database's clock.
v1::ClaimOutboxResponse AwaitClaim(OutboxDesk& desk, int limit = 100) {
  v1::ClaimOutboxResponse claimed;
  REQUIRE(Eventually([&] { return (claimed = desk.Claim(limit)).entries_size() > 0; }));
  return claimed;
}

TEST_CASE("A claim gives the oldest entries, and to one claimer each stream", "[outbox_claims]") {
  OutboxDesk desk;
  for (const char* stream : {"a", "b", "a", "a", "b", "c"}) desk.Fill(stream, 1);
  const auto first = desk.Claim(3);
  CHECK(PositionsOf(first) == Positions{1, 2, 3});
  CHECK(first.entries(0).status() == v1::OUTBOX_STATUS_CLAIMED);
  CHECK(first.entries(0).claimed_by() == "tester");
  CHECK(first.entries(0).has_claimed_until());
  // What is behind them in their streams waits.
  const auto second = desk.Claim();
  CHECK(PositionsOf(second) == Positions{6});
  const auto none = desk.Claim();
  CHECK(none.entries().empty());
  CHECK(none.claim_token().empty());
  CHECK(desk.Complete(first.claim_token(), IdsOf(first)).completed() == 3);
  CHECK(PositionsOf(desk.Claim()) == Positions{4, 5});
  CHECK(desk.Count("status = 'published' AND published_at <= clock_timestamp()"
                   " AND claim_token IS NULL AND claimed_until IS NULL") == 3);
}

TEST_CASE("Completing is safe to repeat and does nothing to what is another's", "[outbox_claims]") {
  OutboxDesk desk;
  desk.Fill("a", 2);
  const auto first = desk.Claim(1, kAtOnce);
  const auto second = AwaitClaim(desk);
  CHECK(PositionsOf(second) == Positions{1, 2});
  auto done = desk.Complete(first.claim_token(), IdsOf(first));
  CHECK(done.completed() == 0);
  CHECK(done.skipped() == 1);
  const auto failed = desk.Fail(first.claim_token(), IdsOf(first));
  CHECK(failed.skipped() == 1);
  CHECK(failed.retrying() + failed.failed() + failed.released() == 0);
  Ids twice = IdsOf(second);
  twice.push_back(twice[0]);
  CHECK(desk.Complete(second.claim_token(), twice).completed() == 2);
  done = desk.Complete(second.claim_token(), twice);
  CHECK(done.completed() == 0);
  CHECK(done.skipped() == 2);
}

TEST_CASE("A claim that ended is its holder's until another takes it", "[outbox_claims]") {
  OutboxDesk desk;
  desk.Fill("a", 1);
  const auto claimed = desk.Claim(1, kAtOnce);
  REQUIRE(Eventually([&] { return desk.Count("claimed_until < clock_timestamp()") == 1; }));
  CHECK(desk.Complete(claimed.claim_token(), IdsOf(claimed)).completed() == 1);
}

TEST_CASE("A failed attempt gives back the rest of its stream only", "[outbox_claims]") {
  OutboxDesk desk;
  for (const char* stream : {"a", "b", "a", "a", "b"}) desk.Fill(stream, 1);
  const auto claimed = desk.Claim();
  REQUIRE(claimed.entries_size() == 5);
  CHECK(desk.Complete(claimed.claim_token(), {claimed.entries(0).id()}).completed() == 1);
  auto failed = desk.Fail(claimed.claim_token(), {claimed.entries(2).id()});
  CHECK(failed.retrying() == 1);
  CHECK(failed.released() == 1);
  CHECK(failed.failed() + failed.skipped() == 0);
  failed = desk.Fail(claimed.claim_token(), {claimed.entries(2).id()});
  CHECK(failed.skipped() == 1);
  const auto again = AwaitClaim(desk);
  CHECK(PositionsOf(again) == Positions{3, 4});
  CHECK(again.entries(0).retry_count() == 1);
  CHECK(again.entries(0).last_error() == "no topic");
  CHECK(again.entries(1).retry_count() == 0);
  // The other stream is held still.
  CHECK(desk.Complete(claimed.claim_token(), {claimed.entries(1).id(), claimed.entries(4).id()})
            .completed() == 2);
}

TEST_CASE("An entry that is not due holds back its stream and nothing else", "[outbox_claims]") {
  OutboxOptions options = Bus();
  options.sinks[0].backoff_min_ms = milliseconds(60'000);
  options.sinks[0].backoff_max_ms = milliseconds(100'000);
  OutboxDesk desk(options);
  for (const char* stream : {"a", "a", "b"}) desk.Fill(stream, 1);
  const auto wait = [&](const char* bounds) {
    return desk.Count(std::string("global_position = 1 AND next_attempt_at - clock_timestamp() ") +
                      bounds) == 1;
  };
  auto claimed = desk.Claim(1);
  desk.Fail(claimed.claim_token(), IdsOf(claimed));
  CHECK(wait("BETWEEN '20 seconds' AND '60 seconds'"));
  claimed = desk.Claim();
  CHECK(PositionsOf(claimed) == Positions{3});
  Run(*desk.sql, "UPDATE event_outbox SET next_attempt_at = NULL");
  claimed = desk.Claim(1);
  desk.Fail(claimed.claim_token(), IdsOf(claimed));
  CHECK(wait("BETWEEN '40 seconds' AND '100 seconds'"));  // doubled, and bounded
  v1::FailOutboxRequest request;
  Run(*desk.sql, "UPDATE event_outbox SET next_attempt_at = NULL");
  claimed = desk.Claim(1);
  request.set_claim_token(claimed.claim_token());
  request.add_entries()->set_id(claimed.entries(0).id());
  request.mutable_entries(0)->set_error("x");
  request.mutable_retry_delay()->set_seconds(7'200);
  CHECK(desk.Must(&Outbox::FailOutbox, request).retrying() == 1);
  CHECK(wait("BETWEEN '7000 seconds' AND '7200 seconds'"));
}

TEST_CASE("After its last attempt an entry is failed, and its stream waits or goes on",
          "[outbox_claims]") {
  const bool goes_on = GENERATE(false, true);
  OutboxOptions options = Bus();
  options.sinks[0].attempts_max = 2;
  options.sinks[0].continue_after_failed = goes_on;
  OutboxDesk desk(options);
  for (const char* stream : {"a", "a", "b"}) desk.Fill(stream, 1);
  auto claimed = desk.Claim(1);
  CHECK(desk.Fail(claimed.claim_token(), IdsOf(claimed)).retrying() == 1);
  claimed = AwaitClaim(desk, 1);
  CHECK(PositionsOf(claimed) == Positions{1});
  CHECK(desk.Fail(claimed.claim_token(), IdsOf(claimed)).failed() == 1);
  CHECK(desk.Count("status = 'failed' AND retry_count = 2 AND next_attempt_at IS NULL") == 1);
  CHECK(PositionsOf(desk.Claim()) == (goes_on ? Positions{2, 3} : Positions{3}));
}

TEST_CASE("What another program has locked is passed over with what is behind it",
          "[outbox_claims]") {
  OutboxDesk desk;
  for (const char* stream : {"a", "b", "a", "b", "b"}) desk.Fill(stream, 1);
  // The tutorial's worker, in the middle of publishing.
  Run(*desk.sql, "BEGIN");
  const pg::Result mine =
      Select(*desk.sql,
             "SELECT id FROM event_outbox WHERE status = 'pending' AND global_position = 2"
             " ORDER BY created_at ASC LIMIT 100 FOR UPDATE SKIP LOCKED");
  REQUIRE(mine.rows() == 1);
  const auto claimed = desk.Claim();
  CHECK(PositionsOf(claimed) == Positions{1, 3});
  // It does not see what is claimed.
  const auto other = Connect(desk.conninfo, "public");
  CHECK(Select(*other,
               "SELECT global_position FROM event_outbox WHERE status = 'pending'"
               " ORDER BY created_at ASC LIMIT 100 FOR UPDATE SKIP LOCKED")
            .rows() == 2);
  Run(*desk.sql,
      "UPDATE event_outbox SET status = 'published', published_at = NOW()"
      " WHERE global_position = 2; COMMIT");
  CHECK(PositionsOf(desk.Claim()) == Positions{4, 5});
}

TEST_CASE("Thousands of entries of streams that are held back hide no others", "[outbox_claims]") {
  OutboxDesk desk;
  desk.Fill("a", 1);
  // Three streams with 2,000 entries each, of which the first is failed; then two free ones.
  Run(*desk.sql,
      "INSERT INTO event_outbox (event_id, event_type, aggregate_id, aggregate_type, event_data,"
      " sink, global_position, stream_key, status) SELECT gen_random_uuid(), 'T', 'x', 'Order',"
      " '{}', 'bus', 100 + p, CASE WHEN p > 6000 THEN 20 + p % 2 ELSE 10 + p % 3 END,"
      " CASE WHEN p <= 3 THEN 'failed' ELSE 'pending' END FROM generate_series(1, 6010) p");
  const auto first = desk.Claim(5);
  CHECK(PositionsOf(first) == Positions{1});
  const auto second = desk.Claim(4);
  CHECK(PositionsOf(second) == Positions{6101, 6102, 6103, 6104});
  CHECK(second.entries(0).event().payload() == "{}");  // another program's
  CHECK(desk.Claim(4).entries().empty());
  CHECK(desk.Complete(second.claim_token(), IdsOf(second)).completed() == 4);
  CHECK(desk.Claim(1'000).entries_size() == 6);
}

TEST_CASE("A claim is bounded in bytes", "[outbox_claims]") {
  OutboxDesk desk;
  for (int i = 0; i < 4; ++i) {
    auto request = Request(Stream("a"), Any(), NewIds(1));
    request.mutable_events(0)->set_payload("\"" + std::string(900'000, 'x') + "\"");
    REQUIRE(Append(*desk.store, request).ok());
  }
  CHECK(PositionsOf(desk.Claim()) == Positions{1, 2, 3});
}

TEST_CASE("A sink that is not configured is told, with those that are", "[outbox_claims]") {
  OutboxDesk desk;
  v1::ClaimOutboxRequest request;
  request.set_sink("kafka");
  const auto claimed = desk.Call(&Outbox::ClaimOutbox, request);
  CHECK(ReasonOf(claimed.status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK_THAT(std::string(claimed.status().message()), Catch::Contains("bus"));
}

// What several claimers do to each other. Each publishes, fails or forgets what it got.
class Crowd {
 public:
  Crowd(OutboxDesk* desk, std::int64_t entries) : desk_(desk), left_(entries) {}

  void Run(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    try {
      while (Left() > 0) Work(&random);
    } catch (const std::exception& error) {
      MutexLock lock(&mutex_);
      problems_.emplace_back(error.what());
    }
  }

  [[nodiscard]] std::vector<std::string> problems() {
    MutexLock lock(&mutex_);
    return problems_;
  }

 private:
  // One claim. Where an entry fails, the rest of its stream is given back with it.
  void Work(std::mt19937_64* random) {
    const auto roll = [random](int sides) {
      return static_cast<int>((*random)() % static_cast<std::uint64_t>(sides));
    };
    const bool forgets = roll(4) == 0;
    const auto claimed = desk_->Claim(1 + roll(12), forgets ? kAtOnce : milliseconds(kPatience));
    if (forgets || claimed.entries().empty()) return;
    Hold(claimed);
    const int failing = roll(claimed.entries_size() + 3);
    const bool fails = failing < claimed.entries_size();
    Ids published, given_back;
    for (int i = 0; i < claimed.entries_size(); ++i) {
      const v1::OutboxEntry& entry = claimed.entries(i);
      const bool is_behind =
          fails && i >= failing && StreamOf(entry) == StreamOf(claimed.entries(failing));
      (is_behind ? given_back : published).push_back(entry.id());
      is_behind ? GiveBack(entry) : Publish(entry);
    }
    const std::string& token = claimed.claim_token();
    if (fails) Expect(desk_->Fail(token, {given_back[0]}).released() + 1, given_back.size());
    if (!published.empty()) Expect(desk_->Complete(token, published).completed(), published.size());
  }
  static std::string StreamOf(const v1::OutboxEntry& entry) {
    return entry.event().stream().aggregate_id();
  }
  std::int64_t Left() {
    MutexLock lock(&mutex_);
    return problems_.empty() ? left_ : 0;
  }
  void Hold(const v1::ClaimOutboxResponse& claimed) {
    MutexLock lock(&mutex_);
    for (const v1::OutboxEntry& entry : claimed.entries()) {
      if (!held_.insert(entry.id()).second) problems_.push_back("held twice: " + entry.id());
    }
  }
  // An entry is published where it is the next of its stream.
  void Publish(const v1::OutboxEntry& entry) {
    MutexLock lock(&mutex_);
    held_.erase(entry.id());
    if (++versions_[StreamOf(entry)] != entry.event().version()) {
      problems_.push_back("out of order: " + entry.event().ShortDebugString());
    }
    --left_;
  }
  void GiveBack(const v1::OutboxEntry& entry) {
    MutexLock lock(&mutex_);
    held_.erase(entry.id());
  }
  void Expect(std::int64_t changed, std::size_t wanted) {
    if (changed == static_cast<std::int64_t>(wanted)) return;
    MutexLock lock(&mutex_);
    problems_.push_back("changed " + std::to_string(changed) + ", not " + std::to_string(wanted));
  }

  OutboxDesk* const desk_;
  Mutex mutex_;
  std::int64_t left_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> held_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::int64_t> versions_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> problems_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE("Several claimers publish each stream in order and nothing twice at once",
          "[outbox_claims][random]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  OutboxOptions options = Bus();
  options.sinks[0].attempts_max = 1'000'000;
  OutboxDesk desk(options);
  constexpr int kAppends = 150;
  constexpr int kEvents = 3;
  Crowd crowd(&desk, kAppends * kEvents);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) threads.emplace_back([&, i] { crowd.Run(seed + i); });
  std::mt19937_64 random(seed);
  for (int i = 0; i < kAppends; ++i) {
    const std::string stream = "s" + std::to_string(random() % 6);
    if (!Append(*desk.store, Stream(stream), Any(), NewIds(kEvents)).ok()) break;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(crowd.problems() == std::vector<std::string>());
  CHECK(desk.Count("status = 'published'") == kAppends * kEvents);
}

}  // namespace
}  // namespace eventstore::engine
