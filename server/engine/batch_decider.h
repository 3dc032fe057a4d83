// What becomes of each append of a batch: pure logic, without I/O.
#ifndef EVENTSTORE_SERVER_ENGINE_BATCH_DECIDER_H_
#define EVENTSTORE_SERVER_ENGINE_BATCH_DECIDER_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <vector>

#include "eventstore/v1/errors.pb.h"
#include "eventstore/v1/event_store_service.pb.h"

#include "server/core/ids.h"
#include "server/core/transaction.h"
#include "server/core/validation.h"
#include "server/engine/save_decider.h"
#include "server/tables/events_table.h"
#include "server/tables/streams_table.h"

namespace eventstore::engine {

// Whether a stream is as expected.
[[nodiscard]] bool VersionHolds(const v1::ExpectedVersion& expected, const tables::StreamRow& row);

// Decides writes one after the other, against the committed state that it was told of plus what
// this batch does so far. Order of the checks: replay, then tombstone, versions, checks,
// conditions, checkpoint. What it returns holds only once the batch has committed. Used by one
// thread.
//
// A transaction is staged append by append and taken back as a whole where anything forbids it, so
// that it leaves no trace for those after it.
//
// Example:
//   BatchDecider decider(head.position, created_at);
//   int slot = decider.AddStream(name, row);     // for every stream of the batch
//   decider.AddKnownEvent(id, known);            // for every id that is stored already
//   decider.Decide(append, slot);                // for every append, in order
class BatchDecider {
 public:
  // `created_at_micros` is the time of what this batch writes.
  BatchDecider(std::int64_t head_position, std::int64_t created_at_micros)
      : position_(head_position), created_at_micros_(created_at_micros) {}

  // A stream that appends of this batch name, as committed. The name's views must outlive this
  // object.
  int AddStream(const tables::StreamName& name, const tables::StreamRow& row);
  // A stored event whose id an append of this batch gives.
  void AddKnownEvent(const Uuid& id, const tables::KnownEvent& known);

  // The answer for an append, whose storage must outlive this object. Errors: VERSION_CONFLICT,
  // DUPLICATE_EVENT_ID, STREAM_DELETED.
  [[nodiscard]] absl::StatusOr<v1::AppendEventsResponse> Decide(const ValidatedAppend& append,
                                                                int slot);

  // A transaction with what the lane knows about it. Everything named must outlive this object.
  struct TransactionInput {
    const ValidatedTransaction* request = nullptr;
    // The streams of its appends, then of its checks, then of its snapshots.
    std::vector<int> slots;
    // For each condition the lowest committed position that matches; 0: none.
    std::vector<std::int64_t> matches;
    absl::Status refused;  // why a condition cannot be evaluated
    std::int64_t epoch = 0;
  };
  // The answer for a transaction. Errors: those of an append, CONDITION_FAILED, POSITION_AHEAD,
  // ARCHIVED, INVALID_REQUEST (a snapshot's version); every violated expectation is in it.
  [[nodiscard]] absl::StatusOr<v1::TransactResponse> Decide(const TransactionInput& input);
  // The first of the checks alone: `deduplicated` is set if it is a replay. Errors:
  // DUPLICATE_EVENT_ID.
  [[nodiscard]] absl::StatusOr<v1::TransactResponse> FindReplay(
      const TransactionInput& input) const;
  // What transactions save; to be told of what there is.
  [[nodiscard]] SaveDecider& saves() { return saves_; }
  [[nodiscard]] const SaveDecider& saves() const { return saves_; }

  // What is to be written.
  [[nodiscard]] const std::vector<tables::NewEventRow>& rows() const { return rows_; }
  [[nodiscard]] std::vector<tables::StreamChange> StreamChanges() const;
  [[nodiscard]] std::int64_t last_position() const { return position_; }
  [[nodiscard]] std::int64_t created_at_micros() const { return created_at_micros_; }
  // Every stream with the version that it has once the batch has committed (0: it does not exist).
  struct Slot {
    tables::StreamName name;
    tables::StreamRow row;  // `version` counts this batch
    std::int64_t committed_version = 0;
    std::int64_t first_position = 0;  // of this batch's events
    std::int64_t last_position = 0;
  };
  [[nodiscard]] const std::vector<Slot>& slots() const { return slots_; }

 private:
  // Where an event with a known id is.
  struct Stored {
    std::int64_t global_position = 0;
    std::int64_t stream_key = 0;
    std::int64_t version = 0;
    std::int64_t created_at_micros = 0;
  };
  [[nodiscard]] v1::StreamId StreamOf(std::int64_t stream_key) const;
  // OK with `deduplicated` set if it is a replay, without if all its ids are new.
  [[nodiscard]] absl::StatusOr<v1::AppendEventsResponse> CheckReplay(const ValidatedAppend& append,
                                                                     const Slot& slot) const;
  [[nodiscard]] absl::Status CheckVersion(const ValidatedAppend& append, const Slot& slot) const;
  void Write(const ValidatedAppend& append, Slot* slot, v1::AppendEventsResponse* response);

  // transaction_decider.cc
  using Details = std::vector<v1::ErrorInfo>;
  [[nodiscard]] Details CheckTombstones(const TransactionInput& input) const;
  // Writes every append, as if all was well, and tells which expectation did not hold.
  void Stage(const TransactionInput& input, v1::TransactResponse* response, Details* violations);
  void CheckChecks(const TransactionInput& input, Details* violations) const;
  // The lowest position of the first `rows` events of this batch that matches; 0: none.
  [[nodiscard]] std::int64_t FindInBatch(const v1::AppendCondition& condition,
                                         std::size_t rows) const;
  void CheckConditions(const TransactionInput& input, std::size_t rows, Details* violations) const;
  [[nodiscard]] absl::Status CheckSnapshots(const TransactionInput& input) const;
  void Save(const TransactionInput& input, v1::TransactResponse* response);

  std::int64_t position_;
  const std::int64_t created_at_micros_;
  std::vector<Slot> slots_;
  absl::flat_hash_map<Uuid, Stored> known_;                  // stored, and written by this batch
  absl::flat_hash_map<std::int64_t, v1::StreamId> streams_;  // of the events that were stored
  std::vector<tables::NewEventRow> rows_;
  SaveDecider saves_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_BATCH_DECIDER_H_
