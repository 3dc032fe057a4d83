// A member of a consumer group, as its call sees it.
#ifndef EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_MEMBER_H_
#define EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_MEMBER_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "eventstore/v1/consumer_group_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"

namespace eventstore::engine {

class Group;
class Groups;

// Made by Groups::Join. Thread-safe; no call blocks: all is handed to the groups' thread, in order.
class GroupMember : public std::enable_shared_from_this<GroupMember> {
 public:
  // A serialized ConsumeResponse, or why the membership ended.
  using Next = std::function<void(absl::StatusOr<std::string>)>;

  // Asks for the next message; at most one call may be unanswered. Answered exactly once, from the
  // groups' thread. An error ends the membership: NOT_FOUND (no such group, or deleted),
  // SLOW_CONSUMER, ARCHIVED, STORE_UNAVAILABLE, CANCELLED (after Leave). A client that takes a
  // message for longer than `hub.stall_timeout_ms` is dropped.
  void RequestNext(Next next);
  // An ack, nack or credits; validated. `done` is called when the next one may come.
  void Handle(v1::ConsumeRequest request, std::function<void()> done);
  // The client leaves in order: what it has in flight was no failed attempt.
  void Leave();
  // The client is gone: what it has in flight has failed.
  void Break();

 private:
  friend class Group;
  friend class Groups;
  GroupMember(Groups* groups, v1::ConsumeJoin join, std::function<void(absl::Status)> on_dropped)
      : groups_(groups),
        join_(std::move(join)),
        on_dropped_(std::move(on_dropped)),
        id_(MakeUuidV7()),
        credits_(join_.max_in_flight() > 0 ? join_.max_in_flight() : INT64_MAX) {}

  Groups* const groups_;
  const v1::ConsumeJoin join_;
  const std::function<void(absl::Status)> on_dropped_;
  const Uuid id_;
  // The rest is the groups' thread's own.
  std::shared_ptr<Group> group_;
  Next next_;
  Deadline taking_since_ = Deadline::max();  // the client has a message that it has not taken yet
  // What it is told before it gets events: that it is in, and which lanes came and went.
  std::string greeting_;
  std::set<std::int32_t> assigned_;
  std::set<std::int32_t> revoked_;
  std::int64_t credits_;
  std::size_t turn_ = 0;  // the lane that is served next
  bool is_registered_ = false;
  bool is_alone_ = false;  // what is in flight is a suspect, and nothing goes with it
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_GROUPS_GROUP_MEMBER_H_
