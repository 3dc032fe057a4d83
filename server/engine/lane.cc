#include "server/engine/lane.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/pg/errors.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Pauses before trying again: after a lost connection, and where the database asks for patience.
constexpr std::chrono::milliseconds kReconnectPause{200};
constexpr std::chrono::milliseconds kRetryPause{20};

tables::StreamName NameOf(const ValidatedAppend& append) {
  const v1::StreamId& stream = append.request.stream();
  return {append.tenant, stream.aggregate_type(), stream.aggregate_id()};
}

// What tells streams of a batch apart: views into the requests.
using NameKey = std::tuple<Uuid, std::string_view, std::string_view>;
NameKey KeyOf(const tables::StreamName& name) {
  return {name.tenant, name.aggregate_type, name.aggregate_id};
}

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Lane::Lane(Writer* writer, Uuid daemon_id)
    : writer_(writer),
      session_(writer->options_, daemon_id),
      cache_(writer->options_.writer.cache_streams_max) {}

void Lane::Process(Batch batch) {
  guard_failures_ = 0;
  while (true) {
    DropExpired(&batch);
    if (batch.empty()) return;
    if (writer_->GivenUp()) {
      return FailAll(batch, StoreUnavailable("the server is shutting down"));
    }
    if (!session_.usable() && !Connect()) {
      writer_->Pause(kReconnectPause);
      continue;
    }
    switch (TryWrite(batch)) {
      case Attempt::kAnswered:
        return;
      case Attempt::kRetry:
        if (session_.usable()) writer_->Pause(kRetryPause);
        break;
      case Attempt::kInDoubt:
        if (Settle(batch)) return;
        break;
      case Attempt::kRefused:
        return Isolate(std::move(batch));
    }
  }
}

void Lane::Idle() {
  if (session_.usable()) {
    const absl::Status alive = session_.connection().Ping(session_.RoundTripDeadline());
    if (alive.ok()) return;
    spdlog::warn("store {}: the lane's connection was lost: {}", writer_->options_.name,
                 telemetry::MessageOf(alive));
    session_.Close();
  }
  (void)Connect();  // says so itself where it fails; tried again at the next idle moment
}

bool Lane::Connect() {
  writer_->connected_.store(false, std::memory_order_relaxed);
  if (writer_->GivenUp()) return false;
  const bool first = known_.epoch == 0;
  const absl::Status opened = session_.Open();
  if (!opened.ok()) {
    if (Clock::now() >= next_complaint_) {
      spdlog::warn("store {}: waiting for the database: {}", writer_->options_.name,
                   telemetry::MessageOf(opened));
      next_complaint_ = Clock::now() + std::chrono::seconds(5);
    }
    return false;
  }
  next_complaint_ = {};
  if (!first) writer_->metrics_.reconnects->Increment();
  const tables::Head& head = session_.head_at_open();
  if (head.epoch != known_.epoch) {
    cache_.Clear();
    // At the first connection the hub knows the epoch already, unless signing on raised it.
    if (!first || session_.raised_epoch()) {
      writer_->callbacks_.rewound(head.epoch, head.position);
    }
    known_ = head;
  }
  SetHead(known_.position);
  writer_->connected_.store(true, std::memory_order_relaxed);
  spdlog::info("store {}: the lane is connected; head {} in epoch {}", writer_->options_.name,
               head.position, head.epoch);
  return true;
}

void Lane::DropExpired(Batch* batch) {
  const auto now = Clock::now();
  const auto expired = [&](const std::shared_ptr<PendingAppend>& append) {
    absl::Status status = writer_->ExpiryOf(*append, now);
    if (status.ok()) return false;
    append->done_(std::move(status));
    return true;
  };
  batch->erase(std::remove_if(batch->begin(), batch->end(), expired), batch->end());
}

void Lane::FailAll(const Batch& batch, const absl::Status& status) {
  for (const auto& append : batch) append->done_(status);
}

