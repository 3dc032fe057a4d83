// What the load generator's modes share: options, events to append, connections.
#ifndef EVENTSTORE_CLIENT_CLI_BENCH_H_
#define EVENTSTORE_CLIENT_CLI_BENCH_H_

#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "eventstore/v1/event_store_service.grpc.pb.h"

#include "client/cli/load_driver.h"
#include "client/cli/session.h"

namespace eventstore::cli {

struct BenchOptions {
  std::string mode;
  int in_flight = 64;
  double duration_s = 10;
  double warm_up_s = 2;
  int events_per_append = 1;
  int payload_bytes = 250;
  int streams = 1000;
  double new_streams_percent = 10;
  double rate = 0;
  int connections = 1;
  int subscribers = 1;
  int members = 8;
  bool own_streams = false;  // each subscriber follows a stream of its own, not the store
  int events_per_read = 500;
  int snapshot_tail = 0;  // read-stream: events after each stream's snapshot; 0: no snapshots
  std::string aggregate_type = "Bench";
  std::string tenant;
  // The prefix of the common streams' names, if they are there already; empty: streams of the run's
  // own.
  std::string existing;
  // transact: how many tags there are, tag-0 and so on.
  int tags = 100'000;
  std::string condition = "all";  // transact: all, recent or none
};

// Makes a JSON object of exactly so many bytes (at least 1; below 8 it is a number or a string),
// with random text that does not compress.
[[nodiscard]] std::string MakePayload(int bytes, std::mt19937_64* random);

// Fills append requests. Any thread, for different requests at once.
class EventMaker {
 public:
  // Every run has streams of its own, named by a prefix of its own; only the common ones may be
  // others' (`--existing`).
  explicit EventMaker(const BenchOptions& options);

  // Makes `request` append to a random one of the run's streams, or to a new one. Reuses what
  // `request` holds already, which must come from this function or be empty.
  void Fill(v1::AppendEventsRequest* request, std::mt19937_64* random);
  // Makes `request` append to the run's stream of this number.
  void FillStream(std::int64_t number, v1::AppendEventsRequest* request, std::mt19937_64* random);
  // The run's stream of this number; those from 0 to `--streams` - 1 are the common ones.
  void NameStream(std::int64_t number, v1::StreamId* stream) const;

  [[nodiscard]] const std::string& prefix() const { return prefix_; }

 private:
  const BenchOptions& options_;
  std::string prefix_;
  // Payloads are chosen from these: making one costs more than sending it.
  std::vector<std::string> payloads_;
  std::atomic<std::int64_t> next_new_stream_;
};

// As many connections as asked for, each with a socket of its own. Any thread.
class Connections {
 public:
  Connections(const GlobalOptions& global, int count);
  [[nodiscard]] v1::EventStoreService::Stub& ForSlot(int slot) {
    return *stubs_[static_cast<std::size_t>(slot) % stubs_.size()];
  }
  [[nodiscard]] int size() const { return static_cast<int>(stubs_.size()); }

 private:
  std::vector<std::unique_ptr<v1::EventStoreService::Stub>> stubs_;
};

// What a mode needs to run. All of it outlives the mode.
struct BenchContext {
  const BenchOptions& options;
  Session* session;
  Connections* connections;
  EventMaker* events;
  LoadDriver* driver;
};

// What a run found.
struct BenchResult {
  LoadResult load;
  // Of the mode subscribe: from when an append was meant to start until its event arrived, for
  // every subscriber; how many events arrived; and how many of the acknowledged never did.
  Histogram delivery;
  std::int64_t delivered = 0;
  std::int64_t missed = 0;
  // Of the mode consume: events that came again; `missed` are those that were not settled.
  std::int64_t redelivered = 0;
};

// The reason of a failed operation.
[[nodiscard]] std::string FailureReason(const grpc::Status& status);

// The modes.
[[nodiscard]] std::unique_ptr<Workload> MakeAppendWorkload(const BenchContext& context);
[[nodiscard]] std::unique_ptr<Workload> MakeAppendStreamWorkload(const BenchContext& context);
[[nodiscard]] std::unique_ptr<Workload> MakeTransactWorkload(const BenchContext& context);
[[nodiscard]] std::unique_ptr<Workload> MakeReadStreamWorkload(const BenchContext& context);
// Reads pages that start somewhere in the positions up to `head`.
[[nodiscard]] std::unique_ptr<Workload> MakeReadAllWorkload(const BenchContext& context,
                                                            std::int64_t head);

// Gives each of the common streams `--events-per-append` events, for a reader to find.
[[nodiscard]] grpc::Status FillStreams(const BenchContext& context);

// Saves a snapshot of each of the common streams, `--snapshot-tail` events before its end.
[[nodiscard]] grpc::Status SaveSnapshots(const BenchContext& context);
// The store's head; where it has fewer than so many events, the common streams are filled first.
[[nodiscard]] grpc::Status GetHeadOrFill(const BenchContext& context, std::int64_t events,
                                         v1::GetHeadResponse* head);

// Runs a load and prints its progress.
[[nodiscard]] LoadResult RunLoad(const BenchContext& context, Workload* workload);

// Runs the mode subscribe. An error if the subscriptions could not be made.
[[nodiscard]] grpc::Status RunSubscribeBench(const BenchContext& context, BenchResult* result);

// Runs the mode consume: a group's members work through the store until its end, `--duration`, or
// an interrupt. An error if they get nothing.
[[nodiscard]] grpc::Status RunConsumeBench(const BenchContext& context, BenchResult* result);

// Prints what a run found.
void PrintBenchReport(const BenchOptions& options, const BenchResult& result, Session* session);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_BENCH_H_
