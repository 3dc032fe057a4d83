#include "client/cli/histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace eventstore::cli {
namespace {

// The percentile by its definition: the smallest value that so many percent are not above.
std::int64_t ExactPercentile(std::vector<std::int64_t> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

double ErrorOf(std::int64_t measured, std::int64_t exact) {
  return std::abs(static_cast<double>(measured - exact)) / static_cast<double>(exact);
}

TEST_CASE("AnyOneValueIsWithinOnePercentOverTheWholeRange") {
  // Between two other values, so that neither minimum nor maximum can help.
  double worst = 0;
  for (std::int64_t value = 1; value < Histogram::kValueMax / 2; value += 1 + value / 1000) {
    Histogram histogram;
    histogram.Record(0);
    histogram.Record(value);
    histogram.Record(Histogram::kValueMax);
    worst = std::max(worst, ErrorOf(histogram.Percentile(50), value));
  }
  CHECK(worst < 0.01);
  CHECK(worst > 0.001);  // Else this would not have looked between the buckets' middles.
}

TEST_CASE("EdgesOfPowersOfTwoAreWithinOnePercent") {
  for (int bits = 1; bits < 42; ++bits) {
    for (const std::int64_t offset : {-1, 0, 1}) {
      const std::int64_t value = (std::int64_t{1} << bits) + offset;
      Histogram histogram;
      histogram.Record(0);
      histogram.Record(value);
      histogram.Record(Histogram::kValueMax);
      INFO(value);
      CHECK(ErrorOf(histogram.Percentile(50), value) < 0.01);
    }
  }
}

TEST_CASE("PercentilesOfRandomLatenciesAreWithinOnePercent") {
  const auto seed = GENERATE(take(5, random(0, 1 << 30)));
  INFO("seed " << seed);
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  std::lognormal_distribution<double> latencies(13, 2.5);
  Histogram histogram;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(
        std::min(static_cast<std::int64_t>(latencies(random)) + 1, Histogram::kValueMax));
    histogram.Record(values.back());
  }
  for (const double percent : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    INFO(percent);
    CHECK(ErrorOf(histogram.Percentile(percent), ExactPercentile(values, percent)) < 0.01);
  }
  CHECK(histogram.max() == *std::max_element(values.begin(), values.end()));
  CHECK(histogram.min() == *std::min_element(values.begin(), values.end()));
}

TEST_CASE("MergedHistogramsEqualOneThatSawEverything") {
  Histogram one;
  Histogram other;
  Histogram all;
  std::mt19937_64 random(7);
  for (int i = 0; i < 1000; ++i) {
    const auto value = static_cast<std::int64_t>(random() % 1'000'000'000);
    (i % 3 == 0 ? one : other).Record(value);
    all.Record(value);
  }
  one.Merge(other);
  CHECK(one.count() == 1000);
  CHECK(one.min() == all.min());
  CHECK(one.max() == all.max());
  CHECK(one.Mean() == Approx(all.Mean()));
  for (double percent = 0; percent <= 100; percent += 0.5) {
    CHECK(one.Percentile(percent) == all.Percentile(percent));
  }
}

TEST_CASE("AnEmptyHistogramIsAllZero") {
  Histogram histogram;
  histogram.Merge(Histogram());
  CHECK(histogram.count() == 0);
  CHECK(histogram.Percentile(99) == 0);
  CHECK(histogram.min() == 0);
  CHECK(histogram.max() == 0);
  CHECK(histogram.Mean() == 0);
}

TEST_CASE("ValuesOutsideTheRangeAreCountedAtItsEnds") {
  Histogram histogram;
  histogram.Record(-5);
  histogram.Record(std::numeric_limits<std::int64_t>::max());
  CHECK(histogram.count() == 2);
  CHECK(histogram.min() == 0);
  CHECK(histogram.max() == Histogram::kValueMax);
  CHECK(histogram.Percentile(100) == Histogram::kValueMax);
}

}  // namespace
}  // namespace eventstore::cli
