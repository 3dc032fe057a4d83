// Snapshots on a real PostgreSQL: what is saved, kept, listed and deleted.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <random>
#include <thread>

#include "server/tables/snapshots_table.h"
#include "tests/integration/engine/snapshotting.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;
using Clock = std::chrono::steady_clock;

constexpr char kTenant[] = "0190b2c4-0000-7000-8000-0000000000aa";

TEST_CASE("A snapshot comes back as it was saved", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1", "Order", kTenant);
  s.Fill(stream, 9);
  auto request = s.Of(stream, 7, 1, 3);
  request.set_state("{\"b\":1,   \"a\":[2]}");
  const auto saved = s.MustSave(request);
  CHECK(saved.saved());
  CHECK(saved.newest_version() == 7);
  const auto got = s.Get(stream);
  REQUIRE(got.ok());
  const v1::Snapshot& snapshot = got->snapshot();
  CHECK(snapshot.stream().SerializeAsString() == stream.SerializeAsString());
  CHECK(snapshot.version() == 7);
  CHECK(snapshot.schema_version() == 3);
  CHECK(snapshot.content_type() == "application/json");
  CHECK(snapshot.state() == "{\"a\": [2], \"b\": 1}");
  CHECK(snapshot.size_bytes() == static_cast<std::int64_t>(request.state().size()));
  CHECK(SelectInt(*s.sql,
                  "SELECT (abs(extract(epoch FROM now() - created_at)) < 60)::int::bigint"
                  " FROM snapshots") == 1);
  CHECK(snapshot.created_at().seconds() > 0);
}

TEST_CASE("A state that is not JSON comes back byte for byte", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 1);
  auto request = s.Of(stream, 1);
  std::string bytes;
  for (int i = 0; i < 70'000; ++i) bytes.push_back(static_cast<char>(i % 251));
  for (const std::string& state : {bytes, std::string(), std::string("\0\xff\\x41", 6)}) {
    request.set_state(state);
    request.set_content_type("application/x-protobuf");
    CHECK(s.MustSave(request).saved());
    const auto got = s.Get(stream);
    REQUIRE(got.ok());
    CHECK(got->snapshot().state() == state);
    CHECK(got->snapshot().content_type() == "application/x-protobuf");
    const auto page = s.ReadFrom(stream);
    REQUIRE(page.ok());
    REQUIRE(page->snapshot.has_value());
    CHECK(page->snapshot->state() == state);
  }
  // And JSON by another name is JSON with that name.
  request = s.Of(stream, 1);
  request.set_content_type("application/vnd.order+json");
  s.MustSave(request);
  CHECK(s.Get(stream)->snapshot().content_type() == "application/vnd.order+json");
  CHECK(s.Get(stream)->snapshot().state() == "{\"version\": 1}");
}

TEST_CASE("A snapshot never replaces one of a newer version", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 9);
  CHECK(s.MustSave(s.Of(stream, 7)).saved());
  const auto older = s.MustSave(s.Of(stream, 6));
  CHECK_FALSE(older.saved());
  CHECK(older.newest_version() == 7);
  CHECK(s.VersionOf(stream) == 7);
  CHECK(s.Rows() == 1);
  const auto newer = s.MustSave(s.Of(stream, 8));
  CHECK(newer.saved());
  CHECK(newer.newest_version() == 8);
  CHECK(s.Rows() == 1);
}

TEST_CASE("A snapshot of the same version is replaced, also by another schema", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 9);
  s.MustSave(s.Of(stream, 7, 1, 2));
  auto again = s.Of(stream, 7, 1, 3);
  again.set_state("[7]");
  CHECK(s.MustSave(again).saved());
  CHECK(s.Rows() == 1);
  CHECK(s.Get(stream)->snapshot().state() == "[7]");
  CHECK(s.VersionOf(stream, 0, 2) == 0);
  CHECK(s.VersionOf(stream, 0, 3) == 7);
}

