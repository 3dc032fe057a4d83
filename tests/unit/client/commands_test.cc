// The commands against a server, as a user runs them.
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "server/core/ids.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

// A server, and commands that talk to it.
struct Fixture {
  FakeServer server;

  CliResult Run(std::vector<std::string> arguments, const std::string& input = "",
                Interrupt* interrupt = nullptr) {
    arguments.insert(arguments.end(), {"--address", server.address()});
    return RunCliWith(arguments, input, interrupt);
  }

  void AddEvents(const std::string& id, int count) {
    for (int i = 0; i < count; ++i) {
      v1::Event event;
      event.mutable_stream()->set_aggregate_type("Order");
      event.mutable_stream()->set_aggregate_id(id);
      event.set_event_id(FormatUuid(MakeUuidV7()));
      event.set_event_type("Placed");
      event.set_payload(R"({"n": 1})");
      server.Add(std::move(event));
    }
  }
};

v1::ErrorInfo Overload() {
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_OVERLOADED);
  problem.set_message("the append queue is full");
  problem.mutable_retry_delay()->set_nanos(1'000'000);
  return problem;
}

int CountOf(const std::string& text, char wanted) {
  return static_cast<int>(std::count(text.begin(), text.end(), wanted));
}

TEST_CASE_METHOD(Fixture, "AppendFromArgumentsSendsWhatWasTyped") {
  const CliResult result = Run({"append",
                                "Order",
                                "1",
                                "Placed",
                                R"({"total":10})",
                                "--expected",
                                "no-stream",
                                "--tenant",
                                "0190a0a0-0000-7000-8000-00000000000a",
                                "--metadata",
                                "a=1",
                                "--metadata",
                                "b=x=y",
                                "--tag",
                                "t1",
                                "--tag",
                                "t2",
                                "--actor",
                                "ann",
                                "--correlation-id",
                                "co",
                                "--causation-id",
                                "ca",
                                "--timestamp",
                                "2024-05-01T12:00:00Z"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK_THAT(result.out, Catch::StartsWith("1 event to Order/1 [0190a0a0-0000-7000-8000-"
                                           "00000000000a]: version 1, position 1, id "));
  REQUIRE(server.appends().size() == 1);
  const v1::AppendEventsRequest request = server.appends()[0];
  CHECK(request.stream().tenant_id() == "0190a0a0-0000-7000-8000-00000000000a");
  CHECK(request.expected_version().has_no_stream());
  REQUIRE(request.events_size() == 1);
  const v1::NewEvent& event = request.events(0);
  CHECK(event.event_type() == "Placed");
  CHECK(event.payload() == R"({"total":10})");
  CHECK(ParseUuid(event.event_id()).has_value());
  CHECK(event.metadata().at("a") == "1");
  CHECK(event.metadata().at("b") == "x=y");
  CHECK(event.tags_size() == 2);
  CHECK(event.actor_id() == "ann");
  CHECK(event.correlation_id() == "co");
  CHECK(event.causation_id() == "ca");
  CHECK(event.timestamp().seconds() == 1714564800);
}

TEST_CASE_METHOD(Fixture, "AppendRetriesWithTheSameIdsUntilItSucceeds") {
  server.FailNext({grpc::StatusCode::UNAVAILABLE, "the database is away"});
  server.FailNext(RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, Overload()));
  const CliResult result = Run({"append", "Order", "1", "Placed"});
  INFO(result.err);
  CHECK(result.code == 0);
  const auto appends = server.appends();
  REQUIRE(appends.size() == 3);
  CHECK_FALSE(appends[0].events(0).event_id().empty());
  CHECK(appends[1].SerializeAsString() == appends[0].SerializeAsString());
  CHECK(appends[2].SerializeAsString() == appends[0].SerializeAsString());
  CHECK_THAT(result.err,
             Catch::Contains("try 2 of 6") &&
                 Catch::Contains("OVERLOADED: the append queue is full; try 3 of 6 in 1 ms"));
}

TEST_CASE_METHOD(Fixture, "AppendGivesUpAfterItsRetries") {
  for (int i = 0; i < 3; ++i) {
    server.FailNext(RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, Overload()));
  }
  const CliResult result = Run({"append", "Order", "1", "Placed", "--retries", "2"});
  CHECK(result.code == 1);
  CHECK(server.appends().size() == 3);
  CHECK_THAT(result.err, Catch::Contains("error: OVERLOADED: the append queue is full"));
}

