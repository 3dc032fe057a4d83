// Reading history, page by page.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::engine {
namespace {

using namespace eventstore::testing;

v1::AppendEventsResponse Must(const Answer& answer) {
  INFO(telemetry::MessageOf(answer.status()));
  REQUIRE(answer.ok());
  return *answer;
}

// A page that must be there.
template <typename Query>
auto MustRead(Store& store, const Query& query) {
  auto page = ReadPage(store, query);
  INFO(telemetry::MessageOf(page.status()));
  REQUIRE(page.ok());
  return *std::move(page);
}

// From the first to the last, downwards where that is the lower one.
std::vector<std::int64_t> Numbers(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> numbers;
  const std::int64_t step = first <= last ? 1 : -1;
  for (std::int64_t n = first; n != last + step; n += step) numbers.push_back(n);
  return numbers;
}

std::vector<std::int64_t> Versions(const std::vector<v1::Event>& events) {
  std::vector<std::int64_t> versions;
  for (const v1::Event& event : events) versions.push_back(event.version());
  return versions;
}

TEST_CASE("Pages of the store end at their limits, and the read at the head of its start",
          "[read]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_events_max = 10;
  TestStore store(options);
  CHECK(MustRead(*store, AllPageQuery{}).at_end);  // the empty store
  AllPageQuery query;
  query.backwards = true;
  CHECK(MustRead(*store, query).at_end);
  Must(Append(*store, Stream("s"), Any(), NewIds(35)));

  query = AllPageQuery();
  AllPage page = MustRead(*store, query);
  CHECK(Positions(page.events) == Numbers(1, 10));
  CHECK(page.position == 10);
  CHECK(page.head.position == 35);
  CHECK(page.head.epoch == 1);
  CHECK_FALSE(page.at_end);
  Must(Append(*store, Stream("s"), Any(), NewIds(5)));
  query.after_position = 30;
  query.end_position = 35;
  page = MustRead(*store, query);
  CHECK(Positions(page.events) == Numbers(31, 35));
  CHECK(page.head.position == 40);
  CHECK(page.position == 35);
  CHECK(page.at_end);

  query = AllPageQuery();
  query.limit = 23;
  CHECK(Positions(ReadAll(*store, query)) == Numbers(1, 23));
  query.backwards = true;
  CHECK(Positions(ReadAll(*store, query)) == Numbers(40, 18));
  query.limit = 0;
  query.after_position = 8;
  CHECK(Positions(ReadAll(*store, query)) == Numbers(7, 1));
  query.after_position = 1;
  CHECK(ReadAll(*store, query).empty());
  query.after_position = 41;  // before the position after the last one: all of it
  CHECK(ReadAll(*store, query).size() == 40);
  query.after_position = 42;
  CHECK(ReasonOf(ReadPage(*store, query).status()) == v1::ERROR_REASON_POSITION_AHEAD);
}

TEST_CASE("A page has looked no further than the head of its own snapshot", "[read]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  Must(Append(*store, Stream("s"), Any(), NewIds(7)));
  AllPageQuery query;
  CHECK(MustRead(*store, query).position == 7);  // its limit lies far beyond
  v1::Filter filter;
  filter.add_event_types("Never");
  query.filter = *EventFilter::Make(filter, "filter", Limits());
  CHECK(MustRead(*store, query).position == 7);
  // Whoever goes on from there misses nothing.
  Must(Append(*store, Stream("s"), Any(), NewIds(3)));
  query.filter = nullptr;
  query.after_position = 7;
  CHECK(Positions(MustRead(*store, query).events) == Numbers(8, 10));
}

TEST_CASE("A page has at most its bytes, and always an event", "[read][bounds]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_bytes_max = 20'000;
  TestStore store(options);
  auto request = Request(Stream("s"), Any(), NewIds(40));
  for (int i = 0; i < 40; ++i) {
    const std::size_t size = i == 20 ? 100'000 : 3'000;
    request.mutable_events(i)->set_payload('"' + std::string(size, 'x') + '"');
  }
  Must(Append(*store, request));
  for (const bool filtered : {false, true}) {
    AllPageQuery query;
    if (filtered) {
      v1::Filter filter;
      filter.add_event_types("Happened");
      query.filter = *EventFilter::Make(filter, "filter", Limits());
    }
    std::vector<std::int64_t> positions;
    for (bool at_end = false; !at_end;) {
      const AllPage page = MustRead(*store, query);
      std::size_t bytes = 0;
      for (const v1::Event& event : page.events) bytes += event.payload().size();
      REQUIRE_FALSE(page.events.empty());
      // No more than one event beyond it.
      CHECK(bytes - page.events.back().payload().size() < 20'000);
      for (const std::int64_t position : Positions(page.events)) positions.push_back(position);
      query.after_position = page.position;
      at_end = page.at_end;
    }
    CHECK(positions == Numbers(1, 40));
  }
  CHECK(Versions(ReadStream(*store, Stream("s"))) == Numbers(1, 40));
  CHECK(Versions(ReadStream(*store, Stream("s"), /*backwards=*/true)) == Numbers(40, 1));
}

TEST_CASE("Large events anywhere in a stream of small ones come in their place", "[read][bounds]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_bytes_max = 64 * 400;  // an event over 400 bytes is large
  TestStore store(options);
  std::string large_payload(1'002, 'x');
  large_payload.front() = large_payload.back() = '"';
  const std::vector<std::vector<int>> large_at = {{}, {1}, {150}, {1, 2, 3, 75, 149, 150}};
  for (std::size_t n = 0; n < large_at.size(); ++n) {
    const v1::StreamId stream = Stream("s" + std::to_string(n));
    auto request = Request(stream, Any(), NewIds(150));
    for (const int version : large_at[n]) {
      request.mutable_events(version - 1)->set_payload(large_payload);
    }
    Must(Append(*store, request));
    for (const bool backwards : {false, true}) {
      StreamPageQuery query;
      query.stream = stream;
      query.backwards = backwards;
      std::vector<std::int64_t> versions;
      do {
        const StreamPage page = MustRead(*store, query);
        REQUIRE_FALSE(page.events.empty());
        for (const v1::Event& event : page.events) {
          const bool large =
              std::count(large_at[n].begin(), large_at[n].end(), event.version()) > 0;
          CHECK((event.payload().size() > 1'000) == large);
          versions.push_back(event.version());
        }
        query.from_version = page.next_version;
      } while (query.from_version != 0);
      CHECK(versions == (backwards ? Numbers(150, 1) : Numbers(1, 150)));
    }
    StreamPageQuery query;
    query.stream = stream;
    query.from_version = 74;
    query.to_version = 77;
    CHECK(Versions(ReadStream(*store, stream)).size() == 150);
    std::vector<std::int64_t> versions;
    do {
      const StreamPage page = MustRead(*store, query);
      for (const std::int64_t version : Versions(page.events)) versions.push_back(version);
      query.from_version = page.next_version;
    } while (query.from_version != 0);
    CHECK(versions == Numbers(74, 77));
  }
}

TEST_CASE("A stream is read forwards, backwards, from the middle and from past its end", "[read]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_events_max = 4;
  TestStore store(options);
  for (int i = 0; i < 10; ++i) {
    Must(Append(*store, Stream("s"), Any(), NewIds(1)));
    Must(Append(*store, Stream("other"), Any(), NewIds(1)));
  }
  CHECK(Versions(ReadStream(*store, Stream("s"))) == Numbers(1, 10));
  CHECK(Versions(ReadStream(*store, Stream("s"), true)) == Numbers(10, 1));
  StreamPageQuery query;
  query.stream = Stream("s");
  const auto versions = [&] { return Versions(MustRead(*store, query).events); };
  query.from_version = 5;
  query.limit = 3;
  CHECK(versions() == Numbers(5, 7));
  CHECK(MustRead(*store, query).next_version == 0);
  query.limit = 0;
  query.to_version = 6;
  CHECK(versions() == Numbers(5, 6));
  query.to_version = 0;
  query.from_version = 11;
  CHECK(versions().empty());
  query.from_version = 99;
  query.backwards = true;
  CHECK(versions() == Numbers(10, 7));
  CHECK(MustRead(*store, query).next_version == 6);
  query.from_version = 3;
  query.to_version = 2;
  CHECK(versions() == Numbers(3, 2));
  CHECK(MustRead(*store, query).next_version == 0);
  // A stream that is not there is no error.
  query = StreamPageQuery();
  query.stream = Stream("missing");
  const StreamPage missing = MustRead(*store, query);
  CHECK_FALSE(missing.info.exists());
  CHECK(missing.info.version() == 0);
  CHECK(missing.events.empty());
  CHECK(missing.next_version == 0);
  query.stream = Stream("s");
  const v1::StreamInfo info = MustRead(*store, query).info;
  CHECK(info.exists());
  CHECK(info.version() == 10);
  CHECK(info.first_version() == 1);
  CHECK(info.has_created_at());
  // Events beyond the head of the start are not shown.
  query.end_position = 7;
  CHECK(versions() == Numbers(1, 4));
}

TEST_CASE("Time windows hold their first moment and not their last", "[read]") {
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_events_max = 3;
  options.reader.window_positions = 5;
  TestStore store(options);
  auto request = Request(Stream("s"), Any(), NewIds(30));
  for (int i = 0; i < 30; ++i) {
    request.mutable_events(i)->mutable_timestamp()->set_seconds(1000 + 10 * i);
  }
  Must(Append(*store, request));
  constexpr std::int64_t kSecond = 1'000'000;
  for (const bool backwards : {false, true}) {
    AllPageQuery all;
    all.backwards = backwards;
    all.from_timestamp_micros = 1100 * kSecond;
    all.to_timestamp_micros = 1200 * kSecond;
    const auto expected = backwards ? Numbers(20, 11) : Numbers(11, 20);
    CHECK(Positions(ReadAll(*store, all)) == expected);
    StreamPageQuery stream;
    stream.stream = Stream("s");
    stream.backwards = backwards;
    stream.from_timestamp_micros = all.from_timestamp_micros;
    stream.to_timestamp_micros = all.to_timestamp_micros;
    std::vector<std::int64_t> versions;
    do {
      const StreamPage page = MustRead(*store, stream);
      for (const v1::Event& event : page.events) versions.push_back(event.version());
      stream.from_version = page.next_version;
    } while (stream.from_version != 0);
    CHECK(versions == expected);
  }
}

// A filter of random fields over the vocabulary of RandomEvents.
v1::Filter RandomFilter(std::mt19937_64& random, const std::vector<std::string>& tenants) {
  v1::Filter filter;
  const auto digit = [&](int n) { return std::to_string(random() % static_cast<unsigned>(n)); };
  if (random() % 3 == 0) filter.add_aggregate_types("T" + digit(3));
  if (random() % 3 == 0) {
    filter.add_event_types("E" + digit(12));
    filter.add_event_types("E" + digit(12));
  }
  if (random() % 3 == 0) filter.add_event_type_prefixes("E" + digit(4));
  if (random() % 4 == 0) filter.add_aggregate_id_prefixes("a%_" + digit(2));
  for (auto n = random() % 3; n > 0 && random() % 2 == 0; --n) filter.add_tags("t" + digit(3));
  if (random() % 4 == 0) filter.set_tenant_id(tenants[random() % tenants.size()]);
  if (random() % 4 == 0) filter.set_event_type_regex("[" + digit(5) + "-" + digit(5) + "5-9]$");
  return filter;
}

TEST_CASE("Filters in SQL and in memory choose the same events", "[read][random]") {
  const std::uint64_t seed = TestSeed();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  StoreOptions options = SmallOptions(CreateStoreDatabase());
  options.reader.page_events_max = 20;
  options.reader.window_positions = 70;
  TestStore store(options);
  const std::vector<std::string> tenants = NewIds(2);
  for (int i = 0; i < 60; ++i) {
    const auto n = random();
    auto request = Request(Stream("a%_" + std::to_string(n % 30), "T" + std::to_string(n % 3),
                                  n % 2 == 0 ? tenants[n % 4 / 2] : ""),
                           Any(), NewIds(10));
    for (v1::NewEvent& event : *request.mutable_events()) {
      event.set_event_type("E" + std::to_string(random() % 12));
      for (auto tags = random() % 3; tags > 0; --tags) {
        event.add_tags("t" + std::to_string(random() % 3));
      }
    }
    Must(Append(*store, request));
  }
  const std::vector<v1::Event> all = ReadAll(*store);
  REQUIRE(all.size() == 600);
  std::size_t matched = 0;
  for (int i = 0; i < 60; ++i) {
    AllPageQuery query;
    query.backwards = random() % 2 == 0;
    query.limit = random() % 2 == 0 ? 0 : 1 + static_cast<std::int64_t>(random() % 60);
    const auto filter = EventFilter::Make(RandomFilter(random, tenants), "filter", Limits());
    if (!filter.ok()) continue;  // a range such as [3-1]
    query.filter = *filter;
    std::vector<std::int64_t> expected;
    for (const v1::Event& event : all) {
      if (query.filter->Matches(event)) expected.push_back(event.global_position());
    }
    if (query.backwards) std::reverse(expected.begin(), expected.end());
    if (query.limit > 0 && static_cast<std::int64_t>(expected.size()) > query.limit) {
      expected.resize(static_cast<std::size_t>(query.limit));
    }
    matched += expected.size();
    INFO(query.filter->proto().ShortDebugString());
    CHECK(Positions(ReadAll(*store, query)) == expected);
  }
  CHECK(matched > 0);
}

TEST_CASE("What was archived is said to be, and replays of it are answered still",
          "[read][archive]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.partitions.size_events = 10;
  options.partitions.size_events_max = 10;
  options.partitions.ahead_min = 5;
  options.partitions.lead_seconds = std::chrono::seconds(0);
  TestStore store(options);
  const auto ids = NewIds(10);
  Must(Append(*store, Stream("old"), Any(), ids));
  Must(Append(*store, Stream("old"), Any(), NewIds(5)));
  Must(Append(*store, Stream("new"), Any(), NewIds(5)));
  const auto sql = Connect(conninfo, "public");
  Run(*sql,
      "BEGIN; SELECT FROM log_head FOR UPDATE; ALTER TABLE events DETACH PARTITION events_p1;"
      "UPDATE log_head SET first_position = 11; COMMIT");
  const auto check = [&](const absl::Status& status) {
    CHECK(ReasonOf(status) == v1::ERROR_REASON_ARCHIVED);
    CHECK(DetailOf(status).position() == 11);
  };
  AllPageQuery query;
  check(ReadPage(*store, query).status());
  query.after_position = 9;
  check(ReadPage(*store, query).status());
  query.after_position = 10;
  CHECK(Positions(MustRead(*store, query).events) == Numbers(11, 20));
  query = AllPageQuery();
  query.backwards = true;
  CHECK(Positions(ReadAll(*store, query)) == Numbers(20, 11));
  StreamPageQuery stream;
  stream.stream = Stream("old");
  check(ReadPage(*store, stream).status());
  stream.from_version = 11;
  CHECK(Versions(MustRead(*store, stream).events) == Numbers(11, 15));
  CHECK(ReadStream(*store, Stream("new")).size() == 5);
  v1::GetEventRequest get;
  get.set_event_id(ids[3]);
  check(AwaitDone<v1::Event>([&](Done<v1::Event> done) {
          store->reader().GetEvent(get, In(kPatience), std::move(done));
        }).status());
  check(AwaitDone<tables::Head>([&](Done<tables::Head> done) {
          store->reader().CheckStart(5, 1, true, In(kPatience), std::move(done));
        }).status());
  const auto replay = Must(Append(*store, Stream("old"), NoStream(), ids));
  CHECK(replay.deduplicated());
  CHECK(replay.last_position() == 10);
}

TEST_CASE("A full read queue refuses with OVERLOADED and names its limit", "[read][bounds]") {
  const std::string conninfo = CreateStoreDatabase();
  StoreOptions options = SmallOptions(conninfo);
  options.reader.threads = 1;
  options.reader.queue_requests_max = 2;
  TestStore store(options);
  const auto sql = Connect(conninfo, "public");
  Run(*sql, "BEGIN; LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE");
  std::vector<std::future<absl::StatusOr<AllPage>>> waiting;
  const auto start = [&] {
    auto promise = std::make_shared<std::promise<absl::StatusOr<AllPage>>>();
    auto future = promise->get_future();
    store->reader().ReadAllPage({}, In(kPatience), [promise](absl::StatusOr<AllPage> page) {
      promise->set_value(std::move(page));
    });
    return future;
  };
  waiting.push_back(start());
  const auto observer = Connect(conninfo);
  REQUIRE(Eventually([&] {
    return SelectInt(*observer,
                     "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type ="
                     " 'Lock' AND query LIKE '%LATERAL%'") == 1;
  }));
  for (int i = 0; i < 2; ++i) waiting.push_back(start());
  auto refused = start();
  REQUIRE(refused.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  const v1::ErrorInfo detail = DetailOf(refused.get().status());
  CHECK(detail.reason() == v1::ERROR_REASON_OVERLOADED);
  CHECK(detail.limit_name() == "reader.queue_requests_max");
  CHECK(detail.limit() == 2);
  Run(*sql, "COMMIT");
  for (auto& page : waiting) {
    REQUIRE(page.wait_for(kPatience) == std::future_status::ready);
    CHECK(page.get().ok());
  }
}

TEST_CASE("Reads in flight survive the loss of their connections", "[read]") {
  const std::string conninfo = CreateStoreDatabase();
  TestStore store(SmallOptions(conninfo));
  Must(Append(*store, Stream("s"), Any(), NewIds(5)));
  const auto sql = Connect(conninfo, "public");
  for (int i = 0; i < 5; ++i) {
    Run(*sql,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
        " current_database() AND pid <> pg_backend_pid()");
    CHECK(ReadAll(*store).size() == 5);
  }
}

TEST_CASE("Streams are listed page by page, by tenant, type and prefix", "[read]") {
  TestStore store(SmallOptions(CreateStoreDatabase()));
  const std::string tenant = NewId();
  for (const char* id : {"b2", "a1", "b1", "B"}) {
    Must(Append(*store, Stream(id, "Order", tenant), Any(), NewIds(2)));
    Must(Append(*store, Stream(id, "Cart"), Any(), NewIds(1)));
  }
  const auto list = [&](v1::ListStreamsRequest request) {
    std::vector<std::string> ids;
    for (int pages = 0; pages < 20; ++pages) {
      const auto response =
          AwaitDone<v1::ListStreamsResponse>([&](Done<v1::ListStreamsResponse> done) {
            store->reader().ListStreams(request, In(kPatience), std::move(done));
          });
      REQUIRE(response.ok());
      CHECK(response->streams_size() <= request.page_size());
      for (const v1::StreamInfo& info : response->streams()) {
        CHECK(info.exists());
        CHECK(info.version() == (info.stream().tenant_id().empty() ? 1 : 2));
        ids.push_back(info.stream().aggregate_type() + "/" + info.stream().aggregate_id());
      }
      if (response->next_page_token().empty()) return ids;
      request.set_page_token(response->next_page_token());
    }
    FAIL("the pages do not end");
    return ids;
  };
  using Ids = std::vector<std::string>;
  v1::ListStreamsRequest request;
  request.set_page_size(3);
  CHECK(list(request) == Ids{"Cart/B", "Cart/a1", "Cart/b1", "Cart/b2", "Order/B", "Order/a1",
                             "Order/b1", "Order/b2"});
  request.set_aggregate_type("Order");
  CHECK(list(request) == Ids{"Order/B", "Order/a1", "Order/b1", "Order/b2"});
  request.set_tenant_id(tenant);
  CHECK(list(request) == Ids{"Order/B", "Order/a1", "Order/b1", "Order/b2"});
  request.set_aggregate_id_prefix("b");
  request.set_page_size(1);
  CHECK(list(request) == Ids{"Order/b1", "Order/b2"});
  request.set_aggregate_type("Cart");
  CHECK(list(request).empty());
  request.set_page_token("not a token!");
  const auto refused = AwaitDone<v1::ListStreamsResponse>([&](Done<v1::ListStreamsResponse> done) {
    store->reader().ListStreams(request, In(kPatience), std::move(done));
  });
  CHECK(ReasonOf(refused.status()) == v1::ERROR_REASON_INVALID_REQUEST);
}

}  // namespace
}  // namespace eventstore::engine
