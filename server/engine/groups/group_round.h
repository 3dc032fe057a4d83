// One round of a consumer group's work in the database.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_ROUND_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_ROUND_H_

#include <absl/status/status.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/pool.h"
#include "server/tables/consumer_group_lanes_table.h"
#include "server/tables/consumer_groups_table.h"

namespace eventstore::engine {

// What the group's thread wants written and read, and what came of it. A round's steps run in the
// order of the fields; the first that fails ends it, and those before it count. A value that one
// thread has at a time.
struct GroupRound {
  // --- in ---
  std::string name;
  std::int64_t key = 0;
  Uuid daemon{};
  std::chrono::milliseconds lease{0};
  bool read_group = false;
  std::vector<std::pair<Uuid, std::string>> joining;
  bool keep = false;
  std::vector<tables::LaneProgress> progress;
  std::vector<tables::LaneAttempts> attempts;
  std::vector<tables::ParkedEvent> parked;
  std::vector<tables::ResolvedEvent> resolved;
  struct Free {
    std::int32_t lane = 0;
    std::int64_t token = 0;
    std::int64_t stream_hash = 0;
  };
  std::vector<Free> frees;
  // Lanes whose history was rewound: attempts beyond the position are forgotten.
  std::vector<tables::LaneProgress> rewound;
  std::vector<tables::LaneRelease> releases;
  std::vector<Uuid> leaving;
  std::vector<tables::LaneClaim> claims;
  std::vector<std::int64_t> read_events;
  bool observe = false;

  // --- out ---
  absl::Status status;
  Deadline asked;  // before anything was sent: leases last at least from here
  std::optional<tables::GroupRow> row;
  bool has_joined = false;
  std::optional<std::vector<std::int32_t>> kept;
  std::optional<std::vector<std::int32_t>> dead_letters_of;  // lanes whose dead letters are written
  std::vector<std::pair<std::int32_t, std::int64_t>> freed;  // lane, stream
  bool has_released = false;
  bool has_left = false;
  std::vector<tables::ClaimedLane> claimed;
  int rewinds = 0;  // of claimed lanes
  std::vector<v1::Event> events;
  std::optional<tables::GroupView> view;

  // Does it on a connection of the pool, before `deadline`.
  void Run(pg::Pool* pool, Deadline deadline);

 private:
  absl::Status RunSteps(pg::Connection& connection, Deadline deadline);
  absl::Status RunClaims(pg::Connection& connection, Deadline deadline);
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_ROUND_H_
