#include "server/engine/query_pages.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "server/core/errors.h"
#include "server/pg/errors.h"
#include "server/tables/payload_indexes_table.h"
#include "server/tables/query_table.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How long a page that finds nothing looks on.
constexpr std::chrono::milliseconds kSearchTime{50};
// A window of a query without an index that costs less may be followed by a larger one, of up to so
// many times the first.
constexpr std::chrono::milliseconds kCheapWindow{5};
constexpr std::int64_t kWindowGrowthMax = 8;
// With an index windows grow so fast, up to so many times the first.
constexpr std::int64_t kIndexedWindowGrowth = 8;
constexpr std::int64_t kIndexedWindowGrowthMax = 200;

// A statement ends before the time of its task is over, which would cost the connection and tell
// the client less.
constexpr std::chrono::milliseconds kBeforeDeadline{500};

std::int64_t Times(std::int64_t window, std::int64_t factor) {
  return window > INT64_MAX / factor ? INT64_MAX : window * factor;
}

std::chrono::milliseconds StatementTimeout(const QueryOptions& query_options, Deadline deadline) {
  const auto now = Clock::now();
  if (deadline - now <= 2 * kBeforeDeadline) return query_options.statement_timeout_ms;
  return std::min(
      query_options.statement_timeout_ms,
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now) - kBeforeDeadline);
}

bool IsStatementTimeout(const absl::Status& status, std::chrono::milliseconds limit,
                        std::chrono::steady_clock::duration elapsed) {
  const auto error = pg::ErrorOf(status);
  // The same SQLSTATE as of a cancelled statement, which ends before its time.
  return error.has_value() && error->sqlstate == "57014" && elapsed >= limit;
}

absl::Status TooSlow(const AllPageQuery& query, std::chrono::milliseconds limit,
                     std::chrono::steady_clock::duration elapsed) {
  v1::ErrorInfo info;
  info.set_reason(v1::ERROR_REASON_TOO_LARGE);
  info.set_limit_name("query.statement_timeout_ms");
  info.set_limit(limit.count());
  info.set_value(std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count());
  info.set_position(query.after_position);
  info.set_epoch(query.epoch);
  info.set_message(absl::StrCat(
      "the query takes too long: a statement for events after position ", query.after_position,
      " was ended after ", info.value(), " ms; query.statement_timeout_ms allows ", limit.count(),
      " ms; make a payload index, or narrow the filter or the time window, and go on after that "
      "position"));
  return MakeError(std::move(info));
}

tables::AllWindow WindowOf(const ReaderOptions& options, const AllPageQuery& query,
                           std::int64_t positions) {
  tables::AllWindow window;
  window.bytes_max = options.page_bytes_max;
  window.filter = query.filter.get();
  window.from_timestamp_micros = query.from_timestamp_micros;
  window.to_timestamp_micros = query.to_timestamp_micros;
  const bool regex = query.filter != nullptr && query.filter->has_regex();
  window.limit = query.limit > 0 && !regex ? std::min(query.limit, options.page_events_max)
                                           : options.page_events_max;
  window.low = std::min(query.after_position, INT64_MAX - 1) + 1;
  window.high =
      query.after_position > INT64_MAX - positions ? INT64_MAX : query.after_position + positions;
  if (query.end_position > 0) window.high = std::min(window.high, query.end_position);
  return window;
}

absl::StatusOr<AllPage> ReadWindow(const ReaderOptions& options, std::chrono::milliseconds timeout,
                                   const AllPageQuery& query, std::int64_t positions, bool indexed,
                                   pg::Connection& connection, Deadline deadline) {
  const tables::AllWindow window = WindowOf(options, query, positions);
  auto rows =
      tables::ReadQueryWindow(connection, window, *query.payload, indexed, timeout, deadline);
  if (!rows.ok()) return rows.status();
  absl::Status checked =
      tables::CheckPosition(connection, rows->head, query.after_position, query.epoch, deadline);
  if (!checked.ok()) return checked;
  if (window.low < rows->head.first_position) {
    return Archived(rows->head.first_position,
                    "the store's history before this position was archived");
  }
  AllPage page;
  page.head = rows->head;
  page.events = std::move(rows->events);
  const std::int64_t end = query.end_position > 0 ? std::min(query.end_position, page.head.position)
                                                  : page.head.position;
  page.position = rows->cut ? rows->last_row_position : std::min(window.high, end);
  page.at_end = page.position >= end;
  if (query.limit > 0 && static_cast<std::int64_t>(page.events.size()) >= query.limit) {
    page.events.resize(static_cast<std::size_t>(query.limit));
    page.position = page.events.back().global_position();
    page.at_end = true;
  }
  // Where more matched than a page holds, as many positions hold about the next one.
  page.window_positions = rows->cut ? page.position - query.after_position : 0;
  return page;
}

}  // namespace

absl::StatusOr<AllPage> ReadQueryPage(const ReaderOptions& options,
                                      const QueryOptions& query_options, AllPageQuery query,
                                      pg::Connection& connection, Deadline deadline) {
  auto indexed = tables::HasPayloadIndexFor(connection, *query.payload, deadline);
  if (!indexed.ok()) return indexed.status();
  const Deadline until = std::min(deadline, Clock::now() + kSearchTime);
  const std::int64_t first = options.window_positions;
  const std::int64_t most = Times(first, *indexed ? kIndexedWindowGrowthMax : kWindowGrowthMax);
  std::int64_t window = query.window_positions > 0 ? std::min(query.window_positions, most) : first;
  std::optional<tables::Head> first_head;
  while (true) {
    const auto started = Clock::now();
    const auto timeout = StatementTimeout(query_options, deadline);
    auto page = ReadWindow(options, timeout, query, window, *indexed, connection, deadline);
    const auto elapsed = Clock::now() - started;
    if (!page.ok()) {
      if (!IsStatementTimeout(page.status(), timeout, elapsed)) return page;
      // It may be the growth that made it slow.
      if (window <= first) return TooSlow(query, query_options.statement_timeout_ms, elapsed);
      window = first;
      continue;
    }
    if (!first_head.has_value()) first_head = page->head;
    if (page->window_positions > 0) {
      window = std::max<std::int64_t>(page->window_positions, options.page_events_max);
    } else if (*indexed) {
      window = std::min(Times(window, kIndexedWindowGrowth), most);
    } else if (elapsed < kCheapWindow) {
      window = std::min(Times(window, 2), most);
    }
    page->window_positions = window;
    if (!page->events.empty() || page->at_end || page->head.epoch != first_head->epoch ||
        page->position == query.after_position || Clock::now() >= until) {
      if (page->head.epoch == first_head->epoch) page->head = *first_head;
      return page;
    }
    query.after_position = page->position;
    query.epoch = page->head.epoch;
    if (query.end_position == 0) query.end_position = first_head->position;
  }
}

}  // namespace eventstore::engine
