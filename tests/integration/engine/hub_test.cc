// Live subscriptions in process.
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/integration/engine/follower.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

void Fill(Store& store, const v1::StreamId& stream, int events, int an_append = 50) {
  for (int done = 0; done < events; done += an_append) {
    REQUIRE(Append(store, stream, Any(), NewIds(std::min(an_append, events - done))).ok());
  }
}

std::vector<std::int64_t> Numbers(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = first; n <= last; ++n) numbers.push_back(n);
  return numbers;
}

std::shared_ptr<const EventFilter> TypeFilter(const std::string& aggregate_type) {
  v1::Filter filter;
  filter.add_aggregate_types(aggregate_type);
  return *EventFilter::Make(filter, "filter", Limits());
}

SubscriptionQuery FromEnd() {
  SubscriptionQuery query;
  query.start = SubscriptionQuery::FromEnd();
  return query;
}

SubscriptionQuery After(std::int64_t position, std::int64_t epoch = 0) {
  SubscriptionQuery query;
  query.start = SubscriptionQuery::AfterPosition{position, epoch};
  return query;
}

TEST_CASE("From the beginning: confirmed, history in order, one caught_up, then live", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Fill(*store, Stream("a"), 250);
  SubscriptionQuery query;
  query.batch_events_max = 30;
  Follower follower(*store, query);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  Fill(*store, Stream("b"), 7, 1);
  REQUIRE(follower.AwaitEvents(257));

  const auto messages = follower.Messages();
  CHECK(messages.front().kind == Kind::kConfirmed);
  CHECK(messages.front().position == 0);
  CHECK(messages.front().epoch == 1);
  CHECK(follower.Count(Kind::kConfirmed) == 1);
  CHECK(follower.Count(Kind::kCaughtUp) == 1);
  CHECK(follower.Count(Kind::kFellBehind) == 0);
  CHECK(Positions(follower.Events()) == Numbers(1, 257));
  std::size_t before_caught_up = 0;
  std::int64_t last = 0;
  bool caught_up = false;
  for (const auto& message : messages) {
    CHECK(message.events.size() <= 30);
    CHECK(message.position >= last);
    last = message.position;
    if (!message.events.empty()) CHECK(message.position == message.events.back().global_position());
    caught_up = caught_up || message.kind == Kind::kCaughtUp;
    if (!caught_up) before_caught_up += message.events.size();
  }
  CHECK(before_caught_up == 250);
  // Live events are what readers of the table get.
  const auto live = follower.Events();
  const auto stored = ReadAll(*store);
  for (std::size_t i = 250; i < 257; ++i) {
    CHECK(live[i].SerializeAsString() == stored[i].SerializeAsString());
  }
}

TEST_CASE("From the end: only what is new; after a position: what follows it", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Fill(*store, Stream("a"), 10);
  Follower end(*store, FromEnd());
  Follower after(*store, After(4));
  Follower at_head(*store, After(10, 1));
  REQUIRE(end.AwaitKind(Kind::kCaughtUp));
  Fill(*store, Stream("a"), 2, 1);
  REQUIRE(end.AwaitEvents(2));
  REQUIRE(after.AwaitEvents(8));
  REQUIRE(at_head.AwaitEvents(2));
  CHECK(Positions(end.Events()) == Numbers(11, 12));
  CHECK(end.Messages().front().position == 10);
  CHECK(Positions(after.Events()) == Numbers(5, 12));
  CHECK(Positions(at_head.Events()) == Numbers(11, 12));

  Follower beyond(*store, After(13));
  REQUIRE(beyond.AwaitEnd());
  CHECK(ReasonOf(beyond.End()) == v1::ERROR_REASON_POSITION_AHEAD);
}

TEST_CASE("From a time: the events that were stored then or later", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  std::vector<std::int64_t> times;
  for (int i = 0; i < 5; ++i) {
    const Answer answer = Append(*store, Stream("a"), Any(), NewIds(2));
    REQUIRE(answer.ok());
    REQUIRE(ToUnixMicros(answer->created_at(), &times.emplace_back()));
  }
  const auto from = [&](std::int64_t micros) {
    SubscriptionQuery query;
    query.start = SubscriptionQuery::FromTime{micros};
    Follower follower(*store, query);
    REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
    return Positions(follower.Events());
  };
  CHECK(from(0) == Numbers(1, 10));
  CHECK(from(times[2]) == Numbers(5, 10));
  CHECK(from(times[2] + 1) == Numbers(7, 10));
  CHECK(from(times[4] + 1).empty());
}

