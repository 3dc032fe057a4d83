// ProjectionService and DeadLetterService over backends that tests script.
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "eventstore/v1/dead_letter_service.grpc.pb.h"
#include "eventstore/v1/projection_service.grpc.pb.h"

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr char kEvent[] = "0190B2C4-0000-7000-8000-0000000000EE";

struct Clients {
  explicit Clients(TestServer& server)
      : projections(v1::ProjectionService::NewStub(server.channel)),
        dead_letters(v1::DeadLetterService::NewStub(server.channel)) {}
  std::unique_ptr<v1::ProjectionService::Stub> projections;
  std::unique_ptr<v1::DeadLetterService::Stub> dead_letters;
};

struct NamedCall {
  std::string method;
  std::function<grpc::Status(grpc::ClientContext*)> run;
};

// Every method with a valid request.
std::vector<NamedCall> EveryCall(Clients& clients) {
  std::vector<NamedCall> calls;
  const auto add = [&calls](const char* name, auto& stub, auto method, auto request,
                            auto response) {
    calls.push_back({name, [&stub, method, request, response](grpc::ClientContext* context) {
                       auto answer = response;
                       return ((*stub).*method)(context, request, &answer);
                     }});
  };
  v1::SaveCheckpointRequest save;
  save.set_projection_name("p");
  v1::GetCheckpointRequest get;
  get.set_projection_name("p");
  v1::ResetCheckpointRequest reset;
  reset.set_projection_name("p");
  v1::DeleteCheckpointRequest remove;
  remove.set_projection_name("p");
  using P = v1::ProjectionService::Stub;
  add("SaveCheckpoint", clients.projections, &P::SaveCheckpoint, save,
      v1::SaveCheckpointResponse());
  add("GetCheckpoint", clients.projections, &P::GetCheckpoint, get, v1::GetCheckpointResponse());
  add("ListCheckpoints", clients.projections, &P::ListCheckpoints, v1::ListCheckpointsRequest(),
      v1::ListCheckpointsResponse());
  add("ResetCheckpoint", clients.projections, &P::ResetCheckpoint, reset,
      v1::ResetCheckpointResponse());
  add("DeleteCheckpoint", clients.projections, &P::DeleteCheckpoint, remove,
      v1::DeleteCheckpointResponse());
  v1::AddDeadLetterRequest letter;
  letter.set_event_id(kEvent);
  letter.set_projection_name("p");
  letter.set_error_message("no such customer");
  v1::GetDeadLetterRequest one;
  one.set_id(1);
  v1::RetryDeadLettersRequest retry;
  retry.mutable_selection()->set_all_of_projection("p");
  v1::ResolveDeadLettersRequest resolve;
  resolve.mutable_selection()->mutable_ids()->add_ids(1);
  resolve.set_resolved_by("ada");
  v1::PurgeDeadLettersRequest purge;
  purge.mutable_resolved_before()->set_seconds(1);
  using D = v1::DeadLetterService::Stub;
  add("AddDeadLetter", clients.dead_letters, &D::AddDeadLetter, letter,
      v1::AddDeadLetterResponse());
  add("ListDeadLetters", clients.dead_letters, &D::ListDeadLetters, v1::ListDeadLettersRequest(),
      v1::ListDeadLettersResponse());
  add("GetDeadLetter", clients.dead_letters, &D::GetDeadLetter, one, v1::GetDeadLetterResponse());
  add("RetryDeadLetters", clients.dead_letters, &D::RetryDeadLetters, retry,
      v1::RetryDeadLettersResponse());
  add("ResolveDeadLetters", clients.dead_letters, &D::ResolveDeadLetters, resolve,
      v1::ResolveDeadLettersResponse());
  add("GetDeadLetterStats", clients.dead_letters, &D::GetDeadLetterStats,
      v1::GetDeadLetterStatsRequest(), v1::GetDeadLetterStatsResponse());
  add("PurgeDeadLetters", clients.dead_letters, &D::PurgeDeadLetters, purge,
      v1::PurgeDeadLettersResponse());
  return calls;
}

TEST_CASE("Every method of the projection services tells that the database is away") {
  TestServer server;
  Clients clients(server);
  const auto calls = EveryCall(clients);
  CHECK(calls.size() == 12);
  for (const NamedCall& call : calls) {
    INFO(call.method);
    const auto context = NewContext();
    const grpc::Status status = call.run(context.get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(server.Count(call.method, grpc::StatusCode::UNAVAILABLE) == 1);
  }
}

TEST_CASE("Once the server drains, the projection services take no calls") {
  TestServer server;
  Clients clients(server);
  server.service().BeginDrain();
  for (const NamedCall& call : EveryCall(clients)) {
    INFO(call.method);
    const auto context = NewContext();
    const grpc::Status status = call.run(context.get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(status.error_message().find("shutting down") != std::string::npos);
  }
}

TEST_CASE("A checkpoint is saved in the store of its tenant, and the answer comes back") {
  TestServer server;
  Clients clients(server);
  v1::SaveCheckpointRequest seen;
  auto& projections = static_cast<FakeProjections&>(server.backend->projections());
  projections.on_SaveCheckpoint = [&seen](const v1::SaveCheckpointRequest& request) {
    seen = request;
    v1::SaveCheckpointResponse response;
    response.set_saved(true);
    response.mutable_checkpoint()->set_position(request.position());
    return absl::StatusOr<v1::SaveCheckpointResponse>(std::move(response));
  };
  v1::SaveCheckpointRequest request;
  request.set_projection_name("orders");
  request.set_position(7);
  request.set_last_event_id(kEvent);
  request.set_tenant_id("0190B2C4-0000-7000-8000-0000000000AA");
  v1::SaveCheckpointResponse response;
  const auto context = NewContext();
  REQUIRE(clients.projections->SaveCheckpoint(context.get(), request, &response).ok());
  CHECK(response.saved());
  CHECK(response.checkpoint().position() == 7);
  CHECK(seen.last_event_id() == "0190b2c4-0000-7000-8000-0000000000ee");
  CHECK_FALSE(seen.has_expected_position());
  CHECK(server.last_tenant == "0190b2c4-0000-7000-8000-0000000000aa");
}

TEST_CASE("A subscription can start at a checkpoint") {
  TestServer server;
  std::string asked;
  server.backend->subscribe = [&asked](const engine::SubscriptionQuery& query,
                                       const std::function<void(absl::Status)>&) {
    if (const auto* from = std::get_if<engine::SubscriptionQuery::FromCheckpoint>(&query.start)) {
      asked = from->projection;
    }
    return absl::StatusOr<std::shared_ptr<Feed>>(StoreUnavailable("enough"));
  };
  v1::SubscribeRequest request;
  request.set_checkpoint("orders");
  const auto context = NewContext();
  v1::SubscribeResponse response;
  CHECK_FALSE(server.stub->Subscribe(context.get(), request)->Read(&response));
  CHECK(asked == "orders");
}

}  // namespace
}  // namespace eventstore::rpc
