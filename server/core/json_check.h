// Decides whether PostgreSQL will take a text as JSONB, and how large it will read back.
#ifndef EVENTSTORE_SERVER_CORE_JSON_CHECK_H_
#define EVENTSTORE_SERVER_CORE_JSON_CHECK_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <string_view>

#include "server/core/limits.h"

namespace eventstore {

// Parses `text` as one JSON value, strictly: UTF-8, no lone surrogates, no U+0000, depth, digits
// and exponents within the limits. Returns an upper bound of the size in bytes that the database
// will print the value with (numbers are printed in full there: 1e400 is 401 digits). An error is a
// plain INVALID_ARGUMENT that says what is wrong and at which byte offset; the caller adds the
// field. Uses bounded stack, whatever the text. Any thread.
[[nodiscard]] absl::StatusOr<std::int64_t> CheckJson(std::string_view text, const Limits& limits);

// Whether `text` is well-formed UTF-8 without U+0000.
[[nodiscard]] bool IsCleanUtf8(std::string_view text);

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_JSON_CHECK_H_