TEST_CASE_METHOD(Fixture, "AConflictIsNotRetriedAndShowsItsFields") {
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_VERSION_CONFLICT);
  problem.set_message("the stream is not \x1b[31mat version 999");
  problem.mutable_stream()->set_aggregate_type("Order");
  problem.mutable_stream()->set_aggregate_id("1");
  problem.mutable_expected()->set_exact(999);
  server.FailNext(RichError(grpc::StatusCode::ABORTED, problem));
  server.FailNext(RichError(grpc::StatusCode::ABORTED, problem));
  const CliResult text = Run({"append", "Order", "1", "Placed", "--expected", "999"});
  CHECK(text.code == 1);
  CHECK(text.out.empty());
  CHECK(text.err ==
        "error: VERSION_CONFLICT: the stream is not \\u001b[31mat version 999\n"
        "  stream      Order/1\n"
        "  expected    999\n"
        "  actual      0\n"
        "  what to do: read the stream again, decide again, append again\n");
  const CliResult json =
      Run({"append", "Order", "1", "Placed", "--expected", "999", "--output", "json"});
  CHECK(json.code == 1);
  CHECK_THAT(json.err,
             Catch::StartsWith(R"({"error":{"reason":"VERSION_CONFLICT","code":"ABORTED")"));
  CHECK(server.appends().size() == 2);
}

TEST_CASE_METHOD(Fixture, "AFileIsOneAtomicRequest") {
  std::string lines;
  for (int i = 0; i < 1200; ++i)
    lines += R"({"event_type":"E","payload":{"i":)" + std::to_string(i) + "}}\n";
  const CliResult result = Run({"append", "Order", "1", "--file", "-"}, lines);
  INFO(result.err);
  CHECK(result.code == 0);
  REQUIRE(server.appends().size() == 1);
  CHECK(server.appends()[0].events_size() == 1200);
  CHECK(server.appends()[0].events(1199).payload() == R"({"i":1199})");
  CHECK(result.out == "1,200 events to Order/1: versions 1 to 1200, positions 1 to 1200\n");
}

TEST_CASE_METHOD(Fixture, "ABadLineOfAFileAppendsNothing") {
  const CliResult result =
      Run({"append", "Order", "1", "--file", "-"}, "{\"event_type\":\"E\"}\n{\"event_type\":}\n");
  CHECK(result.code == 2);
  CHECK(server.appends().empty());
  CHECK_THAT(result.err, Catch::StartsWith("error: stdin, line 2: no valid JSON"));
}

TEST_CASE_METHOD(Fixture, "AnEmptyFileIsAnError") {
  const CliResult result = Run({"append", "Order", "1", "--file", "-"}, "\n");
  CHECK(result.code == 2);
  CHECK(result.err == "error: stdin has no events\n");
}

TEST_CASE_METHOD(Fixture, "BatchesExpectWhatTheOnesBeforeLeft") {
  std::string lines;
  for (int i = 0; i < 5; ++i) lines += "{\"event_type\":\"E\"}\n";
  const CliResult result = Run({"append", "Order", "1", "--file", "-", "--batch", "2", "--expected",
                                "no-stream", "--output", "json"},
                               lines);
  CHECK(result.code == 0);
  const auto appends = server.appends();
  REQUIRE(appends.size() == 3);
  CHECK(appends[0].expected_version().has_no_stream());
  CHECK(appends[1].expected_version().exact() == 2);
  CHECK(appends[2].expected_version().exact() == 4);
  CHECK(appends[2].events_size() == 1);
  CHECK(CountOf(result.out, '\n') == 3);
}

