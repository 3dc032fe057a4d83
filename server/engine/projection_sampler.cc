#include "server/engine/projection_sampler.h"

#include <utility>
#include <vector>

#include "server/tables/checkpoint_lag.h"
#include "server/tables/checkpoints_table.h"
#include "server/tables/dead_letters_admin.h"

namespace eventstore::engine {
namespace {

// The upkeep must not wait for long searches: one window for each checkpoint with a filter.
constexpr tables::LagBudget kBudget{50'000, 500'000, 50'000};

}  // namespace

absl::Status ProjectionSampler::Sample(pg::Connection& connection, Deadline deadline) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return absl::OkStatus();
  next_ = now + kInterval;
  if (auto status = SampleCheckpoints(connection, deadline); !status.ok()) return status;
  return SampleDeadLetters(connection, deadline);
}

absl::Status ProjectionSampler::SampleCheckpoints(pg::Connection& connection, Deadline deadline) {
  auto furthest = tables::ReadFurthestBehind(connection, kProjectionsMax, deadline);
  if (!furthest.ok()) return furthest.status();
  metrics_.checkpoints->Set(static_cast<double>(furthest->total));
  if (furthest->checkpoints.empty()) {
    metrics_.lag_positions.Replace({});
    metrics_.lag_seconds.Replace({});
    metrics_.position.Replace({});
    return absl::OkStatus();
  }
  auto lags = tables::MeasureLag(connection, std::move(furthest->checkpoints),
                                 std::chrono::microseconds::max(), kBudget, deadline);
  if (!lags.ok()) return lags.status();
  std::vector<telemetry::LabelledGauges::Value> positions, lag_positions, lag_seconds;
  for (const v1::CheckpointStatus& status : lags->statuses) {
    const std::string& name = status.checkpoint().projection_name();
    positions.push_back({{name}, static_cast<double>(status.checkpoint().position())});
    lag_positions.push_back({{name}, static_cast<double>(status.lag_positions())});
    lag_seconds.push_back({{name}, status.lag_seconds()});
  }
  metrics_.position.Replace(std::move(positions));
  metrics_.lag_positions.Replace(std::move(lag_positions));
  metrics_.lag_seconds.Replace(std::move(lag_seconds));
  return absl::OkStatus();
}

absl::Status ProjectionSampler::SampleDeadLetters(pg::Connection& connection, Deadline deadline) {
  auto open = tables::CountOpenDeadLetters(connection, kDeadLettersMax, kProjectionsMax, deadline);
  if (!open.ok()) return open.status();
  std::vector<telemetry::LabelledGauges::Value> counts;
  for (const tables::OpenDeadLetters& entry : *open) {
    counts.push_back({{entry.projection, "failed"}, static_cast<double>(entry.failed)});
    counts.push_back({{entry.projection, "retrying"}, static_cast<double>(entry.retrying)});
  }
  metrics_.dead_letters.Replace(std::move(counts));
  return absl::OkStatus();
}

}  // namespace eventstore::engine
