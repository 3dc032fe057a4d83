#include "server/engine/groups/rebalance.h"

#include <algorithm>
#include <map>

namespace eventstore::engine {
namespace {

struct Share {
  PlanMember member;
  std::vector<std::int32_t> lanes;  // owned, without those that are being given up
  std::size_t quota = 0;
};

// Members in one order for every daemon: who has more comes first, then by id.
std::vector<Share> MakeShares(const std::vector<PlanMember>& members,
                              const std::vector<PlanLane>& lanes) {
  std::map<Uuid, Share> by_id;
  for (const PlanMember& member : members) by_id[member.id].member = member;
  for (const PlanLane& lane : lanes) {
    if (!lane.member.has_value() || lane.is_draining) continue;
    const auto found = by_id.find(*lane.member);
    if (found != by_id.end()) found->second.lanes.push_back(lane.lane);
  }
  std::vector<Share> shares;
  for (auto& [id, share] : by_id) shares.push_back(std::move(share));
  std::stable_sort(shares.begin(), shares.end(),
                   [](const Share& a, const Share& b) { return a.lanes.size() > b.lanes.size(); });
  for (std::size_t i = 0; i < shares.size(); ++i) {
    shares[i].quota = lanes.size() / shares.size() + (i < lanes.size() % shares.size() ? 1U : 0U);
  }
  return shares;
}

}  // namespace

Plan MakePlan(std::vector<PlanMember> members, std::vector<PlanLane> lanes) {
  Plan plan;
  if (members.empty()) return plan;
  std::sort(lanes.begin(), lanes.end(),
            [](const PlanLane& a, const PlanLane& b) { return a.lane < b.lane; });
  std::vector<Share> shares = MakeShares(members, lanes);
  for (const PlanLane& lane : lanes) {
    if (lane.member.has_value()) continue;
    // The neediest, and among equals the first.
    const auto needy =
        std::max_element(shares.begin(), shares.end(), [](const Share& a, const Share& b) {
          const auto missing = [](const Share& s) {
            return static_cast<std::int64_t>(s.quota) - static_cast<std::int64_t>(s.lanes.size());
          };
          return missing(a) < missing(b);
        });
    if (needy->lanes.size() >= needy->quota) break;
    needy->lanes.push_back(lane.lane);
    if (needy->member.is_local) plan.claims.emplace_back(lane.lane, needy->member.id);
  }
  for (Share& share : shares) {
    if (!share.member.is_local) continue;
    std::sort(share.lanes.begin(), share.lanes.end());
    while (share.lanes.size() > share.quota) {
      plan.releases.push_back(share.lanes.back());
      share.lanes.pop_back();
    }
  }
  return plan;
}

}  // namespace eventstore::engine
