// The estimate of the database's clock.
#include "server/engine/server_clock.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

namespace eventstore::engine {
namespace {

using std::chrono::microseconds;

constexpr std::int64_t kUnixMicros = 1'700'000'000'000'000;

ServerClock::TimePoint Local(std::int64_t micros) {
  return ServerClock::TimePoint(microseconds(micros));
}

TEST_CASE("A clock without a reading says so", "[clock]") {
  ServerClock clock;
  CHECK_FALSE(clock.known());
  clock.Note(kUnixMicros, Local(100), Local(200));
  CHECK(clock.known());
}

TEST_CASE("The first reading is taken as of the answer, so that it is not ahead", "[clock]") {
  ServerClock clock;
  clock.Note(kUnixMicros, Local(1'000), Local(1'500));
  CHECK(clock.At(Local(1'500)) == kUnixMicros);
  CHECK(clock.At(Local(1'000)) == kUnixMicros - 500);
  CHECK(clock.At(Local(3'000'000)) == kUnixMicros + 2'998'500);
}

TEST_CASE("A reading that fits the estimate does not move it", "[clock]") {
  ServerClock clock;
  clock.Note(kUnixMicros, Local(1'000), Local(1'000));
  clock.Note(kUnixMicros + 5'000, Local(5'500), Local(6'500));  // it was 6'000 by the estimate
  CHECK(clock.At(Local(6'000)) == kUnixMicros + 5'000);
  // Right on either bound.
  clock.Note(kUnixMicros + 7'000, Local(8'000), Local(9'000));
  clock.Note(kUnixMicros + 9'000, Local(9'500), Local(10'000));
  CHECK(clock.At(Local(6'000)) == kUnixMicros + 5'000);
}

TEST_CASE("A reading that contradicts the estimate moves it as far as it must", "[clock]") {
  ServerClock clock;
  clock.Note(kUnixMicros, Local(0), Local(0));
  // The server's clock was set back: by the answer it showed no more than this.
  clock.Note(kUnixMicros - 1'000, Local(100), Local(300));
  CHECK(clock.At(Local(100)) == kUnixMicros - 1'000);
  // And forward.
  clock.Note(kUnixMicros + 9'000, Local(400), Local(700));
  CHECK(clock.At(Local(700)) == kUnixMicros + 9'000);
}

TEST_CASE("The clock's error is bounded by the round trip, and it is behind", "[clock][random]") {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  INFO("EVENTSTORE_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto below = [&random](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  for (int run = 0; run < 200; ++run) {
    ServerClock clock;
    std::int64_t offset = kUnixMicros + below(1'000'000'000);
    std::int64_t now = below(1'000'000);
    bool set_back = false;
    for (int reading = 0; reading < 50; ++reading) {
      if (below(10) == 0) {  // the clock was set
        const std::int64_t by = below(2'000'000) - 1'000'000;
        offset += by;
        set_back = set_back || by < 0;
      }
      const std::int64_t asked = now;
      const std::int64_t trip = below(1'000);
      const std::int64_t read_at = asked + below(trip + 1);
      now = asked + trip;
      clock.Note(read_at + offset, Local(asked), Local(now));
      // Both the estimate and the truth lie within the bounds of this reading.
      now += below(100'000);
      const std::int64_t ahead = clock.At(Local(now)) - (now + offset);
      REQUIRE(std::abs(ahead) <= trip);
      if (!set_back) REQUIRE(ahead <= 0);
    }
  }
}

}  // namespace
}  // namespace eventstore::engine
