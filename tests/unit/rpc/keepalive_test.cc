// Connections that die without a word.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/tcp_relay.h"
#include "tests/unit/rpc/fake_backend.h"

namespace eventstore::rpc {
namespace {

using Kind = engine::SubscriptionMessage::Kind;

TEST_CASE("A subscriber behind a connection that died without a FIN is found and let go") {
  ServerOptions options = TestServer::DefaultServerOptions();
  options.keepalive_time_ms = std::chrono::milliseconds(300);
  options.keepalive_timeout_ms = std::chrono::milliseconds(300);
  TestServer server(RpcOptions(), Limits(), options);
  std::vector<std::shared_ptr<FakeFeed>> feeds;
  server.backend->subscribe = [&feeds](const engine::SubscriptionQuery&,
                                       const std::function<void(absl::Status)>&) {
    feeds.push_back(std::make_shared<FakeFeed>());
    feeds.back()->Give(Kind::kConfirmed, 0);
    return absl::StatusOr<std::shared_ptr<Feed>>(feeds.back());
  };
  testing::TcpRelay relay(server.server().port());
  const auto lost_stub = v1::EventStoreService::NewStub(grpc::CreateChannel(
      "127.0.0.1:" + std::to_string(relay.port()), grpc::InsecureChannelCredentials()));
  const auto lost_context = NewContext();
  const auto lost = lost_stub->Subscribe(lost_context.get(), {});
  v1::SubscribeResponse response;
  REQUIRE(lost->Read(&response));
  const auto well_context = NewContext();
  const auto well = server.stub->Subscribe(well_context.get(), {});
  REQUIRE(well->Read(&response));
  REQUIRE(server.InFlight("Subscribe") == 2);

  relay.Freeze();
  CHECK(Eventually([&] { return feeds[0]->closed(); }));
  CHECK(Eventually([&] { return server.InFlight("Subscribe") == 1; }));
  // A connection that is idle but alive answers its pings, and stays.
  CHECK_FALSE(feeds[1]->closed());
  feeds[1]->Give(Kind::kCaughtUp, 7);
  REQUIRE(well->Read(&response));
  CHECK(response.caught_up().position() == 7);
  lost_context->TryCancel();
  CHECK_FALSE(lost->Finish().ok());
}

}  // namespace
}  // namespace eventstore::rpc
