// Appending through one store, and replays.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <thread>

#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using google::protobuf::util::MessageDifferencer;

// Fails the test with the error's text.
v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

TEST_CASE("Every field of an event is read back as it was appended", "[append]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  const std::string tenant = NewId();
  v1::AppendEventsRequest request =
      Request(Stream("o\"1\\ü", "Order type", tenant), NoStream(), NewIds(2));
  v1::NewEvent* full = request.mutable_events(0);
  full->set_event_type("Bestätigt \"x\"");
  full->set_payload(R"({"b": [1, 2.50, null, "\u00fc\n"], "a": {}})");
  full->set_content_type("application/vnd.order+json");
  full->mutable_timestamp()->set_seconds(-1);
  full->mutable_timestamp()->set_nanos(123'456'000);
  full->set_actor_id("actor");
  full->set_correlation_id("corr");
  full->set_causation_id("cause");
  (*full->mutable_metadata())["k\"ey"] = "v\\alue\n";
  (*full->mutable_metadata())[""] = "";
  full->set_schema_version(7);
  for (const char* tag : {"z", "a,b", "q\"\\", "{}", "NULL", " "}) full->add_tags(tag);
  v1::NewEvent* binary = request.mutable_events(1);
  binary->set_content_type("application/octet-stream");
  binary->set_payload(std::string("\0\xff\x80{", 4));

  const auto response = Must(Append(*store, request));
  CHECK(response.first_version() == 1);
  CHECK(response.last_version() == 2);
  CHECK(response.first_position() == 1);
  CHECK(response.last_position() == 2);
  CHECK_FALSE(response.deduplicated());

  const std::vector<v1::Event> events = ReadAll(*store);
  REQUIRE(events.size() == 2);
  const v1::Event& first = events[0];
  CHECK(first.event_id() == request.events(0).event_id());
  CHECK(first.stream().SerializeAsString() == request.stream().SerializeAsString());
  CHECK(first.version() == 1);
  CHECK(first.event_type() == full->event_type());
  CHECK(first.payload() == R"({"a": {}, "b": [1, 2.50, null, "ü\n"]})");
  CHECK(first.content_type() == full->content_type());
  CHECK(first.timestamp().seconds() == -1);
  CHECK(first.timestamp().nanos() == 123'456'000);
  CHECK(first.created_at().SerializeAsString() == response.created_at().SerializeAsString());
  CHECK(first.actor_id() == "actor");
  CHECK(first.correlation_id() == "corr");
  CHECK(first.causation_id() == "cause");
  CHECK(first.metadata().size() == 2);
  CHECK(first.metadata().at("k\"ey") == "v\\alue\n");
  CHECK(first.metadata().at("").empty());
  CHECK(first.schema_version() == 7);
  std::vector<std::string> tags(full->tags().begin(), full->tags().end());
  std::sort(tags.begin(), tags.end());
  CHECK(std::vector<std::string>(first.tags().begin(), first.tags().end()) == tags);
  const v1::Event& second = events[1];
  CHECK(second.payload() == binary->payload());
  CHECK(second.content_type() == "application/octet-stream");
  CHECK(second.timestamp().SerializeAsString() == second.created_at().SerializeAsString());
  CHECK(second.schema_version() == 1);
  CHECK(second.metadata().empty());
  CHECK(second.tags().empty());

  // The other ways to read an event give the same.
  CHECK(MessageDifferencer::Equals(ReadStream(*store, request.stream())[0], first));
  v1::GetEventRequest get;
  get.set_event_id(first.event_id());
  const auto one = AwaitDone<v1::Event>(
      [&](Done<v1::Event> done) { store->reader().GetEvent(get, In(kPatience), std::move(done)); });
  REQUIRE(one.ok());
  CHECK(MessageDifferencer::Equals(*one, first));
}

TEST_CASE("An expected version holds or gives the actual one back", "[append]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  const v1::StreamId stream = Stream("s");
  const auto conflict = [&](const v1::ExpectedVersion& expected, std::int64_t actual) {
    const Answer answer = Append(*store, stream, expected, NewIds(1));
    const v1::ErrorInfo detail = DetailOf(answer.status());
    CHECK(detail.reason() == v1::ERROR_REASON_VERSION_CONFLICT);
    CHECK(detail.actual() == actual);
    CHECK(detail.expected().SerializeAsString() == expected.SerializeAsString());
    CHECK(detail.stream().SerializeAsString() == stream.SerializeAsString());
  };
  conflict(StreamExists(), 0);
  conflict(Exact(1), 0);
  CHECK(Must(Append(*store, stream, NoStream(), NewIds(1))).first_version() == 1);
  conflict(NoStream(), 1);
  conflict(Exact(999), 1);
  CHECK(Must(Append(*store, stream, Exact(1), NewIds(1))).first_version() == 2);
  CHECK(Must(Append(*store, stream, StreamExists(), NewIds(1))).first_version() == 3);
  CHECK(Must(Append(*store, stream, Any(), NewIds(1))).first_version() == 4);
  // Refused appends left no gap behind.
  CHECK(Positions(ReadAll(*store)) == std::vector<std::int64_t>{1, 2, 3, 4});
}

