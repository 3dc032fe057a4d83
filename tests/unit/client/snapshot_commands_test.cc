// snapshots against a server, as a user runs it.
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "eventstore/v1/snapshot_service.grpc.pb.h"

#include "client/cli/session.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// Keeps the requests, and answers what the test set.
class FakeSnapshotServer : public v1::SnapshotService::Service {
 public:
  FakeSnapshotServer() {
    snapshot.mutable_stream()->set_aggregate_type("Order");
    snapshot.mutable_stream()->set_aggregate_id("1");
    snapshot.set_version(7);
    snapshot.set_schema_version(2);
    snapshot.set_state("{\"sum\": 3}");
    snapshot.set_content_type("application/json");
    snapshot.set_size_bytes(10);
    snapshot.mutable_created_at()->set_seconds(1714564800);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeSnapshotServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status SaveSnapshot(grpc::ServerContext*, const v1::SaveSnapshotRequest* request,
                            v1::SaveSnapshotResponse* response) override {
    save = *request;
    *response = saved;
    return failure;
  }
  grpc::Status GetSnapshot(grpc::ServerContext*, const v1::GetSnapshotRequest* request,
                           v1::GetSnapshotResponse* response) override {
    get = *request;
    *response->mutable_snapshot() = snapshot;
    return failure;
  }
  grpc::Status ListSnapshots(grpc::ServerContext*, const v1::ListSnapshotsRequest* request,
                             v1::ListSnapshotsResponse* response) override {
    lists.push_back(*request);
    *response->add_snapshots() = snapshot;
    response->mutable_snapshots(0)->clear_state();
    if (request->page_token().empty()) response->set_next_page_token("next");
    return failure;
  }
  grpc::Status DeleteSnapshots(grpc::ServerContext*, const v1::DeleteSnapshotsRequest* request,
                               v1::DeleteSnapshotsResponse* response) override {
    remove = *request;
    response->set_deleted(3);
    return failure;
  }

  CliResult Run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.begin(), "snapshots");
    arguments.insert(arguments.end(), {"--address", address_});
    return RunCliWith(arguments, input);
  }

  v1::Snapshot snapshot;
  v1::SaveSnapshotRequest save;
  v1::SaveSnapshotResponse saved;
  v1::GetSnapshotRequest get;
  std::vector<v1::ListSnapshotsRequest> lists;
  v1::DeleteSnapshotsRequest remove;
  grpc::Status failure;

 private:
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

using Catch::Contains;

TEST_CASE_METHOD(FakeSnapshotServer, "ASnapshotIsSavedAsTyped") {
  saved.set_saved(true);
  saved.set_newest_version(7);
  CliResult result = Run({"save", "Order", "1", "7", "{\"sum\":3}", "--schema-version", "2",
                          "--keep", "5", "--tenant", "0190b2c4-0000-7000-8000-0000000000aa"});
  INFO(result.err);
  CHECK(result.code == kExitOk);
  CHECK(result.out == "saved; the newest is of version 7\n");
  CHECK(save.stream().aggregate_type() == "Order");
  CHECK(save.stream().aggregate_id() == "1");
  CHECK(save.stream().tenant_id() == "0190b2c4-0000-7000-8000-0000000000aa");
  CHECK(save.version() == 7);
  CHECK(save.state() == "{\"sum\":3}");
  CHECK(save.schema_version() == 2);
  CHECK(save.keep_versions() == 5);
  CHECK(save.content_type().empty());
  result = Run({"save", "Order", "1", "7", "{}", "--output", "json"});
  CHECK(result.out == "{\"saved\":true,\"newest_version\":7}\n");
}

TEST_CASE_METHOD(FakeSnapshotServer, "ASnapshotThatWasNotSavedFails") {
  saved.set_newest_version(9);
  const CliResult result = Run({"save", "Order", "1", "7", "{}"});
  CHECK(result.code == kExitFailed);
  CHECK(result.out.empty());
  CHECK_THAT(result.err, Contains("not saved: the newest is of version 9 already"));
}

