#include "server/engine/partition_planner.h"

#include <absl/strings/str_cat.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <vector>

#include "server/tables/partitions_table.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// A partition should last at least this long, so that catalogs and plans stay small.
constexpr double kPartitionSeconds = 3600;
// How much of a new measurement goes into the smoothed rate.
constexpr double kSmoothing = 0.3;
// How often one call may try again because another daemon was faster.
constexpr int kRacesMax = 20;
// The most partitions that one call makes; the next call goes on.
constexpr int kCreatedMax = 16;

}  // namespace

std::int64_t PartitionPlanner::SizeAt(double rate) const {
  // Multiples of the configured size keep the bounds round.
  const double wanted = rate * kPartitionSeconds / static_cast<double>(options_.size_events);
  const auto factor = std::max<std::int64_t>(1, static_cast<std::int64_t>(wanted));
  return std::max(options_.size_events,
                  std::min(options_.size_events_max, factor * options_.size_events));
}

std::int64_t PartitionPlanner::LeadAt(double rate) const {
  return static_cast<std::int64_t>(rate * static_cast<double>(options_.lead_seconds.count()));
}

void PartitionPlanner::MeasureRate(std::int64_t head_position) {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - last_time_).count();
  if (last_head_ >= 0 && seconds < 0.5) return;  // too short to say anything
  if (last_head_ >= 0) {
    const double current =
        static_cast<double>(std::max<std::int64_t>(0, head_position - last_head_)) / seconds;
    // A burst counts at once, a lull slowly.
    rate_ = std::max(current, rate_ + kSmoothing * (current - rate_));
  }
  last_head_ = head_position;
  last_time_ = now;
}

absl::StatusOr<std::int64_t> PartitionPlanner::Ensure(pg::Connection& connection,
                                                      std::int64_t head_position,
                                                      Deadline deadline) {
  MeasureRate(head_position);
  std::int64_t end = 0;
  int races = 0;
  for (int made = 0; races < kRacesMax && made < kCreatedMax;) {
    auto partitions = tables::ReadPartitions(connection, deadline);
    if (!partitions.ok()) return partitions.status();
    const std::int64_t next = head_position + 1;
    int ahead = 0;  // beyond the one in use
    end = 1;
    for (const tables::Partition& partition : *partitions) {
      if (partition.first_position > next) ++ahead;
      end = std::max(end, partition.end_position);
    }
    const bool in_use_exists = end > next;
    if (in_use_exists && ahead >= options_.ahead_min && end - next >= LeadAt(rate_)) return end;
    const absl::Status created = tables::CreatePartition(connection, end, end + SizeAt(rate_),
                                                         options_.lock_timeout_ms, deadline);
    if (absl::IsAborted(created)) {
      ++races;
      continue;
    }
    if (!created.ok()) {
      if (!in_use_exists) return created;
      spdlog::warn("no partition from position {} on could be made, {} positions are left: {}", end,
                   end - next, telemetry::MessageOf(created));
      return end;
    }
    spdlog::info("made the partition of events from position {} to {}", end,
                 end + SizeAt(rate_) - 1);
    end += SizeAt(rate_);
    ++made;
  }
  // Another daemon's partition shows in the catalog at once; a table that is merely in the way does
  // not.
  if (races == kRacesMax && end <= head_position + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("a table named events_p", end,
                     " exists but is no partition of events: attach it, or drop it"));
  }
  return end;
}

}  // namespace eventstore::engine
