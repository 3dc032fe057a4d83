// The dead letter queue as its readers write it.
#include <catch2/catch.hpp>

#include "server/tables/dead_letters_table.h"
#include "server/tables/log_table.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

v1::DeadLetter Entry(const std::string& event_id, const std::string& projection = "orders",
                     const std::string& message = "no such customer", int retry_count = 0) {
  v1::DeadLetter entry;
  entry.set_event_id(event_id);
  entry.set_projection_name(projection);
  entry.set_error_message(message);
  entry.set_retry_count(retry_count);
  return entry;
}

struct Queue {
  Queue()
      : conninfo(CreateStoreDatabase()),
        store(SmallOptions(conninfo)),
        sql(Connect(conninfo, "public")) {}

  // Runs what `add` puts into one round trip; the rows that its last statement changed.
  std::int64_t Change(const std::function<void(pg::Pipeline*)>& add) {
    pg::Pipeline pipeline(sql.get());
    add(&pipeline);
    const pg::Pipeline::Outcome outcome = pipeline.Run(Clock::now() + kPatience);
    INFO(outcome.status);
    REQUIRE(outcome.status.ok());
    return outcome.results.back().affected();
  }
  std::int64_t Park(const std::vector<v1::DeadLetter>& entries) {
    return Change([&](pg::Pipeline* pipeline) { tables::AddUpsertDeadLetters(pipeline, entries); });
  }
  std::vector<std::string> AppendSome(int count, const std::string& stream = "s") {
    auto ids = NewIds(count);
    REQUIRE(Append(*store, Stream(stream), Any(), ids).ok());
    return ids;
  }
  pg::Result Row(const std::string& event_id) {
    return Select(
        *sql,
        "SELECT retry_count, status, error_message, first_failed_at, last_failed_at,"
        " event_type, event_data, global_position, stream_key, resolved_by,"
        " resolution_note, resolved_at IS NULL FROM dead_letter_queue WHERE event_id = '" +
            event_id + "'");
  }

  using Clock = std::chrono::steady_clock;
  std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
};

TEST_CASE("An event that is set aside brings its type, data and place along", "[dead_letters]") {
  Queue queue;
  v1::AppendEventsRequest request = Request(Stream("s"), Any(), NewIds(2));
  request.mutable_events(0)->set_payload(R"({"total": 12})");
  request.mutable_events(1)->set_payload(
      std::string("\0\xff", 2) +
      " raw bytes that fill several lines of base64 when they are encoded so");
  request.mutable_events(1)->set_content_type("application/octet-stream");
  REQUIRE(Append(*queue.store, request).ok());
  const std::string json = request.events(0).event_id();
  const std::string binary = request.events(1).event_id();
  CHECK(queue.Park({Entry(json), Entry(binary)}) == 2);
  CHECK(queue.Row(json).Text(0, 5) == "Happened");
  CHECK(queue.Row(json).Jsonb(0, 6) == R"({"total": 12})");
  CHECK(queue.Row(json).Int64(0, 7) == 1);
  CHECK(queue.Row(binary).Int64(0, 7) == 2);
  CHECK(queue.Row(binary).Int64(0, 8) > 0);
  CHECK(SelectInt(*queue.sql,
                  "SELECT count(*) FROM dead_letter_queue d JOIN events e USING (event_id) WHERE"
                  " decode(d.event_data->>'base64', 'base64') = e.payload_binary AND"
                  " position(chr(10) IN d.event_data->>'base64') = 0 AND"
                  " d.event_data->>'content_type' = 'application/octet-stream'") == 1);
}

TEST_CASE("An event that the store does not have is passed over", "[dead_letters]") {
  Queue queue;
  const auto ids = queue.AppendSome(1);
  CHECK(queue.Park({Entry(ids[0]), Entry(NewId())}) == 1);
  CHECK(SelectInt(*queue.sql, "SELECT count(*) FROM dead_letter_queue") == 1);
}