TEST_CASE("As many snapshots are kept as asked for, the newest ones", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 9);
  for (const std::int64_t version : {1, 5, 3, 7, 4}) {
    CHECK(s.MustSave(s.Of(stream, version, 3)).saved());
  }
  v1::ListSnapshotsRequest all;
  CHECK(s.List(all, 10) == std::vector<std::string>{"Order/1@4", "Order/1@5", "Order/1@7"});
  const auto too_old = s.MustSave(s.Of(stream, 2, 3));
  CHECK_FALSE(too_old.saved());
  CHECK(too_old.newest_version() == 7);
  // Keeping more takes it, keeping fewer drops the rest.
  CHECK(s.MustSave(s.Of(stream, 2, 4)).saved());
  CHECK(s.Rows() == 4);
  CHECK(s.MustSave(s.Of(stream, 8, 2)).saved());
  CHECK(s.List(all, 10) == std::vector<std::string>{"Order/1@7", "Order/1@8"});
}

TEST_CASE("A snapshot is fetched by version and by schema", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 9);
  s.MustSave(s.Of(stream, 3, 9, 1));
  s.MustSave(s.Of(stream, 5, 9, 2));
  s.MustSave(s.Of(stream, 7, 9, 1));
  CHECK(s.VersionOf(stream) == 7);
  CHECK(s.VersionOf(stream, 7) == 7);
  CHECK(s.VersionOf(stream, 6) == 5);
  CHECK(s.VersionOf(stream, 4) == 3);
  CHECK(s.VersionOf(stream, 2) == 0);
  CHECK(s.VersionOf(stream, 0, 2) == 5);
  CHECK(s.VersionOf(stream, 6, 1) == 3);
  CHECK(s.VersionOf(stream, 0, 3) == 0);
}

