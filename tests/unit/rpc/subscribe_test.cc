#include "server/rpc/subscribe.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

using Kind = engine::SubscriptionMessage::Kind;

// What the service asked the hub for, and the feed that it got.
struct Subscribed {
  explicit Subscribed(FakeBackend* backend) {
    backend->subscribe = [this](engine::SubscriptionQuery asked,
                                std::function<void(absl::Status)> dropped) {
      query = std::move(asked);
      on_dropped = std::move(dropped);
      return absl::StatusOr<std::shared_ptr<Feed>>(feed);
    };
  }
  const std::shared_ptr<FakeFeed> feed = std::make_shared<FakeFeed>();
  engine::SubscriptionQuery query;
  std::function<void(absl::Status)> on_dropped;
};

engine::SubscriptionMessage Events(std::shared_ptr<const engine::EventBlock> block,
                                   std::int64_t position) {
  engine::SubscriptionMessage message;
  message.position = position;
  message.epoch = 1;
  message.runs.push_back({block, 0, block->size()});
  return message;
}

std::shared_ptr<const engine::EventBlock> Block(std::int64_t first, std::int64_t last,
                                                std::size_t payload_bytes = 20) {
  std::vector<v1::Event> events;
  for (std::int64_t i = first; i <= last; ++i) events.push_back(StoredEvent(i, payload_bytes));
  return engine::EventBlock::Make(std::move(events));
}

}  // namespace

TEST_CASE("A subscription's messages reach the client in order") {
  TestServer server;
  Subscribed hub(server.backend.get());
  hub.feed->Give(Kind::kConfirmed, 4);
  hub.feed->Give(Events(Block(5, 6), 8));
  hub.feed->Give(Kind::kCaughtUp, 8);
  hub.feed->Give(Kind::kCheckpoint, 9);
  hub.feed->Give(Kind::kFellBehind, 9);
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(reader->Read(&response));
  CHECK(response.confirmed().subscription_id() == hub.feed->id());
  CHECK(response.confirmed().store_id() == server.backend->store_id());
  CHECK(response.confirmed().start_position() == 4);
  CHECK(response.confirmed().position() == 4);
  CHECK(response.confirmed().epoch() == 1);
  REQUIRE(reader->Read(&response));
  REQUIRE(response.events().events_size() == 2);
  CHECK(response.events().events(1).SerializeAsString() == StoredEvent(6, 20).SerializeAsString());
  CHECK(response.events().position() == 8);
  CHECK(response.events().epoch() == 1);
  REQUIRE(reader->Read(&response));
  CHECK(response.caught_up().position() == 8);
  REQUIRE(reader->Read(&response));
  CHECK(response.checkpoint().position() == 9);
  REQUIRE(reader->Read(&response));
  CHECK(response.fell_behind().position() == 9);

  hub.feed->Give(StreamDeleted(StoredEvent(1).stream()));
  CHECK_FALSE(reader->Read(&response));
  const grpc::Status status = reader->Finish();
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STREAM_DELETED);
}

