// The settings of a store. Each is a configuration key of the same name (`writer.queue_appends_max`
// and so on); deploy/eventstored.yaml is the reference.
#ifndef EVENTSTORE_SERVER_ENGINE_OPTIONS_H_
#define EVENTSTORE_SERVER_ENGINE_OPTIONS_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/core/limits.h"
#include "server/pg/connection.h"
#include "server/pg/pool.h"
#include "server/sinks/registry.h"

namespace eventstore::engine {

// The write lane.
struct WriterOptions {
  // Most appends, and most bytes of appends, that wait; beyond it callers get OVERLOADED.
  std::int64_t queue_appends_max = 10'000;
  std::int64_t queue_bytes_max = 64 << 20;
  // Most events and bytes that one transaction writes. One append is never split: a single one may
  // exceed them as far as the request limits allow.
  std::int64_t batch_events_max = 4'000;
  std::int64_t batch_bytes_max = 8 << 20;
  // Most streams whose version is remembered.
  std::int64_t cache_streams_max = 100'000;
  // Longest time that an append waits for the database before it is STORE_UNAVAILABLE; a caller's
  // own deadline may be sooner.
  std::chrono::milliseconds max_wait_ms{10'000};
  // Session settings of the lane's connection: they free the head lock from a daemon that hangs.
  std::chrono::milliseconds lock_timeout_ms{5'000};
  std::chrono::milliseconds statement_timeout_ms{10'000};
  std::chrono::milliseconds idle_in_transaction_timeout_ms{5'000};
  // A batch that takes longer is logged as slow.
  std::chrono::milliseconds slow_commit_ms{500};
  // After another daemon wrote up to this many events, the cache is repaired from them; after more,
  // it is cleared.
  std::int64_t foreign_events_max = 10'000;
  // Conditions of transactions are evaluated before the lane, which looks only at what was
  // committed since: at most so many positions a transaction, and so many comparisons of an event
  // with an alternative a batch. What lies beyond goes back to be evaluated afresh, so often at
  // most; then it is OVERLOADED.
  std::int64_t condition_positions_max = 10'000;
  std::int64_t condition_comparisons_max = 500'000;
  std::int64_t condition_evaluations_max = 5;
  // Conditions that ask for no more than so many newest positions are evaluated in memory, if that
  // has them. 0: never.
  std::int64_t condition_memory_positions_max = 500;
};

// Reading from tables.
struct ReaderOptions {
  // Threads, and so most pages that are read at once.
  int threads = 4;
  // Most reads that wait for a thread; beyond it callers get OVERLOADED.
  std::int64_t queue_requests_max = 1'000;
  // Most events, and about the most bytes, of one page.
  std::int64_t page_events_max = 500;
  std::int64_t page_bytes_max = 2 << 20;
  // Most positions that the first statement of a filtered page looks at. A page that finds nothing
  // looks on for 50 ms, in windows of up to eight times as many.
  std::int64_t window_positions = 50'000;
  // Longest time for one statement.
  std::chrono::milliseconds statement_timeout_ms{30'000};
  // Longest time that a page waits for a thread, a connection and its answer together.
  std::chrono::milliseconds max_wait_ms{30'000};
};

// Queries of payloads.
struct QueryOptions {
  // Longest time for one statement of QueryEvents; then the query ends with TOO_LARGE and can go on
  // from where it came to.
  std::chrono::milliseconds statement_timeout_ms{30'000};
};

// Live subscriptions.
struct HubOptions {
  // Most bytes of events kept in memory for live subscribers.
  std::int64_t ring_bytes_max = 64 << 20;
  // Most subscriptions at once; beyond it callers get OVERLOADED.
  std::int64_t subscriptions_max = 10'000;
  // A subscriber that does not take a message for so long is dropped with SLOW_CONSUMER.
  std::chrono::milliseconds stall_timeout_ms{60'000};
  // How often the head is looked up in case a notification of another daemon was lost.
  std::chrono::milliseconds poll_interval_ms{5'000};
};

// Partitions of the events table.
struct PartitionOptions {
  // Positions in a new partition; grows with the write rate up to the maximum.
  std::int64_t size_events = 10'000'000;
  std::int64_t size_events_max = 1'000'000'000;
  // Partitions that always lie ready beyond the one in use, and for how long at the current rate.
  int ahead_min = 2;
  std::chrono::seconds lead_seconds{600};
  // How often that is checked (the lane also asks for it when it comes close).
  std::chrono::milliseconds check_interval_ms{10'000};
  // Longest wait for the lock that attaching a partition takes; tried again later.
  std::chrono::milliseconds lock_timeout_ms{200};
};

// The registry of daemons that share a store.
struct DaemonOptions {
  // How often this daemon says that it is alive, and after what silence others count it as gone.
  std::chrono::milliseconds heartbeat_ms{3'000};
  std::chrono::milliseconds expire_ms{15'000};
};

// Consumer groups. What belongs to one group is in its settings.
struct GroupOptions {
  // Most members of all groups at once; beyond it callers get OVERLOADED.
  std::int64_t members_max = 1'000;
  // About the most bytes of events that one lane keeps in memory until they are settled.
  std::int64_t lane_bytes_max = 4 << 20;
  // How often acks become durable: what may be delivered again after a crash.
  std::chrono::milliseconds flush_interval_ms{100};
};

// Which events go to a sink.
struct OutboxRoute {
  std::string sink;
  std::vector<std::string> aggregate_types;  // any of these; none: every one
  std::vector<std::string> event_types;      // likewise
  std::vector<std::string> tags;             // all of these
  std::string tenant_id;                     // empty: every tenant
};

// A sink and how it is published to.
struct OutboxSink {
  // Its type is one of the sinks', or "worker": then there is no relay, only ClaimOutbox.
  sinks::SinkOptions options;
  // Attempts after which a message that the broker refuses is `failed`.
  std::int64_t attempts_max = 5;
  // Whether the rest of a stream goes on after an event of it failed; otherwise it waits.
  bool continue_after_failed = false;
  // Most events of one batch, and the longest time that publishing it may take.
  std::int64_t batch_events_max = 500;
  std::chrono::milliseconds publish_timeout_ms{10'000};
  // The wait after a failure: doubled each time, with jitter.
  std::chrono::milliseconds backoff_min_ms{100};
  std::chrono::milliseconds backoff_max_ms{30'000};
};

// The type of a sink that has no relay.
inline constexpr std::string_view kWorkerSink = "worker";

// The outbox.
struct OutboxOptions {
  bool enabled = false;
  std::vector<OutboxSink> sinks;
  std::vector<OutboxRoute> routes;
  // How long a relay's lease of a sink lasts unless it is renewed; longer by `kLeaseMargin` than
  // any sink's `publish_timeout_ms`, so that it cannot end while a batch is published.
  std::chrono::milliseconds lease_ms{15'000};
  static constexpr std::chrono::milliseconds kLeaseMargin{2'000};
  // How often a relay looks at everything that is pending again.
  std::chrono::milliseconds sweep_interval_ms{5'000};
  // How long published rows are kept.
  std::chrono::seconds retention_seconds{86'400};
  // Makes what publishes to a sink; not a setting. Tests have sinks of their own.
  std::function<absl::StatusOr<std::unique_ptr<sinks::Sink>>(const sinks::SinkOptions&)> make_sink =
      sinks::MakeSink;
};

// Everything that a store needs to know.
struct StoreOptions {
  // Name in metrics and logs.
  std::string name = "default";
  pg::ConnectionOptions connection;
  pg::PoolOptions pool;
  Limits limits;
  WriterOptions writer;
  ReaderOptions reader;
  QueryOptions query;
  HubOptions hub;
  PartitionOptions partitions;
  DaemonOptions daemon;
  GroupOptions groups;
  OutboxOptions outbox;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_OPTIONS_H_
