// Reads that start from a snapshot, on a real PostgreSQL.
#include <atomic>
#include <thread>

#include "tests/integration/engine/snapshotting.h"

namespace eventstore::engine {
namespace {

TEST_CASE("A read from a snapshot gives it and the events after it", "[snapshots][read]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 6);
  s.Fill(Stream("2"), 3);
  s.MustSave(s.Of(stream, 2, 9, 1));
  s.MustSave(s.Of(stream, 4, 9, 2));
  auto page = s.ReadFrom(stream);
  REQUIRE(page.ok());
  REQUIRE(page->snapshot.has_value());
  CHECK(page->snapshot->version() == 4);
  CHECK(page->snapshot->state() == "{\"version\": 4}");
  CHECK(page->snapshot->stream().aggregate_id() == "1");
  CHECK(VersionsOf(page->events) == Versions{5, 6});
  CHECK(page->info.version() == 6);
  CHECK(page->next_version == 0);
  SECTION("One of another schema is passed over") {
    page = s.ReadFrom(stream, 1);
    CHECK(page->snapshot->version() == 2);
    CHECK(VersionsOf(page->events) == Versions{3, 4, 5, 6});
  }
  SECTION("Where none fits, the whole stream comes") {
    page = s.ReadFrom(stream, 3);
    CHECK_FALSE(page->snapshot.has_value());
    CHECK(VersionsOf(page->events) == Versions{1, 2, 3, 4, 5, 6});
    page = s.ReadFrom(Stream("2"));
    CHECK_FALSE(page->snapshot.has_value());
    CHECK(VersionsOf(page->events) == Versions{1, 2, 3});
  }
  SECTION("One of the newest version has nothing after it") {
    s.MustSave(s.Of(stream, 6));
    page = s.ReadFrom(stream);
    REQUIRE(page->snapshot.has_value());
    CHECK(page->snapshot->version() == 6);
    CHECK(page->events.empty());
    CHECK(page->info.version() == 6);
    CHECK(page->next_version == 0);
  }
  SECTION("A read up to a version takes none beyond it") {
    page = s.ReadFrom(stream, 0, 3);
    CHECK(page->snapshot->version() == 2);
    CHECK(VersionsOf(page->events) == Versions{3});
    page = s.ReadFrom(stream, 0, 4);
    CHECK(page->snapshot->version() == 4);
    CHECK(page->events.empty());
    page = s.ReadFrom(stream, 0, 1);
    CHECK_FALSE(page->snapshot.has_value());
    CHECK(VersionsOf(page->events) == Versions{1});
  }
  SECTION("A stream that is missing has neither") {
    page = s.ReadFrom(Stream("none"));
    REQUIRE(page.ok());
    CHECK_FALSE(page->info.exists());
    CHECK_FALSE(page->snapshot.has_value());
    CHECK(page->events.empty());
  }
}

TEST_CASE("The tail of a snapshot goes on over pages", "[snapshots][read]") {
  Snapshotting s([](StoreOptions* options) { options->reader.page_events_max = 3; });
  const auto stream = Stream("1");
  s.Fill(stream, 12);
  s.MustSave(s.Of(stream, 4));
  StreamPageQuery query;
  query.stream = stream;
  query.from_snapshot = true;
  auto page = ReadPage(s.engine(), query);
  REQUIRE(page.ok());
  CHECK(page->snapshot.has_value());
  Versions versions = VersionsOf(page->events);
  CHECK(versions.size() == 3);
  query.from_snapshot = false;
  query.end_position = page->head.position;
  while (page->next_version != 0) {
    query.from_version = page->next_version;
    page = ReadPage(s.engine(), query);
    REQUIRE(page.ok());
    CHECK_FALSE(page->snapshot.has_value());
    for (const std::int64_t version : VersionsOf(page->events)) versions.push_back(version);
  }
  CHECK(versions == Versions{5, 6, 7, 8, 9, 10, 11, 12});
}

TEST_CASE("A snapshot stands for events that were archived", "[snapshots][read]") {
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 8);
  s.MustSave(s.Of(stream, 5));
  Run(*s.sql,
      "DELETE FROM events WHERE global_position <= 5;"
      "UPDATE log_head SET first_position = 6");
  const auto page = s.ReadFrom(stream);
  INFO(page.status());
  REQUIRE(page.ok());
  CHECK(page->snapshot->version() == 5);
  CHECK(VersionsOf(page->events) == Versions{6, 7, 8});
  // Without one, or with one that is too old, the gap is told.
  CHECK(ReasonOf(s.ReadFrom(stream, 2).status()) == v1::ERROR_REASON_ARCHIVED);
  Run(*s.sql, "UPDATE snapshots SET version = 4");
  CHECK(ReasonOf(s.ReadFrom(stream).status()) == v1::ERROR_REASON_ARCHIVED);
}

TEST_CASE("Snapshot and tail fit while both are written", "[snapshots][read]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  Snapshotting s;
  const auto stream = Stream("1");
  s.Fill(stream, 5);
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::thread writer([&, random = std::mt19937_64(seed)]() mutable {
    std::int64_t version = 5;
    while (!stop) {
      const int count = 1 + static_cast<int>(random() % 3);
      if (!Append(s.engine(), Request(stream, Exact(version), NewIds(count))).ok()) ++failures;
      version += count;
      // Of the newest event, so that a read that saw it without its event would show a gap.
      if (!s.Save(s.Of(stream, version)).ok()) ++failures;
    }
  });
  std::int64_t before = 0;
  for (int i = 0; i < 300; ++i) {
    const auto page = s.ReadFrom(stream);
    REQUIRE(page.ok());
    std::int64_t next = page->snapshot.has_value() ? page->snapshot->version() + 1 : 1;
    for (const v1::Event& event : page->events) CHECK(event.version() == next++);
    CHECK(next - 1 == page->info.version());
    CHECK(page->info.version() >= before);
    before = page->info.version();
  }
  stop = true;
  writer.join();
  CHECK(failures == 0);
}

}  // namespace
}  // namespace eventstore::engine