TEST_CASE_METHOD(Fixture, "AFailedBatchSaysWhereToGoOn") {
  server.FailNext(grpc::Status::OK);
  server.FailNext({grpc::StatusCode::INTERNAL, "broken"});
  const std::string line = "{\"event_type\":\"E\"}\n";
  const CliResult result =
      Run({"append", "Order", "1", "--file", "-", "--batch", "2"}, line + line + line + line);
  CHECK(result.code == 1);
  CHECK_THAT(result.err, Catch::Contains("error: INTERNAL: broken") &&
                             Catch::Contains("2 events before line 3 were appended and stay"));
}

TEST_CASE_METHOD(Fixture, "ReadPrintsAlignedColumnsOrJsonLines") {
  AddEvents("1", 2);
  const CliResult text = Run({"read", "Order", "1"});
  CHECK(text.code == 0);
  CHECK(text.out ==
        "VERSION  POSITION  TIME                         EVENT TYPE  PAYLOAD\n"
        "1        1         2024-05-01T12:00:01.000000Z  Placed      {\"n\":1}\n"
        "2        2         2024-05-01T12:00:02.000000Z  Placed      {\"n\":1}\n");
  CHECK(text.err == "2 events of Order/1, which is at version 2\n");
  const CliResult json = Run({"read", "Order", "1", "--output", "json"});
  CHECK(json.code == 0);
  CHECK(json.err.empty());
  CHECK(CountOf(json.out, '\n') == 2);
  CHECK_THAT(json.out, Catch::StartsWith(R"({"global_position":1,)") &&
                           Catch::Contains(R"("payload":{"n":1})"));
}

TEST_CASE_METHOD(Fixture, "ReadSendsItsOptions") {
  Run({"read", "Order", "1", "--backwards", "--from", "9", "--to", "3", "--limit", "4", "--since",
       "2024-05-01", "--until", "2024-05-02", "--tenant", "t"});
  const v1::ReadStreamRequest read = server.last_read();
  CHECK(read.stream().tenant_id() == "t");
  CHECK(read.direction() == v1::DIRECTION_BACKWARDS);
  CHECK(read.from_version() == 9);
  CHECK(read.to_version() == 3);
  CHECK(read.limit() == 4);
  CHECK(read.from_timestamp().seconds() == 1714521600);
  CHECK(read.to_timestamp().seconds() == 1714608000);
}

TEST_CASE_METHOD(Fixture, "ReadAsksForASnapshotAndPrintsIt") {
  AddEvents("1", 2);
  v1::Snapshot snapshot;
  snapshot.set_version(1);
  snapshot.set_state("{\"sum\": 3}");
  snapshot.set_content_type("application/json");
  server.SetSnapshot(snapshot);
  const CliResult result = Run({"read", "Order", "1", "--from-snapshot",
                                "--snapshot-schema-version", "2", "--output", "json"});
  CHECK(result.code == 0);
  CHECK(server.last_read().from_snapshot());
  CHECK(server.last_read().snapshot_schema_version() == 2);
  CHECK_THAT(result.out, Catch::Contains("\"state\":{\"sum\":3}"));
}

TEST_CASE_METHOD(Fixture, "AStreamThatDoesNotExistIsNoFailure") {
  const CliResult result = Run({"read", "Order", "none"});
  CHECK(result.code == 0);
  CHECK(result.out.empty());
  CHECK(result.err == "Order/none has no events\n");
}

TEST_CASE_METHOD(Fixture, "WhatWasReadCanBeAppended") {
  AddEvents("1", 3);
  const CliResult read = Run({"read", "Order", "1", "--output", "json"});
  const CliResult append = Run({"append", "Order", "copy", "--file", "-"}, read.out);
  INFO(append.err);
  CHECK(append.code == 0);
  const auto events = server.events();
  REQUIRE(events.size() == 6);
  CHECK(events[3].event_id() == events[0].event_id());
  CHECK(events[3].timestamp().seconds() == events[0].timestamp().seconds());
}