TEST_CASE("A stream's subscription waits for a stream that does not exist yet", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Fill(*store, Stream("other"), 3);
  SubscriptionQuery query;
  query.stream = Stream("s", "Order", NewId());
  Follower follower(*store, query);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  Fill(*store, Stream("s"), 1);  // the same name without the tenant is another stream
  Fill(*store, *query.stream, 250, 25);
  Fill(*store, Stream("other"), 1);
  REQUIRE(follower.AwaitEvents(250));
  CHECK(Positions(follower.Events()) == Numbers(5, 254));
  // From history, too, page by page.
  Follower again(*store, query);
  REQUIRE(again.AwaitKind(Kind::kCaughtUp));
  CHECK(Positions(again.Events()) == Numbers(5, 254));
  CHECK(again.Events().back().version() == 250);
}

TEST_CASE("A filter that matches nothing still brings checkpoints, in history and live", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Fill(*store, Stream("a"), 500);
  SubscriptionQuery query;
  query.filter = TypeFilter("Nothing");
  query.checkpoint_interval = 20;
  Follower follower(*store, query);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  CHECK(follower.Messages().back().position == 500);
  const int before = follower.Count(Kind::kCheckpoint);
  Fill(*store, Stream("a"), 100, 10);
  // The last ones may come in one step, and then the next checkpoint is due beyond the head.
  REQUIRE(Eventually(
      [&] { return follower.Messages().back().position > 600 - query.checkpoint_interval; }));
  CHECK(follower.Count(Kind::kCheckpoint) > before);
  CHECK(follower.Events().empty());
  // A match after a long silence still comes.
  Fill(*store, Stream("n", "Nothing"), 1);
  REQUIRE(follower.AwaitEvents(1));
  CHECK(follower.Events()[0].global_position() == 601);
}

TEST_CASE("A stream and a filter together: both hold, in history page by page and live", "[hub]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_events_max = 7;
  options.reader.window_positions = 20;  // versions too
  const auto fill = [](Store& store, int events) {
    for (int i = 0; i < events; ++i) {
      auto request = Request(Stream("s"), Any(), NewIds(1));
      request.mutable_events(0)->set_event_type(i % 10 == 3 ? "Wanted" : "Other");
      if (i % 20 == 3) request.mutable_events(0)->add_tags("red");
      REQUIRE(Append(store, request).ok());
      request.mutable_stream()->set_aggregate_id("t");  // the same in another stream
      request.mutable_events(0)->set_event_id(NewId());
      REQUIRE(Append(store, request).ok());
    }
  };
  const auto query_of = [](const v1::Filter& filter, std::int64_t after = 0) {
    SubscriptionQuery query;
    query.start = SubscriptionQuery::AfterPosition{after, 1};
    query.stream = Stream("s");
    query.filter = *EventFilter::Make(filter, "filter", Limits());
    query.checkpoint_interval = 30;
    return query;
  };
  v1::Filter wanted, red, pattern, nothing;
  wanted.add_event_types("Wanted");
  red.add_tags("red");
  red.add_event_type_prefixes("Wan");
  pattern.set_event_type_regex("^W.*d$");
  nothing.add_aggregate_id_prefixes("x");
  {
    TestStore store(options);
    fill(*store, 100);
  }
  TestStore store(options);  // of which nothing is in memory
  Follower by_type(*store, query_of(wanted));
  Follower by_tag(*store, query_of(red));
  Follower by_regex(*store, query_of(pattern));
  Follower by_nothing(*store, query_of(nothing));
  Follower from_middle(*store, query_of(wanted, 107));  // at version 54; 64 is the next
  for (Follower* one : {&by_type, &by_tag, &by_regex, &by_nothing, &from_middle}) {
    REQUIRE(one->AwaitKind(Kind::kCaughtUp));
  }
  fill(*store, 20);
  REQUIRE(by_type.AwaitEvents(12));
  REQUIRE(by_tag.AwaitEvents(6));
  REQUIRE(by_regex.AwaitEvents(12));
  REQUIRE(from_middle.AwaitEvents(6));
  const auto versions = [](Follower& follower) {
    std::vector<std::int64_t> found;
    for (const v1::Event& event : follower.Events()) {
      CHECK(event.stream().aggregate_id() == "s");
      found.push_back(event.version());
    }
    return found;
  };
  CHECK(versions(by_type) ==
        std::vector<std::int64_t>{4, 14, 24, 34, 44, 54, 64, 74, 84, 94, 104, 114});
  CHECK(versions(by_tag) == std::vector<std::int64_t>{4, 24, 44, 64, 84, 104});
  CHECK(versions(by_regex) == versions(by_type));
  CHECK(versions(from_middle) == std::vector<std::int64_t>{64, 74, 84, 94, 104, 114});
  CHECK(by_nothing.Events().empty());
  CHECK(by_nothing.Count(Kind::kCheckpoint) >= 3);  // in history as well as live
}

