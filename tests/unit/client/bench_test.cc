// The load generator: its driver alone, and each mode against a server.
#include "client/cli/bench.h"

#include <rapidjson/document.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "client/cli/json.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/client/run_cli.h"

namespace eventstore::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST_CASE("PayloadsAreJsonOfExactlyTheSizeAskedFor") {
  std::mt19937_64 random(1);
  for (const int bytes : {1, 2, 3, 7, 8, 10, 11, 12, 13, 250, 4096}) {
    const std::string payload = MakePayload(bytes, &random);
    INFO(payload);
    CHECK(payload.size() == static_cast<std::size_t>(bytes));
    std::string why;
    CHECK(IsJson(payload, &why));
  }
  CHECK(MakePayload(250, &random) != MakePayload(250, &random));
}

// Ends its operations on a thread of its own, after `hold` each, one at a time: a slow server.
class SlowWorkload : public Workload {
 public:
  SlowWorkload(LoadDriver* driver, milliseconds hold) : driver_(driver), hold_(hold) {
    worker_ = std::thread([this] { Work(); });
  }
  ~SlowWorkload() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    worker_.join();
  }
  void Start(int slot, steady_clock::time_point /*intended*/) override {
    MutexLock lock(&mutex_);
    waiting_.push_back(slot);
    most_waiting_ = std::max(most_waiting_, waiting_.size());
    changed_.NotifyAll();
  }
  void Cancel() override {}
  std::size_t most_waiting() {
    MutexLock lock(&mutex_);
    return most_waiting_;
  }

 private:
  void Work() {
    for (;;) {
      int slot = 0;
      {
        MutexLock lock(&mutex_);
        while (waiting_.empty() && !stopping_) changed_.Wait(&mutex_);
        if (stopping_) return;
        slot = waiting_.front();
        waiting_.pop_front();
        const Deadline until = steady_clock::now() + hold_;
        while (changed_.WaitUntil(&mutex_, until)) {
        }
      }
      driver_->Finish(slot, 1);
    }
  }

  LoadDriver* const driver_;
  const milliseconds hold_;
  std::thread worker_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<int> waiting_ ABSL_GUARDED_BY(mutex_);
  std::size_t most_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

const auto kNoProgress = [](std::string_view) {};

TEST_CASE("AClosedLoopKeepsItsSlotsBusyAndNoMore") {
  LoadPlan plan;
  plan.in_flight = 4;
  plan.duration = milliseconds(200);
  LoadDriver driver(plan);
  SlowWorkload workload(&driver, milliseconds(1));
  const LoadResult result = driver.Run(&workload, kNoProgress);
  CHECK(result.operations > 10);
  CHECK(result.events == result.operations);
  CHECK(result.seconds == Approx(0.2).epsilon(0.2));
  CHECK(workload.most_waiting() <= 4);
  CHECK(result.not_started == 0);
  // Four share one worker of 1 ms each: what waits is counted too.
  CHECK(result.latency.Percentile(50) >= 3'000'000);
}

TEST_CASE("AnOpenLoopCountsTheTimeThatRequestsWaitedToBeStarted") {
  // 200 a second were asked for, the server does at most 50: each waits longer than the one before.
  // Counted from their real start, all would seem to take 20 ms.
  LoadPlan plan;
  plan.in_flight = 1;
  plan.rate = 200;
  plan.duration = milliseconds(500);
  LoadDriver driver(plan);
  SlowWorkload workload(&driver, milliseconds(20));
  const LoadResult result = driver.Run(&workload, kNoProgress);
  CHECK(result.operations <= 25);
  CHECK(result.latency.max() > 300'000'000);
  CHECK(result.not_started > 70);
}

TEST_CASE("FailedOperationsAreCountedByReasonAndSlotsRest") {
  struct Failing : Workload {
    explicit Failing(LoadDriver* d) : driver(d) {}
    void Start(int slot, steady_clock::time_point /*intended*/) override {
      driver->Fail(slot, "OVERLOADED");
    }
    void Cancel() override {}
    LoadDriver* driver;
  };
  LoadPlan plan;
  plan.in_flight = 2;
  plan.duration = milliseconds(200);
  LoadDriver driver(plan);
  Failing workload(&driver);
  const LoadResult result = driver.Run(&workload, kNoProgress);
  CHECK(result.operations == 0);
  CHECK(result.latency.count() == 0);
  // A slot rests 50 ms: at most 5 tries of each in 200 ms.
  REQUIRE(result.errors.count("OVERLOADED") == 1);
  CHECK(result.errors.at("OVERLOADED") >= 2);
  CHECK(result.errors.at("OVERLOADED") <= 10);
}

