// The configuration keys of a store's parts.
#include "server/process/config_key_builders.h"

namespace eventstore::process {
namespace {

std::vector<Key> LimitKeys() {
  return {
      IntegerKey("limits.event_bytes_max", EVENTSTORE_FIELD(store.limits.event_bytes_max),
                 {1 << 10, 64 << 20},
                 "Most bytes of one event: payload (JSON as the database prints it), names, "
                 "metadata and tags."),
      IntegerKey("limits.request_bytes_max", EVENTSTORE_FIELD(store.limits.request_bytes_max),
                 {1 << 10, 256 << 20}, "Most bytes of one append request."),
      IntegerKey("limits.request_events_max", EVENTSTORE_FIELD(store.limits.request_events_max),
                 {1, 100'000}, "Most events of one append request."),
      IntegerKey("limits.name_bytes_max", EVENTSTORE_FIELD(store.limits.name_bytes_max), {1, 255},
                 "Most bytes of event_type, aggregate_type, aggregate_id, actor_id, "
                 "correlation_id, causation_id and content_type."),
      IntegerKey("limits.tags_max", EVENTSTORE_FIELD(store.limits.tags_max), {0, 1'000},
                 "Most tags of one event."),
      IntegerKey("limits.tag_bytes_max", EVENTSTORE_FIELD(store.limits.tag_bytes_max), {1, 1'024},
                 "Most bytes of one tag."),
      IntegerKey("limits.metadata_entries_max", EVENTSTORE_FIELD(store.limits.metadata_entries_max),
                 {0, 10'000}, "Most metadata entries of one event."),
      IntegerKey("limits.metadata_bytes_max", EVENTSTORE_FIELD(store.limits.metadata_bytes_max),
                 {0, 1 << 20}, "Most bytes of all metadata keys and values of one event together."),
      IntegerKey("limits.json_depth_max", EVENTSTORE_FIELD(store.limits.json_depth_max), {1, 1'000},
                 "Deepest nesting of a JSON payload."),
      IntegerKey("limits.json_number_digits_max",
                 EVENTSTORE_FIELD(store.limits.json_number_digits_max), {20, 16'383},
                 "Most digits of a number in a JSON payload, as the database prints it: 1e400 has "
                 "401."),
      IntegerKey("limits.filter_values_max", EVENTSTORE_FIELD(store.limits.filter_values_max),
                 {1, 10'000}, "Most values in one field of a filter."),
      IntegerKey("limits.filter_regex_bytes_max",
                 EVENTSTORE_FIELD(store.limits.filter_regex_bytes_max), {1, 64 << 10},
                 "Most bytes of a filter's regular expression."),
      IntegerKey("limits.checks_max", EVENTSTORE_FIELD(store.limits.checks_max), {0, 10'000},
                 "Most checks of one transaction."),
      IntegerKey("limits.conditions_max", EVENTSTORE_FIELD(store.limits.conditions_max), {0, 1'000},
                 "Most conditions of one transaction."),
      IntegerKey("limits.condition_items_max", EVENTSTORE_FIELD(store.limits.condition_items_max),
                 {0, 1'000}, "Most alternatives in the query of one condition."),
      IntegerKey("limits.snapshots_max", EVENTSTORE_FIELD(store.limits.snapshots_max), {0, 10'000},
                 "Most snapshots of one transaction."),
      IntegerKey("limits.error_message_bytes_max",
                 EVENTSTORE_FIELD(store.limits.error_message_bytes_max), {256, 1 << 20},
                 "Most bytes of a dead letter's error message, and of the note that resolves it."),
      IntegerKey("limits.error_stacktrace_bytes_max",
                 EVENTSTORE_FIELD(store.limits.error_stacktrace_bytes_max), {256, 1 << 20},
                 "Most bytes of a dead letter's stack trace."),
      IntegerKey("limits.erase_events_max", EVENTSTORE_FIELD(store.limits.erase_events_max),
                 {1, 100'000}, "Most events that one request erases: appends wait meanwhile."),
      IntegerKey("limits.batch_events_max", EVENTSTORE_FIELD(store.limits.batch_events_max),
                 {1, 10'000}, "Most events in one message to a reader or subscriber."),
      IntegerKey("limits.page_size_max", EVENTSTORE_FIELD(store.limits.page_size_max), {1, 10'000},
                 "Most entries in one page of a list."),
  };
}

std::vector<Key> WriterKeys() {
  return {
      IntegerKey("writer.queue_appends_max", EVENTSTORE_FIELD(store.writer.queue_appends_max),
                 {1, 1'000'000}, "Most appends that wait; the next caller gets OVERLOADED."),
      IntegerKey("writer.queue_bytes_max", EVENTSTORE_FIELD(store.writer.queue_bytes_max),
                 {1 << 10, 4LL << 30},
                 "Most bytes of appends that wait; the next caller gets OVERLOADED."),
      IntegerKey("writer.batch_events_max", EVENTSTORE_FIELD(store.writer.batch_events_max),
                 {1, 100'000},
                 "Most events that one transaction writes. An append is never split: a single one "
                 "may exceed this."),
      IntegerKey("writer.batch_bytes_max", EVENTSTORE_FIELD(store.writer.batch_bytes_max),
                 {1 << 10, 256 << 20},
                 "Most bytes that one transaction writes. A single append may exceed this."),
      IntegerKey("writer.cache_streams_max", EVENTSTORE_FIELD(store.writer.cache_streams_max),
                 {1, 100'000'000},
                 "Most streams whose version is remembered, about 200 bytes each."),
      IntegerKey("writer.max_wait_ms", EVENTSTORE_FIELD(store.writer.max_wait_ms), {100, 600'000},
                 "Longest time that an append waits for the database; then it is "
                 "STORE_UNAVAILABLE. A caller's own deadline may be sooner."),
      IntegerKey("writer.lock_timeout_ms", EVENTSTORE_FIELD(store.writer.lock_timeout_ms),
                 {10, 600'000}, "Longest wait for another daemon's commit."),
      IntegerKey("writer.statement_timeout_ms", EVENTSTORE_FIELD(store.writer.statement_timeout_ms),
                 {100, 600'000}, "Longest time for one statement of the write lane."),
      IntegerKey(
          "writer.idle_in_transaction_timeout_ms",
          EVENTSTORE_FIELD(store.writer.idle_in_transaction_timeout_ms), {100, 600'000},
          "After so long the server ends the transaction of a daemon that hangs, which frees "
          "the store for the others."),
      IntegerKey("writer.slow_commit_ms", EVENTSTORE_FIELD(store.writer.slow_commit_ms),
                 {1, 600'000}, "A batch that takes longer is logged as slow."),
      IntegerKey("writer.foreign_events_max", EVENTSTORE_FIELD(store.writer.foreign_events_max),
                 {0, 1'000'000},
                 "After other daemons wrote up to so many events, what is remembered of streams is "
                 "repaired from them; after more it is forgotten."),
      IntegerKey("writer.condition_positions_max",
                 EVENTSTORE_FIELD(store.writer.condition_positions_max), {0, 1'000'000},
                 "Most positions that were committed since a transaction's conditions were "
                 "evaluated and that the lane looks at itself; after more they are evaluated "
                 "afresh."),
      IntegerKey("writer.condition_comparisons_max",
                 EVENTSTORE_FIELD(store.writer.condition_comparisons_max), {1, 1'000'000'000},
                 "Most comparisons of an event with an alternative of a condition that the lane "
                 "makes for one batch."),
      IntegerKey("writer.condition_evaluations_max",
                 EVENTSTORE_FIELD(store.writer.condition_evaluations_max), {1, 100},
                 "How often a transaction's conditions are evaluated; then it is OVERLOADED."),
      IntegerKey("writer.condition_memory_positions_max",
                 EVENTSTORE_FIELD(store.writer.condition_memory_positions_max), {0, 100'000},
                 "Conditions that ask for no more than so many newest positions are evaluated in "
                 "memory, not on the tables, if memory has them. 0: never."),
  };
}

std::vector<Key> ReaderKeys() {
  return {
      IntegerKey("reader.threads", EVENTSTORE_FIELD(store.reader.threads), {1, 256},
                 "Threads, and so most pages that are read at once."),
      IntegerKey("reader.queue_requests_max", EVENTSTORE_FIELD(store.reader.queue_requests_max),
                 {1, 1'000'000},
                 "Most reads that wait for a thread; the next caller gets OVERLOADED."),
      IntegerKey("reader.page_events_max", EVENTSTORE_FIELD(store.reader.page_events_max),
                 {1, 10'000}, "Most events of one page."),
      IntegerKey("reader.page_bytes_max", EVENTSTORE_FIELD(store.reader.page_bytes_max),
                 {1 << 10, 64 << 20},
                 "About the most bytes of one page; it has at least one event."),
      IntegerKey("reader.window_positions", EVENTSTORE_FIELD(store.reader.window_positions),
                 {100, 10'000'000},
                 "Most positions that the first statement of a page with a filter looks at. A page "
                 "that finds nothing looks on for 50 ms, in windows of up to eight times as many."),
      IntegerKey("reader.statement_timeout_ms", EVENTSTORE_FIELD(store.reader.statement_timeout_ms),
                 {100, 600'000}, "Longest time for one statement."),
      IntegerKey("reader.max_wait_ms", EVENTSTORE_FIELD(store.reader.max_wait_ms), {100, 600'000},
                 "Longest time that a page waits for a thread, a connection and its answer "
                 "together."),
  };
}

std::vector<Key> QueryKeys() {
  return {
      IntegerKey("query.statement_timeout_ms", EVENTSTORE_FIELD(store.query.statement_timeout_ms),
                 {10, 600'000},
                 "Longest time for one statement of QueryEvents; then the query ends with "
                 "TOO_LARGE, and can go on from where it came to."),
  };
}

std::vector<Key> HubKeys() {
  return {
      IntegerKey(
          "hub.ring_bytes_max", EVENTSTORE_FIELD(store.hub.ring_bytes_max), {64 << 10, 16LL << 30},
          "Most bytes of the newest events that are kept in memory for live subscribers. One "
          "who falls behind further catches up from the tables."),
      IntegerKey("hub.subscriptions_max", EVENTSTORE_FIELD(store.hub.subscriptions_max),
                 {1, 1'000'000}, "Most subscriptions at once; the next caller gets OVERLOADED."),
      IntegerKey("hub.stall_timeout_ms", EVENTSTORE_FIELD(store.hub.stall_timeout_ms),
                 {100, 86'400'000},
                 "A subscriber that takes no message for so long is dropped with SLOW_CONSUMER."),
      IntegerKey("hub.poll_interval_ms", EVENTSTORE_FIELD(store.hub.poll_interval_ms),
                 {50, 600'000},
                 "How often the head is looked up in case another daemon's notification was lost."),
  };
}

std::vector<Key> PartitionKeys() {
  return {
      IntegerKey("partitions.size_events", EVENTSTORE_FIELD(store.partitions.size_events),
                 {1'000, 1'000'000'000},
                 "Events of a new partition; it grows with the rate of writes."),
      IntegerKey("partitions.size_events_max", EVENTSTORE_FIELD(store.partitions.size_events_max),
                 {1'000, 100'000'000'000}, "The most events that a new partition grows to."),
      IntegerKey("partitions.ahead_min", EVENTSTORE_FIELD(store.partitions.ahead_min), {1, 100},
                 "Partitions that lie ready beyond the one in use, at the least."),
      SecondsKey("partitions.lead_seconds", EVENTSTORE_FIELD(store.partitions.lead_seconds),
                 {1, 86'400}, "For how long, at the current rate of writes, partitions lie ready."),
      IntegerKey("partitions.check_interval_ms",
                 EVENTSTORE_FIELD(store.partitions.check_interval_ms), {50, 3'600'000},
                 "How often that is checked; also when the writes come close to the end."),
      IntegerKey(
          "partitions.lock_timeout_ms", EVENTSTORE_FIELD(store.partitions.lock_timeout_ms),
          {1, 60'000},
          "Longest wait for the lock that attaching a partition takes, in which appends wait "
          "too; it is tried again later."),
  };
}

std::vector<Key> DaemonKeys() {
  return {
      IntegerKey("daemon.heartbeat_ms", EVENTSTORE_FIELD(store.daemon.heartbeat_ms), {50, 600'000},
                 "How often this daemon says that it is alive."),
      IntegerKey("daemon.expire_ms", EVENTSTORE_FIELD(store.daemon.expire_ms), {100, 3'600'000},
                 "After such a silence the others count it as gone; several heartbeats."),
  };
}

std::vector<Key> GroupKeys() {
  return {
      IntegerKey("groups.members_max", EVENTSTORE_FIELD(store.groups.members_max), {1, 100'000},
                 "Most members of all consumer groups on this daemon; the next one gets "
                 "OVERLOADED."),
      IntegerKey("groups.lane_bytes_max", EVENTSTORE_FIELD(store.groups.lane_bytes_max),
                 {1 << 10, 1 << 30},
                 "About the most bytes of events that one lane of a group keeps in memory until "
                 "they are settled."),
      IntegerKey("groups.flush_interval_ms", EVENTSTORE_FIELD(store.groups.flush_interval_ms),
                 {10, 1'000},
                 "How often acks become durable; what was acked since may come again after a "
                 "crash."),
  };
}

// Sinks and routes, which are no plain values, follow these in the file: config_outbox.h.
std::vector<Key> OutboxKeys() {
  return {
      BoolKey("outbox.enabled", EVENTSTORE_FIELD(store.outbox.enabled),
              "Whether an append writes an entry for each of its events and each route that it "
              "matches, and whether this daemon publishes entries."),
      IntegerKey("outbox.lease_ms", EVENTSTORE_FIELD(store.outbox.lease_ms), {1'000, 3'600'000},
                 "For how long a daemon has a sink for itself unless it says again that it lives. "
                 "At least 2 seconds more than any sink's publish_timeout_ms."),
      IntegerKey("outbox.sweep_interval_ms", EVENTSTORE_FIELD(store.outbox.sweep_interval_ms),
                 {50, 600'000},
                 "How often all that is pending is looked at again, for what another daemon "
                 "retried or released; how often figures are taken and old entries are deleted."),
      SecondsKey("outbox.retention_seconds", EVENTSTORE_FIELD(store.outbox.retention_seconds),
                 {1, 315'360'000}, "How long entries are kept after they were published."),
  };
}

}  // namespace

std::vector<Key> StoreKeys() {
  std::vector<Key> keys;
  for (const std::vector<Key>& part :
       {LimitKeys(), WriterKeys(), ReaderKeys(), QueryKeys(), HubKeys(), PartitionKeys(),
        DaemonKeys(), GroupKeys(), OutboxKeys()}) {
    keys.insert(keys.end(), part.begin(), part.end());
  }
  return keys;
}

}  // namespace eventstore::process
