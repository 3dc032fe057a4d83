// outbox against a server, as a user runs it.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/outbox_service.grpc.pb.h"

#include "client/cli/session.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

constexpr char kId[] = "0190b2c4-0000-7000-8000-0000000000aa";
constexpr char kToken[] = "0190b2c4-0000-7000-8000-0000000000bb";

// Keeps the requests, and answers what the test set.
class FakeOutboxServer : public v1::OutboxService::Service {
 public:
  FakeOutboxServer() {
    entry.set_id(kId);
    entry.set_sink("bus");
    entry.set_status(v1::OUTBOX_STATUS_FAILED);
    entry.set_retry_count(5);
    entry.set_last_error("no\x1b[2Jtopic");
    entry.mutable_created_at()->set_seconds(1714564800);
    entry.mutable_event()->set_global_position(7);
    entry.mutable_event()->set_event_type("Placed");
    entry.mutable_event()->mutable_stream()->set_aggregate_type("Order");
    entry.mutable_event()->mutable_stream()->set_aggregate_id("1");
    entry.mutable_event()->set_payload("{\"n\":1}");
    entry.mutable_event()->set_content_type("application/json");
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeOutboxServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status ClaimOutbox(grpc::ServerContext*, const v1::ClaimOutboxRequest* request,
                           v1::ClaimOutboxResponse* response) override {
    claim = *request;
    if (empty) return failure;
    *response->add_entries() = entry;
    response->set_claim_token(kToken);
    return failure;
  }
  grpc::Status CompleteOutbox(grpc::ServerContext*, const v1::CompleteOutboxRequest* request,
                              v1::CompleteOutboxResponse* response) override {
    complete = *request;
    response->set_completed(2);
    response->set_skipped(1);
    return failure;
  }
  grpc::Status FailOutbox(grpc::ServerContext*, const v1::FailOutboxRequest* request,
                          v1::FailOutboxResponse* response) override {
    fail = *request;
    response->set_retrying(1);
    response->set_released(3);
    return failure;
  }
  grpc::Status ListOutbox(grpc::ServerContext*, const v1::ListOutboxRequest* request,
                          v1::ListOutboxResponse* response) override {
    lists.push_back(*request);
    *response->add_entries() = entry;
    if (request->page_token().empty()) response->set_next_page_token("next");
    return failure;
  }
  grpc::Status RetryOutbox(grpc::ServerContext*, const v1::RetryOutboxRequest* request,
                           v1::RetryOutboxResponse* response) override {
    retries.push_back(*request);
    response->set_retried(4);
    if (request->has_filter() && request->after_id().empty()) response->set_next_after_id("on");
    return failure;
  }
  grpc::Status GetOutboxStats(grpc::ServerContext*, const v1::GetOutboxStatsRequest* request,
                              v1::GetOutboxStatsResponse* response) override {
    stats = *request;
    v1::OutboxStats* bus = response->add_stats();
    bus->set_sink("bus");
    bus->set_type("kafka");
    bus->set_pending(12);
    bus->set_relay(v1::RELAY_STATE_UNAVAILABLE);
    bus->set_last_error("connection refused");
    response->set_truncated(true);
    return failure;
  }
  grpc::Status PauseOutbox(grpc::ServerContext*, const v1::PauseOutboxRequest* request,
                           v1::PauseOutboxResponse* response) override {
    pause = *request;
    response->set_changed(!empty);
    return failure;
  }
  grpc::Status PurgeOutbox(grpc::ServerContext*, const v1::PurgeOutboxRequest* request,
                           v1::PurgeOutboxResponse* response) override {
    purges.push_back(*request);
    response->set_purged(10);
    response->set_has_more(purges.size() == 1);
    return failure;
  }

  CliResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "outbox");
    arguments.insert(arguments.end(), {"--address", address_});
    return RunCliWith(arguments, "");
  }

  v1::OutboxEntry entry;
  bool empty = false;
  v1::ClaimOutboxRequest claim;
  v1::CompleteOutboxRequest complete;
  v1::FailOutboxRequest fail;
  std::vector<v1::ListOutboxRequest> lists;
  std::vector<v1::RetryOutboxRequest> retries;
  v1::GetOutboxStatsRequest stats;
  v1::PauseOutboxRequest pause;
  std::vector<v1::PurgeOutboxRequest> purges;
  grpc::Status failure;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

using Catch::Contains;