TEST_CASE("WhatHappensInTheWarmUpIsNotCounted") {
  LoadPlan plan;
  plan.in_flight = 1;
  plan.warm_up = milliseconds(150);
  plan.duration = milliseconds(50);
  LoadDriver driver(plan);
  SlowWorkload workload(&driver, milliseconds(1));
  const LoadResult result = driver.Run(&workload, kNoProgress);
  CHECK(result.events > 0);
  CHECK(result.events <= 60);
  CHECK(result.events_in_all > result.events);
}

CliResult RunMode(FakeServer* server, const std::string& warm_up,
                  std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bench");
  arguments.insert(arguments.end(), {"--address", server->address(), "--output", "json",
                                     "--duration", "0.3", "--warm-up", warm_up, "--in-flight", "8",
                                     "--streams", "10", "--payload-bytes", "100"});
  return RunCliWith(arguments);
}

TEST_CASE("EveryModeMeasures") {
  const auto mode = GENERATE(as<std::string>(), "append", "append-stream", "transact",
                             "read-stream", "read-all", "subscribe");
  FakeServer server;
  std::vector<std::string> arguments = {mode, "--connections",     "2", "--events-per-append",
                                        "3",  "--events-per-read", "5"};
  if (mode == "subscribe")
    arguments.insert(arguments.end(), {"--rate", "100", "--subscribers", "2"});
  const CliResult result = RunMode(&server, "0.1", arguments);
  INFO(mode << "\n" << result.out << result.err);
  CHECK(result.code == 0);
  rapidjson::Document report;
  report.Parse(result.out.c_str());
  REQUIRE_FALSE(report.HasParseError());
  CHECK(report["bench"].GetString() == mode);
  CHECK(report["operations"].GetInt64() > 0);
  CHECK(report["events"].GetInt64() > report["operations"].GetInt64());
  CHECK(report["latency_ms"]["p99_9"].GetDouble() > 0);
  CHECK(report["latency_ms"]["p50"].GetDouble() <= report["latency_ms"]["max"].GetDouble());
  CHECK(report["errors"].ObjectEmpty());
  if (mode == "subscribe") {
    CHECK(report["missed"].GetInt64() == 0);
    CHECK(report["delivered"].GetInt64() == 2 * static_cast<std::int64_t>(server.events().size()));
    CHECK(report["delivery_latency_ms"]["p50"].GetDouble() > 0);
  }
  for (const v1::AppendEventsRequest& append : server.appends()) {
    REQUIRE(append.events_size() == 3);
    REQUIRE_FALSE(append.events(0).event_id().empty());
    REQUIRE(append.events(0).payload().size() == 100);
  }
}

v1::Event EventOf(const std::string& aggregate_id) {
  v1::Event event;
  event.mutable_stream()->set_aggregate_type("Bench");
  event.mutable_stream()->set_aggregate_id(aggregate_id);
  return event;
}

TEST_CASE("ExistingStreamsAreReadAsTheyAre") {
  FakeServer server;
  for (int number = 0; number < 10; ++number) {
    const std::string name = "there-" + std::to_string(number);
    for (int i = 0; i < 3; ++i) server.Add(EventOf(name));
  }
  const CliResult result = RunMode(&server, "0", {"read-stream", "--existing", "there"});
  INFO(result.out << result.err);
  rapidjson::Document report;
  report.Parse(result.out.c_str());
  REQUIRE_FALSE(report.HasParseError());
  CHECK(report["operations"].GetInt64() > 0);
  CHECK(report["events"].GetInt64() == 3 * report["operations"].GetInt64());
  CHECK(server.appends().empty());
}

TEST_CASE("NewStreamsAreTheRunsOwnBesideExistingOnes") {
  FakeServer server;
  const CliResult result =
      RunMode(&server, "0", {"append", "--existing", "there", "--new-streams", "50"});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  int existing = 0;
  int fresh = 0;
  for (const v1::AppendEventsRequest& append : server.appends()) {
    const std::string& id = append.stream().aggregate_id();
    if (id.rfind("there-", 0) == 0) {
      ++existing;
      REQUIRE(std::stoi(id.substr(6)) < 10);
    } else {
      ++fresh;
      REQUIRE(id.rfind("run-", 0) == 0);
    }
  }
  CHECK(existing > 0);
  CHECK(fresh > 0);
}