TEST_CASE_METHOD(Fixture, "ReadAllSendsItsFilterAndSaysHowToGoOn") {
  AddEvents("1", 3);
  const CliResult result = Run({"read-all", "--after",
                                "1",        "--epoch",
                                "3",        "--limit",
                                "1",        "--type",
                                "A",        "--type",
                                "B",        "--event-type",
                                "C",        "--event-type-prefix",
                                "D",        "--id-prefix",
                                "E",        "--tag",
                                "F",        "--tenant",
                                "G",        "--regex",
                                "H"});
  CHECK(result.code == 0);
  CHECK(result.out ==
        "POSITION  STREAM   VERSION  TIME                         EVENT TYPE  PAYLOAD\n"
        "2         Order/1  2        2024-05-01T12:00:02.000000Z  Placed      {\"n\":1}\n");
  CHECK(result.err == "1 event; to go on: --after 2 --epoch 3\n");
  const v1::ReadAllRequest request = server.last_read_all();
  CHECK(request.epoch() == 3);
  CHECK(request.filter().ShortDebugString() ==
        "aggregate_types: \"A\" aggregate_types: \"B\" event_types: \"C\" event_type_prefixes: "
        "\"D\" aggregate_id_prefixes: \"E\" tags: \"F\" tenant_id: \"G\" event_type_regex: \"H\"");
}

TEST_CASE_METHOD(Fixture, "SubscribeStopsAfterItsLimit") {
  AddEvents("1", 5);
  const CliResult result = Run({"subscribe", "--limit", "3", "--output", "json"});
  CHECK(result.code == 0);
  CHECK(CountOf(result.out, '\n') == 3);
  CHECK(server.subscriptions()[0].has_beginning());
  CHECK(server.subscriptions()[0].max_batch_size() == 3);
}

TEST_CASE_METHOD(Fixture, "SubscribeResumesAfterTheLastPositionAndMissesNothing") {
  AddEvents("1", 5);
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_SLOW_CONSUMER);
  problem.set_message("the subscriber read nothing for too long");
  // A server that stops ends calls with either of the last two.
  const auto end = GENERATE(grpc::StatusCode::ABORTED, grpc::StatusCode::UNAVAILABLE,
                            grpc::StatusCode::CANCELLED);
  const bool slow = end == grpc::StatusCode::ABORTED;
  server.BreakSubscription(2, slow ? RichError(end, problem) : grpc::Status(end, "gone"));
  const CliResult result = Run({"subscribe", "--limit", "5"});
  INFO(result.err);
  CHECK(result.code == 0);
  const auto subscriptions = server.subscriptions();
  REQUIRE(subscriptions.size() == 2);
  CHECK(subscriptions[1].after_position() == 2);
  CHECK(subscriptions[1].epoch() == 3);
  CHECK(CountOf(result.out, '\n') == 6);  // the header and each event once
  CHECK_THAT(result.err, Catch::Contains("subscribing again after position 2") &&
                             Catch::Contains("5 events; to go on: --from 5 --epoch 3"));
}

TEST_CASE_METHOD(Fixture, "SubscribeFromTheEndResumesWhereItWasConfirmed") {
  AddEvents("1", 2);
  server.BreakSubscription(0, {grpc::StatusCode::UNAVAILABLE, "gone"});
  CliResult result;
  Interrupt interrupt;
  std::thread client([&] {
    result = Run({"subscribe", "--from", "end", "--limit", "1"}, "", &interrupt);
  });
  const bool again = server.WaitForSubscriptions(2);
  AddEvents("1", 1);
  if (!again) interrupt.Raise();
  client.join();
  REQUIRE(again);
  CHECK(result.code == 0);
  CHECK(server.subscriptions()[0].has_end());
  CHECK(server.subscriptions()[1].after_position() == 2);
  CHECK_THAT(result.out, Catch::Contains("\n3 "));
}

