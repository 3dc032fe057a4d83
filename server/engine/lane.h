// The lane's work: one batch after the other, each written exactly once.
#ifndef EVENTSTORE_SERVER_ENGINE_LANE_H_
#define EVENTSTORE_SERVER_ENGINE_LANE_H_

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "server/engine/batch_decider.h"
#include "server/engine/condition_window.h"
#include "server/engine/lane_database.h"
#include "server/engine/lane_host.h"
#include "server/engine/options.h"
#include "server/engine/pending_write.h"
#include "server/engine/recent_events.h"
#include "server/engine/server_clock.h"
#include "server/engine/stream_cache.h"
#include "server/engine/write_streams.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Used by the writer's thread only, but for Interrupt.
//
// A batch is written in one of two ways. *Optimistic*: while no other daemon seems to write, the
// lane knows the store's state from its own last commit; it decides on that, and one round trip
// locks the head, checks that it is what the lane believed, writes and commits. *Locked*: one round
// trip locks the head and looks everything up, a second one writes. What the first way cannot
// answer (a conflict, a stored event id, a head that moved, a checkpoint to save) takes the second.
class Lane {
 public:
  using Batch = std::vector<std::shared_ptr<PendingWrite>>;

  // Everything named must outlive this object.
  Lane(const StoreOptions& options, const telemetry::LaneMetrics& metrics,
       const LaneCallbacks& callbacks, LaneDatabase* database, LaneHost* host);

  // Writes a batch and answers every write in it, however often the database goes away meanwhile;
  // what cannot be written in time is answered with an error. Where the host has more work, the
  // answers wait until the next batch was sent, for then the database works meanwhile.
  void Process(Batch batch);
  // Answers the batch that committed last, if it waits still. At the end, if not before.
  void AnswerCommitted();
  // Between batches: notices a lost connection and makes a new one, so that a failover is found
  // (and readers are told) although nobody writes.
  void Idle();
  // Cancels what the server does for the lane now. Any thread.
  void Interrupt() { database_->Interrupt(); }

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
    std::vector<WriteAnswer> answers;  // one a write
    std::int64_t revision = 0;         // that it was decided on
  };
  // Streams as the database has them; the keys are views into the requests.
  using StreamRows = absl::flat_hash_map<tables::StreamName, tables::StreamRow>;

  Attempt TryWrite(const Batch& batch);
  // Nothing if the batch has to be written the locked way.
  std::optional<Attempt> TryOptimistic(const Batch& batch);
  Attempt TryLocked(const Batch& batch);
  absl::Status LockAndLookUp(const Batch& batch, const std::vector<Uuid>& ids,
                             LaneDatabase::LockedState* state, StreamRows* rows);
  // The streams that the lane has to look up for a batch.
  std::vector<tables::StreamName> UnknownStreams(const Batch& batch);
  absl::Status LookUpStreams(const std::vector<tables::StreamName>& names, StreamRows* rows);
  absl::Status RepairCache(const tables::Head& head);
  // Decides every write against `known_`, with these streams and those of the cache.
  void Decide(const Batch& batch, const StreamRows& rows, const ConditionWindow& window,
              std::int64_t now_micros, Decided* decided);
  // lane_transactions.cc
  // The numbers of streams in a batch's decider.
  using Slots = absl::flat_hash_map<tables::StreamName, int>;
  WriteAnswer DecideTransaction(const Transaction& transaction, const ConditionWindow& window,
                                std::size_t index, const Slots& slots, BatchDecider* decider);
  absl::Status LockSaves(const Batch& batch, const StreamRows& rows, std::int64_t now_micros,
                         BatchDecider* decider);
  absl::Status QueryConditions(ConditionWindow* window);
  template <typename Visit>
  static void VisitStreams(const PendingWrite& write, Visit visit) {
    if (write.transaction_ != nullptr) {
      engine::VisitStreams(write.transaction_->request, visit);
    } else {
      visit(NameOf(write.append_.request.stream(), write.append_.tenant));
    }
  }
  tables::StreamRow RowOf(const tables::StreamName& name, const StreamRows& rows);
  LaneDatabase::Written Write(const BatchDecider& decider);
  Attempt Commit(const Batch& batch, Decided decided);
  // After a commit: the lane knows what it wrote; answers and the hub come after.
  void Committed(const Batch& batch, Decided decided);
  void Finish(const Batch& batch, Decided decided);
  void Answer(const Batch& batch, Decided decided);
  void Publish(const BatchDecider& decider, std::int64_t revision);
  void SetHead(std::int64_t position);

  bool Connect();
  // Removes and answers writes that were cancelled or waited too long.
  void DropExpired(Batch* batch);
  void FailAll(const Batch& batch, const absl::Status& status);

  // lane_trouble.cc
  Attempt Classify(const absl::Status& status);
  // An optimistic write failed and left nothing behind. Nothing: the locked way should try.
  std::optional<Attempt> GiveUpOptimism(const absl::Status& status);
  Attempt Doubt(const absl::Status& status, Decided decided);
  bool Settle(const Batch& batch);
  void Isolate(Batch batch);
  void ProbeForPoison(Batch* batch);

  const StoreOptions& options_;
  const telemetry::LaneMetrics& metrics_;
  const LaneCallbacks& callbacks_;
  LaneDatabase* const database_;
  LaneHost* const host_;
  StreamCache cache_;
  RecentEvents recent_;
  // The state of the store that the cache is valid for. `current_`: it was the database's own when
  // this connection last looked, so that a batch may be decided on it.
  tables::Head known_;
  bool current_ = false;
  ServerClock clock_;
  // How many batches go the locked way before the next optimistic one, and how many after the next
  // failure.
  int locked_batches_left_ = 0;
  int locked_batches_next_ = 1;
  LaneDatabase::Opened opened_;
  std::int64_t batch_number_ = 0;
  // Committed, and neither answered nor published.
  struct Unanswered {
    Batch batch;
    Decided decided;
  };
  std::optional<Unanswered> unanswered_;
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