TEST_CASE("Positions are dense, times ordered, and both as answered, under 16 writers",
          "[append]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 1000;
  TestStore store(options);
  constexpr int kWriters = 16;
  constexpr int kAppends = 40;
  std::vector<std::vector<v1::AppendEventsResponse>> answers(kWriters);
  std::vector<std::thread> writers;
  std::atomic<int> failures{0};
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < kAppends; ++i) {
        // Half of them in streams of their own, half in one.
        const v1::StreamId stream = Stream(i % 2 == 0 ? "shared" : "own" + std::to_string(w));
        const Answer answer = Append(*store, stream, Any(), NewIds(1 + i % 3));
        answer.ok() ? answers[static_cast<std::size_t>(w)].push_back(*answer)
                    : static_cast<void>(++failures);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  REQUIRE(failures == 0);

  std::map<std::string, std::int64_t> positions;
  for (const auto& of_writer : answers) {
    std::int64_t last = 0;
    for (const v1::AppendEventsResponse& answer : of_writer) {
      CHECK(answer.first_position() > last);  // acknowledged one after the other
      last = answer.last_position();
      for (int i = 0; i < answer.event_ids_size(); ++i) {
        positions[answer.event_ids(i)] = answer.first_position() + i;
      }
    }
  }
  const std::vector<v1::Event> events = ReadAll(*store);
  REQUIRE(events.size() == positions.size());
  std::map<std::string, std::int64_t> versions;
  std::int64_t last_micros = 0;
  bool dense = true, as_answered = true, versioned = true, ordered = true;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const v1::Event& event = events[i];
    dense &= event.global_position() == static_cast<std::int64_t>(i) + 1;
    as_answered &= positions[event.event_id()] == event.global_position();
    versioned &= event.version() == ++versions[event.stream().aggregate_id()];
    std::int64_t micros = 0;
    ordered &= ToUnixMicros(event.created_at(), &micros) && micros >= last_micros;
    last_micros = micros;
  }
  CHECK(dense);
  CHECK(as_answered);
  CHECK(versioned);
  CHECK(ordered);
  // They shared commits.
  CHECK(store.Metric("eventstore_lane_batch_appends_count") < kWriters * kAppends);
}

TEST_CASE("created_at never decreases although the clock was ahead before", "[append]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  Must(Append(*store, Stream("s"), Any(), NewIds(1)));
  const auto sql = Connect(conninfo, "public");
  // The server that wrote last had a clock that was an hour ahead.
  Run(*sql, "UPDATE log_head SET last_created_at = clock_timestamp() + interval '1 hour'");
  const std::int64_t ahead =
      SelectInt(*sql, "SELECT (extract(epoch FROM last_created_at) * 1e6)::bigint FROM log_head");
  std::int64_t micros = 0;
  for (int i = 0; i < 2; ++i) {
    const auto answer = Must(Append(*store, Stream("s"), Any(), NewIds(1)));
    REQUIRE(ToUnixMicros(answer.created_at(), &micros));
    CHECK(micros == ahead);
  }
}

TEST_CASE("Of writers that expect the same version one wins", "[append]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  constexpr int kWriters = 8;
  for (int round = 1; round <= 10; ++round) {
    std::vector<std::future<Answer>> answers;
    for (int i = 0; i < kWriters; ++i) {
      const auto expected = round == 1 ? NoStream() : Exact(round - 1);
      answers.push_back(Submit(*store, Request(Stream("s"), expected, NewIds(1))));
    }
    int won = 0;
    for (auto& future : answers) {
      const Answer answer = Await(future);
      if (answer.ok()) {
        ++won;
        CHECK(answer->last_version() == round);
      } else {
        CHECK(DetailOf(answer.status()).actual() == round);
      }
    }
    CHECK(won == 1);
  }
}