TEST_CASE_METHOD(Fixture, "SubscribeWithoutReconnectEndsWithTheError") {
  AddEvents("1", 5);
  server.BreakSubscription(2, {grpc::StatusCode::UNAVAILABLE, "gone"});
  const CliResult result = Run({"subscribe", "--no-reconnect"});
  CHECK(result.code == 3);
  CHECK(server.subscriptions().size() == 1);
  CHECK_THAT(result.err, Catch::Contains("error: UNAVAILABLE: gone"));
}

TEST_CASE_METHOD(Fixture, "SubscribeDoesNotResumeAfterOtherErrors") {
  AddEvents("1", 5);
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_STREAM_DELETED);
  problem.set_message("deleted for good");
  server.BreakSubscription(1, RichError(grpc::StatusCode::FAILED_PRECONDITION, problem));
  const CliResult result = Run({"subscribe", "--stream", "Order/1"});
  CHECK(result.code == 1);
  CHECK(server.subscriptions().size() == 1);
  CHECK(server.subscriptions()[0].stream().aggregate_id() == "1");
  CHECK_THAT(result.err, Catch::Contains("error: STREAM_DELETED: deleted for good"));
}

TEST_CASE_METHOD(Fixture, "AnInterruptEndsASubscriptionWithASummary") {
  AddEvents("1", 1);
  Interrupt interrupt;
  CliResult result;
  std::thread client([&] { result = Run({"subscribe"}, "", &interrupt); });
  const bool subscribed = server.WaitForSubscriptions(1);
  interrupt.Raise();
  client.join();
  REQUIRE(subscribed);
  CHECK(result.code == 0);
}

TEST_CASE_METHOD(Fixture, "InspectionShowsWhatIsThere") {
  AddEvents("1", 2);
  AddEvents("2", 1);
  const CliResult streams = Run({"streams"});
  CHECK(streams.code == 0);
  CHECK(streams.out ==
        "TYPE   ID  VERSION  CREATED                      UPDATED                      TENANT\n"
        "Order  1   2        2024-05-01T12:00:01.000000Z  2024-05-01T12:00:02.000000Z  -\n"
        "Order  2   1        2024-05-01T12:00:03.000000Z  2024-05-01T12:00:03.000000Z  -\n");
  CHECK(CountOf(Run({"streams", "--limit", "1", "--output", "json"}).out, '\n') == 1);
  CHECK_THAT(Run({"head"}).out, Catch::Contains("position  3\nepoch     3\n"));
  CHECK_THAT(Run({"head", "--output", "json"}).out,
             Catch::StartsWith(R"({"position":3,"epoch":3,)"));
  CHECK_THAT(Run({"info", "Order", "1"}).out, Catch::Contains("version        2\n"));
  CHECK_THAT(Run({"info", "Order", "none", "--output", "json"}).out,
             Catch::Contains(R"("exists":false,"version":0)"));
  const std::string id = server.events()[0].event_id();
  CHECK_THAT(Run({"event", id}).out,
             Catch::Contains(id) && Catch::Contains(R"(payload         {"n":1})"));
  const CliResult missing = Run({"event", "0190a0a0-0000-7000-8000-0000000000ff"});
  CHECK(missing.code == 1);
  CHECK_THAT(missing.err, Catch::StartsWith("error: NOT_FOUND: no event has this id"));
}

TEST_CASE_METHOD(Fixture, "HealthExitsWithOneUnlessServing") {
  const CliResult well = Run({"health"});
  CHECK(well.code == 0);
  CHECK(well.out == "SERVING\n");
  server.SetServing(false);
  const CliResult ill = Run({"health", "--output", "json"});
  CHECK(ill.code == 1);
  CHECK(ill.out == "{\"service\":\"\",\"status\":\"NOT_SERVING\"}\n");
}

}  // namespace
}  // namespace eventstore::cli
