#include "server/engine/reader.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/query_pages.h"
#include "server/tables/checkpoints_table.h"
#include "server/tables/snapshots_table.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How long a filtered page that finds nothing looks on, what a window may cost for the next one to
// be larger, and how large it may get, in first windows.
constexpr std::chrono::milliseconds kSearchTime{50};
constexpr std::chrono::milliseconds kCheapWindow{5};
constexpr std::int64_t kWindowGrowthMax = 8;

// The first page of a backwards read from the end has to learn where the end is.
absl::StatusOr<std::int64_t> BackwardsFrom(pg::Connection& connection, const AllPageQuery& query,
                                           Deadline deadline) {
  if (query.after_position != 0) return query.after_position - 1;
  auto head = tables::ReadHead(connection, deadline);
  if (!head.ok()) return head.status();
  return head->position;
}

bool NeedsWindow(const AllPageQuery& query) {
  return (query.filter != nullptr && !query.filter->matches_everything()) ||
         query.from_timestamp_micros.has_value() || query.to_timestamp_micros.has_value();
}

// One window of `window_positions` (or, without conditions, as many positions as there may be
// rows).
absl::StatusOr<AllPage> ReadWindow(const ReaderOptions& options, const AllPageQuery& query,
                                   std::int64_t window_positions, pg::Connection& connection,
                                   Deadline deadline) {
  const bool windowed = NeedsWindow(query);
  tables::AllWindow window;
  window.backwards = query.backwards;
  window.bytes_max = options.page_bytes_max;
  window.filter = query.filter.get();
  window.from_timestamp_micros = query.from_timestamp_micros;
  window.to_timestamp_micros = query.to_timestamp_micros;
  const bool regex = query.filter != nullptr && query.filter->has_regex();
  window.limit = query.limit > 0 && !regex ? std::min(query.limit, options.page_events_max)
                                           : options.page_events_max;
  // Positions are dense: without conditions, a window of `limit` positions has `limit` rows.
  const std::int64_t span = windowed ? window_positions : window.limit;
  if (query.backwards) {
    auto from = BackwardsFrom(connection, query, deadline);
    if (!from.ok()) return from.status();
    window.high = *from;
    window.low = std::max<std::int64_t>(1, window.high - span + 1);
  } else {
    window.low = std::min(query.after_position, INT64_MAX - 1) + 1;
    window.high = query.after_position > INT64_MAX - span ? INT64_MAX : query.after_position + span;
    if (query.end_position > 0) window.high = std::min(window.high, query.end_position);
  }
  auto rows = tables::ReadAllWindow(connection, window, deadline);
  if (!rows.ok()) return rows.status();
  const std::int64_t asked =
      query.backwards ? std::max<std::int64_t>(0, query.after_position - 1) : query.after_position;
  absl::Status checked =
      tables::CheckPosition(connection, rows->head, asked, query.epoch, deadline);
  if (!checked.ok()) return checked;
  const std::int64_t floor = rows->head.first_position;
  if (!query.backwards && window.low < floor) {
    return Archived(floor, "the store's history before this position was archived");
  }

  AllPage page;
  page.head = rows->head;
  page.events = std::move(rows->events);
  const std::int64_t end =
      query.backwards ? floor
                      : (query.end_position > 0 ? std::min(query.end_position, page.head.position)
                                                : page.head.position);
  if (rows->cut) {
    page.position = rows->last_row_position;
  } else {
    page.position = query.backwards ? std::max(window.low, floor) : std::min(window.high, end);
  }
  if (query.limit > 0 && static_cast<std::int64_t>(page.events.size()) >= query.limit) {
    page.events.resize(static_cast<std::size_t>(query.limit));
    page.position = page.events.back().global_position();
    page.at_end = true;
  } else {
    page.at_end = query.backwards ? page.position <= end : page.position >= end;
  }
  return page;
}

