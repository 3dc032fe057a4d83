#include "server/pg/pool.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace eventstore::pg {
namespace {

using std::chrono::steady_clock;

// A pool that runs dry says so, but not for every request that it makes wait.
constexpr std::chrono::seconds kWarningInterval{1};

double Seconds(steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

absl::Status ClosedStatus() {
  return MakeStatus(absl::StatusCode::kUnavailable, "the connection pool is closed", {});
}

// `now` + `wait`, which may be too far away to say.
Deadline After(Deadline now, std::chrono::milliseconds wait) {
  return wait > Deadline::max() - now ? Deadline::max() : now + wait;
}

}  // namespace

// Stands in line; lives on the stack of the thread that waits.
struct Pool::Waiter {
  CondVar changed;
  bool served = false;       // It owns a slot now.
  bool pool_closed = false;  // It waited in vain because the pool was closed.
  Slot slot;
};

Pool::Lease::~Lease() {
  if (connection_ != nullptr) pool_->Return(std::move(connection_));
}

Pool::Lease::Lease(Lease&& other) noexcept
    : pool_(other.pool_), connection_(std::move(other.connection_)) {}

Pool::Lease& Pool::Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  if (connection_ != nullptr) pool_->Return(std::move(connection_));
  pool_ = other.pool_;
  connection_ = std::move(other.connection_);
  return *this;
}

Pool::Pool(ConnectionOptions connection, PoolOptions options, telemetry::PoolMetrics metrics)
    : connection_options_(std::move(connection)), options_(options), metrics_(metrics) {
  MutexLock lock(&mutex_);
  UpdateMetrics();
}

Pool::~Pool() {
  Close();
  MutexLock lock(&mutex_);
  assert(open_ == 0 && "a lease outlives its pool");
}

absl::StatusOr<Pool::Lease> Pool::Acquire(Deadline deadline) {
  const Deadline started = steady_clock::now();
  absl::StatusOr<Slot> slot = TakeSlot(deadline);
  metrics_.wait_seconds->Observe(Seconds(steady_clock::now() - started));
  if (!slot.ok()) return slot.status();
  Weed(&*slot, deadline);
  absl::Status opened;
  if (slot->connection == nullptr) {
    absl::StatusOr<std::unique_ptr<Connection>> connection =
        Connection::Open(connection_options_, deadline);
    if (connection.ok()) slot->connection = *std::move(connection);
    opened = connection.status();
    (opened.ok() ? metrics_.connects : metrics_.connect_failures)->Increment();
  }
  std::unique_ptr<Connection> to_close;  // Declared first: closed after the mutex is free.
  MutexLock lock(&mutex_);
  if (opened.ok() && closed_) opened = ClosedStatus();
  if (!opened.ok()) {
    to_close = std::move(slot->connection);
    std::unique_ptr<Connection> none = PassOn(nullptr);
    UpdateMetrics();
    return opened;
  }
  ++checked_out_;
  UpdateMetrics();
  return Lease(this, std::move(slot->connection));
}

absl::StatusOr<Pool::Slot> Pool::TakeSlot(Deadline deadline) {
  const Deadline pool_deadline = After(steady_clock::now(), options_.pool_timeout);
  bool warn = false;
  Waiter waiter;
  {
    MutexLock lock(&mutex_);
    if (closed_) return ClosedStatus();
    // Idle connections and free slots are never left while somebody waits, so a newcomer who finds
    // one overtakes nobody.
    if (!idle_.empty()) {
      Slot slot{std::move(idle_.back())};
      idle_.pop_back();
      return slot;
    }
    if (open_ < options_.pool_size + options_.max_overflow) {
      ++open_;
      return Slot{};
    }
    waiters_.push_back(&waiter);
    warn = MayWarn();
  }
  metrics_.exhausted->Increment();
  if (warn) {
    spdlog::warn(
        "the connection pool ran dry: all {} connections (pool_size {} + max_overflow {}) are in "
        "use",
        options_.pool_size + options_.max_overflow, options_.pool_size, options_.max_overflow);
  }
  if (WaitInLine(&waiter, std::min(deadline, pool_deadline))) return std::move(waiter.slot);
  if (waiter.pool_closed) return ClosedStatus();
  metrics_.timeouts->Increment();
  if (deadline < pool_deadline) {
    return MakeStatus(absl::StatusCode::kDeadlineExceeded,
                      "the deadline passed while waiting for a database connection",
                      {.timed_out = true});
  }
  return MakeStatus(
      absl::StatusCode::kResourceExhausted,
      fmt::format("no database connection became free within pool_timeout ({} ms); all {} "
                  "(pool_size {} + max_overflow {}) are in use",
                  options_.pool_timeout.count(), options_.pool_size + options_.max_overflow,
                  options_.pool_size, options_.max_overflow),
      {.timed_out = true});
}

