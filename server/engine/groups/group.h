// A consumer group as this daemon works for it.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_H_

#include <absl/container/flat_hash_set.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/core/filter.h"
#include "server/core/ids.h"
#include "server/engine/groups/group_member.h"
#include "server/engine/groups/group_round.h"
#include "server/engine/groups/lane_state.h"
#include "server/engine/hub.h"
#include "server/engine/options.h"
#include "server/engine/reader.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// What a group uses of its surroundings; outlives it.
struct GroupContext {
  const StoreOptions* options = nullptr;
  Uuid daemon_id{};
  std::string store_id;
  Reader* reader = nullptr;
  Hub* hub = nullptr;
  telemetry::Metrics* metrics = nullptr;
  // Runs something on the groups' thread, from any thread.
  std::function<void(std::function<void()>)> post;
  // Runs a round on the database thread, and then `done` on the groups' thread.
  std::function<void(std::unique_ptr<GroupRound>, std::function<void(std::unique_ptr<GroupRound>)>)>
      run_round;
};

// Lives while this daemon has members of the group, or lanes. Everything in it happens on the
// groups' thread. One feed brings the events and spreads them over the lanes; one round of database
// work at a time writes what is due. Nothing waits for a member: it gets a message when its client
// asks for one.
//
// A lane is this daemon's while its lease lasts by the monotonic clock, counted from before the
// renewal was sent: past that nothing is delivered and no ack is taken, whatever the database says.
class Group : public std::enable_shared_from_this<Group> {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  Group(const GroupContext* context, std::string name);
  ~Group();

  void Join(std::shared_ptr<GroupMember> member);
  void Handle(const std::shared_ptr<GroupMember>& member, const v1::ConsumeRequest& request);
  void Leave(const std::shared_ptr<GroupMember>& member, bool failed);
  // Events were erased: what is kept of them in memory is, too, and what may be on its way here is
  // read again.
  void Forget(const tables::LogChanges& changes);
  // Ends every member and gives all lanes back.
  void Drain(const absl::Status& status);

