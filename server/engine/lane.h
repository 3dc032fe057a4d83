// The lane's work on its connection: one batch after the other, exactly once.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_H_

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/batch_decider.h"
#include "server/engine/lane_session.h"
#include "server/engine/stream_cache.h"
#include "server/engine/writer.h"

namespace eventstore::engine {

// Used by the writer's thread only, but for Interrupt.
class Lane {
 public:
  using Batch = std::vector<std::shared_ptr<PendingAppend>>;

  // `writer` owns this object.
  Lane(Writer* writer, Uuid daemon_id);

  // Writes a batch and answers every append in it, however often the database goes away meanwhile;
  // what cannot be written in time is answered with an error.
  void Process(Batch batch);
  // Between batches: notices a lost connection and makes a new one, so that a failover is found
  // (and readers are told) although nobody writes.
  void Idle();
  // Cancels what the server does for the lane now. Any thread.
  void Interrupt() { session_.Interrupt(); }

 private:
  // What became of one attempt to write a batch.
  enum class Attempt {
    kAnswered,  // done
    kRetry,     // nothing was written: decide again
    kInDoubt,   // the connection was lost during COMMIT; `in_doubt_` holds the answers
    kRefused,   // PostgreSQL refused the batch's data: `refusal_` says why
  };
  // What was decided for a batch; true once it has committed.
  struct Decided {
    std::unique_ptr<BatchDecider> decider;
    std::vector<absl::StatusOr<v1::AppendEventsResponse>> answers;  // one an append
  };

  // What the first round trip brings.
  struct LookUps {
    bool head_found = false;  // false: the head's row is not where it was
    tables::LockedHead locked;
    std::int64_t clock_micros = 0;
    std::vector<tables::KnownEvent> known_events;
    std::vector<tables::StreamName> unknown;  // asked for
    std::vector<tables::StreamRow> streams;   // one each
  };

  Attempt TryWrite(const Batch& batch);
  // The first round trip: lock the head, look up what the cache does not know, decide.
  absl::Status Prepare(const Batch& batch, Decided* decided);
  absl::Status LockAndLookUp(const std::vector<Uuid>& ids, bool scan, LookUps* lookups);
  std::vector<tables::StreamName> UnknownStreams(const Batch& batch);
  absl::Status RepairCache(const tables::Head& head);
  // The second round trip: write and commit.
  Attempt Commit(const Batch& batch, Decided decided);
  void Finish(const Batch& batch, Decided decided);
  void Answer(const Batch& batch, Decided decided);
  void Publish(const Batch& batch, const BatchDecider& decider);
  void SetHead(std::int64_t position);

  bool Connect();
  // Removes and answers appends that were cancelled or waited too long.
  void DropExpired(Batch* batch);
  void FailAll(const Batch& batch, const absl::Status& status);

  // lane_trouble.cc
  Attempt Classify(const absl::Status& status, bool commit_sent);
  bool Settle(const Batch& batch);
  void Isolate(Batch batch);
  void ProbeForPoison(Batch* batch);

  Writer* const writer_;
  LaneSession session_;
  StreamCache cache_;
  // The state of the store that the cache is valid for.
  tables::Head known_;
  std::int64_t batch_number_ = 0;
  std::optional<Decided> in_doubt_;
  std::int64_t in_doubt_batch_ = 0;
  absl::Status refusal_;
  bool probe_found_ = false;
  int guard_failures_ = 0;
  Deadline no_partition_since_ = Deadline::max();
  std::int64_t partitions_asked_at_ = -1;
  std::chrono::steady_clock::time_point next_complaint_{};
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LANE_H_
