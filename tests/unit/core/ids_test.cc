#include "server/core/ids.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

namespace eventstore {
namespace {

std::uint64_t MillisOf(const Uuid& uuid) {
  std::uint64_t millis = 0;
  for (int i = 0; i < 6; ++i) millis = millis << 8 | uuid[i];
  return millis;
}

std::uint64_t NowMillis() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

TEST_CASE("CanonicalUuidTextIsReadAndPrintedInLowerCase") {
  const auto uuid = ParseUuid("0189F7A5-6b1c-7DEF-8000-00ff10A9bCdE");
  REQUIRE(uuid.has_value());
  CHECK(FormatUuid(*uuid) == "0189f7a5-6b1c-7def-8000-00ff10a9bcde");
  CHECK((*uuid)[0] == 0x01);
  CHECK((*uuid)[15] == 0xde);
  CHECK(FormatUuid(kNilUuid) == "00000000-0000-0000-0000-000000000000");
  CHECK(ParseUuid("00000000-0000-0000-0000-000000000000") == kNilUuid);
}

TEST_CASE("OnlyCanonicalUuidTextIsRead") {
  const std::string text = GENERATE(
      "", "0189f7a5", "0189f7a56b1c7def800000ff10a9bcde", "{0189f7a5-6b1c-7def-8000-00ff10a9bcde}",
      "0189f7a5-6b1c-7def-8000-00ff10a9bcd", "0189f7a5-6b1c-7def-8000-00ff10a9bcde0",
      "0189f7a5-6b1c-7def-8000-00ff10a9bcdg", "0189f7a5-6b1c-7def-800000-ff10a9bcde",
      "0189f7a5_6b1c-7def-8000-00ff10a9bcde", " 189f7a5-6b1c-7def-8000-00ff10a9bcde",
      "0189f7a5-6b1c-7def-8000-00ff10a9bc+e", "0189f7a-56b1c-7def-8000-00ff10a9bcde");
  CAPTURE(text);
  CHECK_FALSE(ParseUuid(text).has_value());
}

TEST_CASE("EveryByteOfAUuidSurvivesPrintingAndReading") {
  for (int round = 0; round < 1000; ++round) {
    const Uuid uuid = MakeUuidV7();
    REQUIRE(ParseUuid(FormatUuid(uuid)) == uuid);
  }
}

TEST_CASE("MadeUuidsAreOfVersion7AndCarryTheTime") {
  const std::uint64_t before = NowMillis();
  const Uuid uuid = MakeUuidV7();
  const std::uint64_t after = NowMillis();
  CHECK(uuid[6] >> 4 == 7);
  CHECK(uuid[8] >> 6 == 2);
  CHECK(MillisOf(uuid) >= before);
  CHECK(MillisOf(uuid) <= after);
}

TEST_CASE("UuidsMadeByManyThreadsAreDistinct") {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  std::vector<std::vector<Uuid>> made(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&made, i] {
      for (int j = 0; j < kEach; ++j) made[i].push_back(MakeUuidV7());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Uuid> all;
  for (const auto& part : made) all.insert(part.begin(), part.end());
  CHECK(all.size() == kThreads * kEach);
}

TEST_CASE("HashesOfSimilarUuidsDiffer") {
  std::unordered_set<std::size_t> hashes;
  Uuid uuid{};
  for (int byte = 0; byte < 16; ++byte) {
    for (int value = 1; value < 256; ++value) {
      uuid[byte] = static_cast<std::uint8_t>(value);
      hashes.insert(UuidHash()(uuid));
    }
    uuid[byte] = 0;
  }
  CHECK(hashes.size() == 16 * 255);
}

}  // namespace
}  // namespace eventstore