  // Does what is due, if anything is, and says when it wants to be called again at the latest.
  Time WorkIfDue();
  // Something happened: there may be work now.
  void Wake() { next_work_ = Time(); }
  // Nothing is left: no members, no lanes, nothing under way.
  [[nodiscard]] bool is_over() const;
  // It was deleted, or could not be read: whoever joins now needs another object.
  [[nodiscard]] bool is_ended() const { return is_ended_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  struct Lane {
    std::int32_t number = 0;
    std::int64_t token = 0;
    std::int64_t epoch = 0;
    Uuid member{};
    std::unique_ptr<LaneState> state;
    Time valid_until;           // of the lease, as far as we can know
    bool is_attached = false;   // the feed fills it; otherwise it catches up by itself
    bool is_draining = false;   // nothing is delivered any more, so that it can be given up
    bool is_releasing = false;  // its release is under way
    Time drain_until;
    std::optional<Time> full_since;          // the feed waits for it
    std::map<std::int64_t, Uuid> retry_ids;  // of the dead letters that are being retried
    telemetry::GroupLaneMetrics metrics;
    // As the table has it.
    std::int64_t told_position = 0;
    std::int64_t told_in_flight = 0;

    [[nodiscard]] bool has_news() const {
      return state->checkpoint() != told_position || state->in_flight() != told_in_flight;
    }
  };
  using Lanes = std::map<std::int32_t, Lane>;

  // group.cc
  Time Work(Time now);
  void OnGroupRead(const tables::GroupRow& row);
  void Greet(GroupMember* member);
  void End(const std::shared_ptr<GroupMember>& member, const absl::Status& status);
  void EndAll(const absl::Status& status);
  void DropSlowMembers(Time now);
  [[nodiscard]] GroupMember* FindMember(const Uuid& id) const;
  void TellLanes(const Uuid& member, std::int32_t lane, bool assigned);
  void SetMetrics(Time now);

  // group_delivery.cc
  void Deliver(GroupMember* member, Time now);
  std::string TakeNews(GroupMember* member);
  std::string Collect(GroupMember* member, Time now);
  bool CollectFrom(GroupMember* member, Lane* lane, std::int64_t count, Time now, std::string* out);
  [[nodiscard]] std::vector<Lane*> LanesOf(const GroupMember& member, Time now);
  [[nodiscard]] Lane* LaneOfDelivery(const GroupMember& member, std::int64_t delivery_id, Time now);

  // group_feed.cc
  void StartFeed();
  void CloseFeed();
  void AskFeed();
  void OnFeed(std::uint64_t number, absl::StatusOr<SubscriptionMessage> message);
  void OnFeedFailed(const absl::Status& status);
  void DispatchFeed(Time now);
  [[nodiscard]] bool WaitForRoom(Lane* lane, Time now);
  void CatchUp(Time now);
  void OnPage(absl::StatusOr<AllPage> page, std::int64_t after);
  void Offer(Lane* lane, const EventBlock& block, std::size_t index, std::uint64_t hash, Time now);
  void AttachLanes();
  void Rewind(std::int64_t position, std::int64_t epoch);
  [[nodiscard]] bool MayHoldErased(const AllPage& page) const;

  // group_database.cc
  [[nodiscard]] std::unique_ptr<GroupRound> MakeRound(Time now);
  void AddProgress(GroupRound* round, Time now);
  void AddDeadLetters(GroupRound* round);
  void TakeResolved(Lane* lane);
  void AddReleases(GroupRound* round);
  void StartRound(Time now);
  void OnRound(std::unique_ptr<GroupRound> round);
  void OnKept(const GroupRound& round);
  void OnDeadLetters(const GroupRound& round);
  void OnClaimed(const GroupRound& round);
  void OnRetries(const std::vector<v1::Event>& events);
  void OnView(const tables::GroupView& view, const GroupRound& round);
  void OnDecisions(const tables::GroupView& view);
  void MakeClaims(const tables::GroupView& view);
  void DropLane(std::int32_t number);

  const GroupContext* const context_;
  const std::string name_;
  telemetry::GroupMetrics metrics_;
  // What is known of it; `key_` 0: not read yet.
  std::int64_t key_ = 0;
  std::int64_t revision_ = 0;
  v1::ConsumerGroupSettings settings_;
  LaneRules rules_;
  std::shared_ptr<const EventFilter> filter_;
  std::chrono::milliseconds lease_{10'000};
  std::int64_t head_position_ = 0;

  std::vector<std::shared_ptr<GroupMember>> members_;
  std::vector<Uuid> leaving_;  // to be taken off the list
  Lanes lanes_;
  std::int64_t next_delivery_ = 1;
  Time next_work_;
  bool is_ended_ = false;     // deleted: nothing is written any more
  bool is_draining_ = false;  // the daemon stops

  // The feed: what it brought last, and how far that was given out.
  std::shared_ptr<Subscription> feed_;
  std::uint64_t feed_number_ = 0;  // tells the feeds apart
  bool is_feed_asked_ = false;
  Time feed_retry_at_;
  bool has_feed_complained_ = false;
  std::optional<SubscriptionMessage> batch_;
  std::size_t batch_run_ = 0;
  std::size_t batch_event_ = 0;
  std::int64_t feed_position_ = 0;  // given out up to here
  bool is_page_asked_ = false;
  Time page_retry_at_;
  std::int32_t page_turn_ = 0;  // lanes that catch up take turns

  // The newest erasure: pages that were read before are not used, nor are events that the round
  // under way reads.
  std::int64_t erased_epoch_ = 0;
  std::int64_t erased_revision_ = 0;
  bool is_round_stale_ = false;

  // The database.
  bool is_round_running_ = false;
  bool has_complained_ = false;
  bool is_observe_wanted_ = true;  // at once
  bool is_read_wanted_ = true;
  Time next_observe_;
  bool was_put_off_ = false;  // the last look at the tables, for a renewal
  Time next_keep_;
  Time next_flush_;
  Time round_retry_at_;
  std::vector<tables::LaneClaim> claims_;
  std::vector<tables::LaneProgress> rewound_;
  std::vector<std::int64_t> wanted_retries_;           // positions to be read
  absl::flat_hash_set<std::int64_t> foreign_retries_;  // of lanes that others own
  std::vector<tables::ResolvedEvent> resolved_;        // to be written
  std::vector<GroupRound::Free> frees_;
  Time next_metrics_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_H_
