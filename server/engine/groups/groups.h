// The consumer groups of a store.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_GROUPS_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_GROUPS_H_

#include <absl/status/statusor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/engine/groups/group.h"
#include "server/engine/groups/group_member.h"
#include "server/engine/groups/work_thread.h"
#include "server/engine/hub.h"
#include "server/engine/options.h"
#include "server/engine/reader.h"
#include "server/pg/pool.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// One per store. Three threads: one for the groups' own work, which never waits; one for their
// rounds in the database, on pooled connections; one for requests. Thread-safe; no call blocks.
class Groups {
 public:
  // All of these must outlive it; `pool` must take it longer than Stop.
  Groups(const StoreOptions& options, const Uuid& daemon_id, std::string store_id, pg::Pool* pool,
         Reader* reader, Hub* hub, telemetry::Metrics* metrics);
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  // Requests are validated; `done` is called exactly once, on the requests' thread or inline.
  // Errors: OVERLOADED, STORE_UNAVAILABLE, and those of the RPC.
  void Create(v1::CreateConsumerGroupRequest request, Deadline deadline,
              Done<v1::ConsumerGroup> done);
  void Update(v1::UpdateConsumerGroupRequest request, Deadline deadline,
              Done<v1::ConsumerGroup> done);
  void Delete(std::string name, Deadline deadline, Done<v1::DeleteConsumerGroupResponse> done);
  void Get(std::string name, Deadline deadline, Done<v1::ConsumerGroup> done);
  void List(v1::ListConsumerGroupsRequest request, Deadline deadline,
            Done<v1::ListConsumerGroupsResponse> done);

  // A member of a group; its first message will be `joined`, or the reason why not. `on_dropped` is
  // called at most once, from the groups' thread, when the membership ends while the client holds a
  // message. Errors: OVERLOADED (`groups.members_max`), STORE_UNAVAILABLE.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<GroupMember>> Join(
      v1::ConsumeJoin join, std::function<void(absl::Status)> on_dropped);

  // Events were erased: nobody is given their content any more once Settle calls back.
  void Forget(const tables::LogChanges& changes);
  // Calls `done` once everything that was asked of the groups before has been done: on their
  // thread, or inline where that has stopped.
  void Settle(std::function<void()> done);

  // Ends all members with STORE_UNAVAILABLE and gives all lanes back, as far as that can be done
  // until `deadline`; joins the threads. Idempotent.
  void Stop(Deadline deadline);

 private:
  friend class GroupMember;
  template <typename T>
  void Request(Deadline deadline, std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> work,
               Done<T> done);
  void RunRound(std::unique_ptr<GroupRound> round,
                std::function<void(std::unique_ptr<GroupRound>)> done);
  Deadline Work();

  const StoreOptions& options_;
  pg::Pool* const pool_;
  GroupContext context_;
  Mutex mutex_;
  CondVar changed_;
  std::int64_t members_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_empty_ ABSL_GUARDED_BY(mutex_) = true;          // no group is left
  std::map<std::string, std::shared_ptr<Group>> groups_;  // the groups' thread's own
  bool is_draining_ = false;                              // the groups' thread's own
  // In this order: the threads below use those above.
  WorkThread groups_thread_;
  WorkThread database_thread_;
  WorkThread request_thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_GROUPS_H_
