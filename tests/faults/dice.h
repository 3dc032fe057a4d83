// Seeded choices.
#ifndef EVENTSTORE_TESTS_FAULTS_DICE_H_
#define EVENTSTORE_TESTS_FAULTS_DICE_H_

#include <chrono>
#include <cstdint>
#include <random>

namespace eventstore::faults {

// One thread at a time. The same seed makes the same choices.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}

  // From `least` to `most`, both included.
  std::int64_t Between(std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random_);
  }
  bool Percent(int chance) { return Between(1, 100) <= chance; }
  std::chrono::milliseconds Millis(std::int64_t least, std::int64_t most) {
    return std::chrono::milliseconds(Between(least, most));
  }
  // One of a container that is not empty.
  template <typename Container>
  const auto& Of(const Container& container) {
    const auto last = static_cast<std::int64_t>(container.size()) - 1;
    return container[static_cast<std::size_t>(Between(0, last))];
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_DICE_H_
