// checkpoints and dead-letters against a server, as a user runs them.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/dead_letter_service.grpc.pb.h"
#include "eventstore/v1/projection_service.grpc.pb.h"

#include "client/cli/session.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// Keeps the last request of each kind, and answers what the test set.
class FakeProjectionServer : public v1::ProjectionService::Service,
                             public v1::DeadLetterService::Service {
 public:
  FakeProjectionServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::ProjectionService::Service*>(this));
    builder.RegisterService(static_cast<v1::DeadLetterService::Service*>(this));
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeProjectionServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status SaveCheckpoint(grpc::ServerContext*, const v1::SaveCheckpointRequest* request,
                              v1::SaveCheckpointResponse* response) override {
    save = *request;
    *response = saved;
    return grpc::Status::OK;
  }
  grpc::Status GetCheckpoint(grpc::ServerContext*, const v1::GetCheckpointRequest*,
                             v1::GetCheckpointResponse* response) override {
    *response->mutable_status() = status;
    return failure;
  }
  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest* request,
                               v1::ListCheckpointsResponse* response) override {
    lists.push_back(*request);
    if (!list_failures.empty()) {
      const grpc::Status failed = list_failures.front();
      list_failures.pop_front();
      return failed;
    }
    *response->add_checkpoints() = status;
    if (request->page_token().empty() && pages > 1) response->set_next_page_token("next");
    return grpc::Status::OK;
  }
  grpc::Status RetryDeadLetters(grpc::ServerContext*, const v1::RetryDeadLettersRequest* request,
                                v1::RetryDeadLettersResponse* response) override {
    retries.push_back(*request);
    response->set_retried(2);
    response->set_next_after_id(request->after_id() == 0 ? 7 : 0);
    return grpc::Status::OK;
  }
  grpc::Status ResolveDeadLetters(grpc::ServerContext*,
                                  const v1::ResolveDeadLettersRequest* request,
                                  v1::ResolveDeadLettersResponse* response) override {
    resolve = *request;
    response->set_resolved(1);
    return grpc::Status::OK;
  }
  grpc::Status ListDeadLetters(grpc::ServerContext*, const v1::ListDeadLettersRequest* request,
                               v1::ListDeadLettersResponse* response) override {
    letters = *request;
    *response->add_dead_letters() = letter;
    return grpc::Status::OK;
  }
  grpc::Status PurgeDeadLetters(grpc::ServerContext*, const v1::PurgeDeadLettersRequest*,
                                v1::PurgeDeadLettersResponse* response) override {
    response->set_purged(1000);
    response->set_has_more(++purges < 3);
    return grpc::Status::OK;
  }

  CliResult Run(std::vector<std::string> arguments, Interrupt* interrupt = nullptr) {
    arguments.insert(arguments.end(), {"--address", address_});
    return RunCliWith(arguments, "", interrupt);
  }

  v1::SaveCheckpointRequest save;
  v1::SaveCheckpointResponse saved;
  v1::CheckpointStatus status;
  grpc::Status failure;
  std::vector<v1::ListCheckpointsRequest> lists;
  std::deque<grpc::Status> list_failures;
  int pages = 1;
  std::vector<v1::RetryDeadLettersRequest> retries;
  v1::ResolveDeadLettersRequest resolve;
  v1::ListDeadLettersRequest letters;
  v1::DeadLetter letter;
  int purges = 0;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

using Catch::Contains;

