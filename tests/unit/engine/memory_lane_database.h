// A database for the write lane, in memory, that can be made to fail in every way the lane knows.
#ifndef EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_LANE_DATABASE_H_
#define EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_LANE_DATABASE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/engine/lane_database.h"
#include "tests/unit/engine/memory_tables.h"

namespace eventstore::engine {

// A payload with this in it is refused, as PostgreSQL refuses what the parser let through.
inline constexpr std::string_view kPoison = "poison";

// How often something happens before or in a call of the lane, in a thousand.
struct Weather {
  int neighbour = 0;   // other daemons commit
  int lost = 0;        // the connection is lost, in any call
  int refused = 0;     // a statement fails for a reason of the server's own
  int in_doubt = 0;    // the connection is lost during a commit, before or after it happened
  int failover = 0;    // another server, that may lack the last commits
  int rewound = 0;     // an older copy of the tables on the same server
  int open_fails = 0;  // signing on fails, a few times in a row
  int clock_set = 0;   // the server's clock is set
};

// Keeps the rules of the tables (primary keys, the guards, one transaction at a time) and of the
// head lock: nobody else commits while the lane holds it. What the lane must never ask, though SQL
// would take it or a guard would catch it, is a complaint. Used by one thread.
class MemoryLaneDatabase : public LaneDatabase {
 public:
  using Random = std::mt19937_64;

  // Everything named must outlive this object. `neighbour` lets another daemon commit something.
  MemoryLaneDatabase(MemoryTables* tables, Random* random, std::function<void()> neighbour);

  Weather weather;
  // The SQLSTATE with which the next call fails; empty: none.
  std::string refuse_next;
  std::vector<std::string> complaints;
  // The lane's calls, shortened; not kept unless `keep_calls`.
  bool keep_calls = false;
  std::vector<std::string> calls;
  std::map<std::string, int> seen;  // how often what happened

  // Before a batch of the lane. One that takes endless calls throws.
  void Watch();
  // Since then: whether anything but the lane's own work happened.
  [[nodiscard]] bool disturbed() const { return disturbed_; }
  // Since then: the shortest log.
  [[nodiscard]] std::int64_t lowest_position() const { return lowest_position_; }
  // Counts the lane's calls, and where each was sent.
  [[nodiscard]] std::int64_t moment() const { return moment_; }
  // The commit of the lane's last write; none if the lane sent something else since, or lost it.
  [[nodiscard]] const MemoryTables::Commit* last_write() const {
    return last_write_.number == 0 ? nullptr : &last_write_;
  }
  [[nodiscard]] std::int64_t last_write_moment() const { return last_write_moment_; }
  // Whether a write whose outcome the lane was not told may still be what the lane asks for.
  [[nodiscard]] bool in_doubt() const { return in_doubt_; }
  // Readers and callers know of events up to here.
  void Told(std::int64_t position) {
    told_position_ = std::max(told_position_, position);
    ever_told_position_ = std::max(ever_told_position_, position);
  }
  // Another daemon is about to commit: it has found out about a rewound history.
  void NeighbourSignsOn();
  // The history of another server, without the last commits.
  void FailOver(int lost_commits);
  // The same server with an older copy of the tables.
  void Rewind(int lost_commits);
  // How often commits were lost.
  [[nodiscard]] std::int64_t undos() const { return undos_; }
  [[nodiscard]] std::int64_t ClockMicros() const;
  void SetClock();

