// What a lane writes to the tables, and what comes back from its dead letters: the other half of
// lane_state.cc.
#include <algorithm>

#include "server/engine/groups/lane_state.h"

namespace eventstore::engine {

std::vector<LaneState::Parking> LaneState::TakeParks() {
  std::vector<Parking> parks;
  std::set<std::int64_t> later;
  for (const std::int64_t position : parks_) {
    Entry& entry = At(position);
    if (rules_.on_failure == v1::ON_FAILURE_STOP && !entry.is_retry) {
      // One at a time: each needs its own decision.
      if (is_stopping_ || stopped_at_ != 0) {
        later.insert(position);
        continue;
      }
      is_stopping_ = true;
    }
    entry.is_park_taken = true;
    parks.push_back({position, entry.stream, entry.bytes, entry.error, entry.attempts,
                     entry.is_retry, entry.is_behind});
  }
  parks_ = std::move(later);
  return parks;
}

void LaneState::Parked(std::int64_t position) {
  if (retries_.count(position) == 0 && entries_.count(position) == 0) return;
  Entry& entry = At(position);
  if (!entry.is_park_taken) return;
  if (is_stopping_ && !entry.is_retry) {
    is_stopping_ = false;
    stopped_at_ = position;  // unsettled until somebody decides
    return;
  }
  const std::uint64_t stream = entry.stream;
  Stream& chain = streams_[stream];
  chain.chain.erase(std::find(chain.chain.begin(), chain.chain.end(), position));
  Settle(position);
  if (chain.chain.empty()) {
    streams_.erase(stream);
  } else {
    Refresh(stream);
    SettleFront(stream);
  }
  MoveCheckpoint();
}

void LaneState::ParkFailed(std::int64_t position) {
  if (retries_.count(position) == 0 && entries_.count(position) == 0) return;
  Entry& entry = At(position);
  if (!entry.is_park_taken) return;
  entry.is_park_taken = false;
  if (!entry.is_retry) is_stopping_ = false;
  parks_.insert(position);
}

std::vector<LaneState::Attempts> LaneState::UnsavedAttempts() const {
  std::vector<Attempts> unsaved;
  for (const auto& [due, position] : waiting_) {
    const auto found = entries_.find(position);
    if (found == entries_.end() || !found->second.attempts_unsaved) continue;
    unsaved.push_back({position, found->second.attempts, due, found->second.error});
  }
  return unsaved;
}

void LaneState::AttemptsSaved(const std::vector<Attempts>& saved) {
  for (const Attempts& attempts : saved) {
    const auto found = entries_.find(attempts.position);
    if (found == entries_.end() || found->second.attempts != attempts.attempts) continue;
    found->second.attempts_unsaved = false;
  }
}

bool LaneState::AddRetry(LaneEvent event, std::int32_t attempts) {
  if (retries_.count(event.position) > 0 || entries_.count(event.position) > 0) return false;
  Entry entry;
  entry.stream = event.stream;
  entry.created_at_micros = event.created_at_micros;
  entry.attempts = attempts;
  entry.is_retry = true;
  entry.has_dead_letter = true;
  entry.was_delivered = true;
  bytes_ += static_cast<std::int64_t>(event.bytes.size());
  entry.bytes = std::move(event.bytes);
  ++unsettled_;
  CountRetry(&entry);
  retries_.emplace(event.position, std::move(entry));
  std::deque<std::int64_t>& chain = streams_[event.stream].chain;
  chain.insert(std::lower_bound(chain.begin(), chain.end(), event.position), event.position);
  Refresh(event.stream);
  return true;
}

std::vector<std::int64_t> LaneState::TakeResolved() { return std::exchange(resolved_, {}); }

bool LaneState::IsStreamParked(std::uint64_t stream) const {
  return parked_streams_.contains(stream);
}

void LaneState::UnparkStream(std::uint64_t stream) {
  if (parked_streams_.erase(stream) == 0) return;
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  // What came meanwhile and is not set aside yet need not be.
  for (const std::int64_t position : found->second.chain) {
    Entry& entry = At(position);
    if (entry.state != State::kGivenUp || !entry.is_behind || entry.is_park_taken) continue;
    entry.state = State::kPending;
    entry.is_behind = false;
    parks_.erase(position);
  }
  Refresh(stream);
}

bool LaneState::Resume(bool settled) {
  if (stopped_at_ == 0 || entries_.count(stopped_at_) == 0) return false;
  const std::int64_t position = std::exchange(stopped_at_, 0);
  Entry& entry = At(position);
  entry.is_park_taken = false;
  parks_.erase(position);
  const std::uint64_t stream = entry.stream;
  if (settled) {
    entry.state = State::kAcked;
    entry.has_dead_letter = false;  // somebody has resolved it
    if (streams_[stream].chain.front() == position) SettleFront(stream);
    return true;
  }
  entry.state = State::kPending;
  entry.has_dead_letter = true;
  entry.attempts = std::max(0, rules_.attempts_max - 1);
  Refresh(stream);
  return true;
}

void LaneState::Erase(const std::vector<std::int64_t>& positions,
                      const std::function<std::string(const std::string&)>& erase) {
  for (const std::int64_t position : positions) {
    for (Entries* const entries : {&entries_, &retries_}) {
      const auto found = entries->find(position);
      if (found == entries->end() || found->second.bytes.empty()) continue;
      Entry& entry = found->second;
      bytes_ -= static_cast<std::int64_t>(entry.bytes.size());
      entry.bytes = erase(entry.bytes);
      bytes_ += static_cast<std::int64_t>(entry.bytes.size());
      std::string().swap(entry.error);
    }
  }
}

std::int64_t LaneState::oldest_created_at_micros() const {
  const auto next = entries_.upper_bound(checkpoint_);
  return next == entries_.end() ? 0 : next->second.created_at_micros;
}

std::optional<LaneState::Time> LaneState::oldest_in_flight() const {
  if (in_flight_.empty()) return std::nullopt;
  return At(in_flight_.begin()->second).time;
}

bool LaneState::is_clean() const {
  return std::none_of(entries_.upper_bound(checkpoint_), entries_.end(),
                      [](const auto& entry) { return entry.second.was_delivered; });
}

}  // namespace eventstore::engine
