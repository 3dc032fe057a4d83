// bench: the load generator's command.
#include "client/cli/bench.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/retry.h"

namespace eventstore::cli {
namespace {

// Bounds of the options: typing errors should not eat the machine.
constexpr int kInFlightMax = 100'000;
constexpr int kConnectionsMax = 1000;
constexpr int kSubscribersMax = 10'000;
constexpr int kMembersMax = 1000;
constexpr int kEventsPerAppendMax = 100'000;
constexpr int kPayloadBytesMax = 16 << 20;
constexpr int kStreamsMax = 100'000'000;
constexpr double kSecondsMax = 7 * 24 * 3600;
constexpr double kRateMax = 10'000'000;

std::chrono::milliseconds ToMillis(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

// Fills streams to read, where the mode needs that, and makes its workload.
grpc::Status Prepare(const BenchContext& context, std::unique_ptr<Workload>* workload) {
  const std::string& mode = context.options.mode;
  if (mode == "append") *workload = MakeAppendWorkload(context);
  if (mode == "append-stream") *workload = MakeAppendStreamWorkload(context);
  if (mode == "transact") *workload = MakeTransactWorkload(context);
  if (mode == "read-stream") {
    if (context.options.existing.empty()) {
      if (grpc::Status status = FillStreams(context); !status.ok()) return status;
    }
    if (context.options.snapshot_tail > 0) {
      if (grpc::Status status = SaveSnapshots(context); !status.ok()) return status;
    }
    *workload = MakeReadStreamWorkload(context);
  }
  if (mode == "read-all") {
    v1::GetHeadResponse head;
    grpc::Status status = GetHeadOrFill(context, context.options.events_per_read, &head);
    if (!status.ok()) return status;
    *workload = MakeReadAllWorkload(context, head.position());
  }
  return grpc::Status::OK;
}

int RunBench(const BenchOptions& options, Session* session) {
  LoadPlan plan;
  plan.in_flight = options.in_flight;
  plan.rate = options.rate;
  plan.warm_up = ToMillis(options.warm_up_s);
  plan.duration = ToMillis(options.duration_s);
  LoadDriver driver(plan);
  Connections connections(session->options, options.connections);
  EventMaker events(options);
  const BenchContext context{options, session, &connections, &events, &driver};
  BenchResult result;
  grpc::Status status;
  if (options.mode == "subscribe") {
    status = RunSubscribeBench(context, &result);
  } else if (options.mode == "consume") {
    status = RunConsumeBench(context, &result);
  } else {
    std::unique_ptr<Workload> workload;
    status = Prepare(context, &workload);
    if (status.ok()) result.load = RunLoad(context, workload.get());
  }
  if (!status.ok()) return ReportFailure(FailureOf(status), session);
  PrintBenchReport(options, result, session);
  const bool all_failed = result.load.latency.count() == 0 && !result.load.errors.empty();
  return all_failed ? kExitFailed : kExitOk;
}

void AddLoadOptions(CLI::App* command, BenchOptions* options) {
  const auto whole = [command](const char* name, int* value, int min, int max,
                               const char* description) {
    command->add_option(name, *value, description)
        ->check(CLI::Range(min, max))
        ->capture_default_str();
  };
  const auto real = [command](const char* name, double* value, double max,
                              const char* description) {
    command->add_option(name, *value, description)
        ->check(CLI::Range(0.0, max))
        ->capture_default_str();
  };
  whole("--in-flight", &options->in_flight, 1, kInFlightMax, "requests at a time");
  whole("--connections", &options->connections, 1, kConnectionsMax, "TCP connections");
  real("--rate", &options->rate, kRateMax,
       "requests per second to start whether or not earlier ones are done (open loop); latency "
       "counts from when each was meant to start. 0: as many as --in-flight allows");
  real("--duration", &options->duration_s, kSecondsMax, "seconds to measure");
  real("--warm-up", &options->warm_up_s, kSecondsMax, "seconds before that, not counted");
  whole("--events-per-append", &options->events_per_append, 1, kEventsPerAppendMax,
        "events in each request (read-stream: in each stream)");
  whole("--payload-bytes", &options->payload_bytes, 1, kPayloadBytesMax,
        "size of each payload, random JSON");
  whole("--streams", &options->streams, 1, kStreamsMax, "streams to append to, or to read");
  real("--new-streams", &options->new_streams_percent, 100,
       "percent of appends that go to a stream that is new");
  whole("--subscribers", &options->subscribers, 1, kSubscribersMax, "subscribe: how many");
  whole("--tags", &options->tags, 1, kStreamsMax, "transact: how many different tags");
  whole("--members", &options->members, 1, kMembersMax, "consume: how many, each on a connection");
  whole("--events-per-read", &options->events_per_read, 1, kEventsPerAppendMax,
        "read-all: events in each read (consume: that the store must have)");
  whole("--snapshot-tail", &options->snapshot_tail, 0, kEventsPerAppendMax,
        "read-stream: read from a snapshot that is saved so many events before each stream's end; "
        "0: read the whole stream");
}

}  // namespace

grpc::Status GetHeadOrFill(const BenchContext& context, std::int64_t events,
                           v1::GetHeadResponse* head) {
  const auto get_head = [&](grpc::ClientContext* rpc) {
    return context.session->stub().GetHead(rpc, v1::GetHeadRequest(), head);
  };
  grpc::Status status = Call(context.session, get_head);
  if (status.ok() && head->position() < events) {
    status = FillStreams(context);
    if (status.ok()) status = Call(context.session, get_head);
  }
  return status;
}

LoadResult RunLoad(const BenchContext& context, Workload* workload) {
  const Interrupt::Callback stop(&context.session->interrupt(),
                                 [&context] { context.driver->Stop(); });
  ProgressLine progress(&context.session->console());
  return context.driver->Run(workload, [&progress](std::string_view text) { progress.Show(text); });
}

void AddBenchCommand(CLI::App* app, Action* action) {
  const auto options = std::make_shared<BenchOptions>();
  CLI::App* const command = app->add_subcommand(
      "bench",
      "Load a server and measure. Writes events that stay. Ctrl-C ends it with what it has.");
  command
      ->add_option("MODE", options->mode,
                   "append: unary appends. append-stream: AppendEventsStream, one call per "
                   "connection. transact: transactions of one append whose condition asks for a "
                   "tag. read-stream, read-all: reads. subscribe: appends (--rate 1000 if "
                   "not given), and how long they take to reach subscribers. consume: members of a "
                   "new consumer group work through the store, once")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"append", "append-stream", "transact",
                                                     "read-stream", "read-all", "subscribe",
                                                     "consume"}));
  AddLoadOptions(command, options.get());
  command->add_option("--type", options->aggregate_type, "aggregate type of the streams")
      ->capture_default_str();
  command->add_option("--tenant", options->tenant, "tenant of the streams, a UUID");
  command
      ->add_option("--existing", options->existing,
                   "append, append-stream, transact, read-stream: the streams are PREFIX-0 to "
                   "PREFIX-(N-1), N of --streams, which are there already")
      ->type_name("PREFIX");
  command->add_flag("--own-streams", options->own_streams,
                    "subscribe: each subscriber follows a stream of its own, and these are all "
                    "that is appended to; not the whole store");
  command
      ->add_option(
          "--condition", options->condition,
          "transact: what the condition asks about. all: every event with the tag. recent: "
          "those after the newest position that an answer told, as one who has just read "
          "asks. none: there is no condition, to compare")
      ->check(CLI::IsMember(std::vector<std::string>{"all", "recent", "none"}))
      ->capture_default_str();
  command->callback([=] {
    if (command->get_option("--condition")->count() > 0 && options->mode != "transact") {
      throw CLI::ValidationError("--condition goes with transact");
    }
    if (options->own_streams) {
      if (options->mode != "subscribe") {
        throw CLI::ValidationError("--own-streams goes with subscribe");
      }
      options->streams = options->subscribers;
      options->new_streams_percent = 0;
    }
    const bool takes_existing =
        options->mode != "read-all" && options->mode != "subscribe" && options->mode != "consume";
    if (!takes_existing && !options->existing.empty()) {
      throw CLI::ValidationError(
          "--existing goes with append, append-stream, transact and read-stream");
    }
    if (options->snapshot_tail > 0 &&
        (options->mode != "read-stream" || !options->existing.empty() ||
         options->snapshot_tail >= options->events_per_append)) {
      throw CLI::ValidationError(
          "--snapshot-tail goes with read-stream, without --existing, and is less than "
          "--events-per-append");
    }
    constexpr double kDefaultSubscribeRate = 1000;
    const bool rate_given = command->get_option("--rate")->count() > 0;
    if (options->mode == "subscribe" && !rate_given) options->rate = kDefaultSubscribeRate;
    *action = [=](Session& session) { return RunBench(*options, &session); };
  });
}

}  // namespace eventstore::cli