TEST_CASE("A snapshot beyond its stream is refused", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 3);
  const auto beyond = s.Save(s.Of(stream, 4));
  const v1::ErrorInfo detail = DetailOf(beyond.status());
  CHECK(detail.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(detail.field() == "version");
  CHECK(detail.message().find("at 3") != std::string::npos);
  CHECK(ReasonOf(s.Save(s.Of(Stream("2"), 1)).status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(s.Rows() == 0);
  CHECK(s.MustSave(s.Of(stream, 3)).saved());
}

TEST_CASE("A deleted stream takes and gives no snapshot", "[snapshots]") {
  Snapshotting s;
  const auto soft = Stream("soft");
  const auto hard = Stream("hard");
  for (const auto& stream : {soft, hard}) {
    s.Fill(stream, 3);
    s.MustSave(s.Of(stream, 2));
  }
  // Whoever deletes a stream deletes its snapshots too; one that was left behind is not given.
  Run(*s.sql,
      "UPDATE streams SET deleted_at = now() WHERE aggregate_id = 'soft';"
      "UPDATE streams SET tombstoned = true WHERE aggregate_id = 'hard'");
  CHECK(ReasonOf(s.Save(s.Of(soft, 3)).status()) == v1::ERROR_REASON_NOT_FOUND);
  const auto refused = s.Save(s.Of(hard, 3));
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_STREAM_DELETED);
  CHECK(DetailOf(refused.status()).stream().aggregate_id() == "hard");
  for (const auto& stream : {soft, hard}) {
    CHECK(s.VersionOf(stream) == 0);
    const auto page = s.ReadFrom(stream);
    REQUIRE(page.ok());
    CHECK_FALSE(page->info.exists());
    CHECK_FALSE(page->snapshot.has_value());
    CHECK(page->events.empty());
  }
}

TEST_CASE("A save that a deletion of its stream overtakes leaves nothing",
          "[snapshots][lifecycle]") {
  Snapshotting s;
  s.Fill(Stream("1"), 3);
  // Holds the save up after it has seen the stream, and before it has saved.
  const auto blocker = Connect(s.conninfo, "public");
  Run(*blocker,
      "BEGIN; INSERT INTO snapshots (aggregate_type, aggregate_id, version, state)"
      " VALUES ('Order', '1', 3, '{}')");
  auto save = std::async(std::launch::async, [&s] { return s.Save(s.Of(Stream("1"), 3)); });
  REQUIRE(Eventually([&s] {
    return SelectInt(*s.sql,
                     "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                     " AND datname = current_database()") == 1;
  }));
  v1::DeleteStreamRequest request;
  *request.mutable_stream() = Stream("1");
  request.mutable_expected_version()->mutable_any();
  const auto deleted = AwaitDone<v1::DeleteStreamResponse>([&](auto done) {
    s.engine().lifecycle().DeleteStream(request, Clock::now() + kPatience, std::move(done));
  });
  REQUIRE(deleted.ok());
  Run(*blocker, "ROLLBACK");
  CHECK(ReasonOf(save.get().status()) == v1::ERROR_REASON_NOT_FOUND);
  CHECK(s.Rows() == 0);
}

TEST_CASE("Of a truncated stream only a state that can be brought up to date counts",
          "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 9);
  s.MustSave(s.Of(stream, 3, 9));
  Run(*s.sql, "UPDATE streams SET first_version = 6");
  CHECK(s.VersionOf(stream) == 0);
  CHECK(VersionsOf(s.ReadFrom(stream)->events) == Versions{6, 7, 8, 9});
  const v1::ErrorInfo detail = DetailOf(s.Save(s.Of(stream, 4)).status());
  CHECK(detail.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(detail.field() == "version");
  CHECK(s.MustSave(s.Of(stream, 5, 9)).saved());
  const auto page = s.ReadFrom(stream);
  REQUIRE(page->snapshot.has_value());
  CHECK(page->snapshot->version() == 5);
  CHECK(VersionsOf(page->events) == Versions{6, 7, 8, 9});
}

TEST_CASE("Tenants' snapshots are apart", "[snapshots]") {
  Snapshotting s;
  const auto nobodys = Stream("1");
  const auto tenants = Stream("1", "Order", kTenant);
  s.Fill(nobodys, 5);
  s.Fill(tenants, 5);
  s.MustSave(s.Of(nobodys, 2));
  CHECK(s.VersionOf(tenants) == 0);
  CHECK_FALSE(s.ReadFrom(tenants)->snapshot.has_value());
  s.MustSave(s.Of(tenants, 4));
  CHECK(s.VersionOf(nobodys) == 2);
  v1::ListSnapshotsRequest list;
  CHECK(s.List(list, 1) == std::vector<std::string>{"Order/1@2", "0190Order/1@4"});
  list.set_tenant_id(kTenant);
  CHECK(s.List(list, 1) == std::vector<std::string>{"0190Order/1@4"});
  v1::DeleteSnapshotsRequest remove;
  *remove.mutable_stream() = nobodys;
  CHECK(s.Delete(remove) == 1);
  CHECK(s.VersionOf(tenants) == 4);
}

TEST_CASE("Snapshots are listed in order, page by page, whatever is asked for", "[snapshots]") {
  Snapshotting s;
  std::vector<std::string> every;
  for (const std::string tenant : {"", kTenant}) {
    for (const std::string type : {"Cart", "Order"}) {
      for (const std::string id : {"a", "a\nb", "b"}) {
        const auto stream = Stream(id, type, tenant);
        s.Fill(stream, 4);
        for (const std::int64_t version : {2, 4}) {
          s.MustSave(s.Of(stream, version, 9));
          every.push_back(tenant.substr(0, 4) + type + "/" + id + "@" + std::to_string(version));
        }
      }
    }
  }
  const auto those = [&every](const std::string& text) {
    std::vector<std::string> found;
    for (const std::string& name : every) {
      if (name.find(text) != std::string::npos) found.push_back(name);
    }
    return found;
  };
  for (const int page_size : {1, 3, 24, 100}) {
    INFO(page_size);
    v1::ListSnapshotsRequest list;
    CHECK(s.List(list, page_size) == every);
    list.set_aggregate_type("Order");
    CHECK(s.List(list, page_size) == those("Order"));
    list.set_aggregate_id("a\nb");
    CHECK(s.List(list, page_size) == those("Order/a\nb"));
    list.set_tenant_id(kTenant);
    CHECK(s.List(list, page_size) == those("0190Order/a\nb"));
    list.clear_aggregate_id();
    CHECK(s.List(list, page_size) == those("0190Order"));
    list.clear_aggregate_type();
    CHECK(s.List(list, page_size) == those("0190"));
  }
  v1::ListSnapshotsRequest list;
  list.set_page_size(1);
  list.set_page_token("bm9uc2Vuc2U");
  auto refused = AwaitDone<v1::ListSnapshotsResponse>([&](auto done) {
    s.engine().snapshots().ListSnapshots(list, Clock::now() + kPatience, std::move(done));
  });
  CHECK(DetailOf(refused.status()).field() == "page_token");
}

TEST_CASE("Snapshots are deleted by stream, and by type and schema", "[snapshots]") {
  Snapshotting s;
  for (const std::string tenant : {"", kTenant}) {
    for (const std::string type : {"Cart", "Order"}) {
      const auto stream = Stream("1", type, tenant);
      s.Fill(stream, 4);
      for (const int schema : {1, 2, 3}) s.MustSave(s.Of(stream, schema, 9, schema));
    }
  }
  v1::DeleteSnapshotsRequest request;
  request.set_aggregate_type("Order");
  request.set_schema_version_below(2);
  request.set_tenant_id(kTenant);
  CHECK(s.Delete(request) == 1);
  CHECK(s.Delete(request) == 0);
  request.clear_tenant_id();
  request.set_schema_version_below(3);
  CHECK(s.Delete(request) == 3);
  CHECK(s.VersionOf(Stream("1"), 2) == 0);
  CHECK(s.VersionOf(Stream("1")) == 3);
  *request.mutable_stream() = Stream("1", "Cart");
  CHECK(s.Delete(request) == 2);
  request.set_schema_version_below(0);
  CHECK(s.Delete(request) == 1);
  CHECK(s.VersionOf(Stream("1", "Cart", kTenant)) == 3);
}

TEST_CASE("A deletion of a type takes more than one statement's worth", "[snapshots]") {
  Snapshotting s;
  Run(*s.sql,
      "INSERT INTO snapshots (aggregate_id, aggregate_type, version, schema_version, state)"
      " SELECT 'x' || i, 'Order', 1, 1 + i % 2, '{}' FROM generate_series(1, 5000) i");
  v1::DeleteSnapshotsRequest request;
  request.set_aggregate_type("Order");
  request.set_schema_version_below(2);
  CHECK(s.Delete(request) == 2500);
  CHECK(s.Rows() == 2500);
}

TEST_CASE("Concurrent saves keep the newest, and no more than asked for", "[snapshots]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  Snapshotting s;
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5; ++round) {
    const auto stream = Stream("round" + std::to_string(round));
    s.Fill(stream, 60);
    const int keep = 1 + static_cast<int>(random() % 3);
    std::vector<std::int64_t> versions(60);
    for (int i = 0; i < 60; ++i) versions[static_cast<std::size_t>(i)] = i + 1;
    std::shuffle(versions.begin(), versions.end(), random);
    std::atomic<std::size_t> next{0};
    std::atomic<int> failures{0};
    std::vector<std::thread> savers;
    for (int i = 0; i < 4; ++i) {
      savers.emplace_back([&] {
        for (std::size_t at = next++; at < versions.size(); at = next++) {
          auto saved = s.Save(s.Of(stream, versions[at], keep));
          if (!saved.ok() || saved->newest_version() < versions[at]) ++failures;
        }
      });
    }
    for (std::thread& saver : savers) saver.join();
    CHECK(failures == 0);
    v1::ListSnapshotsRequest list;
    list.set_aggregate_type("Order");
    list.set_aggregate_id(stream.aggregate_id());
    std::vector<std::string> newest;
    for (int version = 61 - keep; version <= 60; ++version) {
      newest.push_back("Order/" + stream.aggregate_id() + "@" + std::to_string(version));
    }
    CHECK(s.List(list, 100) == newest);
  }
}

TEST_CASE("Saving a snapshot waits for no append, and no append for it", "[snapshots]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 3);
  {
    // A batch that holds the head and the stream's row.
    HeadLock lock(s.conninfo);
    auto holder = Connect(s.conninfo, "public");
    REQUIRE(holder
                ->RunScript("BEGIN; UPDATE streams SET updated_at = updated_at",
                            Clock::now() + kPatience)
                .ok());
    CHECK(s.MustSave(s.Of(stream, 2)).saved());
    REQUIRE(holder->RunScript("ROLLBACK", Clock::now() + kPatience).ok());
    lock.Release();
  }
  // A save that waits in the middle of its transaction holds up no append to its stream.
  auto other = Connect(s.conninfo, "public");
  REQUIRE(other
              ->RunScript("BEGIN; INSERT INTO snapshots (aggregate_id, aggregate_type, version,"
                          " state) VALUES ('1', 'Order', 3, '{}')",
                          Clock::now() + kPatience)
              .ok());
  absl::StatusOr<v1::SaveSnapshotResponse> saved;
  std::thread saver([&] { saved = s.Save(s.Of(stream, 3)); });
  const auto deadline = Clock::now() + kPatience;
  while (SelectInt(*s.sql,
                   "SELECT count(*) FROM pg_stat_activity WHERE datname ="
                   " current_database() AND wait_event_type = 'Lock'") == 0 &&
         Clock::now() < deadline) {
  }
  s.Fill(stream, 1);
  CHECK(other->RunScript("ROLLBACK", Clock::now() + kPatience).ok());
  saver.join();
  REQUIRE(saved.ok());
  CHECK(saved->saved());
  CHECK(s.VersionOf(stream) == 3);
}

// What a statement reads of the two tables.
std::int64_t RowsRead(pg::Connection& sql, const std::function<absl::Status()>& run) {
  // What this session did and has not reported yet, so the difference is what was done here.
  const auto count = [&sql] {
    return SelectInt(
        sql,
        "SELECT (coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0))::bigint"
        " FROM pg_stat_xact_user_tables WHERE relname IN ('snapshots', 'streams')");
  };
  Run(sql, "BEGIN");
  const std::int64_t before = count();
  REQUIRE(run().ok());
  const std::int64_t rows = count() - before;
  Run(sql, "ROLLBACK");
  return rows;
}

TEST_CASE("Each statement on snapshots reads what it is asked for", "[snapshots][plans]") {
  Snapshotting s;
  Run(*s.sql,
      "ALTER TABLE streams SET (autovacuum_enabled = off);"
      "ALTER TABLE snapshots SET (autovacuum_enabled = off);"
      "INSERT INTO streams (aggregate_type, aggregate_id, version, first_position, last_position,"
      " created_at, updated_at) SELECT 'T' || i % 50, 'x' || i, 9, 1, 9, now(), now()"
      " FROM generate_series(1, 20000) i;"
      "INSERT INTO snapshots (aggregate_id, aggregate_type, version, schema_version, state)"
      " SELECT 'x' || i, 'T' || i % 50, 5, 1 + i / 50 % 40, '{}' FROM generate_series(1, 20000) i;"
      "SET enable_seqscan = off");
  const auto stream = Stream("x101", "T1");
  for (const bool analyzed : {false, true}) {
    INFO("analyzed: " << analyzed);
    if (analyzed) Run(*s.sql, "ANALYZE streams; ANALYZE snapshots");
    CHECK(RowsRead(*s.sql, [&] {
            return tables::SaveSnapshot(*s.sql, s.Of(stream, 7), In(kPatience)).status();
          }) <= 12);
    CHECK(RowsRead(*s.sql, [&] {
            v1::GetSnapshotRequest request;
            *request.mutable_stream() = stream;
            return tables::GetSnapshot(*s.sql, request, In(kPatience)).status();
          }) <= 4);
    CHECK(RowsRead(*s.sql, [&] {
            tables::StreamWindow window;
            window.stream = &stream;
            return tables::ReadStreamFromSnapshot(*s.sql, window, 0, In(kPatience)).status();
          }) <= 4);
    // Without statistics the planner may sort what the type has, of all that there is.
    CHECK(RowsRead(*s.sql, [&] {
            v1::ListSnapshotsRequest request;
            request.set_aggregate_type("T1");
            request.set_page_size(10);
            return tables::ListSnapshots(*s.sql, request, In(kPatience)).status();
          }) <= (analyzed ? 12 : 400));
    CHECK(RowsRead(*s.sql, [&] {
            v1::DeleteSnapshotsRequest request;
            request.set_aggregate_type("T1");
            request.set_schema_version_below(2);
            auto deleted = tables::DeleteSnapshots(*s.sql, request, In(kPatience));
            CHECK(deleted->deleted() == 10);
            return deleted.status();
          }) <= 60);
  }
}

}  // namespace
}  // namespace eventstore::engine
