#include "server/rpc/wire.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/errors.h"
#include "server/rpc/event_batches.h"
#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  REQUIRE(buffer.DumpToSingleSlice(&slice).ok());
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

std::shared_ptr<const engine::EventBlock> Block(std::int64_t first, std::int64_t last,
                                                std::size_t payload_bytes = 20) {
  std::vector<v1::Event> events;
  for (std::int64_t position = first; position <= last; ++position) {
    events.push_back(StoredEvent(position, payload_bytes));
  }
  return engine::EventBlock::Make(std::move(events));
}

std::string FieldOf(const absl::Status& status) {
  const std::vector<v1::ErrorInfo> details = DetailsOf(status);
  REQUIRE(details.size() == 1);
  CHECK(details[0].reason() == v1::ERROR_REASON_INVALID_REQUEST);
  return details[0].field();
}

}  // namespace

TEST_CASE("Subscribed events built by hand are the same bytes as protobuf's") {
  const auto a = Block(1, 4);
  const auto b = Block(9, 10, 3000);  // lengths of several varint sizes
  const std::vector<engine::EventRun> runs = {{a, 0, 1}, {a, 2, 4}, {b, 0, 2}};
  for (const auto& [position, epoch] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {12, 3}, {0, 0}, {INT64_MAX, 1}, {300, 0}}) {
    v1::SubscribeResponse expected;
    for (const std::int64_t event : {1, 3, 4}) {
      *expected.mutable_events()->add_events() = StoredEvent(event, 20);
    }
    for (const std::int64_t event : {9, 10}) {
      *expected.mutable_events()->add_events() = StoredEvent(event, 3000);
    }
    expected.mutable_events()->set_position(position);
    expected.mutable_events()->set_epoch(epoch);
    const grpc::ByteBuffer buffer = SerializeSubscribedEvents(runs, position, epoch);
    CHECK(ToString(buffer) == expected.SerializeAsString());
    v1::SubscribeResponse parsed;
    REQUIRE(ParseMessage(buffer, &parsed).ok());
    CHECK(parsed.SerializeAsString() == expected.SerializeAsString());
  }
}

TEST_CASE("Subscribed events are sent from the block's own bytes, which live until then") {
  auto block = Block(1, 3, 5000);
  const std::string_view bytes = block->bytes(1, 3);
  const std::weak_ptr<const engine::EventBlock> watch = block;
  auto buffer = std::make_unique<grpc::ByteBuffer>(
      SerializeSubscribedEvents(std::vector<engine::EventRun>{{block, 1, 3}}, 3, 1));
  std::vector<grpc::Slice> slices;
  REQUIRE(buffer->Dump(&slices).ok());
  REQUIRE(slices.size() == 3);
  CHECK(reinterpret_cast<const char*>(slices[1].begin()) == bytes.data());
  CHECK(slices[1].size() == bytes.size());
  block.reset();
  slices.clear();
  CHECK_FALSE(watch.expired());
  buffer.reset();
  CHECK(watch.expired());
}

TEST_CASE("A message survives serialization") {
  const v1::AppendEventsRequest request = OneEvent("1");
  v1::AppendEventsRequest parsed;
  REQUIRE(ParseMessage(SerializeMessage(request), &parsed).ok());
  CHECK(parsed.SerializeAsString() == request.SerializeAsString());
  // An empty message is a message too.
  CHECK(ParseMessage(SerializeMessage(v1::GetHeadRequest()), &parsed).ok());
}

