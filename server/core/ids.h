// UUIDs: parsing, printing, and making time-ordered ones.
#ifndef EVENTSTORE_SERVER_CORE_IDS_H_
#define EVENTSTORE_SERVER_CORE_IDS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace eventstore {

// A UUID's 16 bytes in network order, as PostgreSQL sends them.
using Uuid = std::array<std::uint8_t, 16>;

// The UUID of zeros. It stands for "no tenant" in the tables, so no tenant may have it.
inline constexpr Uuid kNilUuid{};

// Reads canonical UUID text: 8-4-4-4-12 hexadecimal digits of either case. Nothing else is taken.
[[nodiscard]] std::optional<Uuid> ParseUuid(std::string_view text);

// Canonical text in lower case.
[[nodiscard]] std::string FormatUuid(const Uuid& uuid);

// Makes a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random bits from the system's
// generator. Any thread may call it.
[[nodiscard]] Uuid MakeUuidV7();

// Hashes a UUID for absl containers and the standard ones.
struct UuidHash {
  std::size_t operator()(const Uuid& uuid) const noexcept;
};

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_IDS_H_
