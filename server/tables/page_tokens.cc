#include "server/tables/page_tokens.h"

#include <absl/strings/escaping.h>

#include "server/core/json_check.h"

namespace eventstore::tables {

std::string EncodeKeyToken(char kind, std::string_view key) {
  std::string raw(1, kind);
  raw += key;
  return absl::WebSafeBase64Escape(raw);
}

std::optional<std::string> DecodeKeyToken(char kind, std::string_view token) {
  std::string raw;
  if (!absl::WebSafeBase64Unescape(absl::string_view(token.data(), token.size()), &raw) ||
      raw.size() < 2 || raw[0] != kind || !IsCleanUtf8(raw)) {
    return std::nullopt;
  }
  return raw.substr(1);
}

}  // namespace eventstore::tables
