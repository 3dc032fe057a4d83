#include "server/engine/lane_session.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/pg/errors.h"
#include "server/tables/lone_append.h"
#include "server/tables/outbox_table.h"
#include "server/tables/snapshots_table.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

// How often the head's row is found by a scan, and the block beyond which (dead versions pile up)
// it becomes rare.
constexpr std::int64_t kScanInterval = 32;
constexpr std::int64_t kScanIntervalBloated = 4096;
constexpr std::int64_t kBloatedBlock = 16;

std::string Milliseconds(std::chrono::milliseconds duration) {
  return absl::StrCat(duration.count());
}

// The block number in a ctid's text, "(block,offset)".
std::int64_t BlockOf(std::string_view ctid) {
  std::int64_t block = 0;
  const std::size_t comma = ctid.find(',');
  if (comma == std::string_view::npos || comma < 2 ||
      !absl::SimpleAtoi(absl::string_view(ctid.data() + 1, comma - 1), &block)) {
    return 0;
  }
  return block;
}

std::vector<tables::OutboxTarget> TargetsOf(const std::vector<tables::NewEventRow>& rows,
                                            const OutboxRoutes& routes) {
  std::vector<tables::OutboxTarget> targets;
  if (routes.empty()) return targets;
  for (const tables::NewEventRow& row : rows) {
    for (const std::string* const sink : routes.SinksOf(*row.stream, *row.event)) {
      targets.push_back({row.global_position, *sink});
    }
  }
  return targets;
}

}  // namespace

bool SaysCommitIsInDoubt(const pg::Notice& notice) {
  // Cancelled while it waited (01000), or the backend was told to go (57P01).
  return notice.severity == "WARNING" && (notice.sqlstate == "01000" || notice.sqlstate == "57P01");
}

LaneSession::LaneSession(const StoreOptions& options, Uuid daemon_id, const OutboxRoutes* routes)
    : options_(options),
      daemon_id_(daemon_id),
      routes_(routes),
      connection_options_(options.connection) {
  const WriterOptions& writer = options.writer;
  auto& settings = connection_options_.settings;
  settings.emplace_back("lock_timeout", Milliseconds(writer.lock_timeout_ms));
  settings.emplace_back("statement_timeout", Milliseconds(writer.statement_timeout_ms));
  settings.emplace_back("idle_in_transaction_session_timeout",
                        Milliseconds(writer.idle_in_transaction_timeout_ms));
  settings.emplace_back("tcp_keepalives_idle", "30");
  settings.emplace_back("tcp_keepalives_interval", "10");
  settings.emplace_back("tcp_keepalives_count", "3");
  settings.emplace_back("tcp_user_timeout", "30000");
  // What the database's owner set as a default must not weaken the guarantees.
  settings.emplace_back("synchronous_commit", "on");
  settings.emplace_back("default_transaction_isolation", "read committed");
  settings.emplace_back("default_transaction_read_only", "off");
  // Plans that stay look-ups, whatever the statistics of a young or fast growing table say.
  settings.emplace_back("plan_cache_mode", "force_generic_plan");
  settings.emplace_back("enable_seqscan", "off");
  settings.emplace_back("enable_bitmapscan", "off");
  settings.emplace_back("enable_hashjoin", "off");
  settings.emplace_back("enable_mergejoin", "off");
}

Deadline LaneSession::RoundTripDeadline() const {
  return std::chrono::steady_clock::now() + options_.writer.statement_timeout_ms +
         options_.writer.lock_timeout_ms;
}

absl::StatusOr<LaneDatabase::Opened> LaneSession::Open(std::int64_t known_epoch) {
  Close();
  auto connection =
      pg::Connection::Open(connection_options_, std::chrono::steady_clock::now() +
                                                    options_.connection.connect_timeout * 4);
  if (!connection.ok()) return connection.status();
  SetConnection(std::move(*connection));
  auto opened = SignOn(known_epoch);
  if (!opened.ok()) {
    Close();
  } else {
    connection_->OnSent(on_sent_);
  }
  return opened;
}

void LaneSession::SetConnection(std::unique_ptr<pg::Connection> connection) {
  MutexLock lock(&mutex_);
  connection_ = std::move(connection);
}

void LaneSession::Interrupt() {
  MutexLock lock(&mutex_);
  if (connection_ != nullptr) connection_->Cancel();
}