  absl::StatusOr<Opened> Open(std::int64_t known_epoch) override;
  void Close() override;
  void Interrupt() override {}
  void RaiseEpochAtNextOpen() override;
  [[nodiscard]] bool usable() const override { return usable_; }
  void OnSent(std::function<void()> work) override { on_sent_ = std::move(work); }
  absl::Status Ping() override;
  absl::StatusOr<LockedState> LockAndLookUp(const std::vector<Uuid>& event_ids,
                                            const std::vector<tables::StreamName>& names) override;
  absl::StatusOr<std::vector<tables::StreamRow>> LookUpStreams(
      const std::vector<tables::StreamName>& names) override;
  absl::StatusOr<std::vector<tables::TouchedStream>> ReadTouchedStreams(
      std::int64_t after_position, std::int64_t last_position) override;
  absl::StatusOr<std::vector<std::int64_t>> ReadChangedStreams(std::int64_t revision) override;
  absl::StatusOr<SavesState> LockSaves(
      const std::vector<std::string>& projections,
      const std::vector<tables::StreamName>& snapshot_streams) override;
  absl::StatusOr<std::vector<std::int64_t>> FindMatches(
      const std::vector<tables::ConditionProbe>& probes) override;
  Written Write(const BatchWrite& write) override;
  void Rollback() override;
  absl::Status Probe(const tables::NewEventRow& row, Deadline deadline) override;
  void EndProbe() override { Call("end_probe"); }

 private:
  enum class Transaction { kNone, kLocked, kFailed };

  // Something of this chance in a thousand happens.
  bool Happens(int chance, const char* what);
  int Below(int n) { return static_cast<int>((*random_)() % static_cast<std::uint64_t>(n)); }
  void Call(const char* what);
  // What others do before a call, and whether the call then fails by itself.
  absl::Status Begin(const char* what);
  void Neighbours();
  void Restore();
  absl::Status Lost(bool sent);
  absl::Status Refuse(std::string_view sqlstate, std::string_view message,
                      std::string_view constraint = "");
  absl::Status RandomRefusal();
  void Complain(std::string_view what);
  void Undo(int commits);
  tables::StreamRow LookUp(const tables::StreamName& name);
  // Why the tables do not take a write.
  absl::Status Check(const BatchWrite& write, bool locked);
  void GoBy(const tables::Head& head) {
    known_ = head;
    ever_told_position_ = told_position_;
  }
  // How far the lane knows the log: a commit in doubt that turned out to have happened is told
  // before the lane goes by anything else.
  [[nodiscard]] std::int64_t LanePosition() const {
    return std::max(known_.position, ever_told_position_);
  }
  void CheckTime(std::int64_t created_at_micros);
  absl::Status CheckStreams(const BatchWrite& write);
  absl::Status CheckEvents(const BatchWrite& write, bool locked);
  void Apply(const BatchWrite& write);

  MemoryTables* const tables_;
  Random* const random_;
  const std::function<void()> neighbour_;
  std::function<void()> on_sent_;
  bool usable_ = false;
  bool broken_ = false;  // the server went away; the next call finds out
  Transaction transaction_ = Transaction::kNone;
  bool raise_epoch_ = false;
  bool must_raise_epoch_ = false;  // the lane saw a rewound history under the lock
  int server_ = 1;
  int written_on_server_ = 1;
  // The history was rewound on the same server, and nobody has noticed yet.
  bool rewound_unnoticed_ = false;
  bool looked_up_unlocked_ = false;
  int open_failures_left_ = 0;
  tables::Head known_;   // the state that the lane goes by
  tables::Head locked_;  // as the lane found it; it goes by it once it has repaired its cache
  std::int64_t told_position_ = 0;
  std::int64_t ever_told_position_ = 0;  // in this epoch, also of what was lost
  std::int64_t clock_skew_micros_ = 1'000'000'000'000;
  std::int64_t skew_told_micros_ = 0;  // when the lane was told the time last
  std::int64_t undos_ = 0;
  bool disturbed_ = false;
  bool in_doubt_ = false;
  std::int64_t lowest_position_ = 0;
  std::int64_t moment_ = 0;
  std::int64_t watched_since_ = 0;  // moment
  MemoryTables::Commit last_write_;
  std::int64_t last_write_moment_ = 0;
  std::int64_t highest_batch_ = 0;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_TESTS_UNIT_ENGINE_MEMORY_LANE_DATABASE_H_