// A page that finds nothing looks on for a while, so that a rare match costs no round trip between
// threads, and a statement to plan, for each window before it. Windows grow where they cost little,
// but not far: where matches begin again, what lies in one window may have to be sorted.
absl::StatusOr<AllPage> ReadAll(const ReaderOptions& options, AllPageQuery query,
                                pg::Connection& connection, Deadline deadline) {
  const Deadline until = std::min(deadline, Clock::now() + kSearchTime);
  const std::int64_t window_max = options.window_positions > INT64_MAX / kWindowGrowthMax
                                      ? INT64_MAX
                                      : options.window_positions * kWindowGrowthMax;
  std::int64_t window = options.window_positions;
  std::int64_t searched = 0;
  std::optional<tables::Head> first_head;
  while (true) {
    const Deadline started = Clock::now();
    auto page = ReadWindow(options, query, window, connection, deadline);
    if (!page.ok()) return page;
    if (!first_head.has_value()) first_head = page->head;
    searched += std::abs(page->position - query.after_position);
    const bool searched_enough =
        query.search_positions_max > 0 && searched >= query.search_positions_max;
    if (!page->events.empty() || page->at_end || page->head.epoch != first_head->epoch ||
        page->position == query.after_position || searched_enough || Clock::now() >= until) {
      if (page->head.epoch == first_head->epoch) page->head = *first_head;
      return page;
    }
    query.after_position = page->position;
    query.epoch = page->head.epoch;
    if (query.end_position == 0) query.end_position = first_head->position;
    if (Clock::now() - started < kCheapWindow) window = std::min(window * 2, window_max);
  }
}

// Whether the beginning of what was asked for is gone although the stream still counts it.
bool StartIsArchived(const tables::StreamWindow& window, const tables::StreamRows& rows) {
  if (window.backwards || rows.head.first_position <= 1 || !rows.info.exists() ||
      window.low_position > 1 || window.from_timestamp_micros.has_value() ||
      window.to_timestamp_micros.has_value()) {
    return false;
  }
  const std::int64_t first = std::max(window.low_version, rows.info.first_version());
  if (first > std::min(window.high_version, rows.info.version())) return false;
  return rows.events.empty() || rows.events.front().version() != first;
}

// The rows of a page. From a snapshot, the page's window starts after it.
absl::StatusOr<tables::StreamRows> ReadStreamRows(const StreamPageQuery& query,
                                                  tables::StreamWindow* window,
                                                  std::optional<v1::Snapshot>* snapshot,
                                                  pg::Connection& connection, Deadline deadline) {
  if (!query.from_snapshot) return tables::ReadStreamWindow(connection, *window, deadline);
  auto page =
      tables::ReadStreamFromSnapshot(connection, *window, query.snapshot_schema_version, deadline);
  if (!page.ok()) return page.status();
  if (page->snapshot.has_value()) window->low_version = page->snapshot->version() + 1;
  *snapshot = std::move(page->snapshot);
  return std::move(page->rows);
}

absl::StatusOr<StreamPage> ReadStream(const ReaderOptions& options, const StreamPageQuery& query,
                                      pg::Connection& connection, Deadline deadline) {
  tables::StreamWindow window;
  window.stream = &query.stream;
  window.backwards = query.backwards;
  window.bytes_max = options.page_bytes_max;
  window.limit =
      query.limit > 0 ? std::min(query.limit, options.page_events_max) : options.page_events_max;
  window.from_timestamp_micros = query.from_timestamp_micros;
  window.to_timestamp_micros = query.to_timestamp_micros;
  window.low_position = query.after_position + 1;
  if (query.end_position > 0) window.end_position = query.end_position;
  const std::int64_t from = query.from_version;
  const std::int64_t to = query.to_version;
  window.low_version = std::max<std::int64_t>(1, query.backwards ? to : from);
  window.high_version = query.backwards ? (from > 0 ? from : INT64_MAX) : (to > 0 ? to : INT64_MAX);
  // Only a time window can leave rows out, so only then may a page look at more than it returns.
  const bool times =
      query.from_timestamp_micros.has_value() || query.to_timestamp_micros.has_value();
  const std::int64_t last_version = window.high_version;
  if (times && !query.backwards &&
      window.high_version - window.low_version >= options.window_positions) {
    window.high_version = window.low_version + options.window_positions - 1;
  }
  StreamPage page;
  auto rows = ReadStreamRows(query, &window, &page.snapshot, connection, deadline);
  if (!rows.ok()) return rows.status();
  if (StartIsArchived(window, *rows)) {
    return Archived(rows->head.first_position, "the beginning of the stream was archived");
  }
  page.info = std::move(rows->info);
  page.head = rows->head;
  page.events = std::move(rows->events);
  const bool limit_reached =
      query.limit > 0 && static_cast<std::int64_t>(page.events.size()) >= query.limit;
  if (limit_reached) return page;
  if (rows->cut) {
    page.next_version = page.events.back().version() + (query.backwards ? -1 : 1);
  } else if (window.high_version < last_version && window.high_version < page.info.version()) {
    page.next_version = window.high_version + 1;
  }
  const bool past_the_end =
      query.backwards ? page.next_version < window.low_version : page.next_version > last_version;
  if (past_the_end) page.next_version = 0;
  return page;
}

