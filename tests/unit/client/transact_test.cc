// transact, as a user runs it.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "client/cli/session.h"
#include "server/core/ids.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

constexpr char kTransaction[] = R"({
  "appends": [
    {"stream": {"aggregate_type": "Course", "aggregate_id": "c1"},
     "expected_version": {"exact": "3"},
     "events": [{"event_type": "Enrolled", "payload": {"n": 1.50}, "tags": ["course:c1"]}]},
    {"stream": {"aggregate_type": "Student", "aggregate_id": "s1"},
     "expected_version": {"no_stream": {}},
     "events": [{"event_type": "Joined"}, {"event_type": "Paid"}]}],
  "checks": [{"stream": {"aggregate_type": "Term", "aggregate_id": "t"},
              "expected_version": {"stream_exists": {}}}],
  "conditions": [{"query": [{"event_types": ["Full"], "tags": ["course:c1"]}],
                  "after_position": 7, "epoch": "1"}],
  "checkpoint": {"projection_name": "p", "position": 7, "expected_position": 0},
  "snapshots": [{"stream": {"aggregate_type": "Course", "aggregate_id": "c1"}, "version": 4,
                 "state": {"taken": 12}},
                {"stream": {"aggregate_type": "Course", "aggregate_id": "c1"}, "version": 4,
                 "state_base64": "AP8=", "content_type": "application/x-state"}]
})";

TEST_CASE("TransactSendsWhatTheJsonSays") {
  FakeServer server;
  const CliResult result =
      RunCliWith({"transact", "-", "--address", server.address()}, kTransaction);
  INFO(result.err);
  REQUIRE(result.code == kExitOk);
  REQUIRE(server.transactions().size() == 1);
  const v1::TransactRequest request = server.transactions()[0];
  REQUIRE(request.appends_size() == 2);
  CHECK(request.appends(0).expected_version().exact() == 3);
  CHECK(request.appends(0).events(0).payload() == R"({"n":1.50})");
  CHECK(request.appends(0).events(0).tags(0) == "course:c1");
  CHECK(request.appends(1).expected_version().has_no_stream());
  CHECK(request.appends(1).events(1).payload() == "{}");
  // With ids, so that a retry is safe.
  for (const auto& append : request.appends()) {
    for (const auto& event : append.events()) CHECK(ParseUuid(event.event_id()).has_value());
  }
  CHECK(request.checks(0).expected_version().has_stream_exists());
  CHECK(request.conditions(0).query(0).event_types(0) == "Full");
  CHECK(request.conditions(0).after_position() == 7);
  CHECK(request.conditions(0).epoch() == 1);
  CHECK(request.checkpoint().has_expected_position());
  CHECK(request.snapshots(0).state() == R"({"taken":12})");
  CHECK(request.snapshots(1).state() == std::string("\0\xff", 2));
  CHECK_THAT(result.out, Catch::Contains("1 event to Course/c1: version 1, position 1"));
  CHECK_THAT(result.out, Catch::Contains("2 events to Student/s1"));
  CHECK_THAT(result.out, Catch::Contains("checkpoint of p: position 7"));
  CHECK_THAT(result.out, Catch::Contains("snapshot of Course/c1 at version 4: saved"));
  CHECK_THAT(result.out, Catch::Contains("not saved"));
}

TEST_CASE("TransactTellsProgramsInJson") {
  FakeServer server;
  const CliResult result = RunCliWith(
      {"transact", "-", "--output", "json", "--address", server.address()}, kTransaction);
  REQUIRE(result.code == kExitOk);
  CHECK_THAT(result.out, Catch::Contains(R"("results":[{"stream":{"aggregate_type":"Course")"));
  CHECK_THAT(result.out, Catch::Contains(R"("checkpoint":{"projection_name":"p","position":7)"));
  CHECK_THAT(result.out, Catch::Contains(R"("snapshots_saved":[true,false])"));
  CHECK_THAT(result.out, Catch::Contains(R"("deduplicated":false)"));
}

TEST_CASE("ARetriedTransactionHasTheSameIds") {
  FakeServer server;
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_STORE_UNAVAILABLE);
  problem.mutable_retry_delay()->set_nanos(1'000'000);
  server.FailNext(RichError(grpc::StatusCode::UNAVAILABLE, problem));
  const CliResult result =
      RunCliWith({"transact", "-", "--address", server.address()}, kTransaction);
  CHECK(result.code == kExitOk);
  const auto sent = server.transactions();
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].SerializeAsString() == sent[1].SerializeAsString());
}

TEST_CASE("EveryViolationIsShown") {
  FakeServer server;
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_CONDITION_FAILED);
  problem.set_message("conditions[0]: the event at position 9 matches it");
  problem.set_field("conditions[0]");
  problem.set_position(9);
  server.FailNext(RichError(grpc::StatusCode::ABORTED, problem));
  const CliResult result =
      RunCliWith({"transact", "-", "--address", server.address()}, kTransaction);
  CHECK(result.code == kExitFailed);
  CHECK_THAT(result.err, Catch::Contains("CONDITION_FAILED"));
  CHECK_THAT(result.err, Catch::Contains("conditions[0]"));
}

TEST_CASE("AMistakeInTheJsonNamesItsPlace") {
  const auto refused = [](const std::string& json) {
    const CliResult result = RunCliWith({"transact", "-", "--address", "127.0.0.1:1"}, json);
    CHECK(result.code == kExitUsage);
    return result.err;
  };
  CHECK_THAT(refused("{"), Catch::Contains("the transaction"));
  CHECK_THAT(refused("[]"), Catch::Contains("not a JSON object"));
  CHECK_THAT(refused(R"({"append": []})"), Catch::Contains("append"));
  CHECK_THAT(refused(R"({"appends": {}})"), Catch::Contains("appends: is not an array"));
  CHECK_THAT(refused(R"({"appends": [{"events": [{"event_typ": "x"}]}]})"),
             Catch::Contains("appends[0].events[0]"));
  CHECK_THAT(refused(R"({"appends": [{"expect": 1}]})"), Catch::Contains("appends[0]"));
  CHECK_THAT(refused(R"({"snapshots": [{"state_base64": "?"}]})"),
             Catch::Contains("snapshots[0].state_base64"));
  const CliResult missing = RunCliWith({"transact", "/no/such/file"}, "");
  CHECK(missing.code == kExitUsage);
  CHECK_THAT(missing.err, Catch::Contains("/no/such/file"));
}

}  // namespace
}  // namespace eventstore::cli
