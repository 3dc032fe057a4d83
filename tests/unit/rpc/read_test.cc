// ReadStream and ReadAll: pages become messages.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr std::int64_t kPage = 3;

// Serves a store of `head` events in pages of three, forwards. It grows by ten with each page read,
// which no read may notice.
void ServeAll(FakeBackend* backend, std::int64_t head, std::size_t payload_bytes = 2) {
  auto grown = std::make_shared<std::atomic<std::int64_t>>(head);
  backend->all_page = [grown, payload_bytes](const engine::AllPageQuery& query) {
    engine::AllPage page;
    page.head.position = grown->fetch_add(10);
    page.head.epoch = 4;
    std::int64_t end = query.end_position == 0 ? page.head.position : query.end_position;
    std::int64_t to = std::min(end, query.after_position + kPage);
    if (query.limit > 0) to = std::min(to, query.after_position + query.limit);
    for (std::int64_t i = query.after_position + 1; i <= to; ++i) {
      page.events.push_back(StoredEvent(i, payload_bytes));
    }
    page.position = to;
    page.at_end = to == end;
    return page;
  };
}

struct ReadAllResult {
  std::vector<v1::ReadAllResponse> messages;
  grpc::Status status;
};

ReadAllResult ReadAll(TestServer& server, const v1::ReadAllRequest& request) {
  ReadAllResult result;
  const auto context = NewContext();
  const auto reader = server.stub->ReadAll(context.get(), request);
  v1::ReadAllResponse response;
  while (reader->Read(&response)) result.messages.push_back(response);
  result.status = reader->Finish();
  return result;
}

std::vector<std::int64_t> PositionsOf(const std::vector<v1::ReadAllResponse>& messages) {
  std::vector<std::int64_t> positions;
  for (const auto& message : messages) {
    for (const v1::Event& event : message.events().events()) {
      positions.push_back(event.global_position());
    }
  }
  return positions;
}

}  // namespace

TEST_CASE("ReadAll joins pages and ends at the head of its start") {
  TestServer server;
  ServeAll(server.backend.get(), 8);
  const ReadAllResult result = ReadAll(server, {});
  REQUIRE(result.status.ok());
  CHECK(PositionsOf(result.messages) == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8});
  for (const auto& message : result.messages) {
    CHECK(message.head_position() == 8);
    CHECK(message.events().epoch() == 4);
  }
  CHECK(result.messages.back().events().position() == 8);
}

TEST_CASE("ReadAll stops at its limit, also where a page ends there") {
  for (const std::int64_t limit : {1, 3, 5, 6}) {
    TestServer server;
    ServeAll(server.backend.get(), 8);
    v1::ReadAllRequest request;
    request.set_limit(limit);
    request.set_after_position(1);
    const ReadAllResult result = ReadAll(server, request);
    REQUIRE(result.status.ok());
    const auto positions = PositionsOf(result.messages);
    CHECK(positions.size() == static_cast<std::size_t>(limit));
    CHECK(positions.front() == 2);
  }
}

TEST_CASE("ReadAll tells the head even where nothing matches") {
  TestServer server;
  server.backend->all_page = [](const engine::AllPageQuery&) {
    engine::AllPage page;
    page.head.position = 50;
    page.head.epoch = 2;
    page.position = 50;
    page.at_end = true;
    return page;
  };
  const ReadAllResult result = ReadAll(server, {});
  REQUIRE(result.status.ok());
  REQUIRE(result.messages.size() == 1);
  CHECK(result.messages[0].head_position() == 50);
  CHECK(result.messages[0].events().events_size() == 0);
  CHECK(result.messages[0].events().position() == 50);
  CHECK(result.messages[0].events().epoch() == 2);
}

TEST_CASE("A long search without a match tells of its progress now and then") {
  RpcOptions options;
  options.silent_pages_max = 4;
  TestServer server(options);
  server.backend->all_page = [](const engine::AllPageQuery& query) {
    engine::AllPage page;
    page.head.position = 100;
    page.position = query.after_position + 10;
    page.at_end = page.position == 100;
    return page;
  };
  const ReadAllResult result = ReadAll(server, {});
  REQUIRE(result.status.ok());
  std::vector<std::int64_t> told;
  for (const auto& message : result.messages) told.push_back(message.events().position());
  CHECK(told == std::vector<std::int64_t>{40, 80, 100});
}