absl::StatusOr<LaneDatabase::Opened> LaneSession::SignOn(std::int64_t known_epoch) {
  pg::Pipeline lock(connection_.get());
  lock.Add(tables::kBegin, {});
  tables::AddLockHeadAnywhere(&lock);
  auto locked_outcome = lock.Run(RoundTripDeadline());
  if (!locked_outcome.status.ok()) return locked_outcome.status;
  tables::LockedHead locked;
  if (!tables::ParseLockedHead(locked_outcome.results[1], &locked)) {
    return absl::FailedPreconditionError("log_head has no row, or more than one; restore it");
  }
  auto server = tables::ReadServerIdentity(*connection_, RoundTripDeadline());
  if (!server.ok()) return server.status();
  head_ctid_ = locked.ctid;
  Opened opened;
  const bool same =
      locked.system_identifier == server->system_identifier && locked.timeline == server->timeline;
  // A history that this daemon has seen is gone: the epoch went back, or the server changed and yet
  // the epoch is one that was given out before.
  const bool lost = locked.head.epoch < known_epoch ||
                    (locked.head.epoch == known_epoch && !(*server == server_));
  if (!same || lost || raise_epoch_) {
    opened.raised_epoch = locked.system_identifier != 0;
    const std::int64_t epoch =
        opened.raised_epoch ? std::max(locked.head.epoch, known_epoch) + 1 : locked.head.epoch;
    auto moved = tables::RecordServer(*connection_, locked, *server, epoch, RoundTripDeadline());
    if (!moved.ok()) return moved.status();
    head_ctid_ = *moved;
    if (opened.raised_epoch) {
      locked.head.epoch = epoch;
      spdlog::warn(
          "store {}: the history was rewound, or this is another server or timeline than the one "
          "that wrote last; the epoch is {} from position {} on",
          options_.name, locked.head.epoch, locked.head.position + 1);
    }
  }
  auto batch = tables::OpenLaneBatch(*connection_, daemon_id_, RoundTripDeadline());
  if (!batch.ok()) return batch.status();
  pg::Pipeline commit(connection_.get());
  commit.Add(tables::kCommit, {});
  auto committed = commit.Run(RoundTripDeadline());
  if (!committed.status.ok()) return committed.status;
  for (const pg::Notice& notice : committed.notices) {
    if (SaysCommitIsInDoubt(notice)) return absl::UnavailableError(notice.message);
  }
  raise_epoch_ = false;
  server_ = *server;
  batch_ctid_ = batch->ctid;
  opened.head = locked.head;
  opened.last_batch = batch->last_batch;
  return opened;
}

absl::StatusOr<LaneDatabase::LockedState> LaneSession::LockAndLookUp(
    const std::vector<Uuid>& event_ids, const std::vector<tables::StreamName>& names) {
  bool found = false;
  auto state = TryLock(event_ids, names, WantsScan() || head_ctid_.empty(), &found);
  if (!state.ok() || found) return state;
  state = TryLock(event_ids, names, /*scan=*/true, &found);
  if (!state.ok() || found) return state;
  return absl::FailedPreconditionError("log_head has no row");
}

absl::StatusOr<LaneDatabase::LockedState> LaneSession::TryLock(
    const std::vector<Uuid>& event_ids, const std::vector<tables::StreamName>& names, bool scan,
    bool* found) {
  // The lock comes first and in a statement of its own: only later statements have snapshots that
  // are newer than the lock.
  const bool begun = connection_->in_transaction();
  pg::Pipeline pipeline(connection_.get());
  if (!begun) pipeline.Add(tables::kBegin, {});
  scan ? tables::AddLockHeadAnywhere(&pipeline) : tables::AddLockHead(&pipeline, head_ctid_);
  tables::AddReadClock(&pipeline);
  tables::AddLookUpEventIds(&pipeline, event_ids);
  if (!names.empty()) tables::AddLookUpStreams(&pipeline, names);
  auto outcome = pipeline.Run(RoundTripDeadline());
  if (!outcome.status.ok()) return outcome.status;
  std::size_t next = begun ? 0 : 1;
  LockedState state;
  tables::LockedHead locked;
  *found = tables::ParseLockedHead(outcome.results[next++], &locked);
  if (!*found) return state;
  head_ctid_ = locked.ctid;
  state.head = locked.head;
  state.clock_micros = tables::ParseClock(outcome.results[next++]);
  state.known_events = tables::ParseLookUpEventIds(outcome.results[next++]);
  if (!names.empty()) state.streams = tables::ParseLookUpStreams(outcome.results[next]);
  return state;
}

absl::StatusOr<std::vector<tables::StreamRow>> LaneSession::LookUpStreams(
    const std::vector<tables::StreamName>& names) {
  pg::Pipeline pipeline(connection_.get());
  tables::AddLookUpStreams(&pipeline, names);
  auto outcome = pipeline.Run(RoundTripDeadline());
  if (!outcome.status.ok()) return outcome.status;
  return tables::ParseLookUpStreams(outcome.results[0]);
}

absl::StatusOr<std::vector<tables::TouchedStream>> LaneSession::ReadTouchedStreams(
    std::int64_t after_position, std::int64_t last_position) {
  return tables::ReadTouchedStreams(*connection_, after_position, last_position,
                                    RoundTripDeadline());
}

absl::StatusOr<std::vector<std::int64_t>> LaneSession::ReadChangedStreams(std::int64_t revision) {
  return tables::ReadChangedStreams(*connection_, revision, RoundTripDeadline());
}

