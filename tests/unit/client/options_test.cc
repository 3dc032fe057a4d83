// The command line itself: what is refused, and how.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/cli/parse.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

TEST_CASE("ExpectedVersionsAreParsed") {
  CHECK(ParseExpected("any")->has_any());
  CHECK(ParseExpected("no-stream")->has_no_stream());
  CHECK(ParseExpected("exists")->has_stream_exists());
  CHECK(ParseExpected("9223372036854775807")->exact() == 9223372036854775807);
  for (const char* wrong : {"", "0", "-1", "1.5", "1x", "none", "9223372036854775808"}) {
    INFO(wrong);
    CHECK_FALSE(ParseExpected(wrong).ok());
  }
}

TEST_CASE("KeyValuesAreCutAtTheFirstEqualsSign") {
  CHECK(*ParseKeyValue("a=b=c") == std::pair<std::string, std::string>("a", "b=c"));
  CHECK(*ParseKeyValue("a=") == std::pair<std::string, std::string>("a", ""));
  CHECK_FALSE(ParseKeyValue("a").ok());
  CHECK_FALSE(ParseKeyValue("=b").ok());
}

TEST_CASE("StreamsAreCutAtTheFirstSlash") {
  const auto stream = ParseStream("Order/a/b", "t");
  REQUIRE(stream.ok());
  CHECK(stream->aggregate_type() == "Order");
  CHECK(stream->aggregate_id() == "a/b");
  CHECK(stream->tenant_id() == "t");
  for (const char* wrong : {"", "Order", "Order/", "/1"}) CHECK_FALSE(ParseStream(wrong, "").ok());
}

TEST_CASE("SubscriptionsStartWhereTheyAreTold") {
  const auto start = [](const std::string& text) {
    v1::SubscribeRequest request;
    return ParseStart(text, &request).ok() ? request.start_case()
                                           : v1::SubscribeRequest::START_NOT_SET;
  };
  CHECK(start("beginning") == v1::SubscribeRequest::kBeginning);
  CHECK(start("end") == v1::SubscribeRequest::kEnd);
  CHECK(start("0") == v1::SubscribeRequest::kAfterPosition);
  CHECK(start("2024-05-01") == v1::SubscribeRequest::kFromTimestamp);
  CHECK(start("-1") == v1::SubscribeRequest::START_NOT_SET);
  CHECK(start("now") == v1::SubscribeRequest::START_NOT_SET);
}

TEST_CASE("UsageErrorsExitWith2AndSayWhatWasWrong") {
  struct Case {
    std::vector<std::string> arguments;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{}, "subcommand is required"},
      {{"fly"}, "subcommand is required"},
      {{"append", "Order"}, "ID is required"},
      {{"append", "Order", "1"}, "EVENT_TYPE"},
      {{"append", "Order", "1", "Placed", "--file", "-"}, "not both"},
      {{"append", "Order", "1", "Placed", "--batch", "5"}, "--batch goes with --file"},
      {{"append", "Order", "1", "--file", "-", "--event-id", "x"}, "--event-id"},
      {{"append", "Order", "1", "--file", "/nowhere/at-all"}, "cannot read /nowhere/at-all"},
      {{"append", "Order", "1", "--file", "/"}, "cannot read /"},
      {{"append", "Order", "1", "Placed", "--expected", "0"}, "--expected 0"},
      {{"append", "Order", "1", "Placed", "--metadata", "k"}, "key=value"},
      {{"append", "Order", "1", "Placed", "--timestamp", "noon"}, "--timestamp noon"},
      {{"read", "Order", "1", "--since", "noon"}, "--since noon"},
      {{"read", "Order", "1", "--limit", "-1"}, "--limit"},
      {{"read-all", "--until", "noon"}, "--until noon"},
      {{"read-all", "--output", "xml"}, "--output"},
      {{"subscribe", "--from", "noon"}, "--from noon"},
      {{"subscribe", "--stream", "Order"}, "TYPE/ID"},
      {{"head", "--timeout", "0"}, "--timeout"},
      {{"bench", "fly"}, "MODE"},
      {{"bench", "append", "--in-flight", "0"}, "--in-flight"},
      {{"bench", "append", "--new-streams", "101"}, "--new-streams"},
      {{"bench", "read-stream", "--snapshot-tail", "1"}, "--snapshot-tail goes with read-stream"},
      {{"bench", "append", "--snapshot-tail", "1"}, "--snapshot-tail goes with read-stream"},
      {{"read", "Order", "1", "--snapshot-schema-version", "-1"}, "--snapshot-schema-version"},
      {{"snapshots", "list", "--limit", "-1"}, "--limit"},
      {{"bench", "subscribe", "--existing", "x"}, "--existing goes with append"},
  };
  for (const Case& one : cases) {
    const CliResult result = RunCliWith(one.arguments);
    INFO(one.message);
    INFO(result.err);
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Catch::Contains(one.message));
  }
}

TEST_CASE("UsageErrorsOfTheInputAreJsonWhenAskedFor") {
  const CliResult result = RunCliWith({"append", "Order", "1", "--file", "-", "--output", "json"},
                                      "{\"event_type\":\"A\"}\nnonsense\n");
  CHECK(result.code == 2);
  CHECK_THAT(result.err,
             Catch::StartsWith(R"({"error":{"reason":"USAGE","message":"stdin, line 2)"));
}

TEST_CASE("HelpAndVersionGoToStdoutAndExitWith0") {
  const CliResult help = RunCliWith({"--help"});
  CHECK(help.code == 0);
  CHECK(help.err.empty());
  for (const char* word : {"append", "read-all", "subscribe", "streams", "head", "info", "event",
                           "health", "bench", "Exit codes", "EVENTSTORECTL_ADDRESS"}) {
    CHECK_THAT(help.out, Catch::Contains(word));
  }
  const CliResult version = RunCliWith({"--version"});
  CHECK(version.code == 0);
  CHECK_THAT(version.out, Catch::StartsWith("eventstorectl "));
}

TEST_CASE("AServerThatIsNotThereExitsWith3AndSaysWhere") {
  // Port 1 of loopback: nobody may listen there without being root, and nobody does.
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"head"},
                                             {"append", "Order", "1", "Placed", "--retries", "0"},
                                             {"read", "Order", "1"},
                                             {"read-all"},
                                             {"subscribe"},
                                             {"health"}}) {
    std::vector<std::string> arguments = {"--address", "127.0.0.1:1"};
    arguments.insert(arguments.end(), command.begin(), command.end());
    const CliResult result = RunCliWith(arguments);
    INFO(command[0]);
    CHECK(result.code == 3);
    CHECK(result.out.empty());
    CHECK_THAT(result.err, Catch::Contains("error: UNAVAILABLE: ") &&
                               Catch::Contains("is eventstored running at 127.0.0.1:1?"));
  }
}

TEST_CASE("TheAddressMayComeFromTheEnvironment") {
  setenv("EVENTSTORECTL_ADDRESS", "127.0.0.1:2", 1);
  const CliResult result = RunCliWith({"head"});
  const CliResult overridden = RunCliWith({"head", "--address", "127.0.0.1:1"});
  unsetenv("EVENTSTORECTL_ADDRESS");
  CHECK_THAT(result.err, Catch::Contains("127.0.0.1:2?"));
  CHECK_THAT(overridden.err, Catch::Contains("127.0.0.1:1?"));
}

}  // namespace
}  // namespace eventstore::cli
