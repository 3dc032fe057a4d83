// The dead letter queue as people work on it.
#include "server/tables/dead_letters_admin.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Clock = std::chrono::steady_clock;

struct Desk {
  Desk()
      : conninfo(CreateStoreDatabase()),
        store(SmallOptions(conninfo)),
        sql(Connect(conninfo, "public")) {}

  std::vector<std::string> AppendSome(int count, const std::string& type = "Happened") {
    auto request = Request(Stream("s"), Any(), NewIds(count));
    std::vector<std::string> ids;
    for (v1::NewEvent& event : *request.mutable_events()) {
      event.set_event_type(type);
      ids.push_back(event.event_id());
    }
    REQUIRE(Append(*store, request).ok());
    return ids;
  }
  template <typename Response, typename Request>
  absl::StatusOr<Response> Call(void (DeadLetters::*method)(Request, Deadline, Done<Response>),
                                Request request) {
    return AwaitDone<Response>([&](Done<Response> done) {
      (store->dead_letters().*method)(std::move(request), Clock::now() + kPatience,
                                      std::move(done));
    });
  }
  absl::StatusOr<v1::AddDeadLetterResponse> Add(const std::string& event_id,
                                                const std::string& projection = "orders",
                                                const std::string& message = "no customer") {
    v1::AddDeadLetterRequest request;
    request.set_event_id(event_id);
    request.set_projection_name(projection);
    request.set_error_message(message);
    request.set_error_stacktrace("at line 7");
    return Call(&DeadLetters::AddDeadLetter, request);
  }
  v1::ListDeadLettersResponse List(const v1::ListDeadLettersRequest& request) {
    auto page = Call(&DeadLetters::ListDeadLetters, request);
    INFO(page.status());
    REQUIRE(page.ok());
    return *std::move(page);
  }
  std::int64_t Count(const std::string& where) {
    return SelectInt(*sql, "SELECT count(*) FROM dead_letter_queue WHERE " + where);
  }

  std::string conninfo;
  TestStore store;
  std::unique_ptr<pg::Connection> sql;
};

v1::ListDeadLettersRequest Page(std::int32_t size) {
  v1::ListDeadLettersRequest request;
  request.set_page_size(size);
  return request;
}

TEST_CASE("A client sets an event of the store aside, again and again", "[dead_letters]") {
  Desk desk;
  const std::string id = desk.AppendSome(1)[0];
  const auto first = desk.Add(id);
  REQUIRE(first.ok());
  CHECK(first->created());
  CHECK(first->dead_letter().event_type() == "Happened");
  CHECK(first->dead_letter().global_position() == 1);
  CHECK(first->dead_letter().stream().aggregate_id() == "s");
  CHECK(first->dead_letter().event_data().empty());
  CHECK(first->dead_letter().status() == v1::DEAD_LETTER_STATUS_FAILED);
  const auto again = desk.Add(id, "orders", "still none");
  REQUIRE(again.ok());
  CHECK_FALSE(again->created());
  CHECK(again->dead_letter().id() == first->dead_letter().id());
  CHECK(again->dead_letter().retry_count() == 1);
  CHECK(again->dead_letter().error_message() == "still none");
  CHECK(again->dead_letter().first_failed_at().SerializeAsString() ==
        first->dead_letter().first_failed_at().SerializeAsString());
  v1::GetDeadLetterRequest get;
  get.mutable_key()->set_event_id(id);
  get.mutable_key()->set_projection_name("orders");
  const auto got = desk.Call(&DeadLetters::GetDeadLetter, get);
  REQUIRE(got.ok());
  CHECK(got->dead_letter().event_data() == "{\"id\": \"" + id + "\"}");
  CHECK(got->dead_letter().error_stacktrace() == "at line 7");
  get.set_id(got->dead_letter().id() + 1);
  CHECK(ReasonOf(desk.Call(&DeadLetters::GetDeadLetter, get).status()) ==
        v1::ERROR_REASON_NOT_FOUND);
}

