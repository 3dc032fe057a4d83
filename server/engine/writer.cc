#include "server/engine/writer.h"

#include <algorithm>
#include <utility>

#include "server/core/errors.h"
#include "server/engine/lane.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

// How often an idle lane looks whether its connection is alive, and tries to get one back.
constexpr std::chrono::seconds kIdleCheck{5};
constexpr std::chrono::milliseconds kIdleReconnect{500};
// Between two tries to interrupt a lane that should have ended.
constexpr std::chrono::milliseconds kInterruptPause{100};

}  // namespace

Writer::Writer(const StoreOptions& options, std::unique_ptr<LaneDatabase> database,
               telemetry::LaneMetrics metrics, Callbacks callbacks)
    : options_(options),
      metrics_(metrics),
      callbacks_(std::move(callbacks)),
      database_(std::move(database)),
      lane_(std::make_unique<Lane>(options_, metrics_, callbacks_, database_.get(),
                                   static_cast<LaneHost*>(this))),
      thread_([this] { ThreadMain(); }) {}

Writer::~Writer() { Drain(Clock::now()); }

std::shared_ptr<PendingWrite> Writer::Submit(ValidatedAppend append, Deadline deadline,
                                             PendingWrite::Done done) {
  return Enqueue(std::make_shared<PendingWrite>(std::move(append), deadline, std::move(done)),
                 /*wakes=*/true);
}

std::shared_ptr<PendingWrite> Writer::Submit(std::shared_ptr<Transaction> transaction,
                                             Deadline deadline, PendingWrite::Transacted done,
                                             std::function<void()> stale) {
  return Enqueue(std::make_shared<PendingWrite>(std::move(transaction), deadline, std::move(done),
                                                std::move(stale)),
                 /*wakes=*/false);
}

void Writer::Wake() {
  MutexLock lock(&mutex_);
  if (!queue_.empty()) changed_.NotifyOne();
}

std::shared_ptr<PendingWrite> Writer::Enqueue(std::shared_ptr<PendingWrite> pending, bool wakes) {
  const std::int64_t bytes = pending->bytes();
  absl::Status refused;
  {
    MutexLock lock(&mutex_);
    const WriterOptions& limits = options_.writer;
    constexpr std::chrono::milliseconds kRetryDelay{100};
    if (draining_) {
      refused = StoreUnavailable("the server is shutting down");
    } else if (static_cast<std::int64_t>(queue_.size()) >= limits.queue_appends_max) {
      refused = Overloaded("writer.queue_appends_max", limits.queue_appends_max, kRetryDelay,
                           "too many appends wait for the write lane");
    } else if (!queue_.empty() && queue_bytes_ + bytes > limits.queue_bytes_max) {
      refused = Overloaded("writer.queue_bytes_max", limits.queue_bytes_max, kRetryDelay,
                           "too many bytes wait for the write lane");
    } else {
      pending->enqueued_at_ = Clock::now();
      queue_bytes_ += bytes;
      queue_.push_back(pending);
      UpdateQueueMetrics();
      if (wakes) changed_.NotifyOne();
      return pending;
    }
    if (!draining_) metrics_.overloaded->Increment();
  }
  pending->Fail(std::move(refused));
  return pending;
}

void Writer::UpdateQueueMetrics() {
  metrics_.queue_appends->Set(static_cast<double>(queue_.size()));
  metrics_.queue_bytes->Set(static_cast<double>(queue_bytes_));
}

void Writer::ThreadMain() {
  // Connects at once, so that a failover is found and health is known without an append.
  lane_->Idle();
  while (true) {
    Batch batch;
    const bool connected = connected_.load(std::memory_order_relaxed);
    const Deadline idle =
        Clock::now() + (connected ? std::chrono::milliseconds(kIdleCheck) : kIdleReconnect);
    if (!NextBatch(idle, &batch)) break;
    if (batch.empty()) {
      lane_->Idle();
    } else {
      lane_->Process(std::move(batch));
    }
  }
  lane_->AnswerCommitted();
  FailQueue(StoreUnavailable("the server is shutting down"));
  MutexLock lock(&mutex_);
  finished_ = true;
  changed_.NotifyAll();
}

