// Counts latencies so that percentiles are exact to within 1 %.
#ifndef EVENTSTORE_CLIENT_CLI_HISTOGRAM_H_
#define EVENTSTORE_CLIENT_CLI_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace eventstore::cli {

// A log-linear histogram of non-negative integers, meant for nanoseconds.
//
// Values below 128 are counted exactly. Above, each power of two is cut into 64 buckets of equal
// width, so a bucket is at most 1/64 of its values wide, and its middle is at most 1/128 = 0.8 %
// away from any of them. Minimum, maximum and mean are exact.
// Memory: 19 KB, allocated once. Not thread-safe: each thread has one and they are merged, or one
// is guarded by its owner's mutex.
class Histogram {
 public:
  // Larger values are counted as this one: 2^42 ns are 73 minutes.
  static constexpr std::int64_t kValueMax = (std::int64_t{1} << 42) - 1;

  Histogram();

  // Counts a value. Negative ones count as 0.
  void Record(std::int64_t value);

  // Adds everything that `other` counted.
  void Merge(const Histogram& other);

  // The smallest counted value such that `percent` of all values are not above it, to within 1 %.
  // `percent` is 0 to 100; 0 if nothing was counted.
  [[nodiscard]] std::int64_t Percentile(double percent) const;

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] std::int64_t min() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] std::int64_t max() const { return max_; }
  [[nodiscard]] double Mean() const;

 private:
  std::vector<std::int64_t> counts_;
  std::int64_t count_ = 0;
  std::int64_t min_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_HISTOGRAM_H_