TEST_CASE_METHOD(FakeSnapshotServer, "AStateComesFromAFileOrStdinByteForByte") {
  saved.set_saved(true);
  const std::string bytes("\0\xff\r\n\n", 5);
  CHECK(Run({"save", "Order", "1", "7", "--file", "-", "--content-type", "a/b"}, bytes).code ==
        kExitOk);
  CHECK(save.state() == bytes);
  CHECK(save.content_type() == "a/b");
  const std::string path =
      std::filesystem::temp_directory_path() / ("state-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary) << bytes << "more";
  CHECK(Run({"save", "Order", "1", "7", "--file", path}).code == kExitOk);
  CHECK(save.state() == bytes + "more");
  std::filesystem::remove(path);
  const CliResult missing = Run({"save", "Order", "1", "7", "--file", path});
  CHECK(missing.code == kExitUsage);
  CHECK_THAT(missing.err, Contains("cannot read " + path));
  CHECK(Run({"save", "Order", "1", "7"}).code == kExitUsage);
  CHECK(Run({"save", "Order", "1", "7", "{}", "--file", path}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeSnapshotServer, "GetShowsASnapshotOrItsBytesAlone") {
  CliResult result = Run({"get", "Order", "1", "--max-version", "8", "--schema-version", "2"});
  CHECK(result.code == kExitOk);
  CHECK_THAT(result.out, Contains("Order/1") && Contains("{\"sum\":3}"));
  CHECK(get.max_version() == 8);
  CHECK(get.schema_version() == 2);
  result = Run({"get", "Order", "1", "--output", "json"});
  CHECK_THAT(result.out, Contains("\"version\":7") && Contains("\"state\":{\"sum\":3}"));
  snapshot.set_content_type("a/b");
  snapshot.set_state(std::string("\0\n", 2));
  CHECK(Run({"get", "Order", "1", "--raw"}).out == snapshot.state());
  CHECK_THAT(Run({"get", "Order", "1", "--output", "json"}).out,
             Contains("\"state_base64\":\"AAo=\""));
}

TEST_CASE_METHOD(FakeSnapshotServer, "ListFollowsThePagesAndStopsAtItsLimit") {
  CliResult result = Run({"list", "Order", "1"});
  CHECK(result.code == kExitOk);
  REQUIRE(lists.size() == 2);
  CHECK(lists[0].aggregate_type() == "Order");
  CHECK(lists[0].aggregate_id() == "1");
  CHECK(lists[1].page_token() == "next");
  CHECK_THAT(result.err, Contains("2 snapshots"));
  result = Run({"list", "--limit", "1", "--output", "json"});
  REQUIRE(lists.size() == 3);
  CHECK(lists[2].page_size() == 1);
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 1);
  CHECK_THAT(result.out, !Contains("state"));
}

TEST_CASE_METHOD(FakeSnapshotServer, "DeleteTakesAStreamOrAnOldSchema") {
  CHECK(Run({"delete", "Order", "1"}).out == "3 deleted\n");
  CHECK(remove.stream().aggregate_id() == "1");
  CHECK(Run({"delete", "Order", "--schema-version-below", "2", "--output", "json"}).out ==
        "{\"deleted\":3}\n");
  CHECK(remove.aggregate_type() == "Order");
  CHECK(remove.schema_version_below() == 2);
  // A forgotten ID must not delete a type.
  CHECK(Run({"delete", "Order"}).code == kExitUsage);
}

TEST_CASE_METHOD(FakeSnapshotServer, "AFailureOfTheSnapshotServiceIsToldWithItsReason") {
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_NOT_FOUND);
  problem.set_message("there is no snapshot");
  failure = RichError(grpc::StatusCode::NOT_FOUND, problem);
  for (const std::vector<std::string>& command : {std::vector<std::string>{"get", "Order", "1"},
                                                  {"list"},
                                                  {"delete", "Order", "1"},
                                                  {"save", "Order", "1", "7", "{}"}}) {
    const CliResult result = Run(command);
    CHECK(result.code == kExitFailed);
    CHECK_THAT(result.err, Contains("there is no snapshot"));
  }
}

}  // namespace
}  // namespace eventstore::cli
