#include "server/engine/relay/relay_progress.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <iterator>
#include <limits>

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

// The first wait for a stream that somebody else has.
constexpr milliseconds kForeignWait{50};

// Why a stream ends before an entry.
StreamEnd EndBefore(const tables::OutboxCandidate& candidate) {
  switch (candidate.hindrance) {
    case tables::OutboxHindrance::kNone:
      return StreamEnd::kMore;
    case tables::OutboxHindrance::kNotDue:
      return StreamEnd::kTimed;
    case tables::OutboxHindrance::kClaimed:
      return StreamEnd::kForeign;
    case tables::OutboxHindrance::kFailed:
      return StreamEnd::kStuck;
  }
  return StreamEnd::kMore;
}

}  // namespace

std::vector<tables::OutboxStreamLimit> RelayBatch::Limits() const {
  std::vector<tables::OutboxStreamLimit> limits;
  limits.reserve(streams.size());
  for (const BatchStream& stream : streams) limits.push_back({stream.key, stream.limit});
  return limits;
}

void RelayBatch::Take(const std::vector<tables::OutboxCandidate>& candidates,
                      std::int64_t bytes_max) {
  std::int64_t bytes = 0;
  auto next = candidates.begin();
  for (BatchStream& stream : streams) {
    bool ended = false;
    std::int64_t looked_at = 0;
    std::int64_t position = 0;
    for (; next != candidates.end() && next->stream_key == stream.key; ++next) {
      if (ended) continue;
      ++looked_at;
      position = next->position;
      const bool fits = bytes == 0 || bytes + next->bytes <= bytes_max;
      if (next->hindrance != tables::OutboxHindrance::kNone || !fits) {
        stream.end = EndBefore(*next);
        stream.wait = next->wait;
        ended = true;
        continue;
      }
      bytes += next->bytes;
      stream.taken.push_back(next->id);
    }
    if (!ended && looked_at == stream.limit && position < stream.last_seen) {
      stream.end = StreamEnd::kMore;
    }
  }
}

std::vector<Uuid> RelayBatch::TakenIds() const {
  std::vector<Uuid> ids;
  for (const BatchStream& stream : streams) {
    ids.insert(ids.end(), stream.taken.begin(), stream.taken.end());
  }
  return ids;
}

void RelayBatch::KeepLocked(std::vector<tables::OutboxRow>* rows) {
  absl::flat_hash_set<Uuid, UuidHash> locked;
  for (const tables::OutboxRow& row : *rows) locked.insert(row.id);
  absl::flat_hash_set<Uuid, UuidHash> kept;
  for (BatchStream& stream : streams) {
    const auto first_missing = std::find_if(stream.taken.begin(), stream.taken.end(),
                                            [&](const Uuid& id) { return !locked.contains(id); });
    kept.insert(stream.taken.begin(), first_missing);
    if (first_missing == stream.taken.end()) continue;
    stream.taken.erase(first_missing, stream.taken.end());
    stream.end = StreamEnd::kForeign;
  }
  std::erase_if(*rows, [&](const tables::OutboxRow& row) { return !kept.contains(row.id); });
}

BatchStream* RelayBatch::Find(std::int64_t key) {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : &streams[found->second];
}

Deadline RelayProgress::NextDue() const {
  return by_due_.empty() ? Deadline::max() : by_due_.begin()->first;
}

RelayBatch RelayProgress::Plan(std::span<const tables::OutboxSighting> seen, bool seen_all,
                               std::int64_t entries_max, Deadline now) const {
  RelayBatch batch;
  batch.cursor = cursor_;
  const auto add = [&](std::int64_t key, std::int64_t limit, std::int64_t last_seen) {
    const auto [known, is_new] = batch.index_.emplace(key, batch.streams.size());
    if (is_new) batch.streams.push_back({.key = key, .limit = 0});
    BatchStream& stream = batch.streams[known->second];
    stream.limit += limit;
    stream.last_seen = last_seen;
  };
  const auto due_end = by_due_.upper_bound({now, std::numeric_limits<std::int64_t>::max()});
  const std::int64_t half = std::max<std::int64_t>(1, entries_max / 2);
  const std::int64_t due = std::min<std::int64_t>(half, std::distance(by_due_.begin(), due_end));
  std::int64_t left = entries_max;
  for (auto it = by_due_.begin(); std::cmp_less(batch.streams.size(), due); ++it) {
    add(it->second, half / due, std::numeric_limits<std::int64_t>::max());
    left -= half / due;
  }
  std::size_t passed = 0;
  for (; passed < seen.size(); ++passed) {
    const tables::OutboxSighting& sighting = seen[passed];
    if (!held_.contains(sighting.stream_key)) {
      if (left <= 0) break;
      add(sighting.stream_key, 1, sighting.position);
      --left;
    }
    batch.cursor = sighting.position;
  }
  batch.has_more = passed < seen.size() || !seen_all;
  return batch;
}

void RelayProgress::Apply(const RelayBatch& batch, Deadline now) {
  cursor_ = batch.cursor;
  for (const BatchStream& stream : batch.streams) {
    switch (stream.end) {
      case StreamEnd::kDone:
        Release(stream.key);
        break;
      case StreamEnd::kMore:
        Hold(stream.key, now, kForeignWait);
        break;
      case StreamEnd::kTimed:
        Hold(stream.key, now + stream.wait, kForeignWait);
        break;
      case StreamEnd::kForeign: {
        const auto known = held_.find(stream.key);
        const milliseconds wait =
            std::min(wait_max_, known == held_.end() ? kForeignWait : known->second.wait * 2);
        Hold(stream.key, now + wait, wait);
        break;
      }
      case StreamEnd::kStuck:
        Hold(stream.key, Deadline::max(), kForeignWait);
        break;
    }
  }
}

void RelayProgress::NoteHeads(const std::vector<tables::OutboxStreamHead>& heads, Deadline now) {
  for (const tables::OutboxStreamHead& head : heads) {
    if (!head.is_ready) continue;
    const auto held = held_.find(head.stream_key);
    if (held == held_.end() ? head.position <= cursor_ : held->second.due > now) {
      Hold(head.stream_key, now, kForeignWait);
    }
  }
}

void RelayProgress::Hold(std::int64_t stream_key, Deadline due, milliseconds wait) {
  Release(stream_key);
  held_.emplace(stream_key, Held{due, wait});
  by_due_.emplace(due, stream_key);
  if (held_.size() > kHeldMax) Release(std::prev(by_due_.end())->second);
}

void RelayProgress::Release(std::int64_t stream_key) {
  const auto known = held_.find(stream_key);
  if (known == held_.end()) return;
  by_due_.erase({known->second.due, stream_key});
  held_.erase(known);
}

}  // namespace eventstore::engine
