# What is compiled once: for the rooms that know no gRPC, for those that do, for the command line, and
# for tests of either kind.
set(EVENTSTORE_COMMON_HEADERS
  <algorithm> <chrono> <cstdint> <deque> <functional> <map> <memory> <optional> <string>
  <string_view> <thread> <utility> <vector>
  <absl/container/flat_hash_map.h> <absl/container/flat_hash_set.h> <absl/status/status.h>
  <absl/status/statusor.h> <absl/strings/str_cat.h>
  <eventstore/v1/event_store_service.pb.h> <eventstore/v1/errors.pb.h>)
set(EVENTSTORE_COMMON_LINKS
  eventstore_proto absl::status absl::statusor absl::strings
  absl::flat_hash_map absl::flat_hash_set)
eventstore_precompiled(eventstore_headers
  LINKS ${EVENTSTORE_COMMON_LINKS} HEADERS ${EVENTSTORE_COMMON_HEADERS})
if(EVENTSTORE_WITH_GRPC)
  set(EVENTSTORE_GRPC_HEADERS
    ${EVENTSTORE_COMMON_HEADERS} <grpcpp/grpcpp.h> <eventstore/v1/event_store_service.grpc.pb.h>)
  eventstore_precompiled(eventstore_grpc_headers
    LINKS eventstore_grpc ${EVENTSTORE_COMMON_LINKS} HEADERS ${EVENTSTORE_GRPC_HEADERS})
endif()
if(EVENTSTORE_BUILD_TESTS)
  find_package(Catch2 2 REQUIRED)
  eventstore_precompiled(eventstore_test_headers
    LINKS Catch2::Catch2 ${EVENTSTORE_COMMON_LINKS}
    HEADERS ${EVENTSTORE_COMMON_HEADERS} <catch2/catch.hpp>)
  if(EVENTSTORE_WITH_GRPC)
    eventstore_precompiled(eventstore_test_grpc_headers
      LINKS Catch2::Catch2 eventstore_grpc ${EVENTSTORE_COMMON_LINKS}
      HEADERS ${EVENTSTORE_GRPC_HEADERS} <catch2/catch.hpp>)
  endif()
endif()
