// The lane of a stream is part of the on-disk contract.
#include "server/core/lane_hash.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace eventstore {
namespace {

v1::StreamId Stream(const std::string& tenant, const std::string& type, const std::string& id) {
  v1::StreamId stream;
  stream.set_tenant_id(tenant);
  stream.set_aggregate_type(type);
  stream.set_aggregate_id(id);
  return stream;
}

// Computed by a second implementation (Python): whoever changes the hash moves the streams of every
// existing group to other lanes, and breaks their order.
TEST_CASE("TheLaneOfAStreamNeverChanges") {
  CHECK(StreamHash(Stream("", "Order", "1")) == 4200399899328092397U);
  CHECK(StreamHash(Stream("", "Order", "2")) == 17093016440254579581U);
  CHECK(StreamHash(Stream("0190a0b0-1111-7222-8333-444455556666", "Order", "1")) ==
        4944207617361460557U);
  CHECK(StreamHash(Stream("", "Ord\xc3\xa9r", "caf\xc3\xa9")) == 4672480920419346858U);
  CHECK(LaneOf(StreamHash(Stream("", "Order", "1")), 16) == 13);
}

TEST_CASE("TheBorderBetweenTypeAndIdCounts") {
  CHECK(StreamHash(Stream("", "ab", "c")) != StreamHash(Stream("", "a", "bc")));
}

TEST_CASE("StreamsSpreadEvenlyOverTheLanes") {
  for (const int lanes : {2, 16, 100}) {
    std::vector<int> counts(static_cast<std::size_t>(lanes));
    for (int i = 0; i < 1000 * lanes; ++i) {
      ++counts[static_cast<std::size_t>(
          LaneOf(StreamHash(Stream("", "Order", std::to_string(i))), lanes))];
    }
    for (const int count : counts) {
      CHECK(count > 850);
      CHECK(count < 1150);
    }
  }
}

}  // namespace
}  // namespace eventstore
