// What the lane does when a batch did not simply commit.
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/lane.h"
#include "server/engine/store_errors.h"
#include "server/pg/errors.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

// How often the guards may find the cache wrong for one batch before it is given up. Each time the
// cache is cleared, so a further failure means that the tables themselves contradict each other.
constexpr int kGuardFailuresMax = 3;
// How long a batch waits for the partition that it needs.
constexpr std::chrono::milliseconds kPartitionPatience{2'000};
// After an optimistic batch failed, so many go the locked way at most; doubled from 1 with each
// failure in a row.
constexpr int kLockedBatchesMax = 64;
// The longest time to look for the append that a batch was refused for.
constexpr std::chrono::seconds kProbeTime{10};

bool IsDataError(std::string_view sqlstate) {
  const std::string_view category = sqlstate.substr(0, 2);
  // Data exceptions, constraint violations, program limits.
  return category == "22" || category == "23" || category == "54";
}

// Whether a row was not as the lane believed it to be (see log_table.cc).
bool IsGuardFailure(const absl::Status& status) {
  return absl::StrContains(status.message(), "lane guard");
}

// Whether another session made a checkpoint that was not there to be locked. It is there now.
bool IsCheckpointGuard(const absl::Status& status) {
  return absl::StrContains(status.message(), "checkpoint guard");
}

}  // namespace

Lane::Attempt Lane::Doubt(const absl::Status& status, Decided decided) {
  in_doubt_ = std::move(decided);
  in_doubt_batch_ = batch_number_;
  metrics_.in_doubt->Increment();
  spdlog::warn("store {}: the outcome of a commit is in doubt: {}", options_.name,
               telemetry::MessageOf(status));
  database_->Close();
  return Attempt::kInDoubt;
}

Lane::Attempt Lane::Classify(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  const std::string sqlstate = error.has_value() ? error->sqlstate : "";
  current_ = false;
  if (error.has_value() && (error->connection_lost || error->timed_out)) {
    spdlog::warn("store {}: the lane's connection was lost: {}", options_.name,
                 telemetry::MessageOf(status));
    database_->Close();
    return Attempt::kRetry;
  }
  database_->Rollback();
  if (IsCheckpointGuard(status)) return Attempt::kRetry;
  if (IsGuardFailure(status)) {
    cache_.Clear();
    spdlog::error("store {}: {}; the lane forgets what it knew and decides anew", options_.name,
                  telemetry::MessageOf(status));
    if (++guard_failures_ < kGuardFailuresMax) {
      database_->Close();
      return Attempt::kRetry;
    }
  }
  refusal_ = status;
  if (sqlstate == "23514" && error->constraint.empty()) {
    callbacks_.partitions_low();
    // A burst may outrun the housekeeper, who is at it now.
    const auto now = std::chrono::steady_clock::now();
    no_partition_since_ = std::min(no_partition_since_, now);
    const std::chrono::milliseconds patience =
        std::min(kPartitionPatience, options_.writer.max_wait_ms / 2);
    if (now - no_partition_since_ < patience) return Attempt::kRetry;
    no_partition_since_ = Deadline::max();
    refusal_ = StoreUnavailable(
        "no partition of the events table is ready for the next positions; the daemon's log says "
        "why none could be made");
    return Attempt::kRefused;
  }
  if (sqlstate == "25006") {  // a standby: another host may be the primary by now
    database_->Close();
    return Attempt::kRetry;
  }
  // Transient by nature: the store's own state, not the request's.
  if (DetailsOf(ToStoreError(status)).empty()) return Attempt::kRefused;
  spdlog::warn("store {}: a batch is tried again: {}", options_.name, telemetry::MessageOf(status));
  return Attempt::kRetry;
}

std::optional<Lane::Attempt> Lane::GiveUpOptimism(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  // The head has moved, an id or a stream is stored already, or the data is refused: all this the
  // locked way tells apart. Anything else is no matter of knowing too little.
  if (!error.has_value() || !IsDataError(error->sqlstate)) return Classify(status);
  metrics_.optimistic_failures->Increment();
  database_->Rollback();
  current_ = false;
  locked_batches_left_ = locked_batches_next_ - 1;
  locked_batches_next_ = std::min(2 * locked_batches_next_, kLockedBatchesMax);
  if (!database_->usable()) return Attempt::kRetry;
  return std::nullopt;
}

