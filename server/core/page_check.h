// Checks what every list has: the size of its page, and the token of the page before.
#ifndef EVENTSTORE_SERVER_CORE_PAGE_CHECK_H_
#define EVENTSTORE_SERVER_CORE_PAGE_CHECK_H_

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "server/core/limits.h"
#include "server/core/problems.h"

namespace eventstore {

// What a request means that leaves its `page_size` at 0.
inline constexpr std::int64_t kListPageSizeDefault = 100;
// Our tokens are a name or a number, encoded; longer ones are not ours.
inline constexpr std::size_t kListPageTokenBytesMax = 1024;

// Fills the default in. Pure; any thread.
template <typename Request>
void CheckPage(const Limits& limits, Request* request, Problems* problems) {
  const std::int64_t page_default = std::min(kListPageSizeDefault, limits.page_size_max);
  problems->CheckNumber({"page_size"}, request->page_size(),
                        absl::StrCat("the default, ", page_default), limits.page_size_max);
  if (request->page_size() == 0) {
    request->set_page_size(static_cast<std::int32_t>(page_default));
  }
  if (request->page_token().size() > kListPageTokenBytesMax) {
    problems->Invalid({"page_token"},
                      "is not one that this server made; give back the next_page_token of the page "
                      "before, or nothing");
  } else {
    problems->CheckText({"page_token"}, request->page_token());
  }
}

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_PAGE_CHECK_H_