TEST_CASE_METHOD(FakeOutboxServer, "OutboxEntriesAreListedPageByPage") {
  CliResult result = Run({"list", "--sink", "bus", "--status", "failed", "--event-type", "Placed",
                          "--stream", "Order/1", "--tenant", kId});
  INFO(result.err);
  CHECK(result.code == kExitOk);
  REQUIRE(lists.size() == 2);
  CHECK(lists[0].filter().sink() == "bus");
  CHECK(lists[0].filter().status() == v1::OUTBOX_STATUS_FAILED);
  CHECK(lists[0].filter().event_types(0) == "Placed");
  CHECK(lists[0].filter().stream().aggregate_id() == "1");
  CHECK(lists[0].filter().stream().tenant_id() == kId);
  CHECK(lists[0].tenant_id() == kId);
  CHECK(lists[1].page_token() == "next");
  CHECK_THAT(result.out, Contains("failed") && Contains("Order/1") && Contains("Placed"));
  CHECK_THAT(result.out, !Contains("\x1b"));
  CHECK_THAT(result.err, Contains("2 entries"));
  result = Run({"list", "--limit", "1", "--output", "json"});
  CHECK(lists.size() == 3);
  CHECK_THAT(result.out, Contains("\"status\":\"failed\"") && Contains("\"payload\":{\"n\":1}"));
  CHECK(Run({"list", "--status", "lost"}).code == kExitUsage);
  CHECK(Run({"list", "--stream", "Order"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeOutboxServer, "AClaimShowsItsToken") {
  CliResult result = Run({"claim", "bus", "--worker", "me", "--limit", "7", "--lease", "1.5"});
  INFO(result.err);
  CHECK(result.code == kExitOk);
  CHECK(claim.sink() == "bus");
  CHECK(claim.worker() == "me");
  CHECK(claim.limit() == 7);
  CHECK(claim.lease().seconds() == 1);
  CHECK(claim.lease().nanos() == 500'000'000);
  CHECK_THAT(result.err, Contains(std::string("claim token: ") + kToken));
  result = Run({"claim", "bus", "--worker", "me", "--output", "json"});
  CHECK_FALSE(claim.has_lease());
  CHECK_THAT(result.out, Contains(std::string("{\"claim_token\":\"") + kToken));
  empty = true;
  result = Run({"claim", "bus", "--worker", "me"});
  CHECK(result.code == kExitOk);
  CHECK(result.out.empty());
  CHECK_THAT(result.err, Contains("nothing to publish"));
  CHECK(Run({"claim", "bus"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeOutboxServer, "EntriesOfAClaimAreCompletedAndFailed") {
  CHECK(Run({"complete", kToken, kId, kId}).out == "2 completed, 1 skipped\n");
  CHECK(complete.claim_token() == kToken);
  CHECK(complete.ids_size() == 2);
  const CliResult result =
      Run({"fail", kToken, kId, "--error", "no topic", "--retry-delay", "60", "--output", "json"});
  CHECK(result.out == "{\"retrying\":1,\"failed\":0,\"released\":3,\"skipped\":0}\n");
  CHECK(fail.claim_token() == kToken);
  CHECK(fail.entries(0).id() == kId);
  CHECK(fail.entries(0).error() == "no topic");
  CHECK(fail.retry_delay().seconds() == 60);
  CHECK(Run({"fail", kToken, kId}).code == kExitUsage);
  CHECK(Run({"complete", kToken}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeOutboxServer, "ARetryGoesOnUntilAllWereLookedAt") {
  CHECK(Run({"retry", "--sink", "bus"}).out == "8 retried\n");
  REQUIRE(retries.size() == 2);
  CHECK(retries[1].after_id() == "on");
  CHECK(retries[1].filter().sink() == "bus");
  CHECK(Run({"retry", kId}).out == "4 retried\n");
  CHECK(retries.back().ids().ids(0) == kId);
  CHECK(Run({"retry", "--all"}).out == "8 retried\n");
  CHECK(retries.back().has_filter());
  CHECK(Run({"retry"}).code == kExitUsage);
  CHECK(Run({"retry", kId, "--all"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeOutboxServer, "SinksAreTold") {
  CliResult result = Run({"stats", "--sink", "bus"});
  CHECK(stats.sink() == "bus");
  CHECK_THAT(result.out, Contains("unavailable") && Contains("connection refused"));
  CHECK_THAT(result.err, Contains("lower bounds"));
  result = Run({"stats", "--output", "json"});
  CHECK_THAT(result.out, Contains("\"pending\":12") && Contains("\"relay\":\"unavailable\""));
}

TEST_CASE_METHOD(FakeOutboxServer, "ARelayIsPausedAndResumed") {
  CHECK(Run({"pause", "bus"}).out == "paused\n");
  CHECK(pause.paused());
  CHECK(pause.sink() == "bus");
  empty = true;
  CHECK(Run({"resume", "bus"}).out == "running already\n");
  CHECK_FALSE(pause.paused());
}

TEST_CASE_METHOD(FakeOutboxServer, "APurgeGoesOnWhileThereIsMore") {
  CHECK(Run({"purge", "--before", "2024-05-01", "--sink", "bus"}).out == "20 purged\n");
  REQUIRE(purges.size() == 2);
  CHECK(purges[0].published_before().seconds() == 1714521600);
  CHECK(purges[0].sink() == "bus");
  CHECK(Run({"purge", "--before", "soon"}).code == kExitUsage);
  CHECK(Run({"purge"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeOutboxServer, "AFailureOfTheOutboxIsTold") {
  failure = {grpc::StatusCode::NOT_FOUND, "no such sink"};
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"list"},
                                             {"claim", "x", "--worker", "me"},
                                             {"complete", kToken, kId},
                                             {"fail", kToken, kId, "--error", "e"},
                                             {"retry", "--all"},
                                             {"stats"},
                                             {"pause", "x"},
                                             {"purge", "--before", "2024-05-01"}}) {
    INFO(arguments[0]);
    const CliResult result = Run(arguments);
    CHECK(result.code == kExitFailed);
    CHECK_THAT(result.err, Contains("no such sink"));
  }
}

}  // namespace
}  // namespace eventstore::cli
