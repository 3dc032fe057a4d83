#include "server/tables/checkpoint_lag.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "server/core/errors.h"
#include "server/core/filter.h"
#include "server/core/validation.h"
#include "server/tables/events_table.h"

namespace eventstore::tables {
namespace {

constexpr pg::Statement kReadNext{
    "checkpoints_read_next",
    "SELECT e.created_at FROM unnest($1::bigint[]) WITH ORDINALITY"
    " AS c(position, i) LEFT JOIN LATERAL (SELECT created_at FROM events"
    " WHERE events.global_position = c.position LIMIT 1) e ON true ORDER BY c.i"};

// Read after the events, so that no lag is negative.
constexpr pg::Statement kReadClock{"checkpoints_read_clock", "SELECT clock_timestamp()"};

// A stored filter was checked against the limits of its time; it is not refused by today's.
Limits NoLimits() {
  Limits limits;
  limits.name_bytes_max = INT32_MAX;
  limits.tag_bytes_max = INT32_MAX;
  limits.filter_values_max = INT32_MAX;
  limits.filter_regex_bytes_max = INT32_MAX;
  return limits;
}

// Where the search for the oldest unprocessed event has come.
struct Search {
  v1::CheckpointStatus* status;
  std::int64_t after = 0;              // everything up to here is processed, or archived
  std::int64_t found = 0;              // the oldest unprocessed event that matches
  std::int64_t created_at_micros = 0;  // of it
};

// Looks for a rewind; from where the lag counts.
absl::StatusOr<std::int64_t> EffectivePosition(pg::Connection& connection, const Head& head,
                                               v1::CheckpointStatus* status, Deadline deadline) {
  const v1::Checkpoint& checkpoint = status->checkpoint();
  const absl::Status checked =
      CheckPosition(connection, head, checkpoint.position(), checkpoint.epoch(), deadline);
  if (checked.ok()) return checkpoint.position();
  const auto details = DetailsOf(checked);
  if (details.empty() || details[0].reason() != v1::ERROR_REASON_POSITION_AHEAD) return checked;
  status->set_is_rewound(true);
  status->set_rewind_position(details[0].position());
  return details[0].position();
}

// Without a filter the next position is the next event: positions are dense.
absl::Status FindNext(pg::Connection& connection, std::vector<Search*> searches,
                      Deadline deadline) {
  if (searches.empty()) return absl::OkStatus();
  pg::ArrayWriter positions(pg::kInt8);
  for (const Search* search : searches) positions.Int64(search->after + 1);
  pg::Params params;
  params.Array(&positions);
  auto result = connection.Query(kReadNext, params, deadline);
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    Search& search = *searches[static_cast<std::size_t>(row)];
    if (result->IsNull(row, 0)) continue;
    search.found = search.after + 1;
    search.created_at_micros = result->Timestamp(row, 0);
  }
  return absl::OkStatus();
}

// Searches window by window. Returns how many positions it looked at.
absl::StatusOr<std::int64_t> FindMatching(pg::Connection& connection, const Head& head,
                                          const LagBudget& budget, std::int64_t positions_max,
                                          Search* search, Deadline deadline) {
  auto filter = EventFilter::Make(search->status->checkpoint().filter(), "filter", NoLimits());
  if (!filter.ok()) {
    // Somebody else wrote it. One bad row must not hide the others.
    search->status->set_lag_is_lower_bound(search->after < head.position);
    return 0;
  }
  std::int64_t looked = 0;
  while (search->after < head.position && looked < positions_max) {
    AllWindow window;
    window.low = search->after + 1;
    window.high = std::min(head.position, search->after + budget.window_positions);
    window.limit = (*filter)->has_regex() ? 500 : 1;
    window.filter = filter->get();
    auto rows = ReadAllWindow(connection, window, deadline);
    if (!rows.ok()) return rows.status();
    if (!rows->events.empty()) {
      const v1::Event& event = rows->events.front();
      search->found = event.global_position();
      (void)ToUnixMicros(event.created_at(), &search->created_at_micros);
      return looked + (search->found - search->after);
    }
    const std::int64_t end = rows->cut ? rows->last_row_position : window.high;
    looked += end - search->after;
    search->after = end;
  }
  search->status->set_lag_is_lower_bound(search->after < head.position);
  return looked;
}

void Judge(const Search& search, const Head& head, std::int64_t now_micros,
           std::chrono::microseconds stale_after) {
  v1::CheckpointStatus& status = *search.status;
  if (search.found > 0) {
    status.set_lag_positions(head.position - search.found + 1);
    const std::int64_t age = std::max<std::int64_t>(0, now_micros - search.created_at_micros);
    status.set_lag_seconds(static_cast<double>(age) / 1e6);
  }
  std::int64_t updated_at = 0;
  (void)ToUnixMicros(status.checkpoint().updated_at(), &updated_at);
  const bool has_old_work = search.found > 0 &&
                            now_micros - search.created_at_micros > stale_after.count() &&
                            now_micros - updated_at > stale_after.count();
  status.set_is_stale(status.is_rewound() || has_old_work);
}

}  // namespace

absl::StatusOr<Lags> MeasureLag(pg::Connection& connection, std::vector<v1::Checkpoint> checkpoints,
                                std::chrono::microseconds stale_after, const LagBudget& budget,
                                Deadline deadline) {
  auto head = ReadHead(connection, deadline);
  if (!head.ok()) return head.status();
  Lags lags;
  lags.head = *head;
  lags.statuses.resize(checkpoints.size());
  std::vector<Search> searches(checkpoints.size());
  std::vector<Search*> unfiltered;
  for (std::size_t i = 0; i < checkpoints.size(); ++i) {
    searches[i].status = &lags.statuses[i];
    *lags.statuses[i].mutable_checkpoint() = std::move(checkpoints[i]);
    auto position = EffectivePosition(connection, *head, &lags.statuses[i], deadline);
    if (!position.ok()) return position.status();
    searches[i].after = std::max(*position, head->first_position - 1);
    const bool done = searches[i].after >= head->position;
    if (!done && !lags.statuses[i].checkpoint().has_filter()) unfiltered.push_back(&searches[i]);
  }
  if (auto status = FindNext(connection, unfiltered, deadline); !status.ok()) return status;
  std::int64_t left = budget.page_positions_max;
  for (Search& search : searches) {
    if (!search.status->checkpoint().has_filter()) continue;
    const std::int64_t share = std::max(left, budget.window_positions);
    auto looked = FindMatching(connection, *head, budget, std::min(budget.row_positions_max, share),
                               &search, deadline);
    if (!looked.ok()) return looked.status();
    left = std::max<std::int64_t>(0, left - *looked);
  }
  auto clock = connection.Query(kReadClock, pg::Params(), deadline);
  if (!clock.ok()) return clock.status();
  const std::int64_t now = clock->Timestamp(0, 0);
  for (const Search& search : searches) Judge(search, *head, now, stale_after);
  return lags;
}

}  // namespace eventstore::tables