Lane::Attempt Lane::TryWrite(const Batch& batch) {
  const auto started = Clock::now();
  Decided decided;
  const absl::Status prepared = Prepare(batch, &decided);
  if (!prepared.ok()) return Classify(prepared, /*commit_sent=*/false);
  if (decided.decider->rows().empty()) {
    // Nothing to write: conflicts and replays of committed state, which the lock showed us.
    session_.Rollback();
    Answer(batch, std::move(decided));
    return Attempt::kAnswered;
  }
  const Attempt attempt = Commit(batch, std::move(decided));
  const auto took = Clock::now() - started;
  writer_->metrics_.commit_seconds->Observe(Seconds(took));
  if (took > writer_->options_.writer.slow_commit_ms) {
    writer_->metrics_.slow_commits->Increment();
    spdlog::warn("store {}: a batch of {} appends took {} ms", writer_->options_.name, batch.size(),
                 std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  }
  return attempt;
}

absl::Status Lane::Prepare(const Batch& batch, Decided* decided) {
  std::vector<Uuid> ids;
  for (const auto& append : batch) {
    ids.insert(ids.end(), append->append_.event_ids.begin(), append->append_.event_ids.end());
  }
  // The lock comes first and in a statement of its own: only later statements have snapshots that
  // are newer than the lock.
  LookUps lookups;
  lookups.unknown = UnknownStreams(batch);
  absl::Status locked = LockAndLookUp(ids, session_.WantsScan(), &lookups);
  if (!locked.ok()) return locked;
  if (!lookups.head_found) {
    locked = LockAndLookUp(ids, /*scan=*/true, &lookups);
    if (!locked.ok()) return locked;
    if (!lookups.head_found) return absl::FailedPreconditionError("log_head has no row");
  }
  session_.head_ctid = lookups.locked.ctid;
  absl::Status repaired = RepairCache(lookups.locked.head);
  if (!repaired.ok()) return repaired;
  absl::flat_hash_map<NameKey, tables::StreamRow> rows;
  for (std::size_t i = 0; i < lookups.unknown.size(); ++i) {
    rows.emplace(KeyOf(lookups.unknown[i]), lookups.streams[i]);
  }
  // The repair may have dropped streams that the cache knew before: look these up as well.
  std::vector<tables::StreamName> dropped;
  for (const tables::StreamName& name : UnknownStreams(batch)) {
    if (!rows.contains(KeyOf(name))) dropped.push_back(name);
  }
  if (!dropped.empty()) {
    pg::Pipeline pipeline(&session_.connection());
    tables::AddLookUpStreams(&pipeline, dropped);
    auto outcome = pipeline.Run(session_.RoundTripDeadline());
    if (!outcome.status.ok()) return outcome.status;
    const auto found = tables::ParseLookUpStreams(outcome.results[0]);
    for (std::size_t i = 0; i < dropped.size(); ++i) rows.emplace(KeyOf(dropped[i]), found[i]);
  }
  const std::int64_t now = std::max(lookups.clock_micros, lookups.locked.head.created_at_micros);
  decided->decider = std::make_unique<BatchDecider>(lookups.locked.head.position, now);
  BatchDecider& decider = *decided->decider;
  for (const tables::KnownEvent& known : lookups.known_events) {
    decider.AddKnownEvent(ids[static_cast<std::size_t>(known.index)], known);
  }
  absl::flat_hash_map<NameKey, int> slots;
  std::int64_t cache_hits = 0;
  for (const auto& append : batch) {
    const tables::StreamName name = NameOf(append->append_);
    const auto [slot, inserted] = slots.try_emplace(KeyOf(name), 0);
    if (inserted) {
      const auto row = rows.find(KeyOf(name));
      cache_hits += row == rows.end() ? 1 : 0;
      slot->second = decider.AddStream(name, row != rows.end() ? row->second : *cache_.Find(name));
    }
    decided->answers.push_back(decider.Decide(append->append_, slot->second));
  }
  writer_->metrics_.cache_hits->Increment(static_cast<double>(cache_hits));
  return absl::OkStatus();
}

std::vector<tables::StreamName> Lane::UnknownStreams(const Batch& batch) {
  std::vector<tables::StreamName> unknown;
  absl::flat_hash_set<NameKey> seen;
  for (const auto& append : batch) {
    const tables::StreamName name = NameOf(append->append_);
    if (!seen.insert(KeyOf(name)).second) continue;
    if (cache_.Find(name) == nullptr) unknown.push_back(name);
  }
  return unknown;
}

absl::Status Lane::LockAndLookUp(const std::vector<Uuid>& ids, bool scan, LookUps* lookups) {
  const bool begun = session_.connection().in_transaction();
  pg::Pipeline pipeline(&session_.connection());
  if (!begun) pipeline.Add(tables::kBegin, {});
  if (scan || session_.head_ctid.empty()) {
    tables::AddLockHeadAnywhere(&pipeline);
  } else {
    tables::AddLockHead(&pipeline, session_.head_ctid);
  }
  tables::AddReadClock(&pipeline);
  tables::AddLookUpEventIds(&pipeline, ids);
  if (!lookups->unknown.empty()) tables::AddLookUpStreams(&pipeline, lookups->unknown);
  auto outcome = pipeline.Run(session_.RoundTripDeadline());
  if (!outcome.status.ok()) return outcome.status;
  std::size_t next = begun ? 0 : 1;
  lookups->head_found = tables::ParseLockedHead(outcome.results[next++], &lookups->locked);
  if (!lookups->head_found) return absl::OkStatus();
  lookups->clock_micros = tables::ParseClock(outcome.results[next++]);
  lookups->known_events = tables::ParseLookUpEventIds(outcome.results[next++]);
  if (!lookups->unknown.empty()) {
    lookups->streams = tables::ParseLookUpStreams(outcome.results[next]);
  }
  writer_->metrics_.cache_misses->Increment(static_cast<double>(lookups->unknown.size()));
  return absl::OkStatus();
}

// Brings the cache to the state of `head`: equal heads alone would not do, because after a failover
// that lost commits they can hide different histories.
absl::Status Lane::RepairCache(const tables::Head& head) {
  if (head.epoch == known_.epoch && head.position < known_.position) {
    // Commits are missing although the server is the same: somebody restored an older copy of the
    // tables.
    session_.RaiseEpochAtNextOpen();
    pg::Error error;
    error.connection_lost = true;
    return pg::MakeStatus(absl::StatusCode::kUnavailable, "the history was rewound", error);
  }
  if (head.epoch != known_.epoch) {
    cache_.Clear();
    writer_->callbacks_.rewound(head.epoch, head.position);
    known_ = head;
    return absl::OkStatus();
  }
  if (head.revision != known_.revision) {
    auto changed = tables::ReadChangedStreams(session_.connection(), known_.revision,
                                              session_.RoundTripDeadline());
    if (!changed.ok()) return changed.status();
    for (const std::int64_t stream_key : *changed) {
      stream_key == 0 ? cache_.Clear() : cache_.Forget(stream_key);
    }
  }
  const std::int64_t foreign = head.position - known_.position;
  if (foreign > 0) {
    writer_->metrics_.foreign_events->Increment(static_cast<double>(foreign));
    if (foreign > writer_->options_.writer.foreign_events_max) {
      cache_.Clear();
    } else if (cache_.size() > 0) {
      auto touched = tables::ReadTouchedStreams(session_.connection(), known_.position,
                                                head.position, session_.RoundTripDeadline());
      if (!touched.ok()) return touched.status();
      for (const auto& stream : *touched) cache_.SetVersion(stream.stream_key, stream.version);
    }
  }
  known_ = head;
  return absl::OkStatus();
}

Lane::Attempt Lane::Commit(const Batch& batch, Decided decided) {
  const BatchDecider& decider = *decided.decider;
  pg::Pipeline pipeline(&session_.connection());
  tables::AddWriteStreams(&pipeline, decider.StreamChanges(), decider.created_at_micros());
  tables::AddInsertEvents(&pipeline, decider.rows(), decider.created_at_micros());
  tables::AddRecordBatch(&pipeline, session_.batch_ctid, writer_->daemon_id_, ++batch_number_);
  tables::AddMoveHead(&pipeline, session_.head_ctid, decider.last_position(),
                      decider.created_at_micros());
  pipeline.Add(tables::kCommit, {});
  auto outcome = pipeline.Run(session_.RoundTripDeadline());
  const bool in_doubt =
      std::any_of(outcome.notices.begin(), outcome.notices.end(), SaysCommitIsInDoubt);
  if (!outcome.status.ok() || in_doubt) {
    const auto error = pg::ErrorOf(outcome.status);
    if (in_doubt ||
        (error.has_value() && error->connection_lost && error->outcome != pg::Outcome::kNotSent)) {
      in_doubt_ = std::move(decided);
      in_doubt_batch_ = batch_number_;
      return Classify(in_doubt ? absl::UnavailableError("COMMIT stopped waiting for a replica")
                               : outcome.status,
                      /*commit_sent=*/true);
    }
    return Classify(outcome.status, /*commit_sent=*/false);
  }
  // ... record batch, move head, commit: their results stand at the end.
  const std::size_t count = outcome.results.size();
  session_.batch_ctid = tables::ParseCtid(outcome.results[count - 3]);
  session_.head_ctid = tables::ParseCtid(outcome.results[count - 2]);
  known_.position = decider.last_position();
  no_partition_since_ = Deadline::max();
  known_.created_at_micros = decider.created_at_micros();
  for (const BatchDecider::Slot& slot : decider.slots()) {
    if (slot.row.version > 0) cache_.Put(slot.name, slot.row);
  }
  SetHead(known_.position);
  Finish(batch, std::move(decided));
  return Attempt::kAnswered;
}

// Answers the callers of a batch that has committed, then hands its events on.
void Lane::Finish(const Batch& batch, Decided decided) {
  writer_->metrics_.batch_appends->Observe(static_cast<double>(batch.size()));
  writer_->metrics_.batch_events->Observe(static_cast<double>(decided.decider->rows().size()));
  writer_->metrics_.events->Increment(static_cast<double>(decided.decider->rows().size()));
  writer_->metrics_.cache_streams->Set(static_cast<double>(cache_.size()));
  const std::unique_ptr<BatchDecider> decider = std::move(decided.decider);
  Answer(batch, std::move(decided));
  Publish(batch, *decider);
}

void Lane::Answer(const Batch& batch, Decided decided) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& answer = decided.answers[i];
    if (answer.ok() && answer->deduplicated()) writer_->metrics_.replays->Increment();
    if (absl::IsAborted(answer.status())) writer_->metrics_.conflicts->Increment();
    batch[i]->done_(std::move(answer));
  }
}