TEST_CASE("A replay returns the first result, whatever it expects and after a restart",
          "[append][replay]") {
  const std::string conninfo = CreateStoreDatabase();
  const std::vector<std::string> ids = NewIds(5);
  v1::AppendEventsResponse first;
  const auto check_replays = [&](Store& store) {
    for (const auto& expected : {Any(), NoStream(), StreamExists(), Exact(1), Exact(77)}) {
      const auto again = Must(Append(store, Stream("s"), expected, ids));
      CHECK(again.deduplicated());
      v1::AppendEventsResponse plain = again;
      plain.set_deduplicated(false);
      CHECK(plain.SerializeAsString() == first.SerializeAsString());
    }
    // A consecutive part of it is one, too.
    const auto part = Must(Append(store, Stream("s"), Exact(9), {ids[1], ids[2], ids[3]}));
    CHECK(part.deduplicated());
    CHECK(part.first_version() == first.first_version() + 1);
    CHECK(part.last_version() == first.first_version() + 3);
    CHECK(part.first_position() == first.first_position() + 1);
    CHECK(part.last_position() == first.first_position() + 3);
    CHECK(Must(Append(store, Stream("s"), Exact(9), {ids[4]})).last_version() == 6);
  };
  const auto check_refusals = [&](Store& store) {
    const auto refused = [&](const v1::StreamId& stream, const std::vector<std::string>& asked) {
      return DetailOf(Append(store, stream, Any(), asked).status());
    };
    const v1::ErrorInfo other = refused(Stream("t"), ids);
    CHECK(other.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    CHECK(other.event_id() == ids[0]);
    CHECK(other.index() == 0);
    CHECK(other.stream().aggregate_id() == "s");
    CHECK(other.position() == first.first_position());
    CHECK(refused(Stream("new"), {ids[2]}).reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    CHECK(refused(Stream("s"), {ids[1], ids[0]}).reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    CHECK(refused(Stream("s"), {ids[0], ids[2]}).reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    const v1::ErrorInfo mixed = refused(Stream("s"), {NewId(), ids[3], NewId()});
    CHECK(mixed.reason() == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
    CHECK(mixed.event_id() == ids[3]);
    CHECK(mixed.position() == first.first_position() + 3);
    CHECK(mixed.index() == 1);
  };
  {
    TestStore store(SmallOptions(conninfo));
    Must(Append(*store, Stream("t"), NoStream(), NewIds(1)));
    Must(Append(*store, Stream("s"), NoStream(), NewIds(1)));
    first = Must(Append(*store, Stream("s"), Exact(1), ids));
    check_replays(*store);
    check_refusals(*store);
    Must(Append(*store, Stream("s"), Any(), NewIds(3)));
  }
  TestStore store(SmallOptions(conninfo));
  check_replays(*store);
  check_refusals(*store);
  CHECK(ReadAll(*store).size() == 10);
  CHECK(store.Metric("eventstore_append_replays_total") == 7);
}

TEST_CASE("A replay in the same batch waits for the commit and writes nothing",
          "[append][replay]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  HeadLock lock(conninfo);
  auto warm = Submit(*store, Request(Stream("w"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  const std::vector<std::string> ids = NewIds(3);
  auto original = Submit(*store, Request(Stream("s"), NoStream(), ids));
  auto replay = Submit(*store, Request(Stream("s"), NoStream(), ids));
  auto other = Submit(*store, Request(Stream("t"), NoStream(), {ids[0]}));
  lock.Release();
  Must(Await(warm));
  const auto first = Must(Await(original));
  const auto second = Must(Await(replay));
  CHECK_FALSE(first.deduplicated());
  CHECK(second.deduplicated());
  CHECK(second.first_position() == first.first_position());
  CHECK(second.last_version() == 3);
  CHECK(ReasonOf(Await(other).status()) == v1::ERROR_REASON_DUPLICATE_EVENT_ID);
  CHECK(ReadAll(*store).size() == 4);
}

TEST_CASE("A caller that gives up before its append is in a batch writes nothing", "[append]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  HeadLock lock(conninfo);
  auto in_batch = Submit(*store, Request(Stream("s"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  std::shared_ptr<PendingWrite> pending;
  auto cancelled =
      Submit(*store, Validated(Request(Stream("s"), Any(), NewIds(1))), Deadline::max(), &pending);
  auto late = Submit(*store, Validated(Request(Stream("s"), Any(), NewIds(1))),
                     In(std::chrono::milliseconds(1)));
  auto patient = Submit(*store, Request(Stream("s"), Any(), NewIds(1)));
  pending->Cancel();
  const Deadline passed = In(std::chrono::milliseconds(5));
  REQUIRE(Eventually([&] { return std::chrono::steady_clock::now() > passed; }));
  lock.Release();
  CHECK(Must(Await(in_batch)).last_version() == 1);
  CHECK(absl::IsCancelled(Await(cancelled).status()));
  CHECK(absl::IsDeadlineExceeded(Await(late).status()));
  CHECK(Must(Await(patient)).last_version() == 2);
  CHECK(ReadAll(*store).size() == 2);
}

TEST_CASE("A tombstoned stream takes no append, but its replays are answered", "[append]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const std::vector<std::string> ids = NewIds(2);
  Must(Append(*store, Stream("s"), NoStream(), ids));
  const auto sql = Connect(conninfo, "public");
  // As a lifecycle change does it: the stream, what changed, and the revision in one transaction.
  Run(*sql,
      "BEGIN; UPDATE streams SET tombstoned = true, deleted_at = now();"
      "UPDATE log_head SET revision = revision + 1;"
      "INSERT INTO log_changes (revision, stream_key, kind)"
      " SELECT revision, stream_key, 'delete' FROM log_head, streams; COMMIT");
  CHECK(ReasonOf(Append(*store, Stream("s"), Any(), NewIds(1)).status()) ==
        v1::ERROR_REASON_STREAM_DELETED);
  CHECK(ReasonOf(Append(*store, Stream("s"), Exact(77), NewIds(1)).status()) ==
        v1::ERROR_REASON_STREAM_DELETED);
  CHECK(Must(Append(*store, Stream("s"), NoStream(), ids)).deduplicated());
}

TEST_CASE("A full write queue refuses with OVERLOADED and names its limit", "[append][bounds]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.writer.queue_appends_max = 3;
  options.writer.queue_bytes_max = 1000;
  TestStore store(options);
  HeadLock lock(conninfo);
  auto in_batch = Submit(*store, Request(Stream("s"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  const auto large = [&](std::size_t bytes) {
    v1::AppendEventsRequest request = Request(Stream("s"), Any(), NewIds(1));
    request.mutable_events(0)->set_payload('"' + std::string(bytes, 'x') + '"');
    return request;
  };
  std::vector<std::future<Answer>> queued;
  queued.push_back(Submit(*store, large(700)));
  auto bytes = Submit(*store, large(700));
  REQUIRE(bytes.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  const v1::ErrorInfo bytes_detail = DetailOf(bytes.get().status());
  CHECK(bytes_detail.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(bytes_detail.limit_name() == "writer.queue_bytes_max");
  CHECK(bytes_detail.limit() == 1000);
  CHECK(bytes_detail.has_retry_delay());
  for (int i = 0; i < 2; ++i) queued.push_back(Submit(*store, large(10)));
  const v1::ErrorInfo appends_detail = DetailOf(Append(*store, large(10)).status());
  CHECK(appends_detail.limit_name() == "writer.queue_appends_max");
  CHECK(appends_detail.limit() == 3);
  lock.Release();
  Must(Await(in_batch));
  for (auto& answer : queued) Must(Await(answer));
  CHECK(ReadAll(*store).size() == 4);
  // One append that is larger than the whole queue goes through an empty one.
  Must(Append(*store, large(5000)));
}

TEST_CASE("A batch has at most so many events, and an append is never split", "[append][bounds]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.writer.batch_events_max = 10;
  TestStore store(options);
  HeadLock lock(conninfo);
  auto first = Submit(*store, Request(Stream("a"), Any(), NewIds(1)));
  REQUIRE(lock.AwaitWaiter());
  std::vector<std::future<Answer>> answers;
  for (const int events : {6, 4, 1, 25, 3}) {  // three batches: 6+4, 1 and 25, 3
    answers.push_back(Submit(*store, Request(Stream("s"), Any(), NewIds(events))));
  }
  lock.Release();
  Must(Await(first));
  std::vector<std::string> times;
  for (auto& answer : answers)
    times.push_back(Must(Await(answer)).created_at().SerializeAsString());
  CHECK(times[0] == times[1]);
  CHECK(std::set<std::string>(times.begin(), times.end()).size() == 4);
  // The first append, 6+4, 1, 25, 3.
  CHECK(store.Metric("eventstore_lane_batch_events_count") == 5);
}

TEST_CASE("Draining writes what waits, then refuses", "[append][drain]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  std::vector<std::future<Answer>> answers;
  for (int i = 0; i < 50; ++i) {
    answers.push_back(Submit(*store, Request(Stream("s"), Any(), NewIds(1))));
  }
  store->Drain(In(kPatience));
  for (auto& answer : answers) CHECK(Await(answer).ok());
  CHECK(ReasonOf(Append(*store, Stream("s"), Any(), NewIds(1)).status()) ==
        v1::ERROR_REASON_STORE_UNAVAILABLE);
  const auto sql = Connect(conninfo, "public");
  CHECK(SelectInt(*sql, "SELECT count(*) FROM events") == 50);
  CHECK(SelectInt(*sql, "SELECT count(*) FROM daemons") == 0);
}

}  // namespace
}  // namespace eventstore::engine