TEST_CASE("TransactAsksForTheTagThatItWrites") {
  FakeServer server;
  const CliResult result = RunMode(&server, "0", {"transact", "--tags", "3"});
  INFO(result.out << result.err);
  REQUIRE(result.code == 0);
  REQUIRE_FALSE(server.transactions().empty());
  for (const v1::TransactRequest& request : server.transactions()) {
    REQUIRE(request.conditions_size() == 1);
    const v1::QueryItem& item = request.conditions(0).query(0);
    CHECK(item.tags_size() == 1);
    CHECK(item.event_types_size() == 1);
    CHECK(request.appends(0).events(0).tags(0) == item.tags(0));
    CHECK(request.appends(0).events(0).event_type() != item.event_types(0));
    CHECK((item.tags(0) == "tag-0" || item.tags(0) == "tag-1" || item.tags(0) == "tag-2"));
  }
}

TEST_CASE("TransactAsksAboutAllOrTheRecentOrNothing") {
  const auto condition = GENERATE(as<std::string>(), "all", "recent", "none");
  FakeServer server;
  const CliResult result = RunMode(&server, "0", {"transact", "--condition", condition});
  INFO(condition << "\n" << result.out << result.err);
  REQUIRE(result.code == 0);
  const auto transactions = server.transactions();
  REQUIRE(transactions.size() > 8);
  std::int64_t last = 0;
  for (const v1::TransactRequest& request : transactions) {
    CHECK(request.conditions_size() == (condition == "none" ? 0 : 1));
    CHECK(request.appends(0).events(0).tags_size() == 1);
    if (condition != "none") last = request.conditions(0).after_position();
    if (condition != "recent") CHECK(last == 0);
  }
  // Answers have told positions by then, and at most eight requests are under way.
  const auto written = static_cast<std::int64_t>(transactions.size());
  if (condition == "recent") CHECK(last >= written - 16);
  CHECK(RunMode(&server, "0", {"append", "--condition", condition}).code == kExitUsage);
}

TEST_CASE("SomeFailuresAreReportedByReason") {
  const auto mode = GENERATE(as<std::string>(), "append", "append-stream", "transact");
  FakeServer server;
  v1::ErrorInfo problem;
  problem.set_reason(v1::ERROR_REASON_OVERLOADED);
  problem.set_message("full");
  for (int i = 0; i < 3; ++i) {
    server.FailNext(RichError(grpc::StatusCode::RESOURCE_EXHAUSTED, problem));
  }
  const CliResult result = RunMode(&server, "0", {mode});
  INFO(result.out << result.err);
  CHECK(result.code == 0);
  CHECK_THAT(result.out, Catch::Contains(R"("errors":{"OVERLOADED":3})"));
}

TEST_CASE("AServerThatIsNotThereFailsEveryMode") {
  const auto mode = GENERATE(as<std::string>(), "append", "append-stream", "transact",
                             "read-stream", "read-all", "subscribe", "consume");
  const CliResult result = RunCliWith(
      {"bench", mode, "--address", "127.0.0.1:1", "--duration", "0.2", "--warm-up", "0"});
  INFO(mode << "\n" << result.out << result.err);
  CHECK(result.code != 0);
  CHECK_THAT(result.out + result.err, Catch::Contains("UNAVAILABLE"));
}

TEST_CASE("AnInterruptEndsABenchWithItsReport") {
  FakeServer server;
  Interrupt interrupt;
  CliResult result;
  std::thread client([&] {
    result = RunCliWith(
        {"bench", "append", "--address", server.address(), "--duration", "600", "--warm-up", "0"},
        "", &interrupt);
  });
  const bool loaded = server.WaitForAppends(10);
  interrupt.Raise();
  client.join();
  REQUIRE(loaded);
  CHECK(result.code == 0);
  CHECK_THAT(result.out, Catch::StartsWith("append: 64 in flight on 1 connection") &&
                             Catch::Contains("p99.9") && Catch::Contains("errors     none"));
}

}  // namespace
}  // namespace eventstore::cli
