// SnapshotService over a backend that tests script.
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eventstore/v1/snapshot_service.grpc.pb.h"

#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

constexpr char kTenant[] = "0190B2C4-0000-7000-8000-0000000000AA";
constexpr char kTenantStored[] = "0190b2c4-0000-7000-8000-0000000000aa";

v1::StreamId Order() {
  v1::StreamId stream;
  stream.set_aggregate_type("Order");
  stream.set_aggregate_id("1");
  stream.set_tenant_id(kTenant);
  return stream;
}

struct NamedCall {
  std::string method;
  std::function<grpc::Status(grpc::ClientContext*)> run;
};

// Every method with a valid request.
struct Calls {
  explicit Calls(TestServer& server) : stub(v1::SnapshotService::NewStub(server.channel)) {
    *save.mutable_stream() = Order();
    save.set_version(7);
    save.set_state("{}");
    *get.mutable_stream() = Order();
    list.set_tenant_id(kTenant);
    remove.set_aggregate_type("Order");
    remove.set_schema_version_below(2);
    remove.set_tenant_id(kTenant);
  }
  std::vector<NamedCall> Every() {
    return {
        {"SaveSnapshot",
         [this](auto* context) { return stub->SaveSnapshot(context, save, &saved); }},
        {"GetSnapshot", [this](auto* context) { return stub->GetSnapshot(context, get, &gotten); }},
        {"ListSnapshots",
         [this](auto* context) { return stub->ListSnapshots(context, list, &listed); }},
        {"DeleteSnapshots",
         [this](auto* context) { return stub->DeleteSnapshots(context, remove, &removed); }}};
  }

  std::unique_ptr<v1::SnapshotService::Stub> stub;
  v1::SaveSnapshotRequest save;
  v1::GetSnapshotRequest get;
  v1::ListSnapshotsRequest list;
  v1::DeleteSnapshotsRequest remove;
  v1::SaveSnapshotResponse saved;
  v1::GetSnapshotResponse gotten;
  v1::ListSnapshotsResponse listed;
  v1::DeleteSnapshotsResponse removed;
};

TEST_CASE("Every method of the snapshot service tells that the database is away") {
  TestServer server;
  Calls calls(server);
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const auto context = NewContext();
    const grpc::Status status = call.run(context.get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(DetailOf(status).reason() == v1::ERROR_REASON_STORE_UNAVAILABLE);
    CHECK(server.Count(call.method, grpc::StatusCode::UNAVAILABLE) == 1);
    CHECK(server.last_tenant == kTenantStored);
  }
}

TEST_CASE("Once the server drains, the snapshot service takes no calls") {
  TestServer server;
  Calls calls(server);
  server.service().BeginDrain();
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const auto context = NewContext();
    const grpc::Status status = call.run(context.get());
    CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
    CHECK(status.error_message().find("shutting down") != std::string::npos);
  }
}

TEST_CASE("A snapshot arrives normalized, and the answer comes back") {
  TestServer server;
  Calls calls(server);
  v1::SaveSnapshotRequest seen;
  server.backend->snapshots().on_SaveSnapshot = [&seen](const v1::SaveSnapshotRequest& request) {
    seen = request;
    v1::SaveSnapshotResponse response;
    response.set_saved(true);
    response.set_newest_version(request.version());
    return absl::StatusOr<v1::SaveSnapshotResponse>(std::move(response));
  };
  const auto context = NewContext();
  REQUIRE(calls.stub->SaveSnapshot(context.get(), calls.save, &calls.saved).ok());
  CHECK(calls.saved.saved());
  CHECK(calls.saved.newest_version() == 7);
  CHECK(seen.schema_version() == 1);
  CHECK(seen.keep_versions() == 1);
  CHECK(seen.stream().tenant_id() == kTenantStored);
}

TEST_CASE("What is wrong with a request of snapshots never reaches the store") {
  TestServer server;
  Calls calls(server);
  calls.save.set_version(0);
  calls.get.clear_stream();
  calls.list.set_page_size(-1);
  calls.remove.clear_target();
  for (const NamedCall& call : calls.Every()) {
    INFO(call.method);
    const auto context = NewContext();
    CHECK(DetailOf(call.run(context.get())).reason() == v1::ERROR_REASON_INVALID_REQUEST);
  }
  CHECK(server.last_tenant.empty());
}

TEST_CASE("The snapshots of a stream are deleted in the store of its tenant") {
  TestServer server;
  Calls calls(server);
  *calls.remove.mutable_stream() = Order();
  calls.remove.clear_tenant_id();
  const auto context = NewContext();
  CHECK_FALSE(calls.stub->DeleteSnapshots(context.get(), calls.remove, &calls.removed).ok());
  CHECK(server.last_tenant == kTenantStored);
}

}  // namespace
}  // namespace eventstore::rpc