// After a lost COMMIT: reconnects until the ledger of batches tells what became of it. True if the
// batch is answered.
bool Lane::Settle(const Batch& batch) {
  Decided decided = std::move(*in_doubt_);
  in_doubt_.reset();
  const std::int64_t epoch = known_.epoch;
  while (!Connect()) {
    // Nobody is told more than is known: after the longest wait the caller may repeat with its ids.
    const auto now = std::chrono::steady_clock::now();
    const bool all_expired = std::all_of(batch.begin(), batch.end(), [&](const auto& write) {
      return !host_->ExpiryOf(*write, now).ok();
    });
    if (all_expired || host_->GivenUp()) {
      FailAll(batch, StoreUnavailable("the connection was lost during the commit, and the database "
                                      "has not come back to say what became of it; a retry with "
                                      "the same event ids is safe"));
      return true;
    }
    host_->Pause(std::chrono::milliseconds(200));
  }
  if (opened_.last_batch != in_doubt_batch_) return false;  // rolled back: decide anew
  spdlog::info("store {}: the commit in doubt had happened", options_.name);
  // In a new epoch `known_` is what the connection found.
  if (known_.epoch == epoch) {
    Committed(batch, std::move(decided));
  } else {
    Finish(batch, std::move(decided));
  }
  return true;
}

void Lane::Isolate(Batch batch) {
  const absl::Status refusal = refusal_;
  if (!DetailsOf(refusal).empty()) return FailAll(batch, refusal);  // the store's fault
  const auto error = pg::ErrorOf(refusal);
  const std::string sqlstate = error.has_value() ? error->sqlstate : "";
  // A guard fails by a cast, whose SQLSTATE looks like bad data.
  const bool data_error = IsDataError(sqlstate) && !IsGuardFailure(refusal);
  spdlog::warn("store {}: PostgreSQL refused a batch of {} appends (SQLSTATE {}): {}",
               options_.name, batch.size(), sqlstate, telemetry::MessageOf(refusal));
  if (batch.size() == 1) {
    metrics_.poisoned->Increment();
    FailAll(batch, data_error
                       ? InvalidEvent(0, "events",
                                      absl::StrCat("PostgreSQL refuses the append "
                                                   "(SQLSTATE ",
                                                   sqlstate, ")"))
                       : absl::InternalError("the append could not be written; see the log"));
    return;
  }
  probe_found_ = false;
  if (data_error) ProbeForPoison(&batch);
  if (batch.empty()) return;
  // Not one of its values but something else is refused (or there are several culprits left): each
  // append gets a transaction of its own.
  if (!probe_found_) {
    for (auto& write : batch) Process({std::move(write)});
    return;
  }
  Process(std::move(batch));
}

// Tries each write's data on a connection of its own, without any table, so that the head is not
// locked meanwhile. Answers and removes those that are refused.
void Lane::ProbeForPoison(Batch* batch) {
  const Deadline deadline = std::chrono::steady_clock::now() + kProbeTime;
  const auto poisoned = [&](const std::shared_ptr<PendingWrite>& write) {
    const std::span<const ValidatedAppend> appends = write->appends();
    for (std::size_t a = 0; a < appends.size(); ++a) {
      const std::string path =
          write->transaction_ == nullptr ? "" : absl::StrCat("appends[", a, "].");
      const ValidatedAppend& data = appends[a];
      for (std::size_t i = 0; i < data.event_ids.size(); ++i) {
        tables::NewEventRow row;
        row.event_id = data.event_ids[i];
        row.tenant = data.tenant;
        row.stream = &data.request.stream();
        row.event = &data.request.events(static_cast<int>(i));
        const absl::Status status = database_->Probe(row, deadline);
        const auto error = pg::ErrorOf(status);
        if (status.ok() || !error.has_value() || !IsDataError(error->sqlstate)) continue;
        metrics_.poisoned->Increment();
        write->Fail(InvalidEvent(static_cast<int>(i), absl::StrCat(path, "events[", i, "].payload"),
                                 absl::StrCat("PostgreSQL refuses it: ", status.message())));
        return true;
      }
    }
    return false;
  };
  const auto end = std::remove_if(batch->begin(), batch->end(), poisoned);
  database_->EndProbe();
  probe_found_ = end != batch->end();
  batch->erase(end, batch->end());
}

}  // namespace eventstore::engine
