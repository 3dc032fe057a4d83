#include "server/telemetry/metrics.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace eventstore::telemetry {
namespace {

// The value of one line of the exposition text; fails the test if there is no such line.
double Value(const std::string& text, const std::string& name_and_labels) {
  const std::size_t at = ("\n" + text).find("\n" + name_and_labels + " ");
  CAPTURE(name_and_labels);
  REQUIRE(at != std::string::npos);
  return std::stod(text.substr(at + name_and_labels.size()));
}

// The text with every metric in it.
std::string TextOfAll() {
  Metrics metrics("1");
  metrics.Pool("s").size->Set(1);
  metrics.Lane("s").events->Increment();
  metrics.Read("s").events->Increment();
  metrics.Rpc("m").in_flight->Increment();
  (void)metrics.Group("s", "g");
  (void)metrics.GroupLane("s", "g", 0);
  ProjectionMetrics projections = metrics.Projections("s");
  for (LabelledGauges* gauges :
       {&projections.position, &projections.lag_positions, &projections.lag_seconds}) {
    gauges->Replace({{{"p"}, 1}});
  }
  projections.dead_letters.Replace({{{"p", "failed"}, 1}});
  return metrics.Text();
}

TEST_CASE("TheBuildTheStartAndTheMemoryAreTold") {
  const Metrics metrics("1.2.3");
  const std::string text = metrics.Text();
  CHECK(Value(text, "eventstore_build_info{version=\"1.2.3\"}") == 1);
  CHECK(Value(text, "eventstore_process_resident_memory_bytes") > 1e6);
  CHECK(Value(text, "eventstore_process_start_time_seconds") > 1.7e9);
}

TEST_CASE("AskingTwiceForAStoreGivesTheSameMetrics") {
  Metrics metrics("1");
  const PoolMetrics pool = metrics.Pool("main");
  CHECK(metrics.Pool("main").size == pool.size);
  CHECK(metrics.Pool("main").timeouts == pool.timeouts);
  CHECK(metrics.Pool("main").wait_seconds == pool.wait_seconds);
  CHECK(metrics.Lane("main").commit_seconds == metrics.Lane("main").commit_seconds);
  CHECK(metrics.Read("main").subscribers_live == metrics.Read("main").subscribers_live);
  CHECK(metrics.Rpc("ReadAll").seconds == metrics.Rpc("ReadAll").seconds);
  CHECK(metrics.Rpc("ReadAll").requests_by_code[16] == metrics.Rpc("ReadAll").requests_by_code[16]);
}

TEST_CASE("StoresAndStatesHaveMetricsOfTheirOwn") {
  Metrics metrics("1");
  metrics.Pool("a").checked_out->Set(3);
  metrics.Pool("b").checked_out->Set(5);
  const ReadMetrics read = metrics.Read("a");
  read.subscribers_live->Set(7);
  read.subscribers_catching_up->Set(2);
  const std::string text = metrics.Text();
  CHECK(Value(text, "eventstore_pool_checked_out{store=\"a\"}") == 3);
  CHECK(Value(text, "eventstore_pool_checked_out{store=\"b\"}") == 5);
  CHECK(Value(text, "eventstore_subscribers{state=\"live\",store=\"a\"}") == 7);
  CHECK(Value(text, "eventstore_subscribers{state=\"catching_up\",store=\"a\"}") == 2);
}

TEST_CASE("ProjectionsThatAreGoneLeaveNoMetrics") {
  Metrics metrics("1");
  ProjectionMetrics projections = metrics.Projections("s");
  projections.dead_letters.Replace({{{"a", "failed"}, 1}, {{"b", "failed"}, 2}});
  projections.dead_letters.Replace({{{"b", "failed"}, 3}, {{"c", "retrying"}, 4}});
  const std::string text = metrics.Text();
  CHECK(Value(text, "eventstore_dead_letters{projection=\"b\",status=\"failed\",store=\"s\"}") ==
        3);
  CHECK(Value(text, "eventstore_dead_letters{projection=\"c\",status=\"retrying\",store=\"s\"}") ==
        4);
  CHECK(text.find("projection=\"a\"") == std::string::npos);
}

TEST_CASE("RpcsAreCountedByMethodAndTheNameOfTheCode") {
  Metrics metrics("1");
  const RpcMetrics rpc = metrics.Rpc("AppendEvents");
  rpc.requests_by_code[0]->Increment();
  rpc.requests_by_code[1]->Increment(2);
  rpc.requests_by_code[10]->Increment(3);
  rpc.requests_by_code[16]->Increment(4);
  rpc.seconds->Observe(0.003);
  rpc.in_flight->Increment();
  const std::string text = metrics.Text();
  const std::string name = "eventstore_rpc_requests_total{code=\"";
  CHECK(Value(text, name + "OK\",method=\"AppendEvents\"}") == 1);
  CHECK(Value(text, name + "CANCELLED\",method=\"AppendEvents\"}") == 2);
  CHECK(Value(text, name + "ABORTED\",method=\"AppendEvents\"}") == 3);
  CHECK(Value(text, name + "UNAUTHENTICATED\",method=\"AppendEvents\"}") == 4);
  CHECK(Value(text, "eventstore_rpc_seconds_bucket{method=\"AppendEvents\",le=\"0.002\"}") == 0);
  CHECK(Value(text, "eventstore_rpc_seconds_bucket{method=\"AppendEvents\",le=\"0.005\"}") == 1);
  CHECK(Value(text, "eventstore_rpc_seconds_count{method=\"AppendEvents\"}") == 1);
  CHECK(Value(text, "eventstore_rpc_in_flight{method=\"AppendEvents\"}") == 1);
}

TEST_CASE("HistogramsReachAsFarAsTheirValuesMay") {
  Metrics metrics("1");
  metrics.Lane("s").commit_seconds->Observe(0.0004);
  metrics.Lane("s").commit_seconds->Observe(9);
  metrics.Lane("s").batch_events->Observe(1);
  metrics.Lane("s").batch_events->Observe(1000);
  const std::string text = metrics.Text();
  CHECK(Value(text, "eventstore_lane_commit_seconds_bucket{store=\"s\",le=\"0.0005\"}") == 1);
  CHECK(Value(text, "eventstore_lane_commit_seconds_bucket{store=\"s\",le=\"10\"}") == 2);
  CHECK(Value(text, "eventstore_lane_batch_events_bucket{store=\"s\",le=\"1\"}") == 1);
  CHECK(Value(text, "eventstore_lane_batch_events_bucket{store=\"s\",le=\"512\"}") == 1);
  CHECK(Value(text, "eventstore_lane_batch_events_bucket{store=\"s\",le=\"1024\"}") == 2);
}

TEST_CASE("EveryMetricThatTheHeaderNamesExistsAndNoOther") {
  std::set<std::string> exposed;
  std::istringstream lines(TextOfAll());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) == 0) exposed.insert(line.substr(7, line.find(' ', 7) - 7));
  }
  std::ifstream in(EVENTSTORE_SOURCE_DIR "/server/telemetry/metrics.h");
  const std::string header{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::set<std::string> named;
  const std::string prefix = "eventstore_";
  for (std::size_t at = header.find(prefix); at != std::string::npos;
       at = header.find(prefix, at + 1)) {
    const std::size_t end = header.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
    named.insert(header.substr(at, end - at));
  }
  CHECK(exposed == named);
}

TEST_CASE("EveryMetricHasAHelpText") {
  std::istringstream lines(TextOfAll());
  int helps = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# HELP ", 0) != 0) continue;
    ++helps;
    CAPTURE(line);
    CHECK(line.back() == '.');
  }
  CHECK(helps > 40);
}

TEST_CASE("MetricsMayBeUsedAndScrapedByManyThreads") {
  Metrics metrics("1");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&metrics] {
      for (int j = 0; j < 50; ++j) {
        metrics.Lane("s").events->Increment();
        if (metrics.Text().empty()) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(Value(metrics.Text(), "eventstore_events_appended_total{store=\"s\"}") == 200);
}

}  // namespace
}  // namespace eventstore::telemetry
