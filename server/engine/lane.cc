#include "server/engine/lane.h"

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

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Lane::Lane(const StoreOptions& options, const telemetry::LaneMetrics& metrics,
           const LaneCallbacks& callbacks, LaneDatabase* database, LaneHost* host)
    : options_(options),
      metrics_(metrics),
      callbacks_(callbacks),
      database_(database),
      host_(host),
      cache_(options.writer.cache_streams_max) {
  database_->OnSent([this] { AnswerCommitted(); });
}

void Lane::Process(Batch batch) {
  guard_failures_ = 0;
  while (true) {
    DropExpired(&batch);
    if (batch.empty()) return AnswerCommitted();
    if (host_->GivenUp()) {
      AnswerCommitted();
      return FailAll(batch, StoreUnavailable("the server is shutting down"));
    }
    if (!database_->usable() && !Connect()) {
      host_->Pause(kReconnectPause);
      continue;
    }
    switch (TryWrite(batch)) {
      case Attempt::kAnswered:
        return;
      case Attempt::kRetry:
        if (database_->usable()) host_->Pause(kRetryPause);
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
  if (database_->usable()) {
    const absl::Status alive = database_->Ping();
    if (alive.ok()) return;
    spdlog::warn("store {}: the lane's connection was lost: {}", options_.name,
                 telemetry::MessageOf(alive));
    database_->Close();
  }
  (void)Connect();  // says so itself where it fails; tried again at the next idle moment
}

bool Lane::Connect() {
  AnswerCommitted();
  host_->SetConnected(false);
  current_ = false;
  if (host_->GivenUp()) return false;
  const bool first = known_.epoch == 0;
  auto opened = database_->Open(known_.epoch);
  if (!opened.ok()) {
    if (Clock::now() >= next_complaint_) {
      spdlog::warn("store {}: waiting for the database: {}", options_.name,
                   telemetry::MessageOf(opened.status()));
      next_complaint_ = Clock::now() + std::chrono::seconds(5);
    }
    return false;
  }
  opened_ = *std::move(opened);
  next_complaint_ = {};
  if (!first) metrics_.reconnects->Increment();
  const tables::Head& head = opened_.head;
  if (head.epoch != known_.epoch) {
    cache_.Clear();
    // At the first connection the hub knows the epoch already, unless signing on raised it.
    if (!first || opened_.raised_epoch) callbacks_.rewound(head.epoch, head.position);
    known_ = head;
  }
  SetHead(known_.position);
  host_->SetConnected(true);
  spdlog::info("store {}: the lane is connected; head {} in epoch {}", options_.name, head.position,
               head.epoch);
  return true;
}

void Lane::DropExpired(Batch* batch) {
  const auto now = Clock::now();
  const auto expired = [&](const std::shared_ptr<PendingWrite>& write) {
    absl::Status status = host_->ExpiryOf(*write, now);
    if (status.ok()) return false;
    write->Fail(std::move(status));
    return true;
  };
  batch->erase(std::remove_if(batch->begin(), batch->end(), expired), batch->end());
}

void Lane::FailAll(const Batch& batch, const absl::Status& status) {
  for (const auto& write : batch) write->Fail(Separate(status));
}

Lane::Attempt Lane::TryWrite(const Batch& batch) {
  const auto started = Clock::now();
  const std::int64_t number_before = batch_number_;
  const auto has_conditions = [](const auto& write) { return write->has_conditions(); };
  if (std::any_of(batch.begin(), batch.end(), has_conditions)) recent_.Want();
  std::optional<Attempt> attempt = TryOptimistic(batch);
  if (!attempt.has_value()) attempt = TryLocked(batch);
  if (batch_number_ == number_before) return *attempt;  // nothing was to be written
  const auto took = Clock::now() - started;
  metrics_.commit_seconds->Observe(Seconds(took));
  if (took > options_.writer.slow_commit_ms) {
    metrics_.slow_commits->Increment();
    spdlog::warn("store {}: a batch of {} appends took {} ms", options_.name, batch.size(),
                 std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  }
  return *attempt;
}

std::optional<Lane::Attempt> Lane::TryOptimistic(const Batch& batch) {
  const auto has_saves = [](const auto& write) { return write->has_saves(); };
  if (!current_ || std::any_of(batch.begin(), batch.end(), has_saves)) return std::nullopt;
  if (locked_batches_left_ > 0) {
    --locked_batches_left_;
    return std::nullopt;
  }
  // Without the lock, but no older than `known_`: if the head still is what the lane believes when
  // the write locks it, nothing was missed.
  ConditionWindow window(options_.writer, known_, batch);
  window.Search(recent_, callbacks_);
  if (!window.probes().empty()) return std::nullopt;
  StreamRows rows;
  const absl::Status looked_up = LookUpStreams(UnknownStreams(batch), &rows);
  if (!looked_up.ok()) return Classify(looked_up);
  Decided decided;
  Decide(batch, rows, window, clock_.At(Clock::now()), &decided);
  // A conflict may be a replay of what is stored, and the look-up of ids that tells needs the lock.
  const auto is_ok = [](const auto& answer) { return answer.ok(); };
  if (!std::all_of(decided.answers.begin(), decided.answers.end(), is_ok)) return std::nullopt;
  const LaneDatabase::Written written = Write(*decided.decider);
  if (written.in_doubt) return Doubt(written.status, std::move(decided));
  if (written.status.ok()) {
    locked_batches_next_ = 1;
    window.Count(metrics_);
    Committed(batch, std::move(decided));
    return Attempt::kAnswered;
  }
  return GiveUpOptimism(written.status);
}

Lane::Attempt Lane::TryLocked(const Batch& batch) {
  std::vector<Uuid> ids;
  for (const auto& write : batch) {
    for (const ValidatedAppend& append : write->appends()) {
      ids.insert(ids.end(), append.event_ids.begin(), append.event_ids.end());
    }
  }
  LaneDatabase::LockedState state;
  StreamRows rows;
  const absl::Status looked_up = LockAndLookUp(batch, ids, &state, &rows);
  if (!looked_up.ok()) return Classify(looked_up);
  Decided decided;
  decided.decider = std::make_unique<BatchDecider>(
      known_.position, std::max(state.clock_micros, known_.created_at_micros));
  for (const tables::KnownEvent& known : state.known_events) {
    decided.decider->AddKnownEvent(ids[static_cast<std::size_t>(known.index)], known);
  }
  ConditionWindow window(options_.writer, known_, batch);
  window.Search(recent_, callbacks_);
  absl::Status found = QueryConditions(&window);
  if (found.ok()) found = LockSaves(batch, rows, state.clock_micros, decided.decider.get());
  if (!found.ok()) return Classify(found);
  Decide(batch, rows, window, state.clock_micros, &decided);
  window.Count(metrics_);
  if (decided.decider->rows().empty() && decided.decider->saves().empty()) {
    // Nothing to write: conflicts and replays of committed state, which the lock showed us.
    database_->Rollback();
    Answer(batch, std::move(decided));
    return Attempt::kAnswered;
  }
  return Commit(batch, std::move(decided));
}

absl::Status Lane::LockAndLookUp(const Batch& batch, const std::vector<Uuid>& ids,
                                 LaneDatabase::LockedState* state, StreamRows* rows) {
  const std::vector<tables::StreamName> unknown = UnknownStreams(batch);
  const auto asked = Clock::now();
  auto locked = database_->LockAndLookUp(ids, unknown);
  if (!locked.ok()) return locked.status();
  *state = *std::move(locked);
  clock_.Note(state->clock_micros, asked, Clock::now());
  metrics_.cache_misses->Increment(static_cast<double>(unknown.size()));
  absl::Status repaired = RepairCache(state->head);
  if (!repaired.ok()) return repaired;
  current_ = true;
  for (std::size_t i = 0; i < unknown.size(); ++i) rows->emplace(unknown[i], state->streams[i]);
  // The repair may have dropped streams that the cache knew before: look these up as well.
  std::vector<tables::StreamName> dropped;
  for (const tables::StreamName& name : UnknownStreams(batch)) {
    if (!rows->contains(name)) dropped.push_back(name);
  }
  return LookUpStreams(dropped, rows);
}

absl::Status Lane::LookUpStreams(const std::vector<tables::StreamName>& names, StreamRows* rows) {
  if (names.empty()) return absl::OkStatus();
  auto found = database_->LookUpStreams(names);
  if (!found.ok()) return found.status();
  metrics_.cache_misses->Increment(static_cast<double>(names.size()));
  for (std::size_t i = 0; i < names.size(); ++i) rows->emplace(names[i], (*found)[i]);
  return absl::OkStatus();
}

std::vector<tables::StreamName> Lane::UnknownStreams(const Batch& batch) {
  std::vector<tables::StreamName> unknown;
  absl::flat_hash_set<tables::StreamName> seen;
  for (const auto& write : batch) {
    VisitStreams(*write, [&](const tables::StreamName& name) {
      if (seen.insert(name).second && cache_.Find(name) == nullptr) unknown.push_back(name);
    });
  }
  return unknown;
}

absl::Status Lane::RepairCache(const tables::Head& head) {
  if (head.epoch < known_.epoch ||
      (head.epoch == known_.epoch && head.position < known_.position)) {
    // Commits are missing although the server is the same: somebody restored an older copy of the
    // tables.
    database_->RaiseEpochAtNextOpen();
    pg::Error error;
    error.connection_lost = true;
    return pg::MakeStatus(absl::StatusCode::kUnavailable, "the history was rewound", error);
  }
  if (head.epoch != known_.epoch) {
    cache_.Clear();
    callbacks_.rewound(head.epoch, head.position);
    known_ = head;
    return absl::OkStatus();
  }
  if (head.revision != known_.revision) {
    auto changed = database_->ReadChangedStreams(known_.revision);
    if (!changed.ok()) return changed.status();
    recent_.Clear();
    for (const std::int64_t stream_key : *changed) {
      stream_key == 0 ? cache_.Clear() : cache_.Forget(stream_key);
    }
  }
  const std::int64_t foreign = head.position - known_.position;
  if (foreign > 0) {
    metrics_.foreign_events->Increment(static_cast<double>(foreign));
    if (foreign > options_.writer.foreign_events_max) {
      cache_.Clear();
    } else if (cache_.size() > 0) {
      auto touched = database_->ReadTouchedStreams(known_.position, head.position);
      if (!touched.ok()) return touched.status();
      for (const auto& stream : *touched) cache_.SetVersion(stream.stream_key, stream.version);
    }
  }
  known_ = head;
  return absl::OkStatus();
}

void Lane::Decide(const Batch& batch, const StreamRows& rows, const ConditionWindow& window,
                  std::int64_t now_micros, Decided* decided) {
  if (decided->decider == nullptr) {
    decided->decider = std::make_unique<BatchDecider>(
        known_.position, std::max(now_micros, known_.created_at_micros));
  }
  decided->revision = known_.revision;
  BatchDecider& decider = *decided->decider;
  Slots slots;
  std::int64_t cache_hits = 0;
  decided->answers.reserve(batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const PendingWrite& write = *batch[i];
    int slot = 0;  // of the stream visited last, which is the only one of an append
    VisitStreams(write, [&](const tables::StreamName& name) {
      const auto [known, inserted] = slots.try_emplace(name, 0);
      if (inserted) {
        cache_hits += rows.contains(name) ? 0 : 1;
        known->second = decider.AddStream(name, RowOf(name, rows));
      }
      slot = known->second;
    });
    WriteAnswer& answer = decided->answers.emplace_back();
    if (write.transaction_ != nullptr) {
      answer = DecideTransaction(*write.transaction_, window, i, slots, &decider);
      continue;
    }
    auto append = decider.Decide(write.append_, slot);
    if (append.ok()) answer.append = *std::move(append);
    answer.status = std::move(append).status();
  }
  metrics_.cache_hits->Increment(static_cast<double>(cache_hits));
}

LaneDatabase::Written Lane::Write(const BatchDecider& decider) {
  LaneDatabase::BatchWrite write;
  write.number = ++batch_number_;
  write.expected = known_;
  write.last_position = decider.last_position();
  // The head tells the time of the newest event, and there may be no new one.
  write.created_at_micros =
      decider.rows().empty() ? known_.created_at_micros : decider.created_at_micros();
  write.rows = &decider.rows();
  write.streams = decider.StreamChanges();
  write.checkpoints = decider.saves().CheckpointWrites();
  write.snapshots = decider.saves().snapshot_writes();
  write.saved_at_micros = decider.created_at_micros();
  const auto asked = Clock::now();
  LaneDatabase::Written written = database_->Write(write);
  if (written.status.ok()) clock_.Note(written.clock_micros, asked, Clock::now());
  return written;
}

Lane::Attempt Lane::Commit(const Batch& batch, Decided decided) {
  const LaneDatabase::Written written = Write(*decided.decider);
  if (written.in_doubt) return Doubt(written.status, std::move(decided));
  if (!written.status.ok()) return Classify(written.status);
  Committed(batch, std::move(decided));
  return Attempt::kAnswered;
}

void Lane::Committed(const Batch& batch, Decided decided) {
  const BatchDecider& decider = *decided.decider;
  known_.position = decider.last_position();
  if (!decider.rows().empty()) known_.created_at_micros = decider.created_at_micros();
  recent_.Add(known_.epoch, decider.rows());
  no_partition_since_ = Deadline::max();
  for (const BatchDecider::Slot& slot : decider.slots()) {
    if (slot.row.version > 0) cache_.Put(slot.name, slot.row);
  }
  SetHead(known_.position);
  unanswered_ = {batch, std::move(decided)};
  if (!host_->HasWork()) AnswerCommitted();
}

void Lane::AnswerCommitted() {
  if (!unanswered_.has_value()) return;
  Unanswered unanswered = *std::move(unanswered_);
  unanswered_.reset();
  Finish(unanswered.batch, std::move(unanswered.decided));
}

// Answers the callers of a batch that has committed, then hands its events on.
void Lane::Finish(const Batch& batch, Decided decided) {
  const auto events = static_cast<double>(decided.decider->rows().size());
  metrics_.batch_appends->Observe(static_cast<double>(batch.size()));
  metrics_.batch_events->Observe(events);
  metrics_.events->Increment(events);
  metrics_.cache_streams->Set(static_cast<double>(cache_.size()));
  const std::unique_ptr<BatchDecider> decider = std::move(decided.decider);
  const std::int64_t revision = decided.revision;
  Answer(batch, std::move(decided));
  Publish(*decider, revision);
}

void Lane::Answer(const Batch& batch, Decided decided) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    WriteAnswer& answer = decided.answers[i];
    if (answer.ok() && answer.deduplicated()) metrics_.replays->Increment();
    if (absl::IsAborted(answer.status)) metrics_.conflicts->Increment();
    batch[i]->Answer(std::move(answer));
  }
}

void Lane::Publish(const BatchDecider& decider, std::int64_t revision) {
  if (decider.rows().empty()) return;
  CommittedBatch committed;
  committed.epoch = known_.epoch;
  committed.revision = revision;
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
  callbacks_.committed(std::move(committed));
}

void Lane::SetHead(std::int64_t position) {
  metrics_.head_position->Set(static_cast<double>(position));
  metrics_.epoch->Set(static_cast<double>(known_.epoch));
  const std::int64_t end = host_->partition_end();
  metrics_.partition_headroom->Set(static_cast<double>(end - position - 1));
  if (end > 0 && position >= end - options_.partitions.size_events &&
      position != partitions_asked_at_) {
    partitions_asked_at_ = position;
    callbacks_.partitions_low();
  }
}

}  // namespace eventstore::engine
