// One batch of a relay, from looking at what waits to marking what was published.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "server/engine/relay/backoff.h"
#include "server/engine/relay/relay.h"
#include "server/tables/outbox_entry.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// How many pending entries one scan goes over: most of them are of streams that are held where
// something is wrong, and few otherwise.
constexpr std::int64_t kScanFactor = 4;
// About the most bytes of a batch, as its rows take them in the table.
constexpr std::int64_t kBatchBytesMax = 8 << 20;
constexpr std::size_t kErrorBytesMax = 2'000;

double SecondsSince(const google::protobuf::Timestamp& start,
                    std::chrono::system_clock::time_point end) {
  const std::chrono::duration<double> then = end.time_since_epoch();
  return std::max(0.0, then.count() - static_cast<double>(start.seconds()) - start.nanos() * 1e-9);
}

}  // namespace

// What a batch's publishing came to.
struct Relay::Published {
  tables::OutboxMarks marks;
  // Why the broker is away; nothing if it is not.
  std::optional<std::string> away;
  // Of each message that arrived, from the event's commit to the acknowledgement.
  std::vector<double> latencies_seconds;
  std::int64_t retried = 0;
};

absl::Status Relay::PublishBatch() {
  if (Clock::now() + sink_.publish_timeout_ms > lease_end_) {  // not with a lease that may end
    next_tick_ = {};
    return absl::OkStatus();
  }
  auto batch = PlanBatch();
  if (!batch.ok()) return batch.status();
  const std::vector<Uuid> ids = batch->TakenIds();
  if (ids.empty()) {
    scan_wanted_ = batch->has_more;
    progress_.Apply(*batch, Clock::now());
    return absl::OkStatus();
  }
  auto rows = tables::LockOutboxRows(session_.connection(), ids, session_.RoundTripDeadline());
  if (!rows.ok()) return rows.status();
  batch->KeepLocked(&*rows);
  const Published published = Publish(*rows, &*batch);
  return Mark(published, *batch);
}

absl::StatusOr<RelayBatch> Relay::PlanBatch() {
  std::vector<tables::OutboxSighting> seen;
  const std::int64_t scan_limit = batch_events_ * kScanFactor;
  if (scan_wanted_) {
    auto scanned = tables::ScanOutbox(session_.connection(), lease_.sink, progress_.cursor(),
                                      scan_limit, session_.RoundTripDeadline());
    if (!scanned.ok()) return scanned.status();
    seen = *std::move(scanned);
  }
  const bool seen_all = std::cmp_less(seen.size(), scan_limit);
  RelayBatch batch = progress_.Plan(seen, seen_all, batch_events_, Clock::now());
  if (batch.streams.empty()) return batch;
  auto candidates =
      tables::LookAtOutboxStreams(session_.connection(), lease_.sink, batch.Limits(),
                                  sink_.continue_after_failed, session_.RoundTripDeadline());
  if (!candidates.ok()) return candidates.status();
  batch.Take(*candidates, kBatchBytesMax);
  return batch;
}

Relay::Published Relay::Publish(const std::vector<tables::OutboxRow>& rows, RelayBatch* batch) {
  Published published;
  published.marks.attempts_max = sink_.attempts_max;
  std::deque<v1::Event> events;
  std::vector<sinks::Message> messages;
  std::vector<const tables::OutboxRow*> sent;
  absl::flat_hash_map<std::int64_t, bool> broken;  // streams with an entry that nobody can read
  for (const tables::OutboxRow& row : rows) {
    if (broken.contains(row.stream_key)) continue;
    auto event = tables::ParseOutboxEvent(row.event_json);
    if (!event.ok()) {
      broken[row.stream_key] = true;
      Settle(row, {sinks::Outcome::kRefused, std::string(telemetry::MessageOf(event.status())), {}},
             nullptr, batch, &published);
      continue;
    }
    events.push_back(*std::move(event));
    messages.push_back({&events.back(), row.stream_key});
    sent.push_back(&row);
  }
  if (messages.empty()) return published;
  const std::vector<sinks::Delivery> deliveries =
      publisher_->Publish(messages, Clock::now() + sink_.publish_timeout_ms);
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const sinks::Delivery none{sinks::Outcome::kNotTried, "", {}};
    Settle(*sent[i], i < deliveries.size() ? deliveries[i] : none, messages[i].event, batch,
           &published);
  }
  return published;
}

