#include "server/engine/payload_indexes.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <string>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/run_on.h"
#include "server/pg/errors.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;
using Kind = Workers::Kind;

// For the statements around a build, which are short.
constexpr std::chrono::seconds kShort{10};
// Between two tries to cancel a build.
constexpr std::chrono::milliseconds kCancelPause{100};

// Whether the same statement may succeed another time: it says nothing about the index.
bool IsPassing(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  if (!error.has_value()) return !absl::IsFailedPrecondition(status);
  if (error->connection_lost || error->timed_out) return true;
  const std::string_view category = std::string_view(error->sqlstate).substr(0, 2);
  // Connection, deadlock, lock time-out, cancelled or shut down.
  return category == "08" || category == "40" || category == "55" || category == "57";
}

// The builder's connection: unlike any other one it may wait for as long as a build takes.
pg::ConnectionOptions BuilderConnection(const StoreOptions& options) {
  pg::ConnectionOptions connection = options.connection;
  connection.settings.emplace_back("statement_timeout", "0");
  connection.settings.emplace_back("default_transaction_isolation", "read committed");
  return connection;
}

}  // namespace

PayloadIndexBuilder::PayloadIndexBuilder(const StoreOptions& options, const Uuid& daemon)
    : options_(options), daemon_(daemon), thread_([this] { ThreadMain(); }) {}

PayloadIndexBuilder::~PayloadIndexBuilder() { Stop(); }

void PayloadIndexBuilder::Wake() {
  MutexLock lock(&mutex_);
  wanted_ = true;
  changed_.NotifyAll();
}

bool PayloadIndexBuilder::stopped() {
  MutexLock lock(&mutex_);
  return stopped_;
}

void PayloadIndexBuilder::SetClaim(std::optional<tables::PayloadIndexClaim> claim) {
  MutexLock lock(&mutex_);
  claim_ = std::move(claim);
}

absl::Status PayloadIndexBuilder::Upkeep(pg::Connection& connection, Deadline deadline) {
  std::optional<tables::PayloadIndexClaim> claim;
  {
    MutexLock lock(&mutex_);
    claim = claim_;
  }
  if (claim.has_value()) {
    // A claim that was lost ends by itself: none of its writes counts any more.
    return tables::RenewPayloadIndexClaim(connection, *claim, options_.daemon.expire_ms, deadline)
        .status();
  }
  auto work = tables::HasPayloadIndexWork(connection, deadline);
  if (!work.ok()) return work.status();
  if (*work) Wake();
  return absl::OkStatus();
}

void PayloadIndexBuilder::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
    // Again and again, because the thread may just be between two statements.
    while (running_) {
      connection_->Cancel();
      changed_.WaitUntil(&mutex_, Clock::now() + kCancelPause);
    }
  }
  if (thread_.joinable()) thread_.join();
}

void PayloadIndexBuilder::ThreadMain() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!wanted_ && !stopped_) changed_.Wait(&mutex_);
      if (stopped_) return;
      wanted_ = false;
    }
    const absl::Status status = WorkAll();
    SetClaim(std::nullopt);
    connection_ = nullptr;
    if (!status.ok() && !stopped()) {
      spdlog::warn("work on payload indexes was broken off and will be taken up again: {}",
                   telemetry::MessageOf(status));
    }
  }
}

absl::Status PayloadIndexBuilder::WorkAll() {
  auto opened = pg::Connection::Open(BuilderConnection(options_), Clock::now() + kShort);
  if (!opened.ok()) return opened.status();
  connection_ = *std::move(opened);
  while (!stopped()) {
    auto claim = tables::ClaimPayloadIndex(*connection_, daemon_, options_.daemon.expire_ms,
                                           Clock::now() + kShort);
    if (!claim.ok()) return claim.status();
    if (!claim->has_value()) return absl::OkStatus();
    SetClaim(**claim);
    absl::Status worked = Work(**claim);
    SetClaim(std::nullopt);
    if (!worked.ok() && connection_->usable()) {
      (void)tables::ReleasePayloadIndex(*connection_, **claim, Clock::now() + kShort);
    }
    if (!worked.ok()) return worked;
  }
  return absl::OkStatus();
}

absl::Status PayloadIndexBuilder::RunLong(const std::string& sql) {
  {
    MutexLock lock(&mutex_);
    if (stopped_) return StoreUnavailable("the server is shutting down");
    running_ = true;
  }
  absl::Status status = connection_->RunScript(sql, Deadline::max());
  MutexLock lock(&mutex_);
  running_ = false;
  changed_.NotifyAll();
  return status;
}

absl::Status PayloadIndexBuilder::Work(const tables::PayloadIndexClaim& claim) {
  std::string before;
  while (true) {
    auto sql = tables::NextPayloadIndexSql(*connection_, claim, Clock::now() + kShort);
    if (!sql.ok()) return sql.status();
    if (sql->empty()) {
      spdlog::info("the payload index {} is {}", claim.name,
                   claim.dropping ? "dropped" : "on every partition");
      return tables::FinishPayloadIndex(*connection_, claim, Clock::now() + kShort);
    }
    // What is in its way, a table of that name, makes the statement do nothing.
    const absl::Status done =
        *sql == before ? absl::FailedPreconditionError("this statement changed nothing: " + before)
                       : RunLong(*sql);
    before = *sql;
    if (!done.ok()) {
      if (IsPassing(done)) return done;
      spdlog::error("the payload index {} cannot be built: {}", claim.name,
                    telemetry::MessageOf(done));
      return tables::FailPayloadIndex(*connection_, claim, telemetry::MessageOf(done),
                                      Clock::now() + kShort);
    }
    // Whoever lost the claim to another one, or to a change of what is wanted, stops here.
    auto held = tables::RenewPayloadIndexClaim(*connection_, claim, options_.daemon.expire_ms,
                                               Clock::now() + kShort);
    if (!held.ok()) return held.status();
    if (!*held) return absl::OkStatus();
  }
}

void TablePayloadIndexes::CreatePayloadIndex(v1::CreatePayloadIndexRequest request,
                                             Deadline deadline,
                                             Done<v1::CreatePayloadIndexResponse> done) {
  RunOn<v1::CreatePayloadIndexRequest, v1::CreatePayloadIndexResponse>(
      workers_, Kind::kWrite, std::move(request), deadline,
      [builder = builder_,
       done = std::move(done)](absl::StatusOr<v1::CreatePayloadIndexResponse> response) {
        builder->Wake();
        done(std::move(response));
      },
      tables::CreatePayloadIndex);
}

void TablePayloadIndexes::DropPayloadIndex(v1::DropPayloadIndexRequest request, Deadline deadline,
                                           Done<v1::DropPayloadIndexResponse> done) {
  RunOn<v1::DropPayloadIndexRequest, v1::DropPayloadIndexResponse>(
      workers_, Kind::kWrite, std::move(request), deadline,
      [builder = builder_,
       done = std::move(done)](absl::StatusOr<v1::DropPayloadIndexResponse> response) {
        builder->Wake();
        done(std::move(response));
      },
      tables::DropPayloadIndex);
}

void TablePayloadIndexes::ListPayloadIndexes(v1::ListPayloadIndexesRequest request,
                                             Deadline deadline,
                                             Done<v1::ListPayloadIndexesResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done),
        tables::ListPayloadIndexes);
}

}  // namespace eventstore::engine
