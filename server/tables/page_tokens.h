// Page tokens of lists that go on after one key.
#ifndef EVENTSTORE_SERVER_TABLES_PAGE_TOKENS_H_
#define EVENTSTORE_SERVER_TABLES_PAGE_TOKENS_H_

#include <optional>
#include <string>
#include <string_view>

namespace eventstore::tables {

// `kind` is one letter a list, so that a token of another list is told apart.
[[nodiscard]] std::string EncodeKeyToken(char kind, std::string_view key);
// The key; nothing if this server gave no such token for that list. May hold any bytes but NUL.
[[nodiscard]] std::optional<std::string> DecodeKeyToken(char kind, std::string_view token);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_PAGE_TOKENS_H_
