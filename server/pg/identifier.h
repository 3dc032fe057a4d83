// SQL identifiers.
#ifndef EVENTSTORE_SERVER_PG_IDENTIFIER_H_
#define EVENTSTORE_SERVER_PG_IDENTIFIER_H_

#include <string>
#include <string_view>

namespace eventstore::pg {

// An identifier as SQL wants it quoted, whatever characters it holds.
[[nodiscard]] inline std::string QuoteIdentifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_IDENTIFIER_H_
