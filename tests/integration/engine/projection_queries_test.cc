// What projections that speak SQL themselves bring along for checkpoints and dead letters.
#include <catch2/catch.hpp>

#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

TEST_CASE("A checkpoint's statements run as people have them", "[schema][queries]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  const auto sql = Connect(conninfo, "public");
  const auto ids = NewIds(5);
  REQUIRE(Append(*store, Stream("s"), Any(), ids).ok());
  for (const std::string position : {"2", "4"}) {
    Run(*sql,
        "INSERT INTO projection_checkpoints (projection_name, last_event_id, last_event_type,"
        " last_processed_at, global_position, events_processed) VALUES ('orders', '" +
            ids[1] + "', 'Happened', NOW(), " + position +
            ", 1) ON CONFLICT (projection_name) DO UPDATE SET last_event_id = "
            "EXCLUDED.last_event_id,"
            " last_event_type = EXCLUDED.last_event_type, last_processed_at ="
            " EXCLUDED.last_processed_at, global_position = EXCLUDED.global_position,"
            " events_processed = projection_checkpoints.events_processed + 1, updated_at = NOW()");
  }
  const pg::Result row = Select(*sql,
                                "SELECT global_position, events_processed,"
                                " (SELECT MAX(global_position) FROM events) - global_position,"
                                " EXTRACT(EPOCH FROM (NOW() - last_processed_at)) >= 0"
                                " FROM projection_checkpoints WHERE projection_name = 'orders'");
  REQUIRE(row.rows() == 1);
  CHECK(row.Int64(0, 0) == 4);
  CHECK(row.Int64(0, 1) == 2);
  CHECK(row.Int64(0, 2) == 1);
  CHECK(row.Bool(0, 3));
  // The daemon goes on from what they wrote.
  v1::GetCheckpointRequest get;
  get.set_projection_name("orders");
  get.mutable_stale_after()->set_seconds(300);
  const auto status = AwaitDone<v1::GetCheckpointResponse>([&](auto done) {
    store->projections().GetCheckpoint(get, std::chrono::steady_clock::now() + kPatience,
                                       std::move(done));
  });
  REQUIRE(status.ok());
  CHECK(status->status().checkpoint().position() == 4);
  CHECK(status->status().lag_positions() == 1);
  Run(*sql, "DELETE FROM projection_checkpoints WHERE projection_name = 'orders'");
}

TEST_CASE("A dead letter's statements run as people have them", "[schema][queries]") {
  const std::string conninfo = CreateStoreDatabase();
  const auto sql = Connect(conninfo, "public");
  for (const std::string count : {"1", "2"}) {
    Run(*sql,
        "INSERT INTO dead_letter_queue (event_id, projection_name, event_type, event_data,"
        " error_message, error_stacktrace, retry_count, status) VALUES"
        " ('11111111-0000-4000-8000-000000000001', 'orders', 'Happened', '{\"a\": 1}', 'x', 'y', " +
            count +
            ", 'failed') ON CONFLICT (event_id, projection_name) DO UPDATE SET error_message ="
            " EXCLUDED.error_message, retry_count = EXCLUDED.retry_count, last_failed_at = NOW()");
  }
  const pg::Result stats =
      Select(*sql,
             "SELECT projection_name, COUNT(*), MIN(first_failed_at), MAX(last_failed_at)"
             " FROM dead_letter_queue WHERE status = 'failed' GROUP BY projection_name");
  REQUIRE(stats.rows() == 1);
  CHECK(stats.Int64(0, 1) == 1);
  Run(*sql, "UPDATE dead_letter_queue SET status = 'retrying' WHERE projection_name = 'orders'");
  Run(*sql,
      "UPDATE dead_letter_queue SET status = 'resolved', resolved_at = NOW(), resolved_by = 'ada'");
  Run(*sql,
      "DELETE FROM dead_letter_queue WHERE status = 'resolved' AND resolved_at < NOW() + INTERVAL"
      " '1 day'");
  CHECK(SelectInt(*sql, "SELECT COUNT(*) FROM dead_letter_queue") == 0);
}

}  // namespace
}  // namespace eventstore::engine
