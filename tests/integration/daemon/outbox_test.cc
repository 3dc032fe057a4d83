// OutboxService of a running daemon: a worker's loop, and what operators ask.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "eventstore/v1/outbox_service.pb.h"

#include "tests/support/daemon_events.h"

using namespace eventstore;
using namespace eventstore::testing;

namespace {

// A daemon whose events of the type "Published" go to the sink "bus", for workers.
class Desk {
 public:
  Desk() {
    const std::filesystem::path config =
        std::filesystem::temp_directory_path() / (UniqueName("outbox") + ".yaml");
    std::ofstream(config) << "outbox: {enabled: true, sinks: {bus: {type: worker,"
                             " attempts_max: 2, backoff_min_ms: 1, backoff_max_ms: 1}},"
                             " routes: [{sink: bus, event_types: [Published]}]}";
    daemon_ = Daemon::Start({.arguments = {"--config", config}});
    std::filesystem::remove(config);
  }

  Client& client() { return daemon_->client(); }
  template <typename Request, typename Response>
  CallStatus Ask(const std::string& method, const Request& request, Response* response) {
    return client().Unary("/eventstore.v1.OutboxService/" + method, request, response);
  }
  template <typename Response, typename Request>
  Response Must(const std::string& method, const Request& request) {
    Response response;
    const CallStatus status = Ask(method, request, &response);
    INFO(method << ": " << status.Text());
    REQUIRE(status.ok());
    return response;
  }

  v1::ClaimOutboxResponse Claim() {
    v1::ClaimOutboxRequest request;
    request.set_sink("bus");
    request.set_worker("tester");
    return Must<v1::ClaimOutboxResponse>("ClaimOutbox", request);
  }
  v1::FailOutboxResponse Fail(const v1::ClaimOutboxResponse& claim, int index) {
    v1::FailOutboxRequest request;
    request.set_claim_token(claim.claim_token());
    request.add_entries()->set_id(claim.entries(index).id());
    request.mutable_entries(0)->set_error("no such topic");
    return Must<v1::FailOutboxResponse>("FailOutbox", request);
  }
  v1::OutboxStats Stats() {
    const auto response =
        Must<v1::GetOutboxStatsResponse>("GetOutboxStats", v1::GetOutboxStatsRequest());
    REQUIRE(response.stats_size() == 1);
    return response.stats(0);
  }

 private:
  std::unique_ptr<Daemon> daemon_;
};

std::vector<v1::NewEvent> Published(int count) {
  std::vector<v1::NewEvent> events = NewEvents(count);
  for (v1::NewEvent& event : events) event.set_event_type("Published");
  return events;
}

}  // namespace

TEST_CASE("AWorkerClaimsPublishesAndCompletes") {
  Desk desk;
  const auto stream = NewStream();
  MustAppend(desk.client(), stream, NewEvents(1));  // no route is for it
  const auto events = Published(3);
  MustAppend(desk.client(), stream, events);
  CHECK(desk.Stats().pending() == 3);
  CHECK(desk.Stats().relay() == v1::RELAY_STATE_NONE);

  const auto claim = desk.Claim();
  REQUIRE(claim.entries_size() == 3);
  const auto stored = ReadStream(desk.client(), stream).events;
  for (int i = 0; i < 3; ++i) {
    CHECK(claim.entries(i).event().DebugString() ==
          stored[static_cast<std::size_t>(i) + 1].DebugString());
  }
  CHECK(desk.Claim().entries_size() == 0);

  v1::CompleteOutboxRequest complete;
  complete.set_claim_token(claim.claim_token());
  for (const v1::OutboxEntry& entry : claim.entries()) complete.add_ids(entry.id());
  CHECK(desk.Must<v1::CompleteOutboxResponse>("CompleteOutbox", complete).completed() == 3);
  const auto again = desk.Must<v1::CompleteOutboxResponse>("CompleteOutbox", complete);
  CHECK(again.completed() == 0);
  CHECK(again.skipped() == 3);
  CHECK(desk.Stats().pending() == 0);

  v1::PurgeOutboxRequest purge;
  purge.mutable_published_before()->set_seconds(4'000'000'000);
  CHECK(desk.Must<v1::PurgeOutboxResponse>("PurgeOutbox", purge).purged() == 3);
}

TEST_CASE("AnEntryThatFailsTooOftenHoldsItsStreamUntilItIsRetried") {
  Desk desk;
  MustAppend(desk.client(), NewStream(), Published(2));
  CHECK(desk.Fail(desk.Claim(), 0).released() == 1);
  v1::ClaimOutboxResponse claim;
  REQUIRE(Eventually([&] {
    claim = desk.Claim();
    return claim.entries_size() == 2;
  }));
  CHECK(claim.entries(0).retry_count() == 1);
  CHECK(claim.entries(0).last_error() == "no such topic");
  CHECK(desk.Fail(claim, 0).failed() == 1);
  CHECK(desk.Claim().entries_size() == 0);
  CHECK(desk.Stats().failed() == 1);

  v1::RetryOutboxRequest retry;
  retry.mutable_filter()->set_status(v1::OUTBOX_STATUS_FAILED);
  CHECK(desk.Must<v1::RetryOutboxResponse>("RetryOutbox", retry).retried() == 1);
  CHECK(desk.Claim().entries_size() == 2);
}

TEST_CASE("ASinkThatIsNotConfiguredIsNotFound") {
  Desk desk;
  v1::ClaimOutboxRequest request;
  request.set_sink("buss");
  request.set_worker("tester");
  v1::ClaimOutboxResponse response;
  const CallStatus status = desk.Ask("ClaimOutbox", request, &response);
  CHECK(status.code == absl::StatusCode::kNotFound);
  CHECK(status.Text().find("bus") != std::string::npos);
  request.set_sink("bus");
  request.clear_worker();
  CHECK(desk.Ask("ClaimOutbox", request, &response).code == absl::StatusCode::kInvalidArgument);
}
