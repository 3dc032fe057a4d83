#include "server/engine/lane_session.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

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

}  // namespace

bool SaysCommitIsInDoubt(const pg::Notice& notice) {
  // Cancelled while it waited (01000), or the backend was told to go (57P01).
  return notice.severity == "WARNING" && (notice.sqlstate == "01000" || notice.sqlstate == "57P01");
}

LaneSession::LaneSession(const StoreOptions& options, Uuid daemon_id)
    : options_(options), daemon_id_(daemon_id), connection_options_(options.connection) {
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

absl::Status LaneSession::Open() {
  Close();
  auto connection =
      pg::Connection::Open(connection_options_, std::chrono::steady_clock::now() +
                                                    options_.connection.connect_timeout * 4);
  if (!connection.ok()) return connection.status();
  SetConnection(std::move(*connection));
  absl::Status signed_on = SignOn();
  if (!signed_on.ok()) Close();
  return signed_on;
}

void LaneSession::SetConnection(std::unique_ptr<pg::Connection> connection) {
  MutexLock lock(&mutex_);
  connection_ = std::move(connection);
}

void LaneSession::Interrupt() {
  MutexLock lock(&mutex_);
  if (connection_ != nullptr) connection_->Cancel();
}

absl::Status LaneSession::SignOn() {
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
  head_ctid = locked.ctid;
  raised_epoch_ = false;
  const bool same =
      locked.system_identifier == server->system_identifier && locked.timeline == server->timeline;
  if (!same || raise_epoch_) {
    const bool raise_epoch = locked.system_identifier != 0;
    auto moved =
        tables::RecordServer(*connection_, locked, *server, raise_epoch, RoundTripDeadline());
    if (!moved.ok()) return moved.status();
    head_ctid = *moved;
    if (raise_epoch) {
      raised_epoch_ = true;
      ++locked.head.epoch;
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
  head_at_open_ = locked.head;
  batch_ctid = batch->ctid;
  last_batch_at_open_ = batch->last_batch;
  return absl::OkStatus();
}

void LaneSession::Rollback() {
  if (!usable() || !connection_->in_transaction()) return;
  auto rolled_back = connection_->Query(tables::kRollback, {}, RoundTripDeadline());
  if (!rolled_back.ok()) Close();
}

bool LaneSession::WantsScan() {
  const std::int64_t interval =
      BlockOf(head_ctid) > kBloatedBlock ? kScanIntervalBloated : kScanInterval;
  if (++batches_since_scan_ < interval) return false;
  batches_since_scan_ = 0;
  return true;
}

}  // namespace eventstore::engine
