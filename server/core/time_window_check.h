// Checks the time window that every read by the events' domain time has.
#ifndef EVENTSTORE_SERVER_CORE_TIME_WINDOW_CHECK_H_
#define EVENTSTORE_SERVER_CORE_TIME_WINDOW_CHECK_H_

#include <cstdint>

#include "server/core/problems.h"
#include "server/core/validation.h"

namespace eventstore {

// `from_timestamp` is inclusive, `to_timestamp` exclusive; either may be absent. Pure; any thread.
template <typename Request>
void CheckTimeWindow(Request* request, Problems* problems) {
  bool both = request->has_from_timestamp() && request->has_to_timestamp();
  if (request->has_from_timestamp()) {
    both &= problems->CheckTime({"from_timestamp"}, request->mutable_from_timestamp());
  }
  if (request->has_to_timestamp()) {
    both &= problems->CheckTime({"to_timestamp"}, request->mutable_to_timestamp());
  }
  std::int64_t from = 0;
  std::int64_t to = 0;
  if (both && ToUnixMicros(request->from_timestamp(), &from) &&
      ToUnixMicros(request->to_timestamp(), &to) && from >= to) {
    problems->Invalid({"to_timestamp"},
                      "is not after from_timestamp, so that no event can lie between; "
                      "from_timestamp is inclusive, to_timestamp exclusive");
  }
}

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_TIME_WINDOW_CHECK_H_
