// query and payload-indexes against a server, as a user runs them.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/admin_service.grpc.pb.h"
#include "eventstore/v1/event_store_service.grpc.pb.h"

#include "client/cli/session.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// Keeps the requests, and answers what the test set.
class FakeQueryServer : public v1::EventStoreService::Service, public v1::AdminService::Service {
 public:
  FakeQueryServer() {
    index.set_name("by-customer");
    index.set_field("customer.id");
    index.set_state(v1::PAYLOAD_INDEX_STATE_BUILDING);
    index.set_partitions_done(1);
    index.set_partitions_total(3);
    index.set_blocks_done(25);
    index.set_blocks_total(100);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::EventStoreService::Service*>(this));
    builder.RegisterService(static_cast<v1::AdminService::Service*>(this));
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeQueryServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status QueryEvents(grpc::ServerContext*, const v1::QueryEventsRequest* request,
                           grpc::ServerWriter<v1::QueryEventsResponse>* writer) override {
    query = *request;
    for (const std::int64_t position : {7, 9}) {
      v1::QueryEventsResponse response;
      v1::Event* event = response.mutable_events()->add_events();
      event->set_global_position(position);
      event->set_event_type("OrderPlaced");
      event->set_payload("{}");
      event->set_content_type("application/json");
      response.mutable_events()->set_position(position);
      response.mutable_events()->set_epoch(3);
      writer->Write(response);
    }
    return failure;
  }
  grpc::Status CreatePayloadIndex(grpc::ServerContext*,
                                  const v1::CreatePayloadIndexRequest* request,
                                  v1::CreatePayloadIndexResponse* response) override {
    create = *request;
    *response->mutable_index() = index;
    return failure;
  }
  grpc::Status DropPayloadIndex(grpc::ServerContext*, const v1::DropPayloadIndexRequest* request,
                                v1::DropPayloadIndexResponse* response) override {
    drop = *request;
    *response->mutable_index() = index;
    return failure;
  }
  grpc::Status ListPayloadIndexes(grpc::ServerContext*, const v1::ListPayloadIndexesRequest*,
                                  v1::ListPayloadIndexesResponse* response) override {
    *response->add_indexes() = index;
    return failure;
  }

  CliResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--address", address_});
    return RunCliWith(arguments);
  }

  v1::PayloadIndex index;
  v1::QueryEventsRequest query;
  v1::CreatePayloadIndexRequest create;
  v1::DropPayloadIndexRequest drop;
  grpc::Status failure;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

using Catch::Contains;

TEST_CASE_METHOD(FakeQueryServer, "QuerySendsWhatWasTypedAndTellsWhereToGoOn") {
  const CliResult result =
      Run({"query", "--contains", "{\"a\":1}", "--equals", "b.c=x=y", "--equals", "d=", "--type",
           "Order", "--after", "5", "--epoch", "3", "--limit", "4", "--since", "2024-05-01"});
  INFO(result.err);
  CHECK(result.code == kExitOk);
  CHECK(query.payload_contains() == "{\"a\":1}");
  CHECK(query.payload_equals().at("b.c") == "x=y");
  CHECK(query.payload_equals().at("d").empty());
  CHECK(query.filter().aggregate_types(0) == "Order");
  CHECK(query.after_position() == 5);
  CHECK(query.epoch() == 3);
  CHECK(query.limit() == 4);
  CHECK(query.from_timestamp().seconds() == 1714521600);
  CHECK_THAT(result.err, Contains("2 events; to go on: --after 9 --epoch 3"));
  CHECK(Run({"query", "--type", "Order"}).code == kExitUsage);
  CHECK(Run({"query", "--equals", "nothing"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeQueryServer, "AQueryThatIsTooSlowTellsWhereToGoOn") {
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_TOO_LARGE);
  problem.set_message("the query takes too long");
  failure = RichError(grpc::StatusCode::INVALID_ARGUMENT, problem);
  const CliResult result = Run({"query", "--contains", "{}"});
  CHECK(result.code != kExitOk);
  CHECK_THAT(result.err, Contains("the query takes too long") && Contains("--after 9 --epoch 3"));
}

TEST_CASE_METHOD(FakeQueryServer, "PayloadIndexesAreCreatedListedAndDropped") {
  CliResult result = Run({"payload-indexes", "create", "by-customer", "customer.id"});
  CHECK(result.code == kExitOk);
  CHECK(create.name() == "by-customer");
  CHECK(create.field() == "customer.id");
  CHECK_THAT(result.out, Contains("building") && Contains("1/3") && Contains("25%"));
  CHECK(Run({"payload-indexes", "create", "any"}).code == kExitOk);
  CHECK(create.field().empty());
  result = Run({"payload-indexes", "list", "--output", "json"});
  CHECK_THAT(result.out, Contains("\"state\":\"building\"") && Contains("\"partitions_done\":1"));
  CHECK(Run({"payload-indexes", "drop", "by-customer"}).code == kExitOk);
  CHECK(drop.name() == "by-customer");
}

}  // namespace
}  // namespace eventstore::cli
