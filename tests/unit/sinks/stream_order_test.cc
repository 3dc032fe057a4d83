#include "server/sinks/stream_order.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

namespace eventstore::sinks {
namespace {

std::vector<Message> MessagesOf(const std::vector<std::int64_t>& stream_keys) {
  static const v1::Event event;
  std::vector<Message> messages;
  for (const std::int64_t key : stream_keys) messages.push_back({&event, key});
  return messages;
}

std::vector<std::size_t> TakeAll(StreamOrder* order) {
  std::vector<std::size_t> taken;
  while (const auto index = order->Take()) taken.push_back(*index);
  return taken;
}

TEST_CASE("StreamOrderOneMessageAStreamIsGivenOutTheNextWhenItWasPublished") {
  const auto messages = MessagesOf({1, 1, 2, 1, 2});
  StreamOrder order(messages);
  CHECK(TakeAll(&order) == std::vector<std::size_t>{0, 2});
  CHECK(order.in_flight() == 2);
  order.Published(2);
  CHECK(TakeAll(&order) == std::vector<std::size_t>{4});
  order.Published(0);
  CHECK(TakeAll(&order) == std::vector<std::size_t>{1});
  order.Published(1);
  order.Published(4);
  CHECK_FALSE(order.done());
  CHECK(TakeAll(&order) == std::vector<std::size_t>{3});
  order.Published(3);
  CHECK(order.done());
  for (const Delivery& delivery : order.TakeDeliveries()) {
    CHECK(delivery.outcome == Outcome::kPublished);
  }
}

TEST_CASE("StreamOrderARefusedMessageEndsItsStreamAndNoOther") {
  const auto messages = MessagesOf({1, 1, 2, 2});
  StreamOrder order(messages);
  TakeAll(&order);
  order.Refused(0, "two\nlines");
  order.Published(2);
  CHECK(TakeAll(&order) == std::vector<std::size_t>{3});
  order.Published(3);
  CHECK(order.done());
  const auto deliveries = order.TakeDeliveries();
  CHECK(deliveries[0].outcome == Outcome::kRefused);
  CHECK(deliveries[0].error == "two lines");
  CHECK(deliveries[1].outcome == Outcome::kNotTried);
  CHECK(deliveries[3].outcome == Outcome::kPublished);
}

TEST_CASE("StreamOrderWhenTheBrokerIsAwayWhatIsInFlightIsUnknownTheRestNotTried") {
  const auto messages = MessagesOf({1, 1, 2, 3});
  StreamOrder order(messages);
  REQUIRE(order.Take() == 0U);
  REQUIRE(order.Take() == 2U);
  order.BrokerAway("gone");
  CHECK(order.done());
  CHECK_FALSE(order.Take().has_value());
  const auto deliveries = order.TakeDeliveries();
  CHECK(deliveries[0].outcome == Outcome::kUnavailable);
  CHECK(deliveries[0].error == "gone");
  CHECK(deliveries[1].outcome == Outcome::kNotTried);
  CHECK(deliveries[2].outcome == Outcome::kUnavailable);
  CHECK(deliveries[3].outcome == Outcome::kNotTried);
}

TEST_CASE("StreamOrderABrokerThatIsAwayFromTheStartIsToldForEachStreamsFirst") {
  const auto messages = MessagesOf({1, 1, 2});
  StreamOrder order(messages);
  order.BrokerAway("gone");
  const auto deliveries = order.TakeDeliveries();
  CHECK(deliveries[0].outcome == Outcome::kUnavailable);
  CHECK(deliveries[1].outcome == Outcome::kNotTried);
  CHECK(deliveries[2].outcome == Outcome::kUnavailable);
}

TEST_CASE("StreamOrderALateOrRepeatedAnswerChangesNothing") {
  const auto messages = MessagesOf({1, 1});
  StreamOrder order(messages);
  TakeAll(&order);
  order.Refused(0, "no");
  order.Refused(0, "again");
  CHECK(order.in_flight() == 0);
  CHECK(order.TakeDeliveries()[0].error == "no");
}

TEST_CASE("StreamOrderNoStreamEverHasTwoInFlightWhateverTheAnswers") {
  const auto seed = GENERATE(1U, 2U, 3U, 4U, 5U);
  std::mt19937 dice(seed);
  std::vector<std::int64_t> keys;
  for (int i = 0; i < 500; ++i) keys.push_back(dice() % 20);
  const auto messages = MessagesOf(keys);
  StreamOrder order(messages);
  std::vector<std::size_t> in_flight;
  std::vector<std::size_t> last(20, 0);
  while (!order.done()) {
    for (const std::size_t index : TakeAll(&order)) {
      const auto same = [&](std::size_t other) { return keys[other] == keys[index]; };
      REQUIRE(std::none_of(in_flight.begin(), in_flight.end(), same));
      REQUIRE(index >= last[static_cast<std::size_t>(keys[index])]);
      last[static_cast<std::size_t>(keys[index])] = index;
      in_flight.push_back(index);
    }
    REQUIRE_FALSE(in_flight.empty());
    std::swap(in_flight[dice() % in_flight.size()], in_flight.back());
    if (dice() % 50 == 0) {
      order.Refused(in_flight.back(), "no");
    } else {
      order.Published(in_flight.back());
    }
    in_flight.pop_back();
  }
  std::vector<bool> ended(20, false);
  const auto deliveries = order.TakeDeliveries();
  for (std::size_t i = 0; i < deliveries.size(); ++i) {
    const auto stream = static_cast<std::size_t>(keys[i]);
    CHECK((deliveries[i].outcome == Outcome::kNotTried) == ended[stream]);
    if (deliveries[i].outcome != Outcome::kPublished) ended[stream] = true;
  }
}

}  // namespace
}  // namespace eventstore::sinks