TEST_CASE("An unknown event is NOT_FOUND, an archived one ARCHIVED; nothing is written",
          "[dead_letters]") {
  Desk desk;
  const std::string id = desk.AppendSome(1)[0];
  CHECK(ReasonOf(desk.Add(NewId()).status()) == v1::ERROR_REASON_NOT_FOUND);
  Run(*desk.sql, "UPDATE log_head SET first_position = 2");
  const auto archived = desk.Add(id);
  CHECK(ReasonOf(archived.status()) == v1::ERROR_REASON_ARCHIVED);
  CHECK(DetailOf(archived.status()).position() == 2);
  CHECK(desk.Count("true") == 0);
}

TEST_CASE("Entries are listed by every field of the filter, each once", "[dead_letters]") {
  Desk desk;
  const auto a = desk.AppendSome(5, "A");
  const auto b = desk.AppendSome(3, "B");
  for (const std::string& id : a) REQUIRE(desk.Add(id, "orders").ok());
  for (const std::string& id : b) REQUIRE(desk.Add(id, "orders").ok());
  REQUIRE(desk.Add(a[0], "invoices").ok());
  Run(*desk.sql,
      "UPDATE dead_letter_queue SET status = 'resolved', resolved_at = now(),"
      " resolved_by = 'ada' WHERE event_id = '" +
          a[1] + "'");
  Run(*desk.sql,
      "UPDATE dead_letter_queue SET last_failed_at = '2020-01-01' WHERE event_id = '" + a[2] + "'");
  const auto count = [&](const std::function<void(v1::DeadLetterFilter*)>& set) {
    auto request = Page(100);
    set(request.mutable_filter());
    return desk.List(request).dead_letters_size();
  };
  CHECK(count([](auto*) {}) == 9);
  CHECK(count([](auto* f) { f->set_projection_name("orders"); }) == 8);
  CHECK(count([](auto* f) { f->set_status(v1::DEAD_LETTER_STATUS_RESOLVED); }) == 1);
  CHECK(count([](auto* f) {
          f->set_projection_name("orders");
          f->add_event_types("B");
          f->add_event_types("C");
        }) == 3);
  CHECK(count([](auto* f) { f->mutable_to_timestamp()->set_seconds(1'600'000'000); }) == 1);
  CHECK(count([](auto* f) { f->mutable_from_timestamp()->set_seconds(1'600'000'000); }) == 8);
  // Page by page, in the order of their numbers.
  auto request = Page(2);
  request.mutable_filter()->set_projection_name("orders");
  std::vector<std::int64_t> ids;
  int pages = 0;
  do {
    const auto page = desk.List(request);
    for (const auto& entry : page.dead_letters()) ids.push_back(entry.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && ++pages < 20);
  CHECK(ids.size() == 8);
  CHECK(std::is_sorted(ids.begin(), ids.end()));
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
}

TEST_CASE("A page is cut by its bytes and by what it looks at, and goes on", "[dead_letters]") {
  Desk desk;
  Run(*desk.sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message) SELECT gen_random_uuid(), 'big', 'T', to_jsonb(repeat('x', 700000)), 'm'"
      " FROM generate_series(1, 5)");
  Run(*desk.sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message) SELECT gen_random_uuid(), 'many', CASE i WHEN 10500 THEN 'Rare' ELSE 'T'"
      " END, '{}', 'm' FROM generate_series(1, 10500) i");
  auto request = Page(100);
  request.mutable_filter()->set_projection_name("big");
  auto page = desk.List(request);
  CHECK(page.dead_letters_size() == 2);
  CHECK_FALSE(page.next_page_token().empty());
  request = Page(100);
  request.mutable_filter()->set_projection_name("many");
  request.mutable_filter()->add_event_types("Rare");
  page = desk.List(request);
  CHECK(page.dead_letters().empty());
  REQUIRE_FALSE(page.next_page_token().empty());
  request.set_page_token(page.next_page_token());
  page = desk.List(request);
  CHECK(page.dead_letters_size() == 1);
  CHECK(page.next_page_token().empty());
  request.set_page_token("Yzc");  // of another list
  CHECK(ReasonOf(desk.Call(&DeadLetters::ListDeadLetters, request).status()) ==
        v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("Retries change failed entries alone: named, matching, or all", "[dead_letters]") {
  Desk desk;
  const auto ids = desk.AppendSome(4, "A");
  const auto others = desk.AppendSome(2, "B");
  std::vector<std::int64_t> entries;
  for (const auto& list : {ids, others}) {
    for (const std::string& id : list) {
      const auto added = desk.Add(id);
      REQUIRE(added.ok());
      entries.push_back(added->dead_letter().id());
    }
  }
  REQUIRE(desk.Add(ids[0], "invoices").ok());
  Run(*desk.sql,
      "UPDATE dead_letter_queue SET status = 'resolved' WHERE id = " + std::to_string(entries[3]));
  const auto retry = [&](const std::function<void(v1::DeadLetterSelection*)>& select) {
    v1::RetryDeadLettersRequest request;
    select(request.mutable_selection());
    return desk.Call(&DeadLetters::RetryDeadLetters, request);
  };
  const auto missing = retry([&](auto* selection) {
    selection->mutable_ids()->add_ids(entries[0]);
    selection->mutable_ids()->add_ids(999'999);
  });
  CHECK(ReasonOf(missing.status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(desk.Count("status = 'retrying'") == 0);
  const auto one = retry([&](auto* selection) {
    selection->mutable_ids()->add_ids(entries[0]);
    selection->mutable_ids()->add_ids(entries[3]);
  });
  REQUIRE(one.ok());
  CHECK(one->retried() == 1);
  const auto matching =
      retry([](auto* selection) { selection->mutable_filter()->add_event_types("B"); });
  REQUIRE(matching.ok());
  CHECK(matching->retried() == 2);
  CHECK(matching->next_after_id() == 0);
  const auto all = retry([](auto* selection) { selection->set_all_of_projection("orders"); });
  REQUIRE(all.ok());
  CHECK(all->retried() == 2);
  CHECK(desk.Count("status = 'retrying'") == 5);
  CHECK(desk.Count("projection_name = 'invoices' AND status = 'failed'") == 1);
}

TEST_CASE("What looks at many entries goes on where it stopped", "[dead_letters]") {
  Desk desk;
  Run(*desk.sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message) SELECT gen_random_uuid(), 'orders', 'T', '{}', 'm'"
      " FROM generate_series(1, 2500)");
  v1::ResolveDeadLettersRequest resolve;
  resolve.mutable_selection()->set_all_of_projection("orders");
  resolve.set_resolved_by("ada");
  resolve.set_note("replayed from the source");
  std::int64_t resolved = 0;
  int calls = 0;
  do {
    const auto step = desk.Call(&DeadLetters::ResolveDeadLetters, resolve);
    REQUIRE(step.ok());
    CHECK(step->resolved() <= tables::kDeadLetterChangeRowsMax);
    resolved += step->resolved();
    resolve.set_after_id(step->next_after_id());
    ++calls;
  } while (resolve.after_id() > 0 && calls < 10);
  CHECK(resolved == 2500);
  CHECK(calls == 3);
  CHECK(desk.Count("status = 'resolved' AND resolved_by = 'ada' AND resolution_note ="
                   " 'replayed from the source' AND resolved_at <= clock_timestamp()") == 2500);
  // Purging takes what was resolved before, and no other.
  Run(*desk.sql, "UPDATE dead_letter_queue SET resolved_at = '2020-01-01' WHERE id <= 1500");
  Run(*desk.sql, "UPDATE dead_letter_queue SET status = 'failed' WHERE id = 1");
  v1::PurgeDeadLettersRequest purge;
  purge.mutable_resolved_before()->set_seconds(1'600'000'000);
  purge.set_projection_name("invoices");
  CHECK(desk.Call(&DeadLetters::PurgeDeadLetters, purge)->purged() == 0);
  purge.set_projection_name("orders");
  auto purged = desk.Call(&DeadLetters::PurgeDeadLetters, purge);
  REQUIRE(purged.ok());
  CHECK(purged->purged() == 1000);
  CHECK(purged->has_more());
  purge.clear_projection_name();
  purged = desk.Call(&DeadLetters::PurgeDeadLetters, purge);
  CHECK(purged->purged() == 499);
  CHECK_FALSE(purged->has_more());
  CHECK(desk.Count("true") == 1001);
}

TEST_CASE("Stats count each projection's entries by status", "[dead_letters]") {
  Desk desk;
  Run(*desk.sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message, status, first_failed_at) SELECT gen_random_uuid(), p, 'T', '{}', 'm', s,"
      " '2024-05-01T12:00:00Z'::timestamptz + i * interval '1 s' FROM unnest(ARRAY['a', 'b']) p,"
      " unnest(ARRAY['failed', 'failed', 'retrying', 'resolved']) WITH ORDINALITY AS x(s, i)");
  Run(*desk.sql,
      "DELETE FROM dead_letter_queue WHERE projection_name = 'b' AND"
      " status <> 'resolved'");
  const auto stats = desk.Call(&DeadLetters::GetDeadLetterStats, v1::GetDeadLetterStatsRequest());
  REQUIRE(stats.ok());
  CHECK_FALSE(stats->truncated());
  REQUIRE(stats->stats_size() == 2);
  CHECK(stats->stats(0).projection_name() == "a");
  CHECK(stats->stats(0).failed() == 2);
  CHECK(stats->stats(0).retrying() == 1);
  CHECK(stats->stats(0).resolved() == 1);
  CHECK(stats->stats(0).oldest_failed_at().seconds() == 1'714'564'801);
  CHECK(stats->stats(1).resolved() == 1);
  CHECK_FALSE(stats->stats(1).has_oldest_failed_at());
  v1::GetDeadLetterStatsRequest one;
  one.set_projection_name("b");
  CHECK(desk.Call(&DeadLetters::GetDeadLetterStats, one)->stats_size() == 1);
}

// The plan of a statement as the pool's sessions get it.
std::string Plan(pg::Connection& sql, const std::string& statement) {
  const pg::Result plan = Select(sql, "EXPLAIN " + statement);
  std::string text;
  for (int row = 0; row < plan.rows(); ++row) text += std::string(plan.Text(row, 0)) + "\n";
  return text;
}

TEST_CASE("What readers poll and purges delete is found by its own index", "[dead_letters]") {
  Desk desk;
  // Filled before anybody counted it, as after a burst of failures; and counted.
  Run(*desk.sql,
      "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
      " error_message, status, resolved_at, global_position) SELECT gen_random_uuid(), 'p' ||"
      " i % 5, 'T', '{}', 'm', CASE i % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'retrying' ELSE"
      " 'resolved' END, now() - i * interval '1 min', i FROM generate_series(1, 20000) i");
  for (const bool counted : {false, true}) {
    if (counted) Run(*desk.sql, "ANALYZE dead_letter_queue");
    Run(*desk.sql, "SET enable_seqscan = off");
    INFO("counted: " << counted);
    CHECK_THAT(Plan(*desk.sql,
                    "SELECT event_id FROM dead_letter_queue WHERE projection_name ="
                    " 'p1' AND status = 'retrying' AND global_position > 100"
                    " ORDER BY global_position LIMIT 10"),
               Catch::Contains("idx_dlq_retrying"));
    CHECK_THAT(Plan(*desk.sql,
                    "SELECT id FROM dead_letter_queue WHERE (projection_name, id) > ('p1', 10) AND"
                    " (projection_name, id) <= ('p1', 9223372036854775807)"
                    " ORDER BY projection_name, id LIMIT 10"),
               Catch::Contains("idx_dlq_projection") && !Catch::Contains("Sort"));
    const std::string purge = Plan(*desk.sql,
                                   "SELECT id FROM dead_letter_queue WHERE status = 'resolved' AND"
                                   " resolved_at < now() ORDER BY resolved_at, id LIMIT 10");
    CHECK_THAT(purge, Catch::Contains("idx_dlq_resolved"));
    if (counted) CHECK_THAT(purge, !Catch::Contains("Sort"));
  }
}

}  // namespace
}  // namespace eventstore::engine