bool Pool::WaitInLine(Waiter* waiter, Deadline wait_until) {
  MutexLock lock(&mutex_);
  bool in_time = true;
  while (!waiter->served && !closed_ && in_time) {
    in_time = waiter->changed.WaitUntil(&mutex_, wait_until);
  }
  if (waiter->served) return true;
  waiter->pool_closed = closed_;
  waiters_.erase(std::find(waiters_.begin(), waiters_.end(), waiter));
  return false;
}

void Pool::Weed(Slot* slot, Deadline deadline) {
  if (slot->connection == nullptr) return;
  const Deadline now = steady_clock::now();
  if (options_.pool_recycle.count() >= 0 &&
      now - slot->connection->opened_at() >= options_.pool_recycle) {
    metrics_.recycled->Increment();
    slot->connection.reset();
    return;
  }
  if (!options_.pool_pre_ping) return;
  // A server that hangs is like one that cannot be reached: it gets as long as a connect.
  const Deadline ping_deadline =
      std::min(deadline, After(now, connection_options_.connect_timeout));
  const bool used_just_now = now - slot->connection->used_at() < options_.pre_ping_idle;
  const absl::Status pinged =
      used_just_now ? slot->connection->CheckIdle() : slot->connection->Ping(ping_deadline);
  if (pinged.ok() || slot->connection->usable()) return;  // Or the caller's deadline passed.
  metrics_.pre_ping_failures->Increment();
  spdlog::debug("replacing a dead pooled connection");
  slot->connection.reset();
}

void Pool::Return(std::unique_ptr<Connection> connection) {
  const bool good = connection->usable() && !connection->in_transaction();
  std::unique_ptr<Connection> to_close;  // Declared first: closed after the mutex is free.
  MutexLock lock(&mutex_);
  --checked_out_;
  if (!good) to_close = std::exchange(connection, nullptr);
  std::unique_ptr<Connection> surplus = PassOn(std::move(connection));
  if (surplus != nullptr) to_close = std::move(surplus);
  UpdateMetrics();
}

std::unique_ptr<Connection> Pool::PassOn(std::unique_ptr<Connection> connection) {
  if (!closed_ && !waiters_.empty()) {
    Waiter* const waiter = waiters_.front();
    waiters_.pop_front();
    waiter->slot.connection = std::move(connection);
    waiter->served = true;
    waiter->changed.NotifyOne();
    return nullptr;
  }
  if (!closed_ && connection != nullptr && open_ <= options_.pool_size) {
    idle_.push_back(std::move(connection));
    return nullptr;
  }
  --open_;
  return connection;
}

bool Pool::MayWarn() {
  const Deadline now = steady_clock::now();
  if (now < next_warning_) return false;
  next_warning_ = now + kWarningInterval;
  return true;
}

PoolStatus Pool::status() const {
  MutexLock lock(&mutex_);
  return StatusLocked();
}

PoolStatus Pool::StatusLocked() const {
  return {.size = options_.pool_size,
          .checked_out = checked_out_,
          .overflow = std::max(0, open_ - options_.pool_size),
          .checked_in = static_cast<int>(idle_.size())};
}

void Pool::UpdateMetrics() {
  const PoolStatus status = StatusLocked();
  metrics_.size->Set(status.size);
  metrics_.checked_out->Set(status.checked_out);
  metrics_.overflow->Set(status.overflow);
  metrics_.checked_in->Set(status.checked_in);
}

void Pool::Close() {
  std::deque<std::unique_ptr<Connection>> to_close;
  MutexLock lock(&mutex_);
  closed_ = true;
  to_close.swap(idle_);
  open_ -= static_cast<int>(to_close.size());
  for (Waiter* waiter : waiters_) waiter->changed.NotifyOne();
  UpdateMetrics();
}

}  // namespace eventstore::pg
