// QueryEvents and AdminService over a backend that tests script.
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "eventstore/v1/admin_service.grpc.pb.h"

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

TEST_CASE("A query goes on page by page, and tells the head and how far it looked") {
  TestServer server;
  std::vector<engine::AllPageQuery> queries;
  server.backend->query_page = [&queries](const engine::AllPageQuery& query) {
    queries.push_back(query);
    engine::AllPage page;
    page.head.position = 30;
    page.head.epoch = 4;
    page.position = query.after_position + 10;
    page.events.push_back(StoredEvent(page.position - 1));
    page.at_end = page.position == 30;
    page.window_positions = 77;
    return page;
  };
  v1::QueryEventsRequest request;
  request.set_payload_contains("{\"a\": 1}");
  (*request.mutable_payload_equals())["b.c"] = "x";
  request.mutable_filter()->add_event_types("OrderPlaced");
  request.mutable_from_timestamp()->set_seconds(5);
  const auto context = NewContext();
  const auto reader = server.stub->QueryEvents(context.get(), request);
  std::vector<std::int64_t> positions;
  v1::QueryEventsResponse response;
  while (reader->Read(&response)) {
    CHECK(response.head_position() == 30);
    CHECK(response.events().epoch() == 4);
    positions.push_back(response.events().position());
  }
  CHECK(reader->Finish().ok());
  CHECK(positions == std::vector<std::int64_t>{10, 20, 30});
  REQUIRE(queries.size() == 3);
  CHECK(queries[0].payload->contains == "{\"a\": 1}");
  CHECK(queries[0].payload->equals[0].path == FieldPath{"b", "c"});
  CHECK(queries[0].filter != nullptr);
  CHECK(queries[0].from_timestamp_micros == 5'000'000);
  CHECK(queries[0].window_positions == 0);
  CHECK(queries[1].after_position == 10);
  CHECK(queries[1].end_position == 30);
  CHECK(queries[1].window_positions == 77);
}

TEST_CASE("A query that is too slow ends with where to go on, after what it sent") {
  TestServer server;
  server.backend->query_page =
      [](const engine::AllPageQuery& query) -> absl::StatusOr<engine::AllPage> {
    if (query.after_position > 0) {
      v1::ErrorInfo info;
      info.set_reason(v1::ERROR_REASON_TOO_LARGE);
      info.set_limit_name("query.statement_timeout_ms");
      info.set_position(query.after_position);
      return MakeError(std::move(info));
    }
    engine::AllPage page;
    page.head.position = 30;
    page.position = 10;
    page.events.push_back(StoredEvent(9));
    return page;
  };
  v1::QueryEventsRequest request;
  request.set_payload_contains("{}");
  const auto context = NewContext();
  const auto reader = server.stub->QueryEvents(context.get(), request);
  v1::QueryEventsResponse response;
  REQUIRE(reader->Read(&response));
  CHECK(response.events().events_size() == 1);
  CHECK_FALSE(reader->Read(&response));
  const v1::ErrorInfo detail = DetailOf(reader->Finish());
  CHECK(detail.reason() == v1::ERROR_REASON_TOO_LARGE);
  CHECK(detail.limit_name() == "query.statement_timeout_ms");
  CHECK(detail.position() == 10);
}

TEST_CASE("A query that is wrong never reaches the store") {
  TestServer server;
  const auto context = NewContext();
  v1::QueryEventsResponse response;
  const auto reader = server.stub->QueryEvents(context.get(), v1::QueryEventsRequest());
  CHECK_FALSE(reader->Read(&response));
  CHECK(DetailOf(reader->Finish()).reason() == v1::ERROR_REASON_INVALID_REQUEST);
}

TEST_CASE("Every method of the admin service tells that the database is away, and drains") {
  TestServer server;
  const auto stub = v1::AdminService::NewStub(server.channel);
  v1::CreatePayloadIndexRequest create;
  create.set_name("by-customer");
  v1::CreatePayloadIndexResponse created;
  v1::DropPayloadIndexRequest drop;
  drop.set_name("by-customer");
  v1::DropPayloadIndexResponse dropped;
  v1::ListPayloadIndexesResponse listed;
  const std::vector<std::function<grpc::Status(grpc::ClientContext*)>> calls = {
      [&](auto* context) { return stub->CreatePayloadIndex(context, create, &created); },
      [&](auto* context) { return stub->DropPayloadIndex(context, drop, &dropped); },
      [&](auto* context) { return stub->ListPayloadIndexes(context, {}, &listed); }};
  for (const auto& call : calls) {
    CHECK(DetailOf(call(NewContext().get())).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
  }
  create.set_name("not a name");
  CHECK(DetailOf(calls[0](NewContext().get())).field() == "name");
  server.service().BeginDrain();
  for (const auto& call : calls) {
    CHECK(call(NewContext().get()).error_message().find("shutting down") != std::string::npos);
  }
}

}  // namespace
}  // namespace eventstore::rpc