// The requests are not needed any more, so their payloads move into the events.
void Lane::Publish(const Batch&, const BatchDecider& decider) {
  CommittedBatch committed;
  committed.epoch = known_.epoch;
  committed.events.reserve(decider.rows().size());
  for (const tables::NewEventRow& row : decider.rows()) {
    v1::Event& event = committed.events.emplace_back();
    auto& source = const_cast<v1::NewEvent&>(*row.event);
    event.set_global_position(row.global_position);
    *event.mutable_stream() = *row.stream;
    event.set_version(row.version);
    event.set_event_id(std::move(*source.mutable_event_id()));
    event.set_event_type(std::move(*source.mutable_event_type()));
    event.set_payload(std::move(*source.mutable_payload()));
    event.set_content_type(std::move(*source.mutable_content_type()));
    FromUnixMicros(decider.created_at_micros(), event.mutable_created_at());
    std::int64_t micros = decider.created_at_micros();
    if (source.has_timestamp()) (void)ToUnixMicros(source.timestamp(), &micros);  // validated
    FromUnixMicros(micros, event.mutable_timestamp());
    event.set_actor_id(std::move(*source.mutable_actor_id()));
    event.set_correlation_id(std::move(*source.mutable_correlation_id()));
    event.set_causation_id(std::move(*source.mutable_causation_id()));
    event.mutable_metadata()->swap(*source.mutable_metadata());
    event.set_schema_version(source.schema_version());
    event.mutable_tags()->Swap(source.mutable_tags());
  }
  writer_->callbacks_.committed(std::move(committed));
}

void Lane::SetHead(std::int64_t position) {
  writer_->metrics_.head_position->Set(static_cast<double>(position));
  writer_->metrics_.epoch->Set(static_cast<double>(known_.epoch));
  const std::int64_t end = writer_->partition_end_.load(std::memory_order_relaxed);
  writer_->metrics_.partition_headroom->Set(static_cast<double>(end - position - 1));
  if (end > 0 && position >= end - writer_->options_.partitions.size_events &&
      position != partitions_asked_at_) {
    partitions_asked_at_ = position;
    writer_->callbacks_.partitions_low();
  }
}

}  // namespace eventstore::engine