absl::StatusOr<AllPage> FollowStream(const ReaderOptions& options, const FollowStreamQuery& query,
                                     pg::Connection& connection, Deadline deadline) {
  tables::FollowWindow window;
  window.stream = &query.stream;
  window.low_version = query.from_version;
  window.after_position = query.after_position;
  window.versions_max = options.window_positions;
  window.limit = options.page_events_max;
  window.bytes_max = options.page_bytes_max;
  window.filter = query.filter.get();
  auto rows = tables::ReadFollowWindow(connection, window, deadline);
  if (!rows.ok()) return rows.status();
  absl::Status checked =
      tables::CheckPosition(connection, rows->head, query.after_position, query.epoch, deadline);
  if (!checked.ok()) return checked;
  if (query.after_position < rows->head.first_position - 1) {
    return Archived(rows->head.first_position,
                    "the store's history before this position was archived");
  }
  if (rows->tombstoned) return StreamDeleted(query.stream);
  AllPage page;
  page.head = rows->head;
  page.first_version = rows->first_version;
  page.events = std::move(rows->events);
  page.position = rows->position;
  page.at_end = page.position >= page.head.position;
  page.next_version = rows->next_version;
  return page;
}

}  // namespace

Reader::Reader(const ReaderOptions& options, const QueryOptions& query, pg::Pool* pool,
               telemetry::ReadMetrics metrics)
    : options_(options),
      query_options_(query),
      metrics_(metrics),
      workers_(options, pool, metrics) {}

template <typename T>
void Reader::Run(Deadline deadline,
                 std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> read, Done<T> done) {
  workers_.Run<T>(Workers::Kind::kRead, deadline, std::move(read), std::move(done));
}

void Reader::ReadStreamPage(StreamPageQuery query, Deadline deadline, Done<StreamPage> done) {
  Run<StreamPage>(
      deadline,
      [this, query = std::move(query)](pg::Connection& connection, Deadline until) {
        auto page = ReadStream(options_, query, connection, until);
        if (page.ok()) metrics_.events->Increment(static_cast<double>(page->events.size()));
        return page;
      },
      std::move(done));
}

void Reader::ReadAllPage(AllPageQuery query, Deadline deadline, Done<AllPage> done) {
  Run<AllPage>(
      deadline,
      [this, query = std::move(query)](pg::Connection& connection, Deadline until) {
        auto page = ReadAll(options_, query, connection, until);
        if (page.ok()) metrics_.events->Increment(static_cast<double>(page->events.size()));
        return page;
      },
      std::move(done));
}

void Reader::QueryPage(AllPageQuery query, Deadline deadline, Done<AllPage> done) {
  Run<AllPage>(
      deadline,
      [this, query = std::move(query)](pg::Connection& connection, Deadline until) {
        auto page = ReadQueryPage(options_, query_options_, query, connection, until);
        if (page.ok()) metrics_.events->Increment(static_cast<double>(page->events.size()));
        return page;
      },
      std::move(done));
}

void Reader::FollowStreamPage(FollowStreamQuery query, Deadline deadline, Done<AllPage> done) {
  Run<AllPage>(
      deadline,
      [this, query = std::move(query)](pg::Connection& connection, Deadline until) {
        auto page = FollowStream(options_, query, connection, until);
        if (page.ok()) metrics_.events->Increment(static_cast<double>(page->events.size()));
        return page;
      },
      std::move(done));
}