bool Writer::NextBatch(Deadline deadline, Batch* batch) {
  MutexLock lock(&mutex_);
  while (queue_.empty()) {
    if (draining_) return false;
    if (!changed_.WaitUntil(&mutex_, deadline) && queue_.empty()) return !draining_;
  }
  if (draining_ && Clock::now() >= drain_deadline_) return false;
  const auto now = Clock::now();
  std::int64_t events = 0;
  std::int64_t bytes = 0;
  while (!queue_.empty()) {
    const PendingWrite& next = *queue_.front();
    events += next.events();
    bytes += next.bytes();
    if (!batch->empty() &&
        (events > options_.writer.batch_events_max || bytes > options_.writer.batch_bytes_max)) {
      break;
    }
    queue_bytes_ -= next.bytes();
    metrics_.queue_wait_seconds->Observe(
        std::chrono::duration<double>(now - queue_.front()->enqueued_at_).count());
    batch->push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  UpdateQueueMetrics();
  return true;
}

absl::Status Writer::ExpiryOf(const PendingWrite& write, Deadline now) const {
  if (write.cancelled_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("the caller cancelled before the append was written");
  }
  if (now >= write.deadline_) {
    return absl::DeadlineExceededError("the deadline passed before the append was written");
  }
  if (now - write.enqueued_at_ >= options_.writer.max_wait_ms) {
    return StoreUnavailable("the database could not take the append in time; nothing was written");
  }
  return absl::OkStatus();
}

void Writer::Pause(std::chrono::milliseconds duration) {
  const Deadline until = Clock::now() + duration;
  std::vector<std::pair<std::shared_ptr<PendingWrite>, absl::Status>> expired;
  {
    MutexLock lock(&mutex_);
    while (Clock::now() < until && !(draining_ && Clock::now() >= drain_deadline_)) {
      changed_.WaitUntil(&mutex_, std::min(until, drain_deadline_));
    }
    const auto now = Clock::now();
    for (auto it = queue_.begin(); it != queue_.end();) {
      absl::Status status = ExpiryOf(**it, now);
      if (status.ok()) {
        ++it;
        continue;
      }
      queue_bytes_ -= (*it)->bytes();
      expired.emplace_back(std::move(*it), std::move(status));
      it = queue_.erase(it);
    }
    UpdateQueueMetrics();
  }
  for (auto& [write, status] : expired) write->Fail(std::move(status));
}

bool Writer::GivenUp() {
  MutexLock lock(&mutex_);
  return draining_ && Clock::now() >= drain_deadline_;
}

bool Writer::HasWork() {
  MutexLock lock(&mutex_);
  return !queue_.empty();
}

void Writer::FailQueue(const absl::Status& status) {
  std::deque<std::shared_ptr<PendingWrite>> left;
  {
    MutexLock lock(&mutex_);
    left.swap(queue_);
    queue_bytes_ = 0;
    UpdateQueueMetrics();
  }
  for (const auto& write : left) write->Fail(Separate(status));
}

void Writer::Drain(Deadline deadline) {
  {
    MutexLock lock(&mutex_);
    draining_ = true;
    drain_deadline_ = std::min(drain_deadline_, deadline);
    changed_.NotifyAll();
  }
  // Time is up: a statement that waits (for another daemon's lock, say) is cancelled, again and
  // again because the lane may just be between two. A commit that this hits is in doubt, and its
  // callers are told that a retry is safe.
  for (Deadline until = deadline; !Finished(until); until = Clock::now() + kInterruptPause) {
    lane_->Interrupt();
  }
  if (thread_.joinable()) thread_.join();
  connected_.store(false, std::memory_order_relaxed);
}

bool Writer::Finished(Deadline wait_until) {
  MutexLock lock(&mutex_);
  while (!finished_ && changed_.WaitUntil(&mutex_, wait_until)) {
  }
  return finished_;
}

void Writer::SetPartitionEnd(std::int64_t end_position) {
  partition_end_.store(end_position, std::memory_order_relaxed);
}

}  // namespace eventstore::engine
