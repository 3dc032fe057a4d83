#include "client/cli/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace eventstore::cli {
namespace {

// Each power of two from 2^7 on has this many buckets; values below twice this are their own
// bucket.
constexpr int kSubBucketBits = 6;
constexpr std::int64_t kSubBuckets = std::int64_t{1} << kSubBucketBits;

// How many low bits a value's bucket ignores: 0 below 128, then one more for each power of two.
int ShiftOf(std::int64_t value) {
  const int width = std::bit_width(static_cast<std::uint64_t>(value));
  return std::max(0, width - (kSubBucketBits + 1));
}

std::size_t BucketOf(std::int64_t value) {
  const int shift = ShiftOf(value);
  return static_cast<std::size_t>(kSubBuckets * shift + (value >> shift));
}

// The middle of a bucket.
std::int64_t ValueOf(std::size_t bucket) {
  const auto index = static_cast<std::int64_t>(bucket);
  if (index < 2 * kSubBuckets) return index;
  const std::int64_t shift = index / kSubBuckets - 1;
  const std::int64_t lowest = (index - kSubBuckets * shift) << shift;
  return lowest + ((std::int64_t{1} << shift) - 1) / 2;
}

}  // namespace

Histogram::Histogram() : counts_(BucketOf(kValueMax) + 1, 0) {}

void Histogram::Record(std::int64_t value) {
  value = std::clamp<std::int64_t>(value, 0, kValueMax);
  ++counts_[BucketOf(value)];
  ++count_;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void Histogram::Merge(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

std::int64_t Histogram::Percentile(double percent) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(percent / 100.0 * static_cast<double>(count_));
  const auto rank = std::clamp<std::int64_t>(static_cast<std::int64_t>(wanted), 1, count_);
  if (rank == count_) return max_;
  std::int64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::clamp(ValueOf(i), min_, max_);
  }
  return max_;
}

double Histogram::Mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

}  // namespace eventstore::cli
