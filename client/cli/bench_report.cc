// What the load generator found, for people and for programs.
#include <fmt/format.h>

#include <cmath>
#include <string>
#include <string_view>

#include "client/cli/bench.h"
#include "client/cli/json.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

double PerSecond(std::int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double Millis(std::int64_t nanos) { return static_cast<double>(nanos) / 1e6; }

// Three digits of a latency in milliseconds: more would be noise.
std::string MillisText(std::int64_t nanos) {
  const double millis = Millis(nanos);
  return fmt::format("{:.{}f} ms", millis, millis < 10 ? 2 : millis < 100 ? 1 : 0);
}

std::string LatencyText(const Histogram& latency) {
  if (latency.count() == 0) return "nothing was measured";
  return fmt::format("p50 {}  p90 {}  p99 {}  p99.9 {}  max {}", MillisText(latency.Percentile(50)),
                     MillisText(latency.Percentile(90)), MillisText(latency.Percentile(99)),
                     MillisText(latency.Percentile(99.9)), MillisText(latency.max()));
}

void AddLatency(std::string_view name, const Histogram& latency, JsonLine* line) {
  // To the microsecond: a double would else be printed with digits that say nothing.
  const auto millis = [](double nanos) { return std::round(nanos / 1e3) / 1e3; };
  const auto percentile = [&](double percent) {
    return millis(static_cast<double>(latency.Percentile(percent)));
  };
  line->OpenObject(name);
  line->Number("count", latency.count());
  line->Real("min", millis(static_cast<double>(latency.min())));
  line->Real("mean", millis(latency.Mean()));
  line->Real("p50", percentile(50));
  line->Real("p90", percentile(90));
  line->Real("p99", percentile(99));
  line->Real("p99_9", percentile(99.9));
  line->Real("max", millis(static_cast<double>(latency.max())));
  line->CloseObject();
}

bool IsSubscribe(const BenchOptions& options) { return options.mode == "subscribe"; }
bool IsConsume(const BenchOptions& options) { return options.mode == "consume"; }

std::string JsonReport(const BenchOptions& options, const BenchResult& result) {
  const LoadResult& load = result.load;
  JsonLine line;
  line.Text("bench", options.mode);
  line.Real("seconds", std::round(load.seconds * 1e3) / 1e3);
  line.Number("operations", load.operations);
  line.Real("operations_per_second", std::round(PerSecond(load.operations, load.seconds)));
  line.Number("events", load.events);
  line.Real("events_per_second", std::round(PerSecond(load.events, load.seconds)));
  AddLatency("latency_ms", load.latency, &line);
  if (IsSubscribe(options)) {
    line.Number("delivered", result.delivered);
    line.Number("missed", result.missed);
    AddLatency("delivery_latency_ms", result.delivery, &line);
  }
  if (IsConsume(options)) {
    line.Number("redelivered", result.redelivered);
    line.Number("missed", result.missed);
  }
  line.OpenObject("errors");
  for (const auto& [reason, count] : load.errors) line.Number(reason, count);
  line.CloseObject();
  line.Number("not_started", load.not_started);
  line.OpenObject("options");
  line.Number("in_flight", options.in_flight);
  line.Number("connections", options.connections);
  line.Real("rate", options.rate);
  line.Number("events_per_append", options.events_per_append);
  line.Number("payload_bytes", options.payload_bytes);
  line.Number("streams", options.streams);
  line.Real("new_streams_percent", options.new_streams_percent);
  line.Number("subscribers", IsSubscribe(options) ? options.subscribers : 0);
  line.Number("members", IsConsume(options) ? options.members : 0);
  line.Number("events_per_read", options.events_per_read);
  line.Real("warm_up_s", options.warm_up_s);
  line.CloseObject();
  return line.Finish();
}

std::string Describe(const BenchOptions& options) {
  if (IsConsume(options)) return fmt::format("consume: {}\n", Count(options.members, "member"));
  std::string text = fmt::format("{}: {} in flight on {}", options.mode, options.in_flight,
                                 Count(options.connections, "connection"));
  if (options.mode == "read-all") {
    text += fmt::format(", {} a read", Count(options.events_per_read, "event"));
  } else {
    text += fmt::format(", {} of {} a {}", Count(options.events_per_append, "event"),
                        Count(options.payload_bytes, "byte"),
                        options.mode == "read-stream" ? "stream" : "request");
  }
  if (options.rate > 0) text += fmt::format(", {} requests/s asked for", options.rate);
  if (IsSubscribe(options)) text += ", " + Count(options.subscribers, "subscriber");
  return text + "\n";
}

std::string TextReport(const BenchOptions& options, const BenchResult& result) {
  const LoadResult& load = result.load;
  const auto rate = [&load](std::int64_t count) {
    return fmt::format("{}/s  ({} in {:.1f} s)",
                       Grouped(std::llround(PerSecond(count, load.seconds))), Grouped(count),
                       load.seconds);
  };
  std::string text = Describe(options);
  text += fmt::format("  requests   {}\n", rate(load.operations));
  text += fmt::format("  events     {}\n", rate(load.events));
  text += fmt::format("  latency    {}\n", LatencyText(load.latency));
  if (IsSubscribe(options)) {
    text += fmt::format("  delivery   {}\n", LatencyText(result.delivery));
    text += fmt::format("  delivered  {}, {} missed\n", Count(result.delivered, "event"),
                        Grouped(result.missed));
  }
  if (IsConsume(options)) {
    text += fmt::format("  again      {}, {} not settled\n", Count(result.redelivered, "event"),
                        Grouped(result.missed));
  }
  if (load.not_started > 0) {
    text += fmt::format(
        "  too slow   {} were never started: the rate is more than {} in flight "
        "can carry\n",
        Count(load.not_started, "request"), options.in_flight);
  }
  if (load.errors.empty()) return text + "  errors     none\n";
  std::string errors;
  for (const auto& [reason, count] : load.errors) {
    errors += fmt::format("{}{} {}", errors.empty() ? "" : ", ", Grouped(count), Escape(reason));
  }
  return text + fmt::format("  errors     {}\n", errors);
}

}  // namespace

void PrintBenchReport(const BenchOptions& options, const BenchResult& result, Session* session) {
  session->Print(session->json() ? JsonReport(options, result) : TextReport(options, result));
}

}  // namespace eventstore::cli