TEST_CASE("Text that is not UTF-8 is refused with the path of its field") {
  const std::string bad = "a\xff";
  v1::AppendEventsRequest parsed;
  {
    v1::AppendEventsRequest request = OneEvent("1");
    request.mutable_stream()->set_aggregate_type(bad);
    CHECK(FieldOf(ParseMessage(SerializeMessage(request), &parsed)) == "stream.aggregate_type");
  }
  {
    v1::AppendEventsRequest request = OneEvent("1");
    *request.add_events() = request.events(0);
    request.mutable_events(1)->add_tags("good");
    request.mutable_events(1)->add_tags(bad);
    CHECK(FieldOf(ParseMessage(SerializeMessage(request), &parsed)) == "events[1].tags[1]");
  }
  {
    v1::AppendEventsRequest request = OneEvent("1");
    (*request.mutable_events(0)->mutable_metadata())["key"] = bad;
    CHECK(FieldOf(ParseMessage(SerializeMessage(request), &parsed)) == "events[0].metadata");
  }
  {
    v1::SubscribeRequest request;
    request.mutable_filter()->add_event_types(bad);
    v1::SubscribeRequest target;
    CHECK(FieldOf(ParseMessage(SerializeMessage(request), &target)) == "filter.event_types[0]");
  }
  // Bytes are no text: they may hold anything.
  v1::AppendEventsRequest request = OneEvent("1");
  request.mutable_events(0)->set_payload(bad);
  CHECK(ParseMessage(SerializeMessage(request), &parsed).ok());
}

TEST_CASE("Bytes that are no message are refused with the type that they should be") {
  v1::GetHeadRequest parsed;
  for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string("\x0a\x7f", 2)}) {
    const absl::Status status = ParseMessage(ToBuffer(bytes), &parsed);
    CHECK(FieldOf(status).empty());
    CHECK(std::string(status.message()).find("eventstore.v1.GetHeadRequest") != std::string::npos);
  }
  CHECK_FALSE(ParseMessage(grpc::ByteBuffer(), &parsed).ok());
}

TEST_CASE("A correlation id is found in a message that does not parse") {
  v1::AppendEventsStreamRequest request;
  request.set_correlation_id(1234567890123);
  const std::string head = request.SerializeAsString();
  CHECK(FindVarint(ToBuffer(head + std::string("\x12\x7f", 2)), 1) == 1234567890123);
  CHECK(FindVarint(ToBuffer(std::string("\x12\x01", 2) + "x" + head), 1) == 1234567890123);
  CHECK(FindVarint(ToBuffer("\xff\xff"), 1) == 0);
  CHECK(FindVarint(ToBuffer("\x08\xff"), 1) == 0);
  CHECK(FindVarint(grpc::ByteBuffer(), 1) == 0);
}

TEST_CASE("Events are split over batches below the limit") {
  std::vector<v1::Event> events;
  for (std::int64_t position = 1; position <= 10; ++position) {
    events.push_back(StoredEvent(position, position == 5 ? 5000 : 400));
  }
  const std::vector<v1::EventBatch> batches = SplitEvents(events, 3, 1000);
  std::int64_t next = 1;
  for (const v1::EventBatch& batch : batches) {
    REQUIRE(batch.events_size() > 0);
    CHECK((batch.events_size() == 1 || batch.ByteSizeLong() < 1100));
    CHECK(batch.epoch() == 3);
    for (const v1::Event& event : batch.events()) CHECK(event.global_position() == next++);
    CHECK(batch.position() == next - 1);
  }
  CHECK(next == 11);
  CHECK(batches.size() == 6);  // 2 + 2 + the large one + 2 + 2 + 1
  CHECK(SplitEvents({}, 3, 1000).empty());
}

TEST_CASE("Runs are split into parts below the limit") {
  const auto a = Block(1, 5, 400);
  const auto b = Block(6, 8, 5000);
  const auto c = Block(9, 10, 10);
  const std::vector<engine::EventRun> runs = {{a, 0, 5}, {b, 1, 2}, {c, 0, 2}};
  const auto parts = SplitRuns(runs, 1000);
  std::vector<std::int64_t> positions;
  for (const auto& part : parts) {
    REQUIRE_FALSE(part.empty());
    std::size_t bytes = 0;
    std::size_t count = 0;
    for (const engine::EventRun& run : part) {
      REQUIRE(run.begin < run.end);
      bytes += run.block->bytes(run.begin, run.end).size();
      for (std::size_t i = run.begin; i < run.end; ++i, ++count) {
        positions.push_back(run.block->header(i).global_position());
      }
    }
    CHECK((count == 1 || bytes <= 1000));
  }
  CHECK(positions == std::vector<std::int64_t>{1, 2, 3, 4, 5, 7, 9, 10});
  CHECK(parts.size() == 5);  // 2 + 2 + 1 + the large one + 2
}

}  // namespace eventstore::rpc
