#include "server/rpc/drain.h"

#include <vector>

#include "server/core/errors.h"

namespace eventstore::rpc {
namespace {

absl::Status ShuttingDown() {
  return StoreUnavailable("the server is shutting down; retry with another one, or later");
}

}  // namespace

absl::Status OpenCalls::Add(const std::shared_ptr<Drainable>& call) {
  MutexLock lock(&mutex_);
  // Under the lock, so that every call is either refused here or seen by Drain.
  if (draining_.load(std::memory_order_relaxed)) return ShuttingDown();
  calls_.emplace(call.get(), call);
  return absl::OkStatus();
}

void OpenCalls::Remove(Drainable* call) {
  MutexLock lock(&mutex_);
  calls_.erase(call);
}

void OpenCalls::Drain() {
  std::vector<std::shared_ptr<Drainable>> calls;
  {
    MutexLock lock(&mutex_);
    draining_.store(true, std::memory_order_relaxed);
    for (const auto& [key, weak] : calls_) {
      if (auto call = weak.lock()) calls.push_back(std::move(call));
    }
    calls_.clear();
  }
  for (const auto& call : calls) call->Drain(ShuttingDown());
}

absl::Status OpenCalls::CheckOpen() const {
  return draining_.load(std::memory_order_relaxed) ? ShuttingDown() : absl::OkStatus();
}

}  // namespace eventstore::rpc
