// A consumer group's members and lanes: leases, checkpoints, failed attempts, parked events. Every
// write of a lane's owner carries the lane's token and changes nothing where that is not the
// lane's any more.
#ifndef EVENTSTORE_SERVER_TABLES_CONSUMER_GROUP_LANES_TABLE_H_
#define EVENTSTORE_SERVER_TABLES_CONSUMER_GROUP_LANES_TABLE_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eventstore/v1/types.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/pg/connection.h"

namespace eventstore::tables {

[[nodiscard]] absl::Status AddMember(pg::Connection& connection, std::int64_t group_key,
                                     const Uuid& member, const Uuid& daemon, std::string_view name,
                                     Deadline deadline);
[[nodiscard]] absl::Status RemoveMembers(pg::Connection& connection, std::int64_t group_key,
                                         const std::vector<Uuid>& members, Deadline deadline);

// How far an owner is with a lane.
struct LaneProgress {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  std::int64_t position = 0;  // the checkpoint
  std::int64_t epoch = 0;
  std::int64_t in_flight = 0;
  std::int64_t retrying = 0;
  std::int64_t oldest_created_at_micros = 0;                    // 0: none
  std::optional<std::chrono::milliseconds> oldest_unacked_age;  // none: nothing is out
  std::int64_t stopped_position = 0;                            // 0: it runs
};
// A failed attempt at an event beyond the checkpoint.
struct LaneAttempts {
  std::int32_t lane = 0;
  std::int64_t position = 0;
  std::int32_t attempts = 0;
  std::chrono::milliseconds due_in{0};
  std::string error;
};
// In one statement: renews the leases, saves the checkpoints and attempts, forgets attempts below
// the checkpoints, and says that this daemon's members live. Returns the lanes whose tokens were
// valid.
[[nodiscard]] absl::StatusOr<std::vector<std::int32_t>> KeepLanes(
    pg::Connection& connection, std::int64_t group_key, const Uuid& daemon,
    std::chrono::milliseconds lease, const std::vector<LaneProgress>& lanes,
    const std::vector<LaneAttempts>& attempts, Deadline deadline);

// The history beyond these positions was lost: the lanes go back there, and what was known of
// events beyond is forgotten. Reads lane, token, position and epoch.
[[nodiscard]] absl::Status RewindLanes(pg::Connection& connection, std::int64_t group_key,
                                       const std::vector<LaneProgress>& lanes, Deadline deadline);

// Gives lanes back. `may_repeat`: something beyond the checkpoint may have been delivered.
struct LaneRelease {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  std::int64_t position = 0;
  std::int64_t epoch = 0;
  bool may_repeat = false;
};
[[nodiscard]] absl::Status ReleaseLanes(pg::Connection& connection, std::int64_t group_key,
                                        const std::vector<LaneRelease>& lanes, Deadline deadline);

// Takes lanes that nobody holds, if their tokens are still those that were seen.
struct LaneClaim {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  Uuid member{};
};
struct KnownAttempt {
  std::int64_t position = 0;
  std::int32_t attempts = 0;
  std::chrono::milliseconds due_in{0};
  bool is_settled = false;
  std::optional<Uuid> dead_letter_of;  // the event's id, where it has one that is not resolved
};
struct ClaimedLane {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  std::int64_t position = 0;
  std::int64_t epoch = 0;
  bool may_repeat = false;
  Uuid member{};
  std::int64_t stopped_position = 0;
  std::vector<KnownAttempt> known;
  std::vector<std::uint64_t> parked_streams;
};
[[nodiscard]] absl::StatusOr<std::vector<ClaimedLane>> ClaimLanes(
    pg::Connection& connection, std::int64_t group_key, const Uuid& daemon,
    std::chrono::milliseconds lease, const std::vector<LaneClaim>& claims, Deadline deadline);

// What a daemon that works for a group looks at once a second, in one statement.
struct GroupView {
  bool exists = false;
  std::int64_t revision = 0;
  std::int64_t head_position = 0;
  std::int64_t epoch = 0;
  struct Member {
    Uuid id{};
    Uuid daemon{};
  };
  std::vector<Member> members;  // that live
  struct Lane {
    std::int32_t lane = 0;
    std::int64_t token = 0;
    std::optional<Uuid> member;  // none: nobody holds it
  };
  std::vector<Lane> lanes;
  // Dead letters that are to be tried again, by position; at most `kRetriesMax`.
  std::vector<std::int64_t> retrying;
  // Events that lanes or streams wait for and that are not just failed any more: whether they are
  // settled (otherwise: to be tried again).
  struct Decision {
    std::int32_t lane = 0;
    bool is_settled = false;
    std::int64_t stream_hash = 0;  // 0: the lane itself is stopped
  };
  std::vector<Decision> decisions;
};
inline constexpr int kRetriesMax = 1'000;
[[nodiscard]] absl::StatusOr<GroupView> ObserveGroup(pg::Connection& connection,
                                                     std::int64_t group_key, std::string_view name,
                                                     std::chrono::milliseconds expire,
                                                     Deadline deadline);

// Events by their positions; what was archived is missing.
[[nodiscard]] absl::StatusOr<std::vector<v1::Event>> ReadEventsAt(
    pg::Connection& connection, const std::vector<std::int64_t>& positions, Deadline deadline);

// An event to set aside.
struct ParkedEvent {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  v1::Event event;
  std::string error;
  std::int32_t attempts = 0;
  bool is_retry = false;          // of a dead letter: below the checkpoint
  bool stops_lane = false;        // the lane waits for it
  std::int64_t parks_stream = 0;  // hash of the stream that waits for it; 0: none
};
// A dead letter that was processed after all.
struct ResolvedEvent {
  std::int32_t lane = 0;
  std::int64_t token = 0;
  Uuid event{};
};
// In one transaction, for those lanes whose tokens are valid; returns these lanes.
[[nodiscard]] absl::StatusOr<std::vector<std::int32_t>> WriteDeadLetters(
    pg::Connection& connection, std::int64_t group_key, std::string_view name,
    const std::vector<ParkedEvent>& parked, const std::vector<ResolvedEvent>& resolved,
    Deadline deadline);

// `on_failure` park_stream, once the event that a stream waits for is settled: those that were set
// aside behind it are to be tried again, and, once none of them is open, the stream is free. True
// if it is.
[[nodiscard]] absl::StatusOr<bool> FreeStream(pg::Connection& connection, std::int64_t group_key,
                                              std::string_view name, std::int32_t lane,
                                              std::int64_t token, std::int64_t stream_hash,
                                              Deadline deadline);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_CONSUMER_GROUP_LANES_TABLE_H_
