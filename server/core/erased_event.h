// What is left of an event whose content was erased.
#ifndef EVENTSTORE_SERVER_CORE_ERASED_EVENT_H_
#define EVENTSTORE_SERVER_CORE_ERASED_EVENT_H_

#include <string_view>

#include "eventstore/v1/types.pb.h"

namespace eventstore {

// The content type of an erased event.
inline constexpr std::string_view kErasedContentType = "application/x-erased";

// Does to a copy in memory what EraseEvents does to the row. Any thread.
void EraseContent(v1::Event* event);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_ERASED_EVENT_H_
