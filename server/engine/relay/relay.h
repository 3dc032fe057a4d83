// Publishes what waits for one sink.
#ifndef EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_H_
#define EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/relay/relay_progress.h"
#include "server/engine/relay/relay_session.h"
#include "server/sinks/sink.h"
#include "server/tables/outbox_relay.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// One thread with one connection. Of all daemons' relays of a sink one has the lease and publishes;
// the others ask for it about once a second. The owner locks a batch of rows in a transaction, has
// the sink publish them, and marks them in the same transaction: a row that is locked, claimed or
// waits holds back its stream only. A broker that is away stops the sink and counts no attempts.
// Whatever is lost between the broker's answer and the commit is published again: at least once.
class Relay {
 public:
  // `options` must outlive this object; `sink` is one of them. Starts the thread.
  Relay(const StoreOptions& options, const OutboxSink& sink, Uuid daemon_id,
        std::unique_ptr<sinks::Sink> publisher, telemetry::RelayMetrics metrics);
  // Stops at once.
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Somebody committed events: the owner looks whether there is something for it. Any thread; does
  // not block.
  void NoticeCommit();
  // Entries were retried, released or purged, or the sink was paused or resumed: looks at all of
  // it now rather than at the next sweep. Any thread; does not block.
  void NoticeChange();
  // Takes no further batch. Any thread; does not block.
  void BeginStop();
  // Lets the batch that runs end until `deadline` and interrupts it then, which may take a second
  // or two; gives the lease back and joins the thread. Idempotent.
  void Stop(Deadline deadline);

 private:
  // How the relay is, as the metrics have it.
  enum class State { kStandby, kRunning, kUnavailable, kPaused };

  // Whether the thread has come to its end by `deadline`.
  [[nodiscard]] bool AwaitEnd(Deadline deadline);
  void ThreadMain();
  void Wait();
  [[nodiscard]] bool Stopped();
  // When there is something to do without being woken.
  [[nodiscard]] Deadline NextRound() const;
  // Whether a commit is a reason to look.
  [[nodiscard]] bool HeedsCommits() const;
  // Everything that is due now. An error means that the connection is of no use any more, or that
  // it is not known what became of the batch.
  [[nodiscard]] absl::Status Round();
  [[nodiscard]] absl::Status Connect();
  void Disconnect(const absl::Status& why);
  // Takes, or renews, the lease.
  [[nodiscard]] absl::Status Tick();
  void Own(const tables::OutboxLeaseState& lease);
  void Disown(const char* why);
  [[nodiscard]] absl::Status Sweep();
  void ShowState();
  void GiveBack();

  // relay_batch.cc: one batch, from looking to marking.
  [[nodiscard]] absl::Status PublishBatch();
  [[nodiscard]] absl::StatusOr<RelayBatch> PlanBatch();
  struct Published;
  // Publishes what was locked, and says what is to be marked.
  [[nodiscard]] Published Publish(const std::vector<tables::OutboxRow>& rows, RelayBatch* batch);
  void Settle(const tables::OutboxRow& row, const sinks::Delivery& delivery, const v1::Event* event,
              RelayBatch* batch, Published* published);
  [[nodiscard]] absl::Status Mark(const Published& published, const RelayBatch& batch);
  // The broker is away, or is there (again).
  void NoteAway(const std::string& error, std::size_t published);
  void NoteThere();
  [[nodiscard]] std::chrono::milliseconds RetryDelay(std::int64_t failures);

  const StoreOptions& options_;
  const OutboxSink& sink_;
  const std::unique_ptr<sinks::Sink> publisher_;
  telemetry::RelayMetrics metrics_;
  RelaySession session_;
  // The thread's own.
  tables::OutboxLease lease_;  // `token` 0: not the owner
  bool paused_ = false;
  Deadline lease_end_{};
  Deadline last_tick_{};
  Deadline next_tick_{};
  Deadline next_connect_{};
  std::int64_t connect_failures_ = 0;
  RelayProgress progress_;
  bool scan_wanted_ = false;
  Deadline last_sweep_{};  // when it began
  Deadline next_sweep_{};
  std::optional<std::int64_t> sweep_after_;  // the stream key that a sweep has come to
  bool sweep_again_ = false;                 // something was changed behind it
  std::int64_t batch_events_;
  std::int64_t away_ = 0;  // failures in a row
  Deadline retry_at_{};
  std::string last_error_;
  std::minstd_rand random_;

  Mutex mutex_;
  CondVar changed_;
  bool heeds_commits_ ABSL_GUARDED_BY(mutex_) = false;
  bool commit_noticed_ ABSL_GUARDED_BY(mutex_) = false;
  bool change_noticed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_RELAY_RELAY_H_
