// OutboxService over a backend that tests script.
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/outbox_service.grpc.pb.h"

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr char kId[] = "0190B2C4-0000-7000-8000-0000000000AA";
constexpr char kIdStored[] = "0190b2c4-0000-7000-8000-0000000000aa";

struct NamedCall {
  std::string method;
  std::function<grpc::Status(grpc::ClientContext*)> run;
};

// Every method with a valid request.
struct Calls {
  explicit Calls(TestServer& server) : stub(v1::OutboxService::NewStub(server.channel)) {
    claim.set_sink("s");
    claim.set_worker("w");
    complete.set_claim_token(kId);
    complete.add_ids(kId);
    fail.set_claim_token(kId);
    fail.add_entries()->set_id(kId);
    fail.mutable_entries(0)->set_error("no");
    retry.mutable_filter();
    pause.set_sink("s");
    purge.mutable_published_before()->set_seconds(1);
  }
  void SetTenant(const std::string& tenant) {
    claim.set_tenant_id(tenant);
    complete.set_tenant_id(tenant);
    fail.set_tenant_id(tenant);
    list.set_tenant_id(tenant);
    retry.set_tenant_id(tenant);
    stats.set_tenant_id(tenant);
    pause.set_tenant_id(tenant);
    purge.set_tenant_id(tenant);
  }
  std::vector<NamedCall> Every() {
    return {{"ClaimOutbox", [this](auto* c) { return stub->ClaimOutbox(c, claim, &claimed); }},
            {"CompleteOutbox",
             [this](auto* c) { return stub->CompleteOutbox(c, complete, &completed); }},
            {"FailOutbox", [this](auto* c) { return stub->FailOutbox(c, fail, &failed); }},
            {"ListOutbox", [this](auto* c) { return stub->ListOutbox(c, list, &listed); }},
            {"RetryOutbox", [this](auto* c) { return stub->RetryOutbox(c, retry, &retried); }},
            {"GetOutboxStats", [this](auto* c) { return stub->GetOutboxStats(c, stats, &told); }},
            {"PauseOutbox", [this](auto* c) { return stub->PauseOutbox(c, pause, &paused); }},
            {"PurgeOutbox", [this](auto* c) { return stub->PurgeOutbox(c, purge, &purged); }}};
  }

  std::unique_ptr<v1::OutboxService::Stub> stub;
  v1::ClaimOutboxRequest claim;
  v1::CompleteOutboxRequest complete;
  v1::FailOutboxRequest fail;
  v1::ListOutboxRequest list;
  v1::RetryOutboxRequest retry;
  v1::GetOutboxStatsRequest stats;
  v1::PauseOutboxRequest pause;
  v1::PurgeOutboxRequest purge;
  v1::ClaimOutboxResponse claimed;
  v1::CompleteOutboxResponse completed;
  v1::FailOutboxResponse failed;
  v1::ListOutboxResponse listed;
  v1::RetryOutboxResponse retried;
  v1::GetOutboxStatsResponse told;
  v1::PauseOutboxResponse paused;
  v1::PurgeOutboxResponse purged;
};

TEST_CASE("Every method of the outbox service tells that the database is away", "[outbox]") {
  TestServer server;
  Calls calls(server);
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const grpc::Status status = call.run(NewContext().get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(server.Count(call.method, grpc::StatusCode::UNAVAILABLE) == 1);
  }
}

TEST_CASE("Every method of the outbox service works on the store of its tenant", "[outbox]") {
  TestServer server;
  Calls calls(server);
  for (const char* const tenant : {"", kId}) {
    calls.SetTenant(tenant);
    for (const NamedCall& call : calls.Every()) {
      INFO(call.method);
      server.last_tenant = "unset";
      (void)call.run(NewContext().get());
      CHECK(server.last_tenant == (*tenant == '\0' ? "" : kIdStored));
    }
  }
}

TEST_CASE("A request that is wrong does not reach the outbox", "[outbox]") {
  TestServer server;
  Calls calls(server);
  calls.SetTenant("me");
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const grpc::Status status = call.run(NewContext().get());
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(DetailOf(status).field() == "tenant_id");
  }
}

TEST_CASE("A claim reaches the outbox normalized, and its answer the caller", "[outbox]") {
  TestServer server;
  Calls calls(server);
  server.backend->outbox().on_ClaimOutbox = [](const v1::ClaimOutboxRequest& request) {
    v1::ClaimOutboxResponse response;
    CHECK(request.limit() == 100);
    CHECK(request.lease().seconds() == 30);
    response.set_claim_token(kIdStored);
    response.add_entries()->set_sink(request.sink());
    return response;
  };
  server.backend->outbox().on_CompleteOutbox = [](const v1::CompleteOutboxRequest& request) {
    v1::CompleteOutboxResponse response;
    response.set_completed(request.ids(0) == kIdStored ? 1 : 0);
    return response;
  };
  REQUIRE(calls.stub->ClaimOutbox(NewContext().get(), calls.claim, &calls.claimed).ok());
  CHECK(calls.claimed.claim_token() == kIdStored);
  CHECK(calls.claimed.entries(0).sink() == "s");
  REQUIRE(calls.stub->CompleteOutbox(NewContext().get(), calls.complete, &calls.completed).ok());
  CHECK(calls.completed.completed() == 1);
}

TEST_CASE("A draining server refuses every method of the outbox service", "[outbox]") {
  TestServer server;
  Calls calls(server);
  server.service().BeginDrain();
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const grpc::Status status = call.run(NewContext().get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  }
}

}  // namespace
}  // namespace eventstore::rpc