TEST_CASE("Large pages are split over messages that every client accepts") {
  RpcOptions options;
  options.batch_bytes_max = 100'000;
  TestServer server(options);
  ServeAll(server.backend.get(), 9, 40'000);
  const ReadAllResult result = ReadAll(server, {});
  REQUIRE(result.status.ok());
  CHECK(PositionsOf(result.messages).size() == 9);
  CHECK(result.messages.size() == 6);  // 2 + 1 events of each page
  for (const auto& message : result.messages) {
    CHECK(message.ByteSizeLong() < 101'000);
    // Each can be resumed from: its position is its last event's.
    CHECK(message.events().position() ==
          message.events().events(message.events().events_size() - 1).global_position());
  }
}

TEST_CASE("Reading on after the first page checks that page's epoch") {
  TestServer server;
  std::atomic<int> pages{0};
  engine::AllPageQuery second;
  server.backend->all_page =
      [&](const engine::AllPageQuery& query) -> absl::StatusOr<engine::AllPage> {
    if (++pages == 2) {
      second = query;
      return PositionAhead(query.after_position, query.epoch, 3, 5, 3);
    }
    engine::AllPage page;
    page.head.position = 20;
    page.head.epoch = 4;
    page.events.push_back(StoredEvent(1));
    page.position = 1;
    return page;
  };
  const ReadAllResult result = ReadAll(server, {});
  CHECK(second.epoch == 4);
  CHECK(second.after_position == 1);
  CHECK(second.end_position == 20);
  CHECK(PositionsOf(result.messages) == std::vector<std::int64_t>{1});
  CHECK(DetailOf(result.status).reason() == v1::ERROR_REASON_POSITION_AHEAD);
  CHECK(DetailOf(result.status).position() == 3);
}

TEST_CASE("ReadAll never goes round in circles") {
  TestServer server;
  server.backend->all_page = [](const engine::AllPageQuery& query) {
    engine::AllPage page;
    page.position = query.after_position;
    page.at_end = false;
    return page;
  };
  CHECK(ReadAll(server, {}).status.error_code() == grpc::StatusCode::INTERNAL);
  v1::ReadAllRequest backwards;
  backwards.set_direction(v1::DIRECTION_BACKWARDS);
  CHECK(ReadAll(server, backwards).status.error_code() == grpc::StatusCode::INTERNAL);
}

namespace {

// A stream of `version` events in pages of three.
void ServeStream(FakeBackend* backend, std::int64_t version) {
  backend->stream_page = [version](const engine::StreamPageQuery& query) {
    engine::StreamPage page;
    *page.info.mutable_stream() = query.stream;
    page.info.set_exists(version > 0);
    page.info.set_version(version);
    page.head.position = version;
    page.head.epoch = 1;
    const std::int64_t first = std::max<std::int64_t>(query.from_version, 1);
    std::int64_t last = std::min(version, first + kPage - 1);
    if (query.limit > 0) last = std::min(last, first + query.limit - 1);
    for (std::int64_t i = first; i <= last; ++i) page.events.push_back(StoredEvent(i));
    page.next_version = last < version ? last + 1 : 0;
    return page;
  };
}

std::vector<v1::ReadStreamResponse> ReadStream(TestServer& server, std::int64_t limit) {
  v1::ReadStreamRequest request;
  request.mutable_stream()->set_aggregate_type("Order");
  request.mutable_stream()->set_aggregate_id("1");
  request.set_limit(limit);
  const auto context = NewContext();
  const auto reader = server.stub->ReadStream(context.get(), request);
  std::vector<v1::ReadStreamResponse> messages;
  v1::ReadStreamResponse response;
  while (reader->Read(&response)) messages.push_back(response);
  CHECK(reader->Finish().ok());
  return messages;
}

}  // namespace

TEST_CASE("ReadStream puts the stream's info into the first message only") {
  TestServer server;
  ServeStream(server.backend.get(), 7);
  const auto messages = ReadStream(server, 0);
  REQUIRE(messages.size() == 3);
  CHECK(messages[0].info().version() == 7);
  CHECK_FALSE(messages[1].has_info());
  CHECK_FALSE(messages[2].has_info());
  std::int64_t next = 1;
  for (const auto& message : messages) {
    for (const v1::Event& event : message.events().events()) CHECK(event.version() == next++);
    CHECK(message.events().position() == next - 1);
  }
  CHECK(next == 8);
}

TEST_CASE("ReadStream of a stream that does not exist has info and no events") {
  TestServer server;
  ServeStream(server.backend.get(), 0);
  const auto messages = ReadStream(server, 0);
  REQUIRE(messages.size() == 1);
  CHECK(messages[0].has_info());
  CHECK_FALSE(messages[0].info().exists());
  CHECK_FALSE(messages[0].has_events());
}

TEST_CASE("ReadStream stops at its limit, also where a page ends there") {
  for (const std::int64_t limit : {1, 3, 4, 6}) {
    TestServer server;
    ServeStream(server.backend.get(), 7);
    int count = 0;
    for (const auto& message : ReadStream(server, limit)) count += message.events().events_size();
    CHECK(count == limit);
  }
}

TEST_CASE("ReadStream from a snapshot puts it into the first message only") {
  for (const std::size_t state_bytes : {10, 200'000}) {
    INFO(state_bytes);
    RpcOptions options;
    options.batch_bytes_max = 100'000;
    TestServer server(options);
    ServeStream(server.backend.get(), 7);
    std::vector<bool> asked;
    server.backend->stream_page =
        [&, pages = server.backend->stream_page](const engine::StreamPageQuery& query) {
          asked.push_back(query.from_snapshot);
          CHECK(query.snapshot_schema_version == 3);
          engine::StreamPageQuery tail = query;
          if (query.from_snapshot) tail.from_version = 3;
          auto page = pages(tail);
          if (query.from_snapshot)
            page->snapshot.emplace().set_state(std::string(state_bytes, 'x'));
          return page;
        };
    v1::ReadStreamRequest request;
    request.mutable_stream()->set_aggregate_type("Order");
    request.mutable_stream()->set_aggregate_id("1");
    request.set_from_snapshot(true);
    request.set_snapshot_schema_version(3);
    const auto context = NewContext();
    const auto reader = server.stub->ReadStream(context.get(), request);
    std::int64_t next = 3;
    v1::ReadStreamResponse response;
    for (int message = 0; reader->Read(&response); ++message) {
      CHECK(response.has_info() == (message == 0));
      CHECK(response.has_snapshot() == (message == 0));
      if (message == 0) {
        CHECK(response.snapshot().state().size() == state_bytes);
        // A large state travels alone, so that no message grows beyond what clients take.
        CHECK(response.has_events() == (state_bytes == 10));
      }
      for (const v1::Event& event : response.events().events()) CHECK(event.version() == next++);
    }
    CHECK(reader->Finish().ok());
    CHECK(next == 8);
    CHECK(asked == std::vector<bool>{true, false});
  }
}

TEST_CASE("A read holds no more than it may read ahead, and a client that stalls is dropped") {
  RpcOptions options;
  options.batch_bytes_max = 100'000;
  options.read_ahead_bytes_max = 400'000;
  options.stall_timeout_ms = std::chrono::milliseconds(200);
  options.drop_grace_ms = std::chrono::milliseconds(100);
  TestServer server(options);
  std::atomic<std::int64_t> pages{0};
  server.backend->all_page = [&pages](const engine::AllPageQuery& query) {
    ++pages;
    engine::AllPage page;
    page.head.position = 1'000'000;
    page.events.push_back(StoredEvent(query.after_position + 1, 90'000));
    page.position = query.after_position + 1;
    return page;
  };
  const auto context = NewContext();
  const auto stub = server.NarrowStub();
  const auto reader = stub->ReadAll(context.get(), {});
  v1::ReadAllResponse response;
  REQUIRE(reader->Read(&response));
  // The client reads no more; the server gives up on it by itself.
  CHECK(Eventually([&] { return server.InFlight("ReadAll") == 0; }));
  CHECK(server.Count("ReadAll", grpc::StatusCode::ABORTED) == 1);
  // Read ahead are 5 pages, one is being written; the rest is what the transports buffer.
  CHECK(pages < 20);
  while (reader->Read(&response)) {
  }
  CHECK_FALSE(reader->Finish().ok());
}

TEST_CASE("Draining ends a read in the middle") {
  TestServer server;
  server.backend->all_page = [](const engine::AllPageQuery& query) {
    engine::AllPage page;
    page.head.position = INT64_MAX;
    page.events.push_back(StoredEvent(query.after_position + 1, 10'000));
    page.position = query.after_position + 1;
    return page;
  };
  const auto context = NewContext();
  const auto reader = server.stub->ReadAll(context.get(), {});
  v1::ReadAllResponse response;
  REQUIRE(reader->Read(&response));
  server.service().BeginDrain();
  while (reader->Read(&response)) {
  }
  CHECK(DetailOf(reader->Finish()).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
}

}  // namespace eventstore::rpc
