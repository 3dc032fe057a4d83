// Which lane of a consumer group a stream belongs to.
#ifndef EVENTSTORE_SERVER_CORE_LANE_HASH_H_
#define EVENTSTORE_SERVER_CORE_LANE_HASH_H_

#include <cstdint>

#include "eventstore/v1/types.pb.h"

namespace eventstore {

// A stream's number: FNV-1a (64 bits) over `tenant_id`, a zero byte, `aggregate_type`, a zero byte
// and `aggregate_id`, mixed by MurmurHash3's finalizer. Part of the on-disk contract: lanes that
// are in the tables were filled by it, so it never changes. Pure; any thread.
[[nodiscard]] std::uint64_t StreamHash(const v1::StreamId& stream);

// The lane, from 0, of a group of `lanes` lanes.
[[nodiscard]] inline std::int32_t LaneOf(std::uint64_t stream_hash, std::int32_t lanes) {
  return static_cast<std::int32_t>(stream_hash % static_cast<std::uint64_t>(lanes));
}

}  // namespace eventstore

#endif  // EVENTSTORE_SERVER_CORE_LANE_HASH_H_
