#include "tests/unit/engine/memory_lane_database.h"

#include <absl/container/flat_hash_set.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "server/pg/errors.h"

namespace eventstore::engine {
namespace {

// So many calls no batch needs, nor a few that are answered together.
constexpr std::int64_t kCallsMax = 20'000;
constexpr std::int64_t kClockJumpMicros = 3'600'000'000;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

MemoryLaneDatabase::MemoryLaneDatabase(MemoryTables* tables, Random* random,
                                       std::function<void()> neighbour)
    : tables_(tables), random_(random), neighbour_(std::move(neighbour)) {}

// --- what happens around the lane ---

bool MemoryLaneDatabase::Happens(int chance, const char* what) {
  if (chance == 0 || Below(1000) >= chance) return false;
  disturbed_ = true;
  ++seen[what];
  if (keep_calls) calls.push_back(absl::StrCat("  (", what, ")"));
  return true;
}

void MemoryLaneDatabase::Call(const char* what) {
  if (++moment_ - watched_since_ > kCallsMax) {
    Complain("a batch takes no end");
    throw std::runtime_error(complaints.back());
  }
  if (keep_calls) calls.emplace_back(what);
}

void MemoryLaneDatabase::Complain(std::string_view what) {
  complaints.emplace_back(what);
  if (keep_calls) calls.push_back(absl::StrCat("  COMPLAINT: ", Absl(what)));
}

void MemoryLaneDatabase::Watch() {
  disturbed_ = false;
  watched_since_ = moment_;
  lowest_position_ = tables_->head().position;
}

std::int64_t MemoryLaneDatabase::ClockMicros() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
             .count() +
         clock_skew_micros_;
}

void MemoryLaneDatabase::Undo(int commits) {
  ++undos_;
  for (; commits > 0 && !tables_->commits().empty(); --commits) {
    if (tables_->commits().back().number == last_write_.number) last_write_ = {};
    tables_->Undo();
  }
  lowest_position_ = std::min(lowest_position_, tables_->head().position);
  told_position_ = std::min(told_position_, tables_->head().position);
  if (Below(2) == 0) tables_->ForgetKeys();
}

void MemoryLaneDatabase::SetClock() { clock_skew_micros_ += (Below(3) - 1) * kClockJumpMicros; }

void MemoryLaneDatabase::FailOver(int lost_commits) {
  ++server_;
  broken_ = usable_;
  transaction_ = Transaction::kNone;
  SetClock();
  Undo(lost_commits);
}

void MemoryLaneDatabase::Rewind(int lost_commits) {
  Undo(lost_commits);
  const tables::Head& head = tables_->head();
  if (head.epoch == known_.epoch && head.position < LanePosition()) {
    rewound_unnoticed_ = true;  // the lane can tell, and has to
  }
}

void MemoryLaneDatabase::NeighbourSignsOn() {
  if (server_ != written_on_server_ || rewound_unnoticed_) tables_->RaiseEpoch();
  written_on_server_ = server_;
  rewound_unnoticed_ = false;
}

void MemoryLaneDatabase::Neighbours() {
  for (int i = 0; i < 2 && Happens(weather.neighbour, "neighbour"); ++i) {
    NeighbourSignsOn();
    neighbour_();
  }
}

void MemoryLaneDatabase::Restore() {
  // What was looked up without a lock must not come from a history that was lost on the very server
  // on which it is then written: no guard could tell.
  if (looked_up_unlocked_ || !Happens(weather.rewound, "rewound")) return;
  Rewind(1 + Below(3));
  if (Below(3) == 0) {  // another daemon notices first
    NeighbourSignsOn();
    neighbour_();
  }
  if (Below(2) == 0) broken_ = usable_;
}

absl::Status MemoryLaneDatabase::Lost(bool sent) {
  disturbed_ = true;
  usable_ = false;
  broken_ = false;
  transaction_ = Transaction::kNone;
  pg::Error error;
  error.connection_lost = true;
  error.outcome = sent ? pg::Outcome::kInDoubt : pg::Outcome::kNotSent;
  return pg::MakeStatus(absl::StatusCode::kUnavailable, "the connection was lost", error);
}

absl::Status MemoryLaneDatabase::Refuse(std::string_view sqlstate, std::string_view message,
                                        std::string_view constraint) {
  if (transaction_ == Transaction::kLocked) transaction_ = Transaction::kFailed;
  pg::Error error;
  error.sqlstate = sqlstate;
  error.constraint = constraint;
  error.outcome = pg::Outcome::kRolledBack;
  return pg::MakeStatus(absl::StatusCode::kInternal, message, error);
}

absl::Status MemoryLaneDatabase::RandomRefusal() {
  constexpr std::string_view kStates[] = {"55P03", "57014", "40001", "53300", "25006", "XX000"};
  const std::string_view state = kStates[Below(6)];
  ++seen[std::string(state)];
  return Refuse(state, "refused by chance");
}

absl::Status MemoryLaneDatabase::Begin(const char* what) {
  Call(what);
  if (!usable_) Complain(absl::StrCat(what, " on a closed connection"));
  if (transaction_ == Transaction::kFailed) Complain(absl::StrCat(what, " after an error"));
  const bool locked = transaction_ == Transaction::kLocked;
  if (!locked) Neighbours();
  if (broken_ || Happens(weather.lost, "lost before it was sent")) return Lost(/*sent=*/false);
  if (on_sent_) on_sent_();
  ++moment_;
  last_write_ = {};
  if (!locked) Restore();
  if (!locked && Happens(weather.clock_set, "clock set")) SetClock();
  if (Happens(weather.failover, "failover")) FailOver(Below(4));
  if (broken_ || Happens(weather.lost, "lost")) return Lost(/*sent=*/true);
  if (!refuse_next.empty()) {
    disturbed_ = true;
    return Refuse(std::exchange(refuse_next, ""), "refused as the test wants it");
  }
  if (Happens(weather.refused, "refused")) return RandomRefusal();
  return absl::OkStatus();
}

// --- calls of the lane ---

absl::StatusOr<LaneDatabase::Opened> MemoryLaneDatabase::Open(std::int64_t known_epoch) {
  Call("open");
  if (known_epoch > tables_->head().epoch) Complain("the lane knows an epoch that never was");
  Close();
  Neighbours();
  Restore();
  if (Happens(weather.failover, "failover")) FailOver(Below(4));
  if (Happens(weather.open_fails, "open fails")) open_failures_left_ = 1 + Below(4);
  if (open_failures_left_ > 0) {
    --open_failures_left_;
    return Lost(/*sent=*/false);
  }
  Opened opened;
  if (must_raise_epoch_ && !raise_epoch_) Complain("the lane was content with a rewound history");
  must_raise_epoch_ = false;
  opened.raised_epoch = server_ != written_on_server_ || raise_epoch_;
  if (opened.raised_epoch) tables_->RaiseEpoch();
  raise_epoch_ = false;
  rewound_unnoticed_ = rewound_unnoticed_ && !opened.raised_epoch;
  written_on_server_ = server_;
  usable_ = true;
  looked_up_unlocked_ = false;
  in_doubt_ = false;
  if (tables_->head().epoch != known_.epoch) GoBy(tables_->head());
  opened.head = tables_->head();
  opened.last_batch = tables_->last_batch();
  return opened;
}

void MemoryLaneDatabase::RaiseEpochAtNextOpen() {
  if (locked_.position >= LanePosition()) {
    Complain("the lane took a history for a rewound one");
  }
  raise_epoch_ = true;
}

void MemoryLaneDatabase::Close() {
  usable_ = false;
  broken_ = false;
  transaction_ = Transaction::kNone;
}

absl::Status MemoryLaneDatabase::Ping() { return Begin("ping"); }

tables::StreamRow MemoryLaneDatabase::LookUp(const tables::StreamName& name) {
  const StoredStream* stream = tables_->FindStream(NameText(name));
  if (stream == nullptr) return {tables_->NewKey(), 0, false};
  return {stream->key, stream->version(), stream->tombstoned_by != 0,
          stream->DeletedAt(stream->version(), std::numeric_limits<std::int64_t>::max())};
}

absl::StatusOr<LaneDatabase::LockedState> MemoryLaneDatabase::LockAndLookUp(
    const std::vector<Uuid>& event_ids, const std::vector<tables::StreamName>& names) {
  looked_up_unlocked_ = false;
  const absl::Status begun = Begin("lock");
  if (!begun.ok()) {
    if (usable_) transaction_ = Transaction::kFailed;  // its own BEGIN came through
    return begun;
  }
  transaction_ = Transaction::kLocked;
  LockedState state;
  state.head = tables_->head();
  state.clock_micros = ClockMicros();
  skew_told_micros_ = clock_skew_micros_;
  for (std::size_t i = 0; i < event_ids.size(); ++i) {
    const StoredEvent* event = tables_->FindEvent(event_ids[i]);
    if (event == nullptr) continue;
    state.known_events.push_back({static_cast<std::int32_t>(i), event->position, event->stream_key,
                                  event->version, event->created_at_micros, event->stream});
  }
  for (const tables::StreamName& name : names) state.streams.push_back(LookUp(name));
  locked_ = state.head;
  must_raise_epoch_ = locked_.epoch == known_.epoch && locked_.position < LanePosition();
  if (locked_.epoch != known_.epoch) GoBy(locked_);
  return state;
}

absl::StatusOr<std::vector<tables::StreamRow>> MemoryLaneDatabase::LookUpStreams(
    const std::vector<tables::StreamName>& names) {
  if (transaction_ == Transaction::kLocked) known_ = locked_;
  const absl::Status begun = Begin("look_up");
  if (!begun.ok()) return begun;
  looked_up_unlocked_ = transaction_ == Transaction::kNone;
  std::vector<tables::StreamRow> rows;
  for (const tables::StreamName& name : names) rows.push_back(LookUp(name));
  return rows;
}

absl::StatusOr<std::vector<tables::TouchedStream>> MemoryLaneDatabase::ReadTouchedStreams(
    std::int64_t after_position, std::int64_t last_position) {
  const absl::Status begun = Begin("read_touched");
  if (!begun.ok()) return begun;
  std::vector<tables::TouchedStream> touched;
  absl::flat_hash_set<std::int64_t> seen_keys;
  for (std::int64_t position = last_position; position > after_position; --position) {
    const StoredEvent& event = tables_->log().at(static_cast<std::size_t>(position - 1));
    if (seen_keys.insert(event.stream_key).second) {
      touched.push_back({event.stream_key, event.version});
    }
  }
  return touched;
}

absl::StatusOr<std::vector<std::int64_t>> MemoryLaneDatabase::ReadChangedStreams(
    std::int64_t revision) {
  const absl::Status begun = Begin("read_changed");
  if (!begun.ok()) return begun;
  return tables_->ChangedAfter(revision);
}

absl::StatusOr<LaneDatabase::SavesState> MemoryLaneDatabase::LockSaves(
    const std::vector<std::string>& /*projections*/,
    const std::vector<tables::StreamName>& /*snapshot_streams*/) {
  Complain("nothing is saved here but events");
  return SavesState();
}

absl::StatusOr<std::vector<std::int64_t>> MemoryLaneDatabase::FindMatches(
    const std::vector<tables::ConditionProbe>& probes) {
  if (transaction_ != Transaction::kLocked) Complain("conditions were sought without the lock");
  known_ = locked_;
  const absl::Status begun = Begin("find_matches");
  if (!begun.ok()) return begun;
  ++seen["conditions by query"];
  std::vector<std::int64_t> positions;
  for (const tables::ConditionProbe& probe : probes) {
    positions.push_back(tables_->FindMatch(*probe.condition, probe.after_position));
  }
  return positions;
}

LaneDatabase::Written MemoryLaneDatabase::Write(const BatchWrite& write) {
  if (write.number <= highest_batch_) Complain("a number in the ledger was used twice");
  highest_batch_ = std::max(highest_batch_, write.number);
  const bool locked = transaction_ != Transaction::kNone;
  if (locked) known_ = locked_;
  Written written;
  const auto begun = Begin(locked ? "write" : "write_optimistic");
  looked_up_unlocked_ = false;
  if (!begun.ok()) {
    const auto error = pg::ErrorOf(begun);
    written.in_doubt = error->connection_lost && error->outcome == pg::Outcome::kInDoubt;
    if (written.in_doubt) ++seen["in doubt, not written"];
    if (usable_) transaction_ = Transaction::kFailed;
    written.status = begun;
    return written;
  }
  const bool in_doubt = Happens(weather.in_doubt, "in doubt");
  // Now and then the server stays away for longer than any append waits.
  if (in_doubt && Below(4) == 0) open_failures_left_ = Below(100);
  if (in_doubt && Below(2) == 0) {
    ++seen["in doubt, not written"];
    written.in_doubt = true;
    written.status = Lost(/*sent=*/true);
    return written;
  }
  written.status = Happens(weather.refused, "no partition")
                       ? Refuse("23514", "no partition of relation found for row")
                       : Check(write, locked);
  if (!written.status.ok()) {
    transaction_ = Transaction::kFailed;
    return written;
  }
  Apply(write);
  transaction_ = Transaction::kNone;
  ++seen[locked ? "written under the lock" : "written optimistically"];
  written.clock_micros = ClockMicros();
  written.in_doubt = in_doubt_ = in_doubt;
  if (!in_doubt) {
    known_ = tables_->head();
    skew_told_micros_ = clock_skew_micros_;
  } else if (Below(3) == 0) {
    ++seen["in doubt, not replicated"];
    written.status = absl::UnavailableError("COMMIT stopped waiting for a replica");
  } else {
    ++seen["in doubt, written"];
    written.status = Lost(/*sent=*/true);
  }
  return written;
}

void MemoryLaneDatabase::Rollback() {
  Call("rollback");
  if (transaction_ == Transaction::kLocked) known_ = locked_;
  if (transaction_ != Transaction::kNone && Happens(weather.lost, "lost at rollback")) {
    (void)Lost(/*sent=*/true);
  }
  transaction_ = Transaction::kNone;
  last_write_ = {};
}

absl::Status MemoryLaneDatabase::Probe(const tables::NewEventRow& row, Deadline /*deadline*/) {
  Call("probe");
  if (transaction_ != Transaction::kNone) Complain("the head is locked while data is probed");
  if (Happens(weather.lost, "probe lost")) {
    pg::Error error;
    error.connection_lost = true;
    return pg::MakeStatus(absl::StatusCode::kUnavailable, "the connection was lost", error);
  }
  if (absl::StrContains(row.event->payload(), Absl(kPoison))) {
    return Refuse("22P05", "unsupported Unicode escape sequence");
  }
  return absl::OkStatus();
}

}  // namespace eventstore::engine
