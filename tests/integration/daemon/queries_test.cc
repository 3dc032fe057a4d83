// QueryEvents and payload indexes of a running daemon.
#include <catch2/catch.hpp>

#include "eventstore/v1/admin_service.pb.h"

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

Client& Shared() { return SharedDaemon().client(); }

struct QueryRead {
  CallStatus status;
  std::vector<std::int64_t> positions;
  std::int64_t position = 0;
  std::int64_t head = 0;
};

QueryRead Query(const v1::QueryEventsRequest& request) {
  const auto call = Shared().Stream("QueryEvents", request);
  QueryRead read;
  while (const auto message = ReadMessage<v1::QueryEventsResponse>(*call)) {
    for (const v1::Event& event : message->events().events()) {
      read.positions.push_back(event.global_position());
    }
    read.position = message->events().position();
    read.head = message->head_position();
  }
  read.status = call->Finish();
  return read;
}

}  // namespace

TEST_CASE("EventsAreQueriedByTheirPayloads") {
  const std::string customer = UniqueName("customer");
  const auto stream = NewStream(UniqueName("Queried"));
  std::vector<v1::NewEvent> events;
  for (int i = 0; i < 6; ++i) {
    events.push_back(NewEvent("OrderPlaced", "{\"customer\": {\"id\": \"" +
                                                 (i % 2 == 0 ? customer : "other") +
                                                 "\"}, \"n\": " + std::to_string(i) + "}"));
  }
  const auto appended = MustAppend(Shared(), stream, events);
  const std::int64_t first = appended.first_position();
  v1::QueryEventsRequest request;
  (*request.mutable_payload_equals())["customer.id"] = customer;
  QueryRead read = Query(request);
  INFO(read.status.Text());
  REQUIRE(read.status.ok());
  CHECK(read.positions == std::vector<std::int64_t>{first, first + 2, first + 4});
  CHECK(read.position == read.head);
  request.set_payload_contains("{\"n\": 2}");
  request.mutable_filter()->add_aggregate_types(stream.aggregate_type());
  CHECK(Query(request).positions == std::vector<std::int64_t>{first + 2});
  request.clear_payload_contains();
  request.set_after_position(first);
  request.set_limit(1);
  CHECK(Query(request).positions == std::vector<std::int64_t>{first + 2});
}

TEST_CASE("AQueryThatCannotBeReadIsRefusedByName") {
  v1::QueryEventsRequest request;
  request.set_payload_contains("{\"a\": }");
  const QueryRead read = Query(request);
  CHECK(read.status.reason() == v1::ERROR_REASON_INVALID_REQUEST);
  CHECK(read.status.info().field() == "payload_contains");
  CHECK(read.status.info().message().find("byte 6") != std::string::npos);
}

TEST_CASE("APayloadIndexIsBuiltWhileTheDaemonServes") {
  v1::CreatePayloadIndexRequest create;
  create.set_name(UniqueName("index"));
  create.set_field("indexed.field");
  v1::CreatePayloadIndexResponse created;
  const std::string service = "/eventstore.v1.AdminService/";
  const CallStatus status = Shared().Unary(service + "CreatePayloadIndex", create, &created);
  INFO(status.Text());
  REQUIRE(status.ok());
  CHECK(created.index().field() == "indexed.field");
  CHECK(created.index().partitions_total() > 0);
  const auto state_of = [&] {
    v1::ListPayloadIndexesResponse list;
    REQUIRE(Shared()
                .Unary(service + "ListPayloadIndexes", v1::ListPayloadIndexesRequest(), &list)
                .ok());
    for (const v1::PayloadIndex& index : list.indexes()) {
      if (index.name() == create.name()) return index.state();
    }
    return v1::PAYLOAD_INDEX_STATE_UNSPECIFIED;
  };
  CHECK(Eventually([&] { return state_of() == v1::PAYLOAD_INDEX_STATE_READY; }));
  MustAppend(Shared(), NewStream(), {NewEvent("A", "{\"indexed\": {\"field\": \"here\"}}")});
  v1::QueryEventsRequest request;
  (*request.mutable_payload_equals())["indexed.field"] = "here";
  CHECK(Query(request).positions.size() == 1);
  v1::DropPayloadIndexRequest drop;
  drop.set_name(create.name());
  v1::DropPayloadIndexResponse dropped;
  CHECK(Shared().Unary(service + "DropPayloadIndex", drop, &dropped).ok());
  CHECK(Eventually([&] { return state_of() == v1::PAYLOAD_INDEX_STATE_UNSPECIFIED; }));
}
