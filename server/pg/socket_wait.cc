#include "server/pg/socket_wait.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace eventstore::pg {
namespace {

// poll(2) counts milliseconds in an int: a far deadline is waited for in parts.
constexpr std::chrono::milliseconds kOneWaitMax{60'000};

}  // namespace

int WaitForSockets(std::span<pollfd> fds, Deadline deadline) {
  for (;;) {
    const Deadline now = std::chrono::steady_clock::now();
    const auto left = deadline > now ? std::chrono::ceil<std::chrono::milliseconds>(deadline - now)
                                     : std::chrono::milliseconds(0);
    const auto wait = std::min(left, kOneWaitMax);
    const int ready = poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
    if (ready > 0 || (ready < 0 && errno != EINTR)) return ready;
    if (ready == 0 && wait == left) return 0;
  }
}

}  // namespace eventstore::pg
