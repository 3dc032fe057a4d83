#include "server/rpc/server.h"

#include <grpcpp/generic/generic_stub.h>

#include <catch2/catch.hpp>
#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

#include "server/telemetry/logging.h"
#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

using grpc::health::v1::HealthCheckResponse;

std::string ToString(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  REQUIRE(buffer.DumpToSingleSlice(&slice).ok());
  return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

HealthCheckResponse::ServingStatus CheckHealth(TestServer& server, const std::string& service) {
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const auto context = NewContext();
  const auto stub = grpc::health::v1::Health::NewStub(server.channel);
  REQUIRE(stub->Check(context.get(), request, &response).ok());
  return response.status();
}

}  // namespace

TEST_CASE("Health follows the store, as a whole and by service") {
  TestServer server;
  for (const char* service :
       {"", "eventstore.v1.EventStoreService", "eventstore.v1.ProjectionService",
        "eventstore.v1.DeadLetterService", "eventstore.v1.SnapshotService",
        "eventstore.v1.OutboxService", "eventstore.v1.AdminService"}) {
    INFO(service);
    server.server().SetServing(false);
    CHECK(CheckHealth(server, service) == HealthCheckResponse::NOT_SERVING);
    server.server().SetServing(true);
    CHECK(CheckHealth(server, service) == HealthCheckResponse::SERVING);
  }
}

TEST_CASE("A server is not serving before it is told so") {
  TestServer server;
  CHECK(CheckHealth(server, "") == HealthCheckResponse::NOT_SERVING);
}

TEST_CASE("Reflection lists the service") {
  TestServer server;
  // ServerReflectionRequest{list_services = 7: ""}
  const grpc::Slice slice(std::string("\x3a\x00", 2));
  grpc::GenericStub stub(server.channel);
  grpc::CompletionQueue queue;
  const auto context = NewContext();
  auto call = stub.PrepareCall(
      context.get(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  void* tag = nullptr;
  bool ok = false;
  const auto next = [&] { return queue.Next(&tag, &ok) && ok; };
  call->StartCall(nullptr);
  REQUIRE(next());
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  REQUIRE(next());
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  REQUIRE(next());
  CHECK(ToString(response).find("eventstore.v1.EventStoreService") != std::string::npos);
  call->WritesDone(nullptr);
  REQUIRE(next());
  grpc::Status status;
  call->Finish(&status, nullptr);
  REQUIRE(next());
  CHECK(status.ok());
}

TEST_CASE("A second server on the same port is refused with the address") {
  TestServer first;
  telemetry::Metrics metrics{"test"};
  Services services(
      [](std::string_view) -> absl::StatusOr<std::shared_ptr<Backend>> {
        return StoreUnavailable("none");
      },
      Limits(), RpcOptions(), &metrics);
  ServerOptions options;
  options.listen = "127.0.0.1:" + std::to_string(first.server().port());
  const auto second = RpcServer::Start(options, &services);
  REQUIRE_FALSE(second.ok());
  CHECK(telemetry::MessageOf(second.status()).find(options.listen) != std::string::npos);
}

TEST_CASE("Shutdown cuts calls that do not end by its deadline") {
  TestServer server;
  const auto feed = std::make_shared<FakeFeed>();
  server.backend->subscribe = [&feed](const engine::SubscriptionQuery&,
                                      const std::function<void(absl::Status)>&) {
    return absl::StatusOr<std::shared_ptr<Feed>>(feed);
  };
  feed->Give(engine::SubscriptionMessage::Kind::kConfirmed, 0);
  const auto context = NewContext();
  const auto reader = server.stub->Subscribe(context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(reader->Read(&response));
  server.server().Shutdown(std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
  CHECK_FALSE(reader->Read(&response));
  CHECK_FALSE(reader->Finish().ok());
  CHECK(feed->closed());
  CHECK(server.InFlight("Subscribe") == 0);
}

}  // namespace eventstore::rpc
