#include "tests/unit/engine/naive_batch.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

namespace eventstore::engine {
namespace {

using Kind = NaiveBatch::Verdict::Kind;

bool Holds(const v1::ExpectedVersion& expected, std::int64_t version) {
  if (expected.has_any()) return true;
  if (expected.has_no_stream()) return version == 0;
  if (expected.has_stream_exists()) return version != 0;
  return expected.kind_case() == v1::ExpectedVersion::kExact && expected.exact() == version;
}

bool MatchesNaively(const v1::AppendCondition& condition, const v1::NewEvent& event) {
  for (const v1::QueryItem& item : condition.query()) {
    const auto& types = item.event_types();
    bool all = types.empty() || std::count(types.begin(), types.end(), event.event_type()) > 0;
    for (const std::string& tag : item.tags()) {
      all = all && std::count(event.tags().begin(), event.tags().end(), tag) > 0;
    }
    if (all) return true;
  }
  return condition.query().empty();
}

}  // namespace

NaiveBatch::NaiveBatch(const MemoryTables* tables, const MemoryTables::Commit* before)
    : tables_(tables),
      base_position_(before == nullptr ? tables->head().position : before->head_before.position),
      base_commit_(before == nullptr ? std::numeric_limits<std::int64_t>::max() : before->number),
      position_(base_position_) {}

std::optional<NaiveBatch::Place> NaiveBatch::Find(const Uuid& id) const {
  const auto written = written_.find(id);
  if (written != written_.end()) return written->second;
  const StoredEvent* event = tables_->FindEvent(id);
  if (event == nullptr || event->position > base_position_) return std::nullopt;
  return Place{event->position, event->version, event->stream_name, event->stream.tenant_id(),
               event->stream.aggregate_id()};
}

std::int64_t NaiveBatch::StoredVersion(const std::string& stream) const {
  const StoredStream* stored = tables_->FindStream(stream);
  if (stored == nullptr) return 0;
  return std::upper_bound(stored->positions.begin(), stored->positions.end(), base_position_) -
         stored->positions.begin();
}

bool NaiveBatch::Tombstoned(const std::string& stream) const {
  const StoredStream* stored = tables_->FindStream(stream);
  return stored != nullptr && stored->tombstoned_by != 0 && stored->tombstoned_by < base_commit_;
}

std::int64_t& NaiveBatch::VersionOf(const std::string& stream) {
  const auto known = versions_.try_emplace(stream, 0);
  if (known.second) known.first->second = StoredVersion(stream);
  return known.first->second;
}

NaiveBatch::Place NaiveBatch::Write(const ValidatedAppend& append, const std::string& stream) {
  std::int64_t& version = VersionOf(stream);
  const v1::StreamId& id = append.request.stream();
  const Place first{position_ + 1, version + 1, stream, id.tenant_id(), id.aggregate_id()};
  for (std::size_t i = 0; i < append.event_ids.size(); ++i) {
    Place place = first;
    place.position = ++position_;
    place.version = ++version;
    written_.emplace(append.event_ids[i], place);
    events_.emplace_back(position_, &append.request.events(static_cast<int>(i)));
  }
  return first;
}

bool NaiveBatch::Deleted(const std::string& stream, std::int64_t version) const {
  const StoredStream* stored = tables_->FindStream(stream);
  return stored != nullptr && version == StoredVersion(stream) &&
         stored->DeletedAt(version, base_commit_);
}

std::int64_t NaiveBatch::ReadableVersion(const std::string& stream) {
  const std::int64_t version = VersionOf(stream);
  return Deleted(stream, version) ? 0 : version;
}

NaiveBatch::Verdict NaiveBatch::Decide(const Request& request) {
  const std::vector<Uuid>& ids = request.append.event_ids;
  std::vector<Place> stored;
  int blamed = -1;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::optional<Place> place = Find(ids[i]);
    if (!place.has_value()) continue;
    if (blamed < 0) blamed = static_cast<int>(i);
    stored.push_back(*place);
  }
  if (!stored.empty()) {
    bool replay = stored.size() == ids.size();
    for (std::size_t i = 0; i < stored.size(); ++i) {
      replay = replay && stored[i].stream == request.stream &&
               stored[i].version == stored[0].version + static_cast<std::int64_t>(i);
    }
    return {replay ? Kind::kReplayed : Kind::kDuplicate, stored[0], blamed, 0, 0, {}, {}};
  }
  if (Tombstoned(request.stream)) return {Kind::kDeleted, {}, 0, 0, 0, {}, {}};
  const std::int64_t version = ReadableVersion(request.stream);
  if (!Holds(request.append.request.expected_version(), version)) {
    return {Kind::kConflict, {}, 0, version, 0, {}, {}};
  }
  return {Kind::kWritten, Write(request.append, request.stream), 0, 0, 0, {}, {}};
}

