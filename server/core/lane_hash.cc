#include "server/core/lane_hash.h"

#include <string_view>

namespace eventstore {
namespace {

// http://www.isthe.com/chongo/tech/comp/fnv/
constexpr std::uint64_t kFnvOffset = 14695981039346656037U;
constexpr std::uint64_t kFnvPrime = 1099511628211U;

std::uint64_t Add(std::uint64_t hash, std::string_view text) {
  for (const char c : text) {
    hash ^= static_cast<std::uint8_t>(c);
    hash *= kFnvPrime;
  }
  return hash;
}

}  // namespace

std::uint64_t StreamHash(const v1::StreamId& stream) {
  constexpr std::string_view kZero("\0", 1);
  std::uint64_t hash = Add(kFnvOffset, stream.tenant_id());
  hash = Add(Add(hash, kZero), stream.aggregate_type());
  hash = Add(Add(hash, kZero), stream.aggregate_id());
  hash ^= hash >> 33U;
  hash *= 0xff51afd7ed558ccdU;
  hash ^= hash >> 33U;
  hash *= 0xc4ceb9fe1a85ec53U;
  hash ^= hash >> 33U;
  return hash;
}

}  // namespace eventstore
