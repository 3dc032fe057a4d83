#include "server/engine/workers.h"

#include <algorithm>
#include <chrono>

#include "server/core/errors.h"
#include "server/engine/store_errors.h"
#include "server/pg/errors.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// Between two tries to cancel statements when the workers stop.
constexpr std::chrono::milliseconds kCancelPause{100};

}  // namespace

Workers::Workers(const ReaderOptions& options, pg::Pool* pool, telemetry::ReadMetrics metrics)
    : options_(options), pool_(pool), metrics_(metrics) {
  threads_.reserve(static_cast<std::size_t>(options_.threads));
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { ThreadMain(); });
}

Workers::~Workers() { Stop(); }

void Workers::Stop() {
  std::deque<Task> left;
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    left.swap(queue_);
    not_empty_.NotifyAll();
  }
  for (Task& task : left) task.finish(StoreUnavailable("the server is shutting down"));
  // Statements under way are cancelled, again and again because a thread may just be between two.
  while (true) {
    MutexLock lock(&mutex_);
    if (busy_.empty()) break;
    for (pg::Connection* const connection : busy_) connection->Cancel();
    not_empty_.WaitUntil(&mutex_, Clock::now() + kCancelPause);
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Workers::Enqueue(Task task) {
  task.deadline = std::min(task.caller_deadline, Clock::now() + options_.max_wait_ms);
  absl::Status refused;
  {
    MutexLock lock(&mutex_);
    if (stopped_) {
      refused = StoreUnavailable("the server is shutting down");
    } else if (static_cast<std::int64_t>(queue_.size()) >= options_.queue_requests_max) {
      refused = Overloaded("reader.queue_requests_max", options_.queue_requests_max,
                           std::chrono::milliseconds(200), "too many reads wait for a thread");
    } else {
      queue_.push_back(std::move(task));
      metrics_.queue->Set(static_cast<double>(queue_.size()));
      not_empty_.NotifyOne();
      return;
    }
  }
  task.finish(std::move(refused));
}

void Workers::ThreadMain() {
  while (true) {
    Task task;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stopped_) not_empty_.Wait(&mutex_);
      if (stopped_) return;
      task = std::move(queue_.front());
      queue_.pop_front();
      metrics_.queue->Set(static_cast<double>(queue_.size()));
    }
    task.finish(Execute(task));
  }
}

absl::Status Workers::Execute(const Task& task) {
  absl::Status status;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (Clock::now() >= task.deadline) break;
    auto lease = pool_->Acquire(task.deadline);
    if (!lease.ok()) {
      status = lease.status();
      break;
    }
    const auto started = Clock::now();
    status = RunWork(task, lease->get());
    metrics_.page_seconds->Observe(std::chrono::duration<double>(Clock::now() - started).count());
    const auto error = pg::ErrorOf(status);
    if (!error.has_value() || !error->connection_lost || error->timed_out) break;
    if (task.kind == Kind::kWrite && error->outcome != pg::Outcome::kNotSent) break;
  }
  if (Clock::now() >= task.caller_deadline && (status.ok() || pg::ErrorOf(status).has_value())) {
    return absl::DeadlineExceededError("the deadline passed before the request was done");
  }
  if (status.ok() && Clock::now() >= task.deadline) {
    return StoreUnavailable("the request waited too long");
  }
  return ToStoreError(status);
}

absl::Status Workers::RunWork(const Task& task, pg::Connection* connection) {
  {
    MutexLock lock(&mutex_);
    if (stopped_) return StoreUnavailable("the server is shutting down");
    busy_.insert(connection);
  }
  absl::Status status = task.work(*connection, task.deadline);
  MutexLock lock(&mutex_);
  busy_.erase(connection);
  if (stopped_) not_empty_.NotifyAll();
  return status;
}

}  // namespace eventstore::engine
