// groups against a server, as a user runs it.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/consumer_group_service.grpc.pb.h"

#include "client/cli/session.h"
#include "server/core/mutex.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// Keeps the last request of each kind and answers what the test set. A subscription is told the
// position 41 of epoch 3, wherever it starts; a member gets the events 1 to 5 in two messages.
class FakeGroupServer : public v1::ConsumerGroupService::Service,
                        public v1::EventStoreService::Service {
 public:
  FakeGroupServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::ConsumerGroupService::Service*>(this));
    builder.RegisterService(static_cast<v1::EventStoreService::Service*>(this));
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
    group.set_name("billing");
    group.mutable_settings()->set_lanes(2);
  }
  ~FakeGroupServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status CreateConsumerGroup(grpc::ServerContext*,
                                   const v1::CreateConsumerGroupRequest* request,
                                   v1::CreateConsumerGroupResponse* response) override {
    create = *request;
    *response->mutable_group() = group;
    return failure;
  }
  grpc::Status UpdateConsumerGroup(grpc::ServerContext*,
                                   const v1::UpdateConsumerGroupRequest* request,
                                   v1::UpdateConsumerGroupResponse* response) override {
    update = *request;
    *response->mutable_group() = group;
    return failure;
  }
  grpc::Status DeleteConsumerGroup(grpc::ServerContext*,
                                   const v1::DeleteConsumerGroupRequest* request,
                                   v1::DeleteConsumerGroupResponse*) override {
    deleted = request->name();
    return failure;
  }
  grpc::Status GetConsumerGroup(grpc::ServerContext*, const v1::GetConsumerGroupRequest*,
                                v1::GetConsumerGroupResponse* response) override {
    ++gets;
    *response->mutable_group() = group;
    if (failures.empty()) return failure;
    grpc::Status status = failures.front();
    failures.pop_front();
    return status;
  }
  grpc::Status ListConsumerGroups(grpc::ServerContext*,
                                  const v1::ListConsumerGroupsRequest* request,
                                  v1::ListConsumerGroupsResponse* response) override {
    *response->add_groups() = group;
    if (request->page_token().empty()) response->set_next_page_token("next");
    return failure;
  }
  grpc::Status Subscribe(grpc::ServerContext*, const v1::SubscribeRequest* request,
                         grpc::ServerWriter<v1::SubscribeResponse>* writer) override {
    subscribe = *request;
    v1::SubscribeResponse response;
    response.mutable_confirmed()->set_position(41);
    response.mutable_confirmed()->set_epoch(3);
    if (failure.ok()) writer->Write(response);
    return failure;
  }
  grpc::Status GetHead(grpc::ServerContext*, const v1::GetHeadRequest*,
                       v1::GetHeadResponse* response) override {
    response->set_position(5);
    return failure;
  }
  grpc::Status Consume(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::ConsumeResponse, v1::ConsumeRequest>* stream) override {
    v1::ConsumeRequest request;
    stream->Read(&request);
    {
      MutexLock lock(&mutex_);
      said_.push_back(request);
    }
    v1::ConsumeResponse response;
    response.mutable_joined()->set_member_id("me");
    stream->Write(response);
    response.mutable_lanes()->add_assigned(1);
    stream->Write(response);
    std::int64_t position = 0;
    for (const int count : {2, 3}) {
      v1::DeliveredEvents* const events = response.mutable_events();
      events->clear_events();
      for (int i = 0; i < count; ++i) {
        v1::DeliveredEvent* const event = events->add_events();
        event->set_delivery_id(100 + ++position);
        event->mutable_event()->set_global_position(position);
        event->mutable_event()->set_content_type("application/json");
        event->mutable_event()->set_payload("{}");
      }
      stream->Write(response);
    }
    while (stream->Read(&request)) {
      MutexLock lock(&mutex_);
      said_.push_back(request);
    }
    return failure;
  }

  // What the member said so far.
  std::vector<v1::ConsumeRequest> said() {
    MutexLock lock(&mutex_);
    return said_;
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  CliResult Run(std::vector<std::string> arguments, Interrupt* interrupt = nullptr) {
    arguments.insert(arguments.begin(), "groups");
    arguments.insert(arguments.end(), {"--address", address_});
    return RunCliWith(arguments, "", interrupt);
  }

  v1::CreateConsumerGroupRequest create;
  v1::UpdateConsumerGroupRequest update;
  v1::SubscribeRequest subscribe;
  std::string deleted;
  v1::ConsumerGroup group;
  grpc::Status failure;
  std::deque<grpc::Status> failures;
  int gets = 0;

 private:
  std::string address_;
  Mutex mutex_;
  std::vector<v1::ConsumeRequest> said_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

using Catch::Contains;

TEST_CASE_METHOD(FakeGroupServer, "CreateSendsWhatWasTypedAndLeavesTheRestUnset") {
  CliResult result = Run({"create",
                          "billing",
                          "--from",
                          "end",
                          "--lanes",
                          "4",
                          "--attempts",
                          "3",
                          "--span",
                          "50",
                          "--member-in-flight",
                          "20",
                          "--lane-in-flight",
                          "10",
                          "--ack-timeout-ms",
                          "1500",
                          "--backoff-min-ms",
                          "5",
                          "--backoff-max-ms",
                          "60000",
                          "--lease-ms",
                          "2000",
                          "--on-failure",
                          "park-stream",
                          "--event-type",
                          "Placed"});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  CHECK(create.name() == "billing");
  CHECK(create.has_end());
  const v1::ConsumerGroupSettings& settings = create.settings();
  CHECK(settings.lanes() == 4);
  CHECK(settings.max_attempts() == 3);
  CHECK(settings.unsettled_span_max() == 50);
  CHECK(settings.member_in_flight_max() == 20);
  CHECK(settings.lane_in_flight_max() == 10);
  CHECK(settings.ack_timeout().seconds() == 1);
  CHECK(settings.ack_timeout().nanos() == 500'000'000);
  CHECK(settings.backoff_min().nanos() == 5'000'000);
  CHECK(settings.backoff_max().seconds() == 60);
  CHECK(settings.lease_duration().seconds() == 2);
  CHECK(settings.on_failure() == v1::ON_FAILURE_PARK_STREAM);
  CHECK(settings.filter().event_types(0) == "Placed");
  CHECK(Run({"create", "billing"}).code == 0);
  CHECK(create.has_beginning());
  CHECK_FALSE(create.settings().has_filter());
  CHECK_FALSE(create.settings().has_ack_timeout());
  CHECK(create.settings().on_failure() == v1::ON_FAILURE_UNSPECIFIED);
  CHECK(Run({"create", "billing", "--from", "7", "--epoch", "2"}).code == 0);
  CHECK(create.after_position() == 7);
  CHECK(create.epoch() == 2);
  CHECK(Run({"create", "billing", "--from", "yesterday"}).code == kExitUsage);
  CHECK(Run({"create", "billing", "--on-failure", "hope"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeGroupServer, "ATimeOrACheckpointBecomesThePositionThatItIsAt") {
  CHECK(Run({"create", "billing", "--from", "2024-05-01T12:00:00Z"}).code == 0);
  CHECK(subscribe.from_timestamp().seconds() == 1714564800);
  CHECK(create.after_position() == 41);
  CHECK(create.epoch() == 3);
  create.Clear();
  CHECK(Run({"create", "billing", "--from", "checkpoint:orders"}).code == 0);
  CHECK(subscribe.checkpoint() == "orders");
  CHECK(create.after_position() == 41);
  // Where the position is not found, no group is made.
  create.Clear();
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_NOT_FOUND);
  problem.set_message("no such checkpoint");
  failure = RichError(grpc::StatusCode::NOT_FOUND, problem);
  const CliResult result = Run({"create", "billing", "--from", "checkpoint:missing"});
  CHECK(result.code == kExitFailed);
  CHECK_THAT(result.err, Contains("no such checkpoint"));
  CHECK(create.name().empty());
}

TEST_CASE_METHOD(FakeGroupServer, "UpdateSendsOnlyWhatWasTypedAndCannotNameWhatIsFixed") {
  CHECK(Run({"update", "billing", "--on-failure", "stop", "--revision", "4"}).code == 0);
  CHECK(update.expected_revision() == 4);
  v1::ConsumerGroupSettings wanted;
  wanted.set_on_failure(v1::ON_FAILURE_STOP);
  CHECK(update.settings().SerializeAsString() == wanted.SerializeAsString());
  CHECK(Run({"update", "billing", "--lanes", "8"}).code == kExitUsage);
  CHECK(Run({"update", "billing", "--event-type", "A"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeGroupServer, "GetShowsMembersAndEachLane") {
  group.set_parked(3);
  group.add_members()->set_member_name("worker");
  v1::ConsumerGroupLane* const lane = group.add_lanes();
  lane->set_token(12);
  lane->set_checkpoint(90);
  lane->set_lag_positions(10);
  lane->mutable_lag()->set_seconds(7);
  lane->set_in_flight(4);
  lane->set_retrying(2);
  lane->mutable_oldest_unacked_age()->set_nanos(250'000'000);
  group.add_lanes()->set_stopped_event_id("0190a0a0-0000-7000-8000-00000000000f");
  CliResult result = Run({"get", "billing"});
  CHECK_THAT(result.out, Contains("parked 3") && Contains("worker") && Contains("7.0s") &&
                             Contains("0.2s") && Contains("0190a0a0-0000-7000-8000-00000000000f"));
  result = Run({"get", "billing", "--output", "json"});
  rapidjson::Document json;
  json.Parse(result.out.c_str());
  REQUIRE_FALSE(json.HasParseError());
  CHECK(json["parked"].GetInt() == 3);
  const auto& first = json["lane_states"][0];
  CHECK(first["token"].GetInt() == 12);
  CHECK(first["lag_positions"].GetInt() == 10);
  CHECK(first["lag_seconds"].GetDouble() == Approx(7));
  CHECK(first["in_flight"].GetInt() == 4);
  CHECK(first["retrying"].GetInt() == 2);
  CHECK(first["oldest_unacked_seconds"].GetDouble() == Approx(0.25));
}

TEST_CASE_METHOD(FakeGroupServer, "WatchShowsAgainAndOutlivesAServerThatIsAway") {
  v1::ErrorInfo away;
  away.set_reason(v1::ERROR_REASON_STORE_UNAVAILABLE);
  away.set_message("the database is away");
  failures = {grpc::Status::OK, RichError(grpc::StatusCode::UNAVAILABLE, away), grpc::Status::OK};
  const CliResult result = Run({"watch", "billing", "--count", "3", "--interval", "0.1"});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  CHECK(gets == 3);
  CHECK_THAT(result.err, Contains("the database is away"));
  // A deleted group ends it.
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_NOT_FOUND);
  failure = RichError(grpc::StatusCode::NOT_FOUND, problem);
  CHECK(Run({"watch", "billing", "--interval", "0.1"}).code == kExitFailed);
}

TEST_CASE_METHOD(FakeGroupServer, "ListShowsEveryPageAndDeleteNamesTheGroup") {
  const CliResult result = Run({"list", "--output", "json"});
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 2);
  CHECK(Run({"delete", "billing"}).code == 0);
  CHECK(deleted == "billing");
  failure = {grpc::StatusCode::UNAVAILABLE, "away"};
  CHECK(Run({"delete", "billing"}).code == kExitUnreachable);
}

TEST_CASE_METHOD(FakeGroupServer, "ConsumeAnswersForWhatItPrintsUpToTheLimit") {
  const auto answer = GENERATE(as<std::string>(), "ack", "retry", "park", "skip");
  const CliResult result = Run({"consume", "billing", "--limit", "4", "--answer", answer,
                                "--reason", "why", "--in-flight", "9", "--name", "n"});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  CHECK_THAT(result.err, Contains("joined as me") && Contains("lanes +1"));
  const auto said = this->said();
  REQUIRE(said.size() == 3);
  CHECK(said[0].join().group() == "billing");
  CHECK(said[0].join().max_in_flight() == 9);
  CHECK(said[0].join().member_name() == "n");
  std::vector<std::int64_t> ids;
  for (std::size_t i = 1; i < said.size(); ++i) {
    CHECK(said[i].has_ack() == (answer == "ack"));
    const auto& named =
        answer == "ack" ? said[i].ack().delivery_ids() : said[i].nack().delivery_ids();
    ids.insert(ids.end(), named.begin(), named.end());
    if (answer == "ack") continue;
    CHECK(said[i].nack().reason() == "why");
    CHECK(said[i].nack().action() == (answer == "retry"  ? v1::NACK_ACTION_RETRY
                                      : answer == "park" ? v1::NACK_ACTION_PARK
                                                         : v1::NACK_ACTION_SKIP));
  }
  // The fifth was not printed, and goes to others.
  CHECK(ids == std::vector<std::int64_t>{101, 102, 103, 104});
}

TEST_CASE_METHOD(FakeGroupServer, "ConsumeTellsWhyTheMembershipEnded") {
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_SLOW_CONSUMER);
  problem.set_message("too slow");
  failure = RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, problem);
  const CliResult result = Run({"consume", "billing", "--limit", "2"});
  CHECK(result.code == kExitFailed);
  CHECK_THAT(result.err, Contains("too slow"));
}

TEST_CASE_METHOD(FakeGroupServer, "BenchConsumeAcksEveryEventOnceAndDeletesItsGroup") {
  group.set_checkpoint(5);
  const CliResult result =
      RunCliWith({"bench", "consume", "--members", "1", "--duration", "60", "--events-per-read",
                  "5", "--address", address(), "--output", "json"});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  rapidjson::Document report;
  report.Parse(result.out.c_str());
  REQUIRE_FALSE(report.HasParseError());
  CHECK(report["events"].GetInt() == 5);
  CHECK(report["operations"].GetInt() >= 1);
  CHECK(report["redelivered"].GetInt() == 0);
  CHECK(report["missed"].GetInt() == 0);
  CHECK(report["errors"].ObjectEmpty());
  CHECK(create.has_beginning());
  CHECK_THAT(create.name(), Catch::StartsWith("bench-"));
  CHECK(deleted == create.name());
  std::vector<std::int64_t> ids;
  for (const v1::ConsumeRequest& request : said()) {
    ids.insert(ids.end(), request.ack().delivery_ids().begin(), request.ack().delivery_ids().end());
  }
  CHECK(ids == std::vector<std::int64_t>{101, 102, 103, 104, 105});
}

}  // namespace
}  // namespace eventstore::cli