TEST_CASE("A commit wakes only the subscribers that it may concern", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  constexpr int kStreams = 50;
  std::vector<std::unique_ptr<Follower>> followers;
  for (int i = 0; i < kStreams; ++i) {
    SubscriptionQuery query = FromEnd();
    query.stream = Stream("s" + std::to_string(i));
    followers.push_back(std::make_unique<Follower>(*store, query));
    REQUIRE(followers.back()->AwaitKind(Kind::kCaughtUp));
  }
  for (int i = 0; i < kStreams; ++i) Fill(*store, Stream("s" + std::to_string(i)), 2, 1);
  Fill(*store, Stream("nobody's"), 100, 1);
  for (const auto& follower : followers) REQUIRE(follower->AwaitEvents(2));
  // Each once for each event of its own, or less where both came in one go; not 200 times each.
  CHECK(store.Metric("eventstore_subscription_wakes_total") <= 2 * kStreams);
  CHECK(store.Metric("eventstore_subscription_wakes_total") >= kStreams);
  // Whoever slept through it all is not behind.
  REQUIRE(Eventually([&] { return store.Metric("eventstore_subscribers") == kStreams; }));
  CHECK(Eventually([&] { return store.Metric("eventstore_subscriber_lag_positions_sum") == 0; }));
}

TEST_CASE("A sleeper whose last position left the ring long ago has not fallen behind", "[hub]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.hub.ring_bytes_max = 30'000;
  options.hub.poll_interval_ms = std::chrono::minutes(10);  // a slow hub would hear of gaps
  TestStore store(options);
  SubscriptionQuery query = FromEnd();
  query.stream = Stream("rare");
  Follower follower(*store, query);
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  const double pages = store.Metric("eventstore_read_page_seconds_count");
  for (int round = 1; round <= 3; ++round) {
    Fill(*store, Stream("busy"), 1000, 100);
    Fill(*store, Stream("rare"), 1);
    REQUIRE(follower.AwaitEvents(static_cast<std::size_t>(round)));
  }
  CHECK(Positions(follower.Events()) == std::vector<std::int64_t>{1001, 2002, 3003});
  CHECK(follower.Count(Kind::kFellBehind) == 0);
  CHECK(store.Metric("eventstore_read_page_seconds_count") == pages);  // all of it from memory
}

