// truncate, delete-stream and erase against a server, as a user runs them.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "client/cli/session.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// Keeps the last request of each kind, and answers what the test set.
class FakeLifecycleServer : public v1::EventStoreService::Service {
 public:
  FakeLifecycleServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeLifecycleServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status TruncateStream(grpc::ServerContext*, const v1::TruncateStreamRequest* request,
                              v1::TruncateStreamResponse* response) override {
    truncate = *request;
    *response->mutable_info() = info;
    return failure;
  }
  grpc::Status DeleteStream(grpc::ServerContext*, const v1::DeleteStreamRequest* request,
                            v1::DeleteStreamResponse* response) override {
    remove = *request;
    *response->mutable_info() = info;
    return failure;
  }
  grpc::Status EraseEvents(grpc::ServerContext*, const v1::EraseEventsRequest* request,
                           v1::EraseEventsResponse* response) override {
    erase = *request;
    response->set_erased(2);
    return failure;
  }

  CliResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--address", address_});
    return RunCliWith(arguments);
  }

  v1::TruncateStreamRequest truncate;
  v1::DeleteStreamRequest remove;
  v1::EraseEventsRequest erase;
  v1::StreamInfo info;
  grpc::Status failure;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

constexpr char kId[] = "0190b2c4-0000-7000-8000-0000000000aa";

TEST_CASE("TruncateNamesTheFirstVersionThatStays") {
  FakeLifecycleServer server;
  server.info.set_exists(true);
  server.info.set_version(9);
  server.info.set_first_version(4);
  const CliResult result = server.Run({"truncate", "Order", "o", "--before", "4"});
  CHECK(result.code == kExitOk);
  CHECK(result.out.find("first version  4\n") != std::string::npos);
  CHECK(server.truncate.stream().aggregate_id() == "o");
  CHECK(server.truncate.before_version() == 4);
  CHECK(server.Run({"truncate", "Order", "o"}).code == kExitUsage);
}

TEST_CASE("DeleteStreamExpectsAnythingUnlessTold") {
  FakeLifecycleServer server;
  server.info.set_deleted(true);
  CHECK(server.Run({"delete-stream", "Order", "o"}).out.find("deleted        yes\n") !=
        std::string::npos);
  CHECK(server.remove.expected_version().has_any());
  CHECK_FALSE(server.remove.permanent());
  server.info.set_permanently_deleted(true);
  const CliResult gone =
      server.Run({"delete-stream", "Order", "o", "--permanent", "--expected", "7"});
  CHECK(gone.out.find("deleted        for good\n") != std::string::npos);
  CHECK(server.remove.expected_version().exact() == 7);
  CHECK(server.remove.permanent());
  const CliResult json = server.Run({"delete-stream", "Order", "o", "--output", "json"});
  CHECK(json.out.find("\"permanently_deleted\":true") != std::string::npos);
  CHECK(server.Run({"delete-stream", "Order", "o", "--expected", "x"}).code == kExitUsage);
}

TEST_CASE("EraseNeedsToBeToldWhichEventsWhoAndWhy") {
  FakeLifecycleServer server;
  const std::vector<std::string> audit = {"--reason", "r", "--by", "b"};
  const auto erase = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "erase");
    arguments.insert(arguments.end(), audit.begin(), audit.end());
    return server.Run(arguments);
  };
  const CliResult versions = erase({"Order", "o", "--version", "3", "--version", "5"});
  CHECK(versions.code == kExitOk);
  CHECK(versions.out == "erased  2 events\n");
  CHECK(server.erase.versions_size() == 2);
  CHECK(server.erase.reason() == "r");
  CHECK(server.erase.erased_by() == "b");
  CHECK(erase({"Order", "o", "--all", "--output", "json"}).out == "{\"erased\":2}\n");
  CHECK(server.erase.versions().empty());
  CHECK(server.erase.stream().aggregate_id() == "o");
  CHECK(erase({"--event-id", kId, "--tenant", kId}).code == kExitOk);
  CHECK_FALSE(server.erase.has_stream());
  CHECK(server.erase.event_ids(0) == kId);
  CHECK(server.erase.tenant_id() == kId);
  // Never all of a stream by an oversight.
  CHECK(erase({"Order", "o"}).code == kExitUsage);
  CHECK(erase({"Order", "o", "--all", "--version", "1"}).code == kExitUsage);
  CHECK(erase({"Order", "o", "--event-id", kId}).code == kExitUsage);
  CHECK(erase({"Order", "--all"}).code == kExitUsage);
  CHECK(erase({}).code == kExitUsage);
  CHECK(server.Run({"erase", "Order", "o", "--all", "--by", "b"}).code == kExitUsage);
}

TEST_CASE("AChangeThatFailsSaysWhy") {
  FakeLifecycleServer server;
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_STREAM_DELETED);
  problem.set_message("it is gone");
  server.failure = RichError(grpc::StatusCode::FAILED_PRECONDITION, problem);
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"truncate", "T", "s", "--before", "1"},
           {"delete-stream", "T", "s"},
           {"erase", "T", "s", "--all", "--reason", "r", "--by", "b"}}) {
    const CliResult result = server.Run(arguments);
    CHECK(result.code == kExitFailed);
    CHECK(result.err.find("STREAM_DELETED: it is gone") != std::string::npos);
  }
}

TEST_CASE("AnErasedEventIsShownAsSuch") {
  FakeServer server;
  v1::Event event;
  event.mutable_stream()->set_aggregate_type("Order");
  event.mutable_stream()->set_aggregate_id("o");
  event.set_event_type("Happened");
  event.set_content_type("application/x-erased");
  event.set_erased(true);
  server.Add(event);
  const std::vector<std::string> read = {"--address", server.address(), "read", "Order", "o"};
  CHECK(RunCliWith(read).out.find("<erased>") != std::string::npos);
  auto as_json = read;
  as_json.insert(as_json.end(), {"--output", "json"});
  CHECK(RunCliWith(as_json).out.find("\"erased\":true") != std::string::npos);
}

}  // namespace
}  // namespace eventstore::cli
