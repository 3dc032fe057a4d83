// TruncateStream, DeleteStream and EraseEvents over a backend that tests script.
#include <catch2/catch.hpp>

#include "server/core/errors.h"
#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr char kTenant[] = "0190b2c4-0000-7000-8000-0000000000bb";
constexpr char kUpperTenant[] = "0190B2C4-0000-7000-8000-0000000000BB";

void SetStream(v1::StreamId* stream) {
  stream->set_aggregate_type("T");
  stream->set_aggregate_id("s");
  stream->set_tenant_id(kUpperTenant);
}

TEST_CASE("EachChangeGoesToTheStoreOfItsTenantNormalized") {
  TestServer server;
  const auto stub = v1::EventStoreService::NewStub(server.channel);
  auto& lifecycle = server.backend->lifecycle();
  {
    grpc::ClientContext context;
    v1::TruncateStreamRequest request;
    SetStream(request.mutable_stream());
    request.set_before_version(3);
    v1::TruncateStreamResponse response;
    CHECK(stub->TruncateStream(&context, request, &response).ok());
    CHECK(lifecycle.truncated.before_version() == 3);
    CHECK(lifecycle.truncated.stream().tenant_id() == kTenant);
    CHECK(server.last_tenant == kTenant);
  }
  server.last_tenant.clear();
  {
    grpc::ClientContext context;
    v1::DeleteStreamRequest request;
    SetStream(request.mutable_stream());
    request.mutable_expected_version()->set_exact(7);
    request.set_permanent(true);
    v1::DeleteStreamResponse response;
    CHECK(stub->DeleteStream(&context, request, &response).ok());
    CHECK(lifecycle.deleted.permanent());
    CHECK(server.last_tenant == kTenant);
  }
  server.last_tenant.clear();
  for (const bool by_stream : {true, false}) {
    grpc::ClientContext context;
    v1::EraseEventsRequest request;
    by_stream ? SetStream(request.mutable_stream()) : request.add_event_ids(kUpperTenant);
    if (!by_stream) request.set_tenant_id(kUpperTenant);
    request.set_reason("r");
    request.set_erased_by("b");
    v1::EraseEventsResponse response;
    CHECK(stub->EraseEvents(&context, request, &response).ok());
    CHECK(lifecycle.erased.tenant_id() == kTenant);
    CHECK(server.last_tenant == kTenant);
  }
}

TEST_CASE("AChangeThatIsNotValidReachesNoStore") {
  TestServer server;
  const auto stub = v1::EventStoreService::NewStub(server.channel);
  grpc::ClientContext contexts[3];
  v1::TruncateStreamResponse truncated;
  v1::DeleteStreamResponse deleted;
  v1::EraseEventsResponse erased;
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  CHECK(stub->TruncateStream(&contexts[0], {}, &truncated).error_code() == invalid);
  CHECK(stub->DeleteStream(&contexts[1], {}, &deleted).error_code() == invalid);
  CHECK(stub->EraseEvents(&contexts[2], {}, &erased).error_code() == invalid);
  CHECK_FALSE(server.backend->lifecycle().truncated.has_stream());
  CHECK_FALSE(server.backend->lifecycle().deleted.has_stream());
  CHECK(server.backend->lifecycle().erased.reason().empty());
}

TEST_CASE("AChangesErrorIsItsAnswer") {
  TestServer server;
  const auto stub = v1::EventStoreService::NewStub(server.channel);
  server.backend->lifecycle().answer = NotFound("stream", "T/s");
  grpc::ClientContext context;
  v1::TruncateStreamRequest request;
  SetStream(request.mutable_stream());
  request.set_before_version(1);
  v1::TruncateStreamResponse response;
  CHECK(stub->TruncateStream(&context, request, &response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace eventstore::rpc
