// One thing shown to people: a line a field.
#ifndef EVENTSTORE_CLIENT_CLI_FIELDS_H_
#define EVENTSTORE_CLIENT_CLI_FIELDS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/cli/session.h"
#include "client/cli/text.h"

namespace eventstore::cli {

using Fields = std::vector<std::pair<std::string_view, std::string>>;

// Prints "name  value" lines with aligned values, which must be escaped already.
void PrintFields(const Fields& fields, Session* session);

// A time that may be absent.
template <typename Timestamp>
std::string TimeOrNone(bool present, const Timestamp& time) {
  return present ? FormatTime(time) : "-";
}

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_FIELDS_H_
