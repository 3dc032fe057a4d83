// Who should own which lane of a consumer group.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_REBALANCE_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_REBALANCE_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "server/core/ids.h"

namespace eventstore::engine {

struct PlanMember {
  Uuid id{};
  bool is_local = false;  // this daemon serves it
};

struct PlanLane {
  std::int32_t lane = 0;
  // Whose it is; nothing where nobody holds a valid lease.
  std::optional<Uuid> member;
  // Its owner is giving it up already.
  bool is_draining = false;
};

// What this daemon should do. Other daemons make the same plan from the same rows, each for its own
// members; where they saw different rows the leases decide, and the next plan differs less.
struct Plan {
  std::vector<std::pair<std::int32_t, Uuid>> claims;  // free lanes, and for whom
  std::vector<std::int32_t> releases;                 // lanes of local members that have too many
};

// Cooperative and incremental: each member's share is the lanes by the members, rounded down or up,
// and who has the most lanes already keeps the rounded-up shares. Nothing moves that need not. A
// lane moves only by being released first and claimed then. Pure.
[[nodiscard]] Plan MakePlan(std::vector<PlanMember> members, std::vector<PlanLane> lanes);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_REBALANCE_H_