TEST_CASE_METHOD(FakeProjectionServer, "SaveSendsWhatWasTypedAndTellsWhetherItWasSaved") {
  saved.set_saved(true);
  saved.mutable_checkpoint()->set_position(7);
  CliResult result =
      Run({"checkpoints", "save", "orders", "7", "--epoch", "2", "--expected", "5", "--processed",
           "2", "--last-event-type", "Placed", "--allow-rewind", "--type", "Order"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(save.projection_name() == "orders");
  CHECK(save.position() == 7);
  CHECK(save.epoch() == 2);
  CHECK(save.expected_position() == 5);
  CHECK(save.events_processed() == 2);
  CHECK(save.last_event_type() == "Placed");
  CHECK(save.allow_rewind());
  CHECK(save.filter().aggregate_types(0) == "Order");
  saved.set_saved(false);
  result = Run({"checkpoints", "save", "orders", "6"});
  CHECK(result.code == kExitFailed);
  CHECK_THAT(result.err, Contains("is at 7 already"));
  CHECK_FALSE(save.has_filter());
  CHECK_FALSE(save.has_expected_position());
  CHECK(Run({"checkpoints", "save", "orders", "6", "--every-event"}).code == kExitFailed);
  CHECK(save.has_filter());
}

TEST_CASE_METHOD(FakeProjectionServer, "ListShowsLagAndStateOfEveryPage") {
  pages = 2;
  status.mutable_checkpoint()->set_projection_name("orders\x1b[2J");
  status.mutable_checkpoint()->set_position(40);
  status.set_lag_positions(12);
  status.set_lag_seconds(3.25);
  status.set_is_stale(true);
  const CliResult text = Run({"checkpoints", "list", "--stale", "--stale-after", "1.5"});
  INFO(text.err);
  CHECK(text.code == 0);
  REQUIRE(lists.size() == 2);
  CHECK(lists[0].only_stale());
  CHECK(lists[0].stale_after().seconds() == 1);
  CHECK(lists[0].stale_after().nanos() == 500'000'000);
  CHECK(lists[1].page_token() == "next");
  CHECK_THAT(text.out, Contains("STALE") && Contains("12") && Contains("3.2"));
  CHECK_THAT(text.out, !Contains("\x1b"));
  CHECK_THAT(text.err, Contains("2 checkpoints"));
  status.set_lag_is_lower_bound(true);
  const CliResult json = Run({"checkpoints", "list", "--limit", "1", "--output", "json"});
  CHECK_THAT(json.out, Contains("\"lag_is_lower_bound\":true") && Contains("\"lag_positions\":12"));
  CHECK(lists.back().page_size() == 1);
}

TEST_CASE_METHOD(FakeProjectionServer, "WatchShowsViewsUntilItsCountAndOutlivesABadMoment") {
  status.mutable_checkpoint()->set_projection_name("orders");
  v1::ErrorInfo away;
  away.set_reason(v1::ERROR_REASON_STORE_UNAVAILABLE);
  away.set_message("the database is away");
  list_failures.push_back(RichError(grpc::StatusCode::UNAVAILABLE, away));
  const CliResult result =
      Run({"checkpoints", "watch", "--interval", "0.1", "--count", "3", "--output", "json"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(lists.size() == 3);
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 2);
  CHECK_THAT(result.err, Contains("the database is away"));
  v1::ErrorInfo wrong;
  wrong.set_reason(v1::ERROR_REASON_INVALID_REQUEST);
  wrong.set_message("no");
  list_failures.push_back(RichError(grpc::StatusCode::INVALID_ARGUMENT, wrong));
  CHECK(Run({"checkpoints", "watch", "--interval", "0.1"}).code == kExitFailed);
}

TEST_CASE_METHOD(FakeProjectionServer, "WatchEndsWhenItIsInterrupted") {
  Interrupt interrupt;
  interrupt.Raise();
  const CliResult result = Run({"checkpoints", "watch", "--interval", "3600"}, &interrupt);
  CHECK(result.code == 0);
}

TEST_CASE_METHOD(FakeProjectionServer, "GetTellsAMissingCheckpoint") {
  v1::ErrorInfo missing;
  missing.set_reason(v1::ERROR_REASON_NOT_FOUND);
  missing.set_message("there is no checkpoint orders");
  failure = RichError(grpc::StatusCode::NOT_FOUND, missing);
  const CliResult result = Run({"checkpoints", "get", "orders"});
  CHECK(result.code == kExitFailed);
  CHECK_THAT(result.err, Contains("there is no checkpoint orders"));
}

TEST_CASE_METHOD(FakeProjectionServer, "RetryGoesOnUntilAllWasLookedAt") {
  const CliResult result = Run({"dead-letters", "retry", "--all", "orders"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(result.out == "4 retrying\n");
  REQUIRE(retries.size() == 2);
  CHECK(retries[0].selection().all_of_projection() == "orders");
  CHECK(retries[1].after_id() == 7);
}

TEST_CASE_METHOD(FakeProjectionServer, "ASelectionIsOneOfThreeKinds") {
  CHECK(Run({"dead-letters", "retry"}).code == kExitUsage);
  CHECK(Run({"dead-letters", "retry", "1", "--all", "orders"}).code == kExitUsage);
  CHECK(Run({"dead-letters", "retry", "1", "--event-type", "A"}).code == kExitUsage);
  CHECK(retries.empty());
  REQUIRE(Run({"dead-letters", "resolve", "3", "5", "--by", "ada", "--note", "done"}).code == 0);
  CHECK(resolve.selection().ids().ids_size() == 2);
  CHECK(resolve.resolved_by() == "ada");
  CHECK(resolve.note() == "done");
  REQUIRE(
      Run({"dead-letters", "resolve", "--projection", "p", "--status", "retrying", "--by", "ada"})
          .code == 0);
  CHECK(resolve.selection().filter().status() == v1::DEAD_LETTER_STATUS_RETRYING);
}

TEST_CASE_METHOD(FakeProjectionServer, "DeadLettersAreListedByFilter") {
  letter.set_id(4);
  letter.set_projection_name("orders");
  letter.set_status(v1::DEAD_LETTER_STATUS_FAILED);
  letter.set_error_message("no such\ncustomer");
  letter.set_event_data("{\"a\": 1}");
  letter.mutable_stream()->set_aggregate_type("Order");
  letter.mutable_stream()->set_aggregate_id("7");
  const CliResult text = Run({"dead-letters", "list", "--projection", "orders", "--event-type", "A",
                              "--event-type", "B", "--since", "2024-05-01"});
  INFO(text.err);
  CHECK(text.code == 0);
  CHECK(letters.filter().projection_name() == "orders");
  CHECK(letters.filter().event_types_size() == 2);
  CHECK(letters.filter().from_timestamp().seconds() == 1'714'521'600);
  CHECK_THAT(text.out, Contains("failed") && Contains("no such\\n") && !Contains("such\ncus"));
  CHECK_THAT(text.err, Contains("1 entry"));
  const CliResult json = Run({"dead-letters", "list", "--output", "json"});
  CHECK_THAT(json.out, Contains("\"stream\":{\"aggregate_type\":\"Order\""));
  CHECK_THAT(json.out, Contains("\"event_data\":{\"a\":1}") && Contains("\"status\":\"failed\""));
  CHECK(Run({"dead-letters", "list", "--since", "soon"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeProjectionServer, "PurgeGoesOnUntilNothingIsLeft") {
  const CliResult result = Run({"dead-letters", "purge", "--before", "2024-05-01"});
  CHECK(result.code == 0);
  CHECK(result.out == "3000 purged\n");
  CHECK(purges == 3);
}

}  // namespace
}  // namespace eventstore::cli
