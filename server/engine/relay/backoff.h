// How long to wait after a failure.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_BACKOFF_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_BACKOFF_H_

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace eventstore::engine {

// The wait after the `failures`th failure in a row (from 1): `min` doubled each time, at most
// `max`, of which `fraction` (0 to 1, a random number) decides between the half and the whole.
[[nodiscard]] inline std::chrono::milliseconds Backoff(std::chrono::milliseconds min,
                                                       std::chrono::milliseconds max,
                                                       std::int64_t failures, double fraction) {
  std::chrono::milliseconds whole = std::min(min, max);
  for (std::int64_t i = 1; i < failures && whole < max; ++i) whole = std::min(whole * 2, max);
  const auto half = static_cast<double>(whole.count()) / 2;
  return std::chrono::milliseconds(static_cast<std::int64_t>(half + half * fraction));
}

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_BACKOFF_H_
