#include "server/engine/groups/lane_state.h"

#include <algorithm>
#include <cassert>

namespace eventstore::engine {

std::chrono::milliseconds BackoffOf(const LaneRules& rules, std::int32_t attempts,
                                    std::uint64_t seed) {
  std::int64_t delay = rules.backoff_min.count();
  for (std::int32_t i = 1; i < attempts && delay < rules.backoff_max.count(); ++i) delay *= 2;
  delay = std::min(delay, rules.backoff_max.count());
  seed = (seed ^ static_cast<std::uint64_t>(attempts)) * 0x9e3779b97f4a7c15U;
  const auto quarter = static_cast<std::uint64_t>(delay / 4 + 1);
  return std::chrono::milliseconds(delay - static_cast<std::int64_t>((seed >> 32U) % quarter));
}

LaneState::LaneState(const LaneRules& rules, LaneStart start)
    : rules_(rules),
      known_(std::move(start.known)),
      parked_streams_(start.parked_streams.begin(), start.parked_streams.end()),
      checkpoint_(start.checkpoint),
      durable_(start.checkpoint),
      read_position_(start.checkpoint),
      stopped_at_(start.stopped_at),
      repeat_left_(start.may_repeat ? rules.unsettled_span_max : 0) {}

const LaneState::Entry& LaneState::At(std::int64_t position) const {
  const auto retry = retries_.find(position);
  if (retry != retries_.end()) return retry->second;
  const auto found = entries_.find(position);
  assert(found != entries_.end());
  return found->second;
}

LaneState::Entry& LaneState::At(std::int64_t position) {
  return const_cast<Entry&>(static_cast<const LaneState*>(this)->At(position));
}

void LaneState::CountRetry(Entry* entry) {
  if (entry->is_counted) return;
  entry->is_counted = true;
  ++retrying_;
}

bool LaneState::HasRoom() const {
  return static_cast<std::int64_t>(entries_.size()) < rules_.unsettled_span_max &&
         (entries_.empty() || bytes_ < rules_.bytes_max);
}

bool LaneState::IsHalfEmpty() const {
  return static_cast<std::int64_t>(entries_.size()) <= rules_.unsettled_span_max / 2 &&
         bytes_ <= rules_.bytes_max / 2;
}

void LaneState::Offer(LaneEvent event, Time now) {
  assert(event.position > read_position_);
  read_position_ = event.position;
  Entry entry;
  entry.stream = event.stream;
  entry.created_at_micros = event.created_at_micros;
  if (repeat_left_ > 0) {
    --repeat_left_;
    entry.was_delivered = true;
  }
  const auto known = known_.find(event.position);
  if (known != known_.end() && known->second.is_settled) {
    entry.state = State::kSettled;
    entries_.emplace(event.position, std::move(entry));
    MoveCheckpoint();
    return;
  }
  bytes_ += static_cast<std::int64_t>(event.bytes.size());
  ++unsettled_;
  entry.bytes = std::move(event.bytes);
  const std::uint64_t stream = entry.stream;
  if (known != known_.end()) {
    entry.attempts = known->second.attempts;
    entry.has_dead_letter = known->second.has_dead_letter;
    entry.was_delivered = true;
    entry.state = State::kWaiting;
    entry.time = now + known->second.due_in;
    waiting_.emplace(entry.time, event.position);
    CountRetry(&entry);
  }
  const bool careful = HoldsBack(entry);
  entries_.emplace(event.position, std::move(entry));
  Stream& chain = streams_[stream];
  chain.chain.push_back(event.position);
  if (IsStreamParked(stream)) {
    GiveUp(event.position, /*is_behind=*/true);
  } else if (event.position == stopped_at_) {
    GiveUp(event.position, /*is_behind=*/false);
  } else if (careful) {
    chain.is_careful = true;
  } else if (!chain.is_careful) {
    ready_.insert(event.position);
  }
  MoveCheckpoint();
}

void LaneState::PassOver(std::int64_t position) {
  read_position_ = std::max(read_position_, position);
  MoveCheckpoint();
}

// Moves over what is settled. Everything taken in lies beyond it.
void LaneState::MoveCheckpoint() {
  auto next = entries_.upper_bound(checkpoint_);
  while (next != entries_.end() && next->second.state == State::kSettled) {
    checkpoint_ = next->first;
    ++next;
  }
  checkpoint_ = next == entries_.end() ? std::max(checkpoint_, read_position_) : next->first - 1;
}

void LaneState::OnDurable(std::int64_t checkpoint) {
  durable_ = checkpoint;
  entries_.erase(entries_.begin(), entries_.upper_bound(durable_));
}

bool LaneState::HasNext() const {
  return stopped_at_ == 0 && !ready_.empty() && in_flight() < rules_.in_flight_max;
}

bool LaneState::NextIsSuspect() const {
  const Entry& entry = At(*ready_.begin());
  return entry.was_with_the_dead && entry.attempts + 1 >= rules_.attempts_max;
}

LaneState::Delivery LaneState::Next(std::int64_t delivery_id, Time now) {
  const std::int64_t position = *ready_.begin();
  ready_.erase(ready_.begin());
  Entry& entry = At(position);
  Delivery delivery{position, entry.attempts + 1, entry.was_delivered, &entry.bytes};
  entry.state = State::kInFlight;
  entry.was_delivered = true;
  entry.delivery_id = delivery_id;
  entry.time = now;
  in_flight_.emplace(delivery_id, position);
  return delivery;
}

// Later events of the stream wait until it is settled.
bool LaneState::HoldsBack(const Entry& entry) const {
  return entry.is_retry || entry.attempts > 0 || entry.state == State::kWaiting ||
         entry.state == State::kGivenUp;
}

// Finds out anew what of a stream may be delivered, after something other than the usual happened.
void LaneState::Refresh(std::uint64_t stream) {
  const auto found = streams_.find(stream);
  if (found == streams_.end()) return;
  Stream& chain = found->second;
  chain.is_careful = false;
  bool is_front = true;
  for (const std::int64_t position : chain.chain) {
    Entry& entry = At(position);
    const bool careful = HoldsBack(entry);
    if (entry.state == State::kPending) {
      if (!chain.is_careful && (is_front || !careful)) {
        ready_.insert(position);
      } else {
        ready_.erase(position);
      }
    } else if (entry.state == State::kGivenUp && is_front && !entry.is_park_taken &&
               stopped_at_ != position) {
      parks_.insert(position);
    }
    chain.is_careful = chain.is_careful || careful;
    is_front = false;
  }
}

std::optional<std::int64_t> LaneState::InFlight(std::int64_t delivery_id) const {
  const auto found = in_flight_.find(delivery_id);
  if (found == in_flight_.end()) return std::nullopt;
  return found->second;
}

void LaneState::LeaveFlight(Entry* entry) {
  if (entry->state == State::kInFlight) in_flight_.erase(entry->delivery_id);
  entry->delivery_id = 0;
}

bool LaneState::Ack(std::int64_t delivery_id) {
  const auto position = InFlight(delivery_id);
  if (!position.has_value()) return false;
  Entry& entry = At(*position);
  LeaveFlight(&entry);
  entry.state = State::kAcked;
  const std::uint64_t stream = entry.stream;
  if (streams_[stream].chain.front() == *position) SettleFront(stream);
  return true;
}

// Settles the acked events at the front of a stream.
void LaneState::SettleFront(std::uint64_t stream) {
  Stream& chain = streams_[stream];
  while (!chain.chain.empty()) {
    const std::int64_t position = chain.chain.front();
    if (At(position).state != State::kAcked) break;
    chain.chain.pop_front();
    Settle(position);
  }
  if (chain.chain.empty()) {
    streams_.erase(stream);
  } else if (chain.is_careful) {
    Refresh(stream);
  }
  MoveCheckpoint();
}

void LaneState::Settle(std::int64_t position) {
  const auto retry = retries_.find(position);
  Entry& entry = At(position);
  if (entry.is_counted) --retrying_;
  --unsettled_;
  bytes_ -= static_cast<std::int64_t>(entry.bytes.size());
  if (entry.has_dead_letter && entry.state == State::kAcked) resolved_.push_back(position);
  if (retry != retries_.end()) {
    retries_.erase(retry);
    return;
  }
  entry.state = State::kSettled;
  std::string().swap(entry.bytes);
  std::string().swap(entry.error);
}

// What was delivered after `position` in its stream is delivered again, after it.
void LaneState::TakeBackLater(std::uint64_t stream, std::int64_t position) {
  for (const std::int64_t later : streams_[stream].chain) {
    if (later <= position) continue;
    Entry& entry = At(later);
    if (entry.state != State::kInFlight && entry.state != State::kAcked) continue;
    LeaveFlight(&entry);
    entry.state = State::kPending;
  }
}

void LaneState::Fail(std::int64_t position, std::string_view error,
                     std::optional<std::chrono::milliseconds> delay, Time now) {
  Entry& entry = At(position);
  LeaveFlight(&entry);
  CountRetry(&entry);
  ++entry.attempts;
  entry.error = error;
  TakeBackLater(entry.stream, position);
  // A dead letter has one attempt each time that it is retried.
  if (entry.is_retry || entry.attempts >= rules_.attempts_max) return GiveUp(position, false);
  entry.state = State::kWaiting;
  entry.attempts_unsaved = true;
  entry.time =
      now + delay.value_or(BackoffOf(rules_, entry.attempts, static_cast<std::uint64_t>(position)));
  waiting_.emplace(entry.time, position);
  Refresh(entry.stream);
}

void LaneState::GiveUp(std::int64_t position, bool is_behind) {
  Entry& entry = At(position);
  if (entry.state == State::kWaiting) waiting_.erase({entry.time, position});
  ready_.erase(position);
  LeaveFlight(&entry);
  entry.state = State::kGivenUp;
  entry.is_behind = is_behind;
  entry.attempts_unsaved = false;
  if (rules_.on_failure == v1::ON_FAILURE_PARK_STREAM && !is_behind) {
    parked_streams_.insert(entry.stream);
    TakeBackLater(entry.stream, position);
    const std::deque<std::int64_t> chain = streams_[entry.stream].chain;
    for (const std::int64_t later : chain) {
      if (later > position) GiveUp(later, /*is_behind=*/true);
    }
  }
  Refresh(entry.stream);
}

bool LaneState::Retry(std::int64_t delivery_id, std::string_view error,
                      std::optional<std::chrono::milliseconds> delay, Time now) {
  const auto position = InFlight(delivery_id);
  if (!position.has_value()) return false;
  Fail(*position, error, delay, now);
  return true;
}

bool LaneState::Park(std::int64_t delivery_id, std::string_view error) {
  const auto position = InFlight(delivery_id);
  if (!position.has_value()) return false;
  Entry& entry = At(*position);
  CountRetry(&entry);
  ++entry.attempts;
  entry.error = error;
  GiveUp(*position, false);
  return true;
}

void LaneState::ReturnAll(bool failed, std::string_view error, Time now) {
  const std::map<std::int64_t, std::int64_t> flight = in_flight_;
  for (const auto& [id, position] : flight) {
    Entry& entry = At(position);
    entry.was_with_the_dead = entry.was_with_the_dead || failed;
    // The first of a stream takes the later ones back; they are not to blame.
    if (entry.state != State::kInFlight) continue;
    if (failed) {
      Fail(position, error, std::nullopt, now);
      continue;
    }
    LeaveFlight(&entry);
    entry.state = State::kPending;
    TakeBackLater(entry.stream, position);
    Refresh(entry.stream);
  }
}

std::int64_t LaneState::Advance(Time now) {
  std::int64_t timed_out = 0;
  // Ids grow with time, so the oldest deliveries come first.
  while (!in_flight_.empty()) {
    const std::int64_t position = in_flight_.begin()->second;
    if (At(position).time + rules_.ack_timeout > now) break;
    Fail(position, "no ack came in time", std::nullopt, now);
    ++timed_out;
  }
  while (!waiting_.empty() && waiting_.begin()->first <= now) {
    const std::int64_t position = waiting_.begin()->second;
    waiting_.erase(waiting_.begin());
    Entry& entry = At(position);
    entry.state = State::kPending;
    Refresh(entry.stream);
  }
  return timed_out;
}

LaneState::Time LaneState::NextDeadline() const {
  Time next = Time::max();
  if (!in_flight_.empty()) next = *oldest_in_flight() + rules_.ack_timeout;
  if (!waiting_.empty()) next = std::min(next, waiting_.begin()->first);
  return next;
}

}  // namespace eventstore::engine