TEST_CASE("A subscriber that falls off the ring is told, catches up and misses nothing", "[hub]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.hub.ring_bytes_max = 30'000;
  TestStore store(options);
  Follower slow(*store, FromEnd(), /*held=*/true);
  Follower fast(*store, FromEnd());
  slow.Allow(2);
  REQUIRE(slow.AwaitKind(Kind::kCaughtUp));
  REQUIRE(fast.AwaitKind(Kind::kCaughtUp));
  Fill(*store, Stream("a"), 1000, 20);
  REQUIRE(fast.AwaitEvents(1000));
  CHECK(store.Metric("eventstore_ring_bytes") <= 30'000);
  CHECK(slow.Events().empty());
  slow.Allow(INT64_MAX);
  REQUIRE(slow.AwaitEvents(1000));
  REQUIRE(slow.AwaitKind(Kind::kCaughtUp, 2));
  CHECK(slow.Count(Kind::kFellBehind) == 1);
  CHECK(slow.Count(Kind::kCaughtUp) == 2);
  CHECK(Positions(slow.Events()) == Numbers(1, 1000));
  CHECK(Positions(fast.Events()) == Numbers(1, 1000));
  Fill(*store, Stream("a"), 1);
  REQUIRE(slow.AwaitEvents(1001));
  CHECK(slow.Count(Kind::kCaughtUp) == 2);
}

TEST_CASE("A client that takes nothing for too long is dropped as SLOW_CONSUMER", "[hub]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.hub.stall_timeout_ms = std::chrono::milliseconds(300);
  TestStore store(options);
  Follower slow(*store, FromEnd(), /*held=*/true);
  Follower idle(*store, FromEnd());  // waits for us, which is no stall
  slow.Allow(1);
  REQUIRE(idle.AwaitKind(Kind::kCaughtUp));
  REQUIRE(slow.AwaitEnd());
  const v1::ErrorInfo detail = DetailOf(slow.Dropped());
  CHECK(detail.reason() == v1::ERROR_REASON_SLOW_CONSUMER);
  CHECK(detail.epoch() == 1);
  CHECK(store.Metric("eventstore_subscribers_dropped_slow_total") == 1);
  CHECK(idle.End().ok());
  // Its next request gets the same error.
  slow.Allow(1);
  REQUIRE(Eventually([&] { return ReasonOf(slow.End()) == v1::ERROR_REASON_SLOW_CONSUMER; }));
}

TEST_CASE("Too many subscriptions are OVERLOADED, and a closed one makes room", "[hub][bounds]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.hub.subscriptions_max = 2;
  TestStore store(options);
  Follower one(*store);
  auto two = std::make_unique<Follower>(*store);
  const auto refused = store->hub().Subscribe({}, nullptr);
  const v1::ErrorInfo detail = DetailOf(refused.status());
  CHECK(detail.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(detail.limit_name() == "hub.subscriptions_max");
  CHECK(detail.limit() == 2);
  two.reset();
  Follower three(*store);
  CHECK(three.AwaitKind(Kind::kCaughtUp));
}

TEST_CASE("Closing answers CANCELLED, stopping STORE_UNAVAILABLE", "[hub]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Follower closed(*store);
  Follower waiting(*store);
  Follower busy(*store, {}, /*held=*/true);
  busy.Allow(1);
  REQUIRE(closed.AwaitKind(Kind::kCaughtUp));
  REQUIRE(waiting.AwaitKind(Kind::kCaughtUp));
  REQUIRE(busy.AwaitKind(Kind::kConfirmed));
  closed.Close();
  CHECK(absl::IsCancelled(closed.End()));
  CHECK(closed.Dropped().ok());
  store->Drain(In(kPatience));
  CHECK(ReasonOf(waiting.End()) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(ReasonOf(busy.Dropped()) == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(ReasonOf(store->hub().Subscribe({}, nullptr).status()) ==
        v1::ERROR_REASON_STORE_UNAVAILABLE);
}

TEST_CASE("Another daemon's commits come by notification, long before the poll", "[hub][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.hub.poll_interval_ms = std::chrono::minutes(10);
  TestStore one(options);
  TestStore two(options);
  Follower follower(*two, FromEnd());
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  for (std::size_t i = 1; i <= 5; ++i) {
    Fill(*one, Stream("a"), 1);
    REQUIRE(follower.AwaitEvents(i));
  }
  // Mixed with its own, in one order.
  for (int i = 0; i < 20; ++i) Fill(i % 2 == 0 ? *one : *two, Stream("a"), 3);
  REQUIRE(follower.AwaitEvents(65));
  CHECK(Positions(follower.Events()) == Numbers(1, 65));
}

TEST_CASE("Where notifications are lost, the poll finds the commits", "[hub][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.hub.poll_interval_ms = std::chrono::milliseconds(100);
  TestStore store(options);
  Follower follower(*store, FromEnd());
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  const auto sql = Connect(conninfo, "public");
  // A commit of which nobody tells.
  Run(*sql,
      "BEGIN; SELECT FROM log_head FOR UPDATE;"
      "INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version, first_position,"
      " last_position, created_at, updated_at) VALUES (9, 'T', 'silent', 1, 1, 1, now(), now());"
      "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
      " event_type, version, timestamp, payload)"
      " VALUES (1, gen_random_uuid(), 9, 'silent', 'T', 'E', 1, now(), '{}');"
      "UPDATE log_head SET last_position = 1; COMMIT");
  REQUIRE(follower.AwaitEvents(1));
  CHECK(follower.Events()[0].stream().aggregate_id() == "silent");
  // The lane goes on after it.
  CHECK(Append(*store, Stream("silent", "T"), Exact(1), NewIds(1))->first_position() == 2);
  REQUIRE(follower.AwaitEvents(2));
}

TEST_CASE("A lost listener connection is made anew and nothing is missed", "[hub][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.hub.poll_interval_ms = std::chrono::minutes(10);
  TestStore one(options);
  TestStore two(options);
  Follower follower(*two, FromEnd());
  REQUIRE(follower.AwaitKind(Kind::kCaughtUp));
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
      " AND pid <> pg_backend_pid()");
  Fill(*one, Stream("a"), 5, 1);
  REQUIRE(follower.AwaitEvents(5));
  CHECK(Positions(follower.Events()) == Numbers(1, 5));
  CHECK(two.Metric("eventstore_listener_reconnects_total") >= 1);
}

// Asks for the next message at once, on the thread that brought the last one.
class Eager {
 public:
  Eager(Store& store, SubscriptionQuery query)
      : subscription_(*store.hub().Subscribe(std::move(query), [](const absl::Status&) {})) {}
  ~Eager() { subscription_->Close(); }

  void AskOnce() {
    subscription_->RequestNext([this](auto next) { Keep(std::move(next)); });
  }
  void AskOnAndOn() {
    subscription_->RequestNext([this](auto next) {
      if (Keep(std::move(next))) AskOnAndOn();
    });
  }
  std::vector<std::int64_t> Seen() {
    MutexLock lock(&mutex_);
    return seen_;
  }
  std::int64_t messages() const { return messages_; }

 private:
  bool Keep(absl::StatusOr<SubscriptionMessage> next) {
    if (!next.ok()) return false;
    MutexLock lock(&mutex_);
    for (const EventRun& run : next->runs) {
      for (std::size_t i = run.begin; i < run.end; ++i) {
        seen_.push_back(run.block->header(i).global_position());
      }
    }
    ++messages_;
    return true;
  }

  const std::shared_ptr<Subscription> subscription_;
  Mutex mutex_;
  std::vector<std::int64_t> seen_ ABSL_GUARDED_BY(mutex_);
  std::atomic<std::int64_t> messages_{0};
};

// It has read another daemon's commits from the tables. The ring gets them by a read of its own,
// which here cannot come before the subscriber has asked for more: there is one reader thread, and
// that is where it asks.
TEST_CASE("A subscriber that is ahead of the ring waits for it, and sees each event once",
          "[hub][daemons]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.hub.poll_interval_ms = std::chrono::minutes(10);
  options.reader.threads = 1;
  { Fill(*TestStore(options), Stream("history"), 4, 4); }
  TestStore store(options);
  Follower end(*store, FromEnd());
  REQUIRE(end.AwaitKind(Kind::kCaughtUp));  // the ring begins after the history
  Eager eager(*store, After(0));
  eager.AskOnce();
  REQUIRE(Eventually([&] { return eager.messages() == 1; }));  // confirmed
  // This daemon hears nothing of them.
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "BEGIN; INSERT INTO streams (stream_key, aggregate_type, aggregate_id, version,"
      " first_position, last_position, created_at, updated_at)"
      " VALUES (1000, 'Order', 'theirs', 5, 5, 9, now(), now());"
      "INSERT INTO events (global_position, event_id, stream_key, aggregate_id, aggregate_type,"
      " event_type, version, timestamp, payload, created_at, size_bytes)"
      " SELECT p + 4, gen_random_uuid(), 1000, 'theirs', 'Order', 'Placed', p, now(), '{}', now(),"
      " 100 FROM generate_series(1, 5) p;"
      "INSERT INTO event_ids SELECT event_id, global_position, stream_key, version, created_at"
      " FROM events WHERE stream_key = 1000;"
      "UPDATE log_head SET last_position = 9, last_created_at = now(); COMMIT");
  eager.AskOnAndOn();
  REQUIRE(Eventually([&] { return eager.Seen() == Numbers(1, 9); }));
  Fill(*store, Stream("ours"), 2, 2);
  const bool goes_on =
      Eventually([&] { return eager.Seen() == Numbers(1, 11); }, std::chrono::seconds(20));
  CHECK(goes_on);
  if (goes_on) CHECK(end.AwaitEvents(7));
  // Whoever spins would hold its lock for ever; another history ends that.
  if (!goes_on) store->hub().Rewind(2, 11);
}

}  // namespace
}  // namespace eventstore::engine
