// A lane against a model that is too simple to be wrong: thousands of random histories.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>

#include "server/engine/groups/lane_state.h"

namespace eventstore::engine {
namespace {

using std::chrono::milliseconds;

// What must hold, told by streams: an event is settled once it was acked, or set aside, and so is
// all before it in its stream; a failure undoes the acks behind it.
struct Model {
  struct Event {
    std::int64_t position = 0;
    bool is_done = false;  // acked or set aside
    bool is_in_flight = false;
    int failures = 0;
  };
  std::map<std::uint64_t, std::vector<Event>> streams;
  std::map<std::int64_t, std::uint64_t> stream_of;
  std::int64_t read = 0;

  Event& At(std::int64_t position) {
    for (Event& event : streams[stream_of.at(position)]) {
      if (event.position == position) return event;
    }
    throw std::logic_error("no such event");
  }
  bool IsSettled(std::int64_t position) {
    for (const Event& event : streams[stream_of.at(position)]) {
      if (!event.is_done) return false;
      if (event.position == position) return true;
    }
    return false;
  }
  std::int64_t Checkpoint() {
    for (const auto& [position, stream] : stream_of) {
      if (!IsSettled(position)) return position - 1;
    }
    return read;
  }
  void UndoAfter(std::int64_t position) {
    for (Event& event : streams[stream_of.at(position)]) {
      if (event.position > position) event.is_done = event.is_in_flight = false;
    }
  }
};

class Run {
 public:
  explicit Run(unsigned seed) : dice_(seed), rules_(Rules()), lane_(rules_, {}) {}