void Relay::Settle(const tables::OutboxRow& row, const sinks::Delivery& delivery,
                   const v1::Event* event, RelayBatch* batch, Published* published) {
  BatchStream& stream = *batch->Find(row.stream_key);
  if (row.retry_count > 0 && delivery.outcome != sinks::Outcome::kNotTried) ++published->retried;
  switch (delivery.outcome) {
    case sinks::Outcome::kPublished:
      published->marks.published.push_back(row.id);
      published->latencies_seconds.push_back(
          SecondsSince(event->created_at(), delivery.acknowledged_at));
      return;
    case sinks::Outcome::kRefused: {
      const milliseconds delay = RetryDelay(row.retry_count + 1);
      published->marks.refused.push_back({row.id, delivery.error.substr(0, kErrorBytesMax), delay});
      stream.refused = true;
      stream.wait = delay;
      stream.end = row.retry_count + 1 < sink_.attempts_max ? StreamEnd::kTimed
                   : sink_.continue_after_failed            ? StreamEnd::kMore
                                                            : StreamEnd::kStuck;
      return;
    }
    case sinks::Outcome::kUnavailable:
      if (!published->away.has_value()) published->away = delivery.error;
      stream.end = StreamEnd::kMore;
      return;
    case sinks::Outcome::kNotTried:
      if (!stream.refused) stream.end = StreamEnd::kMore;
      return;
  }
}

absl::Status Relay::Mark(const Published& published, const RelayBatch& batch) {
  const tables::OutboxMarks& marks = published.marks;
  const Deadline deadline = session_.RoundTripDeadline();
  if (marks.published.empty() && marks.refused.empty()) {
    absl::Status ended = tables::RollBackOutboxRows(session_.connection(), deadline);
    if (!ended.ok()) return ended;
  } else {
    auto marked = tables::MarkOutboxRows(session_.connection(), lease_, marks, deadline);
    if (!marked.ok()) return marked.status();
    if (!*marked) {
      Disown("another daemon has taken it");
      return absl::OkStatus();
    }
  }
  metrics_.published->Increment(static_cast<double>(marks.published.size()));
  metrics_.refused->Increment(static_cast<double>(marks.refused.size()));
  metrics_.retries->Increment(static_cast<double>(published.retried));
  for (const double seconds : published.latencies_seconds) {
    metrics_.publish_latency_seconds->Observe(seconds);
  }
  scan_wanted_ = batch.has_more;
  progress_.Apply(batch, Clock::now());
  if (published.away.has_value()) {
    NoteAway(*published.away, marks.published.size());
  } else if (!marks.published.empty() || !marks.refused.empty()) {
    NoteThere();
  }
  return absl::OkStatus();
}

void Relay::NoteAway(const std::string& error, std::size_t published) {
  // A batch that came some way was too large for its time, perhaps; a smaller one may come through.
  batch_events_ = std::max<std::int64_t>(
      1, published > 0 ? static_cast<std::int64_t>(published) : batch_events_ / 2);
  if (away_++ == 0) {
    spdlog::warn("store {}: cannot publish to {}: {}", options_.name, lease_.sink, error);
  }
  if (published > 0) away_ = 1;
  last_error_ = error.substr(0, kErrorBytesMax);
  retry_at_ = Clock::now() + RetryDelay(away_);
  next_tick_ = {};  // tells the others
}

void Relay::NoteThere() {
  batch_events_ = std::min(sink_.batch_events_max, batch_events_ * 2);
  if (std::exchange(away_, 0) == 0) return;
  spdlog::info("store {}: publishing to {} again", options_.name, lease_.sink);
  last_error_.clear();
  next_tick_ = {};
}

milliseconds Relay::RetryDelay(std::int64_t failures) {
  return Backoff(sink_.backoff_min_ms, sink_.backoff_max_ms, failures,
                 std::uniform_real_distribution<double>(0, 1)(random_));
}

}  // namespace eventstore::engine