std::int64_t NaiveBatch::FindMatch(const v1::AppendCondition& condition) const {
  const std::int64_t stored =
      tables_->FindMatch(condition, condition.after_position(), base_position_);
  if (stored != 0) return stored;
  for (const auto& [position, event] : events_) {
    if (MatchesNaively(condition, *event)) return position;
  }
  return 0;
}

NaiveBatch::Verdict NaiveBatch::DecideTransaction(const Request& request, bool conditions_count) {
  Verdict verdict{Kind::kReplayed, {}, 0, 0, 0, {}, {}};
  std::size_t known = 0;
  std::size_t events = 0;
  bool replay = true;
  for (std::size_t a = 0; a < request.appends().size(); ++a) {
    const std::vector<Uuid>& ids = request.appends()[a].event_ids;
    std::optional<Place> first;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::optional<Place> place = Find(ids[i]);
      ++events;
      if (!place.has_value()) {
        replay = false;
        continue;
      }
      if (!first.has_value()) first = place;
      ++known;
      replay = replay && place->stream == request.stream_of(a) &&
               place->version == first->version + static_cast<std::int64_t>(i);
    }
    verdict.firsts.push_back(first.value_or(Place()));
  }
  if (known > 0) {
    if (known < events || !replay) verdict.kind = Kind::kDuplicate;
    return verdict;
  }
  verdict.kind = Kind::kWritten;
  for (const std::string& stream : request.streams) {
    if (Tombstoned(stream)) verdict.kind = Kind::kDeleted;
  }
  if (verdict.kind == Kind::kDeleted) return verdict;
  const ValidatedTransaction& wanted = request.transaction->request;
  std::vector<std::string> checks;
  for (std::size_t i = 0; i < wanted.checks.size(); ++i) {
    const std::int64_t version = ReadableVersion(request.check_streams[i]);
    if (Holds(wanted.checks[i].check.expected_version(), version)) continue;
    checks.push_back(absl::StrCat("checks[", i, "].expected_version ", version));
  }
  std::vector<std::string> conditions;
  for (std::size_t i = 0; conditions_count && i < wanted.conditions.size(); ++i) {
    const std::int64_t position = FindMatch(wanted.conditions[i]);
    if (position != 0) conditions.push_back(absl::StrCat("conditions[", i, "] ", position));
  }
  const NaiveBatch before = *this;
  verdict.firsts.clear();
  for (std::size_t a = 0; a < wanted.appends.size(); ++a) {
    const std::int64_t version = ReadableVersion(request.streams[a]);
    if (!Holds(wanted.appends[a].request.expected_version(), version)) {
      verdict.violations.push_back(absl::StrCat("appends[", a, "].expected_version ", version));
    }
    verdict.firsts.push_back(Write(wanted.appends[a], request.streams[a]));
  }
  for (const auto& more : {checks, conditions}) {
    verdict.violations.insert(verdict.violations.end(), more.begin(), more.end());
  }
  if (verdict.violations.empty()) return verdict;
  position_ = before.position_;
  written_ = before.written_;
  events_ = before.events_;
  versions_ = before.versions_;
  verdict.kind = Kind::kConflict;
  return verdict;
}

}  // namespace eventstore::engine