void Reader::GetStreamInfo(v1::StreamId stream, Deadline deadline, Done<v1::StreamInfo> done) {
  Run<v1::StreamInfo>(
      deadline,
      [stream = std::move(stream)](pg::Connection& connection, Deadline until) {
        return tables::ReadStreamInfo(connection, stream, until);
      },
      std::move(done));
}

void Reader::ListStreams(v1::ListStreamsRequest request, Deadline deadline,
                         Done<v1::ListStreamsResponse> done) {
  Run<v1::ListStreamsResponse>(
      deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::ListStreams(connection, request, until);
      },
      std::move(done));
}

void Reader::GetEvent(v1::GetEventRequest request, Deadline deadline, Done<v1::Event> done) {
  Run<v1::Event>(
      deadline,
      [request = std::move(request)](pg::Connection& connection, Deadline until) {
        return tables::ReadEvent(connection, request, until);
      },
      std::move(done));
}

void Reader::GetHead(Deadline deadline, Done<tables::Head> done) {
  Run<tables::Head>(
      deadline,
      [](pg::Connection& connection, Deadline until) {
        return tables::ReadHead(connection, until);
      },
      std::move(done));
}

void Reader::CheckStart(std::int64_t position, std::int64_t epoch, bool check_archive,
                        Deadline deadline, Done<tables::Head> done) {
  Run<tables::Head>(
      deadline,
      [=](pg::Connection& connection, Deadline until) -> absl::StatusOr<tables::Head> {
        auto head = tables::ReadHead(connection, until);
        if (!head.ok()) return head;
        absl::Status checked = tables::CheckPosition(connection, *head, position, epoch, until);
        if (!checked.ok()) return checked;
        if (check_archive && position < head->first_position - 1) {
          return Archived(head->first_position,
                          "the store's history before this position was archived");
        }
        return head;
      },
      std::move(done));
}

void Reader::FindPositionBefore(std::int64_t created_at_micros, Deadline deadline,
                                Done<PositionInStore> done) {
  Run<PositionInStore>(
      deadline,
      [=](pg::Connection& connection, Deadline until) -> absl::StatusOr<PositionInStore> {
        auto head = tables::ReadHead(connection, until);
        if (!head.ok()) return head.status();
        // `created_at` never decreases with the position, and positions are dense: a binary search.
        std::int64_t before = head->first_position - 1;  // known to be earlier
        std::int64_t after = head->position + 1;         // known not to be
        while (after - before > 1) {
          const std::int64_t middle = before + (after - before) / 2;
          auto stored = tables::ReadCreatedAt(connection, middle, until);
          if (!stored.ok()) return stored.status();
          if (!stored->has_value()) {
            return absl::DataLossError("a position below the head has no event");
          }
          (**stored < created_at_micros ? before : after) = middle;
        }
        return PositionInStore{before, *head};
      },
      std::move(done));
}

void Reader::ReadChanges(std::int64_t after_revision, Deadline deadline,
                         Done<tables::LogChanges> done) {
  Run<tables::LogChanges>(
      deadline,
      [after_revision](pg::Connection& connection, Deadline until) {
        return tables::ReadLogChanges(connection, after_revision, until);
      },
      std::move(done));
}

void Reader::FindCheckpoint(std::string projection, Deadline deadline, Done<PositionInStore> done) {
  Run<PositionInStore>(
      deadline,
      [projection = std::move(projection)](pg::Connection& connection,
                                           Deadline until) -> absl::StatusOr<PositionInStore> {
        // The head after the checkpoint: it must not be older.
        auto checkpoint = tables::ReadCheckpoint(connection, projection, until);
        if (!checkpoint.ok()) return checkpoint.status();
        auto head = tables::ReadHead(connection, until);
        if (!head.ok()) return head.status();
        if (!checkpoint->has_value()) return PositionInStore{0, *head};
        absl::Status checked = tables::CheckPosition(connection, *head, (*checkpoint)->position(),
                                                     (*checkpoint)->epoch(), until);
        if (!checked.ok()) return checked;
        return PositionInStore{(*checkpoint)->position(), *head};
      },
      std::move(done));
}

}  // namespace eventstore::engine
