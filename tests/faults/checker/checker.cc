#include "tests/faults/checker/checker.h"

#include <algorithm>
#include <sstream>

#include "tests/faults/checker/store_index.h"

namespace eventstore::faults {

void KnownSince::Sort() {
  std::sort(told_.begin(), told_.end());
  std::int64_t greatest = 0;
  for (auto& [at_us, number] : told_) number = greatest = std::max(greatest, number);
}

std::int64_t KnownSince::Before(std::int64_t at_us) const {
  const auto after =
      std::lower_bound(told_.begin(), told_.end(), std::pair(at_us, std::int64_t{0}));
  return after == told_.begin() ? 0 : std::prev(after)->second;
}

StoreIndex::StoreIndex(const History& history, const FinalState& state) {
  for (const StoredEvent& event : state.all) {
    by_id.emplace(event.id, &event);
    by_stream[event.stream].push_back(&event);
  }
  for (const WriterHistory& writer : history.writers) {
    for (const auto& [number, request] : writer.requests) {
      const StoredEvent* last =
          request.bad || request.events.empty() ? nullptr : Find(request.events.back().id);
      if (last != nullptr) versions[request.stream].insert(last->version);
      for (const Attempt& attempt : request.attempts) {
        if (!attempt.appended.has_value()) continue;
        positions.Add(attempt.answered_at_us, attempt.appended->last_position);
        stream_versions[request.stream].Add(attempt.answered_at_us, attempt.appended->last_version);
      }
    }
  }
  positions.Sort();
  for (auto& [stream, known] : stream_versions) known.Sort();
}

const StoredEvent* StoreIndex::Find(const std::string& id) const {
  const auto found = by_id.find(id);
  return found == by_id.end() ? nullptr : found->second;
}

std::vector<std::string> Check(const History& history, const FinalState& state) {
  const StoreIndex index(history, state);
  Findings findings;
  CheckStore(history, state, index, &findings);
  CheckRequests(history, index, &findings);
  CheckSubscribers(history, state, &findings);
  CheckReaders(history, state, index, &findings);
  return findings.Take();
}

namespace {

void CountRequest(const Request& request, const StoreIndex& index, Tally* tally) {
  ++tally->requests;
  bool acknowledged = false;
  bool refused = false;
  for (const Attempt& attempt : request.attempts) {
    ++tally->attempts;
    acknowledged = acknowledged || attempt.appended.has_value();
    if (attempt.appended.has_value() && attempt.appended->deduplicated) ++tally->deduplicated;
    if (attempt.reason == "ERROR_REASON_VERSION_CONFLICT") ++tally->conflicts;
    if (attempt.code == "INVALID_ARGUMENT" || attempt.code == "ALREADY_EXISTS") ++tally->refused;
    refused = refused || attempt.code == "INVALID_ARGUMENT" || attempt.code == "ALREADY_EXISTS" ||
              attempt.code == "ABORTED";
  }
  if (acknowledged) ++tally->acknowledged;
  if (acknowledged || refused || request.events.empty()) return;
  ++(index.Find(request.events.front().id) != nullptr ? tally->unknown_there : tally->unknown_gone);
}

}  // namespace

Tally Count(const History& history, const FinalState& state) {
  const StoreIndex index(history, state);
  Tally tally;
  for (const WriterHistory& writer : history.writers) {
    for (const auto& [number, request] : writer.requests) CountRequest(request, index, &tally);
  }
  for (const SubscriberHistory& subscriber : history.subscribers) {
    for (const SubscriberStep& step : subscriber.steps) {
      if (step.kind == SubscriberStep::Kind::kSession) ++tally.sessions;
      if (step.kind == SubscriberStep::Kind::kEvent) ++tally.seen;
      if (step.kind == SubscriberStep::Kind::kMark && step.text == "fell_behind") {
        ++tally.fell_behind;
      }
    }
  }
  for (const ReaderHistory& reader : history.readers) {
    tally.reads += static_cast<std::int64_t>(reader.reads.size());
  }
  return tally;
}

std::string TextOf(const Tally& tally) {
  std::ostringstream text;
  text << tally.requests << " requests in " << tally.attempts << " attempts: " << tally.acknowledged
       << " acknowledged (" << tally.deduplicated << " replays), " << tally.conflicts
       << " conflicts, " << tally.refused << " refusals, unknown and there " << tally.unknown_there
       << ", unknown and not there " << tally.unknown_gone << "; " << tally.seen
       << " events seen by subscribers in " << tally.sessions << " sessions, fell behind "
       << tally.fell_behind << " times; " << tally.reads << " reads";
  return text.str();
}

}  // namespace eventstore::faults