  void Go(int steps) {
    for (int i = 0; i < steps; ++i) {
      Step();
      REQUIRE(lane_.checkpoint() == model_.Checkpoint());
      REQUIRE(lane_.in_flight() == static_cast<std::int64_t>(in_flight_.size()));
    }
    // With a member that processes everything the lane comes to its end.
    for (int i = 0; i < 10'000 && lane_.unsettled() > 0; ++i) {
      Durable();
      Pass(milliseconds(1'000));
      Park(false);
      while (lane_.HasNext()) Deliver();
      while (!in_flight_.empty()) Ack(in_flight_.begin()->first);
    }
    REQUIRE(lane_.unsettled() == 0);
    REQUIRE(lane_.retrying() == 0);
    REQUIRE(lane_.checkpoint() == model_.read);
    for (const auto& [position, stream] : model_.stream_of) REQUIRE(model_.IsSettled(position));
  }

 private:
  unsigned Throw(unsigned sides) { return static_cast<unsigned>(dice_() % sides); }

  LaneRules Rules() {
    LaneRules rules;
    rules.unsettled_span_max = 1 + Throw(30);
    rules.in_flight_max = 1 + Throw(20);
    rules.attempts_max = static_cast<std::int32_t>(1 + Throw(4));
    rules.ack_timeout = milliseconds(1'000);
    rules.backoff_min = milliseconds(100);
    rules.backoff_max = milliseconds(400);
    return rules;
  }

  void Step() {
    switch (Throw(12)) {
      case 0:
      case 1:
      case 2:
        if (lane_.HasRoom()) Offer();
        break;
      case 3:
      case 4:
        if (lane_.HasNext()) Deliver();
        break;
      case 5:
      case 6:
      case 7:
        if (!in_flight_.empty()) Ack(Some());
        break;
      case 8:
        if (!in_flight_.empty()) Nack(Some());
        break;
      case 9:
        Pass(milliseconds(Throw(300)));
        break;
      case 10:
        Park(Throw(4) == 0);
        break;
      default:
        Throw(8) == 0 ? Return(Throw(2) == 0) : Durable();
        break;
    }
  }

  std::int64_t Some() {
    auto it = in_flight_.begin();
    std::advance(it, Throw(static_cast<unsigned>(in_flight_.size())));
    return it->first;
  }

  void Offer() {
    REQUIRE(model_.stream_of.size() - durable_events_ <
            static_cast<std::size_t>(rules_.unsettled_span_max));
    model_.read += 1 + Throw(3);
    if (Throw(5) == 0) return lane_.PassOver(model_.read);
    const std::uint64_t stream = Throw(4);
    model_.stream_of[model_.read] = stream;
    model_.streams[stream].push_back({model_.read, false, false, 0});
    lane_.Offer({model_.read, stream, 1, std::to_string(model_.read)}, now_);
  }

  void Deliver() {
    const auto delivery = lane_.Next(++id_, now_);
    Model::Event& event = model_.At(delivery.position);
    REQUIRE(*delivery.bytes == std::to_string(delivery.position));
    REQUIRE_FALSE(event.is_done);
    REQUIRE_FALSE(event.is_in_flight);
    REQUIRE(delivery.attempt == event.failures + 1);
    for (const Model::Event& earlier : model_.streams[model_.stream_of[delivery.position]]) {
      if (earlier.position >= delivery.position) break;
      // In order; and alone after a failure, of its own or of an earlier one.
      REQUIRE((earlier.is_done || earlier.is_in_flight));
      if (!model_.IsSettled(earlier.position)) {
        REQUIRE(event.failures == 0);
        REQUIRE(earlier.failures == 0);
      }
    }
    event.is_in_flight = true;
    in_flight_[id_] = {delivery.position, now_};
  }

  void Ack(std::int64_t id) {
    const std::int64_t position = in_flight_.at(id).first;
    REQUIRE(lane_.Ack(id));
    REQUIRE_FALSE(lane_.Ack(id));
    in_flight_.erase(id);
    model_.At(position).is_in_flight = false;
    model_.At(position).is_done = true;
  }

  void Forget(std::int64_t position) {
    std::erase_if(in_flight_, [&](const auto& entry) {
      const std::int64_t other = entry.second.first;
      return model_.stream_of[other] == model_.stream_of[position] && other >= position;
    });
  }

  void Failed(std::int64_t position) {
    Model::Event& event = model_.At(position);
    event.is_in_flight = false;
    ++event.failures;
    Forget(position);
    model_.UndoAfter(position);
  }

  void Nack(std::int64_t id) {
    const std::int64_t position = in_flight_.at(id).first;
    if (Throw(5) == 0) {
      REQUIRE(lane_.Park(id, "parked"));
      in_flight_.erase(id);
      model_.At(position).is_in_flight = false;
      ++model_.At(position).failures;
      return;
    }
    REQUIRE(lane_.Retry(id, "nacked", std::nullopt, now_));
    Failed(position);
  }

  void Pass(milliseconds time) {
    now_ += time;
    std::int64_t expected = 0;
    while (!in_flight_.empty() && in_flight_.begin()->second.second + rules_.ack_timeout <= now_) {
      Failed(in_flight_.begin()->second.first);
      ++expected;
    }
    REQUIRE(lane_.Advance(now_) == expected);
  }

  void Park(bool fail) {
    for (const LaneState::Parking& park : lane_.TakeParks()) {
      REQUIRE(park.attempts == model_.At(park.position).failures);
      for (const Model::Event& earlier : model_.streams[park.stream]) {
        if (earlier.position < park.position) REQUIRE(earlier.is_done);
      }
      if (fail) {
        lane_.ParkFailed(park.position);
        continue;
      }
      lane_.Parked(park.position);
      model_.At(park.position).is_done = true;
    }
  }

  void Return(bool failed) {
    std::map<std::uint64_t, std::int64_t> first;
    for (const auto& [id, flight] : in_flight_) {
      first.emplace(model_.stream_of[flight.first], flight.first);
    }
    lane_.ReturnAll(failed, "gone", now_);
    for (const auto& [stream, position] : first) {
      Failed(position);
      if (!failed) --model_.At(position).failures;
    }
    REQUIRE(in_flight_.empty());
  }

  void Durable() {
    lane_.OnDurable(lane_.checkpoint());
    durable_events_ = 0;
    for (const auto& [position, stream] : model_.stream_of) {
      if (position <= lane_.checkpoint()) ++durable_events_;
    }
  }

  std::mt19937 dice_;
  const LaneRules rules_;
  LaneState lane_;
  Model model_;
  LaneState::Time now_{std::chrono::hours(1)};
  std::int64_t id_ = 0;
  std::size_t durable_events_ = 0;
  std::map<std::int64_t, std::pair<std::int64_t, LaneState::Time>> in_flight_;
};

TEST_CASE("ALaneDoesWhatTheModelSays", "[lane_state]") {
  const char* const one = std::getenv("EVENTSTORE_TEST_SEED");
  const unsigned first = one != nullptr ? static_cast<unsigned>(std::atol(one)) : 0;
  const unsigned last = one != nullptr ? first : 4'000;
  for (unsigned seed = first; seed <= last; ++seed) {
    INFO("EVENTSTORE_TEST_SEED=" << seed);
    Run(seed).Go(200);
  }
}

}  // namespace
}  // namespace eventstore::engine