TEST_CASE("A repeat raises the retry count and keeps the first failure's time", "[dead_letters]") {
  Queue queue;
  const std::string id = queue.AppendSome(1)[0];
  REQUIRE(queue.Park({Entry(id, "orders", "first", 2)}) == 1);
  const std::int64_t first = queue.Row(id).Timestamp(0, 3);
  CHECK(queue.Row(id).Int32(0, 0) == 2);
  REQUIRE(queue.Park({Entry(id, "orders", "second", 4)}) == 1);
  CHECK(queue.Row(id).Int32(0, 0) == 7);
  CHECK(queue.Row(id).Text(0, 2) == "second");
  CHECK(queue.Row(id).Timestamp(0, 3) == first);
  CHECK(queue.Row(id).Timestamp(0, 4) > first);
  // Another projection has an entry of its own.
  REQUIRE(queue.Park({Entry(id, "invoices")}) == 1);
  CHECK(SelectInt(*queue.sql, "SELECT count(*) FROM dead_letter_queue") == 2);
  Run(*queue.sql, "UPDATE dead_letter_queue SET retry_count = 2147483647");
  REQUIRE(queue.Park({Entry(id)}) == 1);
  CHECK(SelectInt(*queue.sql, "SELECT max(retry_count) FROM dead_letter_queue") == 2147483647);
}

TEST_CASE("A resolved entry that fails again is failed again", "[dead_letters]") {
  Queue queue;
  const auto ids = queue.AppendSome(2);
  REQUIRE(queue.Park({Entry(ids[0]), Entry(ids[1])}) == 2);
  const auto resolve = [&](const std::string& projection) {
    return queue.Change([&](pg::Pipeline* pipeline) {
      tables::AddResolveDeadLetters(pipeline, projection, {*ParseUuid(ids[0]), MakeUuidV7()}, "ada",
                                    "fixed by hand");
    });
  };
  CHECK(resolve("invoices") == 0);
  CHECK(resolve("orders") == 1);
  CHECK(resolve("orders") == 0);
  CHECK(queue.Row(ids[0]).Text(0, 1) == "resolved");
  CHECK(queue.Row(ids[0]).Text(0, 9) == "ada");
  CHECK(queue.Row(ids[0]).Text(0, 10) == "fixed by hand");
  CHECK(queue.Row(ids[1]).Text(0, 1) == "failed");
  REQUIRE(queue.Park({Entry(ids[0])}) == 1);
  CHECK(queue.Row(ids[0]).Text(0, 1) == "failed");
  CHECK(queue.Row(ids[0]).IsNull(0, 9));
  CHECK(queue.Row(ids[0]).IsNull(0, 10));
  CHECK(queue.Row(ids[0]).Bool(0, 11));
}

TEST_CASE("A transaction that is rolled back sets nothing aside", "[dead_letters]") {
  Queue queue;
  const std::string id = queue.AppendSome(1)[0];
  queue.Change([&](pg::Pipeline* pipeline) {
    pipeline->Add(tables::kBegin, pg::Params());
    tables::AddUpsertDeadLetters(pipeline, {Entry(id)});
    pipeline->Add(tables::kRollback, pg::Params());
  });
  CHECK(SelectInt(*queue.sql, "SELECT count(*) FROM dead_letter_queue") == 0);
}

TEST_CASE("A reader gets its entries to retry in the order of their positions", "[dead_letters]") {
  Queue queue;
  const auto ids = queue.AppendSome(4);
  REQUIRE(queue.Park({Entry(ids[3], "orders", "x", 4)}) == 1);
  REQUIRE(queue.Park({Entry(ids[0]), Entry(ids[1]), Entry(ids[2])}) == 3);
  REQUIRE(queue.Park({Entry(ids[0], "invoices")}) == 1);
  const auto read = [&](std::int64_t after, std::int64_t limit) {
    auto entries = tables::ReadRetryingDeadLetters(*queue.sql, "orders", after, limit,
                                                   Queue::Clock::now() + kPatience);
    REQUIRE(entries.ok());
    return *std::move(entries);
  };
  CHECK(read(0, 10).empty());
  Run(*queue.sql,
      "UPDATE dead_letter_queue SET status = 'retrying' WHERE event_id <> '" + ids[1] + "'");
  const auto first = read(0, 2);
  REQUIRE(first.size() == 2);
  CHECK(first[0].event_id == *ParseUuid(ids[0]));
  CHECK(first[0].stream_key == first[1].stream_key);
  CHECK(first[1].global_position == 3);
  const auto rest = read(3, 2);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].event_id == *ParseUuid(ids[3]));
  CHECK(rest[0].retry_count == 4);
}

TEST_CASE("An archived event is set aside with the type that its reader knows", "[dead_letters]") {
  Queue queue;
  const std::string id = queue.AppendSome(1)[0];
  Run(*queue.sql, "DELETE FROM events");
  v1::DeadLetter entry = Entry(id);
  entry.set_event_type("Happened");
  REQUIRE(queue.Park({entry}) == 1);
  CHECK(queue.Row(id).Text(0, 5) == "Happened");
  CHECK(queue.Row(id).Jsonb(0, 6) == "null");
}

}  // namespace
}  // namespace eventstore::engine
