// The threads on which a store's requests wait for PostgreSQL, outside of the lane.
#ifndef EVENTSTORE_SERVER_ENGINE_WORKERS_H_
#define EVENTSTORE_SERVER_ENGINE_WORKERS_H_

#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/pg/pool.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// Called exactly once, on a worker's thread, or inline when the request is refused at once.
template <typename T>
using Done = std::function<void(absl::StatusOr<T>)>;

// Owns a few threads and a bounded queue; each task borrows a pooled connection. Thread-safe: any
// thread may call it, and no call blocks.
//
// Errors, by `done`, besides the task's own: OVERLOADED (queue or pool), STORE_UNAVAILABLE,
// DEADLINE_EXCEEDED (a task whose deadline passed while it waited is not started).
class Workers {
 public:
  // What to do when the connection is lost: a read is tried once more on another one; a write only
  // if nothing of it was sent, otherwise it may have been done and the caller has to decide.
  enum class Kind { kRead, kWrite };

  // `pool` must outlive this object.
  Workers(const ReaderOptions& options, pg::Pool* pool, telemetry::ReadMetrics metrics);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `work` with a connection and passes on what it returns.
  template <typename T>
  void Run(Kind kind, Deadline deadline,
           std::function<absl::StatusOr<T>(pg::Connection&, Deadline)> work, Done<T> done) {
    // An error is handed on, never kept here as well: whoever gets it is its only owner.
    auto result = std::make_shared<std::optional<T>>();
    Task task;
    task.kind = kind;
    task.caller_deadline = deadline;
    task.work = [result, work = std::move(work)](pg::Connection& connection, Deadline until) {
      absl::StatusOr<T> answer = work(connection, until);
      if (!answer.ok()) return std::move(answer).status();
      *result = *std::move(answer);
      return absl::OkStatus();
    };
    task.finish = [result, done = std::move(done)](absl::Status status) {
      if (status.ok()) {
        done(std::move(**result));
      } else {
        done(std::move(status));
      }
    };
    Enqueue(std::move(task));
  }

  // Answers everything that waits with STORE_UNAVAILABLE, and refuses what comes. Idempotent.
  void Stop();

 private:
  using Work = std::function<absl::Status(pg::Connection&, Deadline)>;
  struct Task {
    Kind kind = Kind::kRead;
    Deadline caller_deadline;
    Deadline deadline;  // the caller's, or `max_wait_ms` from now if that is sooner
    Work work;          // keeps what it read
    std::function<void(absl::Status)> finish;  // answers, with what was read if OK
  };
  void Enqueue(Task task);
  void ThreadMain();
  absl::Status Execute(const Task& task);
  // Runs the task's work so that Stop can cancel it.
  absl::Status RunWork(const Task& task, pg::Connection* connection);

  const ReaderOptions options_;
  pg::Pool* const pool_;
  const telemetry::ReadMetrics metrics_;
  Mutex mutex_;
  CondVar not_empty_;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<pg::Connection*> busy_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_WORKERS_H_