absl::StatusOr<LaneDatabase::SavesState> LaneSession::LockSaves(
    const std::vector<std::string>& projections,
    const std::vector<tables::StreamName>& snapshot_streams) {
  pg::Pipeline pipeline(connection_.get());
  tables::AddLockCheckpoints(&pipeline, projections);
  tables::AddReadEpochs(&pipeline);
  tables::AddReadSnapshotVersions(&pipeline, snapshot_streams);
  auto outcome = pipeline.Run(RoundTripDeadline());
  if (!outcome.status.ok()) return outcome.status;
  SavesState state;
  state.checkpoints = tables::ParseLockCheckpoints(outcome.results[0]);
  state.epochs = tables::ParseReadEpochs(outcome.results[1]);
  state.snapshot_versions =
      tables::ParseReadSnapshotVersions(outcome.results[2], snapshot_streams.size());
  return state;
}

absl::StatusOr<std::vector<std::int64_t>> LaneSession::FindMatches(
    const std::vector<tables::ConditionProbe>& probes) {
  pg::Pipeline pipeline(connection_.get());
  tables::AddFindMatches(&pipeline, probes);
  auto outcome = pipeline.Run(RoundTripDeadline());
  if (!outcome.status.ok()) return outcome.status;
  return tables::ParseFindMatches(outcome.results[0], probes).positions;
}

LaneDatabase::Written LaneSession::Write(const BatchWrite& write) {
  Written written;
  const bool begun = connection_->in_transaction();
  pg::Pipeline pipeline(connection_.get());
  if (!begun) pipeline.Add(tables::kBegin, {});
  const bool scan = head_ctid_.empty() || (!begun && WantsScan());
  const tables::HeadMove move{.ctid = scan ? std::string_view() : head_ctid_,
                              .expected = write.expected,
                              .last_position = write.last_position,
                              .last_created_at_micros = write.created_at_micros,
                              .batch_ctid = batch_ctid_,
                              .daemon = daemon_id_,
                              .batch = write.number};
  if (tables::IsLone(*write.rows)) {
    tables::AddLoneAppend(&pipeline, move, write.streams.front(), write.rows->front());
  } else {
    tables::AddMoveHead(&pipeline, move);
    tables::AddWriteStreams(&pipeline, write.streams, write.created_at_micros);
    if (!write.rows->empty()) {
      tables::AddInsertEvents(&pipeline, *write.rows, write.created_at_micros);
    }
  }
  // A lone event that goes to a sink takes one statement more, as a batch does.
  const std::vector<tables::OutboxTarget> targets = TargetsOf(*write.rows, *routes_);
  if (!targets.empty()) tables::AddInsertOutbox(&pipeline, targets);
  for (const tables::CheckpointWrite& checkpoint : write.checkpoints) {
    absl::Status added = tables::AddWriteCheckpoint(&pipeline, checkpoint);
    if (!added.ok()) return {.status = std::move(added)};
  }
  for (const v1::SaveSnapshotRequest* const snapshot : write.snapshots) {
    tables::AddWriteSnapshot(&pipeline, *snapshot, write.saved_at_micros);
  }
  pipeline.Add(tables::kCommit, {});
  auto outcome = pipeline.Run(RoundTripDeadline());
  written.in_doubt =
      std::any_of(outcome.notices.begin(), outcome.notices.end(), SaysCommitIsInDoubt);
  if (!outcome.status.ok()) {
    const auto error = pg::ErrorOf(outcome.status);
    written.in_doubt = written.in_doubt || (error.has_value() && error->connection_lost &&
                                            error->outcome != pg::Outcome::kNotSent);
    written.status = std::move(outcome.status);
    return written;
  }
  if (written.in_doubt) {
    written.status = absl::UnavailableError("COMMIT stopped waiting for a replica");
    return written;
  }
  const tables::MovedHead moved = tables::ParseMoveHead(outcome.results[begun ? 0 : 1]);
  head_ctid_ = moved.ctid;
  batch_ctid_ = moved.batch_ctid;
  written.clock_micros = moved.clock_micros;
  return written;
}

void LaneSession::Rollback() {
  if (!usable() || !connection_->in_transaction()) return;
  auto rolled_back = connection_->Query(tables::kRollback, {}, RoundTripDeadline());
  if (!rolled_back.ok()) Close();
}

absl::Status LaneSession::Probe(const tables::NewEventRow& row, Deadline deadline) {
  if (probe_ == nullptr || !probe_->usable()) {
    auto probe = pg::Connection::Open(options_.connection, deadline);
    if (!probe.ok()) return probe.status();
    probe_ = std::move(*probe);
  }
  return tables::ProbeEvents(*probe_, {row}, deadline);
}

bool LaneSession::WantsScan() {
  const std::int64_t interval =
      BlockOf(head_ctid_) > kBloatedBlock ? kScanIntervalBloated : kScanInterval;
  if (++batches_since_scan_ < interval) return false;
  batches_since_scan_ = 0;
  return true;
}

}  // namespace eventstore::engine