TEST_CASE("Where to start and what to follow is passed on") {
  using Query = engine::SubscriptionQuery;
  const auto query_of = [](const v1::SubscribeRequest& request) {
    TestServer server;
    Subscribed hub(server.backend.get());
    hub.feed->Give(Kind::kConfirmed, 0);
    hub.feed->Give(StoreUnavailable("over"));
    const auto context = NewContext();
    const auto reader = server.stub->Subscribe(context.get(), request);
    v1::SubscribeResponse response;
    while (reader->Read(&response)) {
    }
    CHECK(reader->Finish().error_message() == "over");
    return hub.query;
  };
  v1::SubscribeRequest request;
  Query query = query_of(request);
  CHECK(std::holds_alternative<Query::FromBeginning>(query.start));
  CHECK(query.filter == nullptr);
  CHECK_FALSE(query.stream.has_value());
  CHECK(query.batch_events_max == 500);
  CHECK(query.checkpoint_interval == 10'000);

  request.mutable_end();
  request.set_max_batch_size(7);
  request.set_checkpoint_interval(11);
  query = query_of(request);
  CHECK(std::holds_alternative<Query::FromEnd>(query.start));
  CHECK(query.batch_events_max == 7);
  CHECK(query.checkpoint_interval == 11);

  request.set_after_position(12);
  request.set_epoch(3);
  request.mutable_filter()->add_event_types("OrderPlaced");
  query = query_of(request);
  REQUIRE(std::holds_alternative<Query::AfterPosition>(query.start));
  CHECK(std::get<Query::AfterPosition>(query.start).position == 12);
  CHECK(std::get<Query::AfterPosition>(query.start).epoch == 3);
  REQUIRE(query.filter != nullptr);
  CHECK(query.filter->Matches(StoredEvent(1)));

  request.clear_filter();
  request.mutable_from_timestamp()->set_seconds(5);
  *request.mutable_stream() = StoredEvent(1).stream();
  query = query_of(request);
  REQUIRE(std::holds_alternative<Query::FromTime>(query.start));
  CHECK(std::get<Query::FromTime>(query.start).created_at_micros == 5'000'000);
  REQUIRE(query.stream.has_value());
  CHECK(query.stream->aggregate_id() == "1");
  CHECK(query.filter == nullptr);

  request.mutable_filter()->add_event_types("OrderPlaced");
  query = query_of(request);
  CHECK(query.stream.has_value());
  CHECK(query.filter != nullptr);
}

TEST_CASE("A large batch is split, and only its last part tells of what was passed over") {
  RpcOptions options;
  options.batch_bytes_max = 100'000;
  TestServer server(options);
  Subscribed hub(server.backend.get());
  hub.feed->Give(Events(Block(1, 5, 40'000), 99));
  hub.feed->Give(StoreUnavailable("over"));
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  std::vector<std::int64_t> positions;
  int events = 0;
  v1::SubscribeResponse response;
  while (reader->Read(&response)) {
    positions.push_back(response.events().position());
    events += response.events().events_size();
  }
  CHECK(positions == std::vector<std::int64_t>{2, 4, 99});
  CHECK(events == 5);
  CHECK(reader->Finish().error_message() == "over");
}

TEST_CASE("A client that cancels closes its subscription") {
  TestServer server;
  Subscribed hub(server.backend.get());
  hub.feed->Give(Kind::kConfirmed, 0);
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(reader->Read(&response));
  context->TryCancel();
  CHECK(reader->Finish().error_code() == grpc::StatusCode::CANCELLED);
  CHECK(Eventually([&] { return hub.feed->closed(); }));
  CHECK(Eventually([&] { return server.InFlight("Subscribe") == 0; }));
}

TEST_CASE("A subscriber that is dropped learns why if it reads on in time") {
  TestServer server;
  Subscribed hub(server.backend.get());
  hub.feed->Give(Kind::kConfirmed, 0);
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(reader->Read(&response));
  hub.on_dropped(SlowConsumer(7, 1, std::chrono::milliseconds(60'000)));
  CHECK_FALSE(reader->Read(&response));
  const grpc::Status status = reader->Finish();
  CHECK(status.error_code() == grpc::StatusCode::ABORTED);
  CHECK(DetailOf(status).reason() == v1::ERROR_REASON_SLOW_CONSUMER);
  CHECK(DetailOf(status).position() == 7);
}

TEST_CASE("A subscriber that never reads again is cut, and its memory freed") {
  RpcOptions options;
  options.drop_grace_ms = std::chrono::milliseconds(200);
  TestServer server(options);
  Subscribed hub(server.backend.get());
  const auto context = NewContext();
  const auto stub = server.NarrowStub();
  const auto reader = stub->Subscribe(context.get(), {});
  // Larger than what the transport takes ahead, so that its write cannot end.
  auto block = Block(1, 1, 1'000'000);
  const std::weak_ptr<const engine::EventBlock> watch = block;
  hub.feed->Give(Events(std::move(block), 1));
  REQUIRE(Eventually([&] { return hub.feed->taken() == 1; }));
  CHECK_FALSE(watch.expired());
  const auto dropped_at = std::chrono::steady_clock::now();
  hub.on_dropped(SlowConsumer(0, 1, std::chrono::milliseconds(60'000)));
  CHECK(Eventually([&] { return server.InFlight("Subscribe") == 0; }));
  // It was given its time, for the message was still on its way.
  CHECK(std::chrono::steady_clock::now() - dropped_at >= options.drop_grace_ms);
  CHECK(server.Count("Subscribe", grpc::StatusCode::ABORTED) == 1);
  CHECK(hub.feed->closed());
  CHECK(Eventually([&] { return watch.expired(); }));
  v1::SubscribeResponse response;
  while (reader->Read(&response)) {
  }
  CHECK_FALSE(reader->Finish().ok());
}

TEST_CASE("Draining ends subscriptions") {
  TestServer server;
  Subscribed hub(server.backend.get());
  hub.feed->Give(Kind::kConfirmed, 0);
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(reader->Read(&response));
  server.service().BeginDrain();
  CHECK_FALSE(reader->Read(&response));
  CHECK(DetailOf(reader->Finish()).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  CHECK(Eventually([&] { return hub.feed->closed(); }));
}

}  // namespace eventstore::rpc
