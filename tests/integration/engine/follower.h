// A subscriber that keeps what it was sent.
#ifndef EVENTSTORE_TESTS_INTEGRATION_ENGINE_FOLLOWER_H_
#define EVENTSTORE_TESTS_INTEGRATION_ENGINE_FOLLOWER_H_

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/telemetry/logging.h"
#include "tests/support/store.h"

namespace eventstore::testing {

using Kind = engine::SubscriptionMessage::Kind;

// Has a thread that asks for one message after the other, or (held) only for as many as it is
// allowed. Messages are decoded from their wire bytes, as a client does.
class Follower {
 public:
  struct Message {
    Kind kind;
    std::int64_t position;
    std::int64_t epoch;
    std::vector<v1::Event> events;
  };
  // Called on the follower's thread before it asks for the next message: a slow client waits here.
  using Before = std::function<void()>;

  explicit Follower(engine::Store& store, engine::SubscriptionQuery query = {}, bool held = false,
                    Before before = nullptr)
      : before_(std::move(before)), allowed_(held ? 0 : INT64_MAX) {
    auto subscription = store.hub().Subscribe(std::move(query), [this](absl::Status status) {
      MutexLock lock(&mutex_);
      dropped_ = std::move(status);
      changed_.NotifyAll();
    });
    if (!subscription.ok()) {
      throw std::runtime_error(std::string(telemetry::MessageOf(subscription.status())));
    }
    subscription_ = std::move(*subscription);
    thread_ = std::thread([this] { Follow(); });
  }
  ~Follower() { Close(); }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Lets a held one ask for this many more.
  void Allow(std::int64_t messages) {
    MutexLock lock(&mutex_);
    allowed_ = messages == INT64_MAX ? messages : allowed_ + messages;
    changed_.NotifyAll();
  }
  void Close() {
    subscription_->Close();
    {
      MutexLock lock(&mutex_);
      closed_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
  }

  std::vector<Message> Messages() {
    MutexLock lock(&mutex_);
    return messages_;
  }
  std::vector<v1::Event> Events() {
    std::vector<v1::Event> events;
    for (const Message& message : Messages()) {
      events.insert(events.end(), message.events.begin(), message.events.end());
    }
    return events;
  }
  int Count(Kind kind) {
    int count = 0;
    for (const Message& message : Messages()) count += message.kind == kind ? 1 : 0;
    return count;
  }
  // The error that ended it, or that it was dropped with; OK while it goes on.
  absl::Status End() {
    MutexLock lock(&mutex_);
    return end_.ok() ? dropped_ : end_;
  }
  absl::Status Dropped() {
    MutexLock lock(&mutex_);
    return dropped_;
  }

  bool AwaitEvents(std::size_t count) {
    return Eventually([&] { return Events().size() >= count; }, kPatience);
  }
  bool AwaitKind(Kind kind, int count = 1) {
    return Eventually([&] { return Count(kind) >= count; }, kPatience);
  }
  bool AwaitEnd() {
    return Eventually([&] { return !End().ok(); }, kPatience);
  }

 private:
  using Next = absl::StatusOr<engine::SubscriptionMessage>;

  void Follow() {
    while (true) {
      {
        MutexLock lock(&mutex_);
        while (allowed_ == 0 && !closed_) changed_.Wait(&mutex_);
        if (closed_) return;
        if (allowed_ != INT64_MAX) --allowed_;
      }
      if (before_) before_();
      auto promise = std::make_shared<std::promise<Next>>();
      auto future = promise->get_future();
      subscription_->RequestNext([promise](Next next) { promise->set_value(std::move(next)); });
      Next next = future.get();
      MutexLock lock(&mutex_);
      if (!next.ok()) {
        end_ = next.status();
        return;
      }
      messages_.push_back(Decode(*next));
    }
  }

  static Message Decode(const engine::SubscriptionMessage& from) {
    std::string bytes;
    for (const engine::EventRun& run : from.runs) bytes += run.block->bytes(run.begin, run.end);
    v1::EventBatch batch;
    if (!batch.ParseFromString(bytes)) throw std::runtime_error("not an EventBatch");
    return {from.kind, from.position, from.epoch, {batch.events().begin(), batch.events().end()}};
  }

  const Before before_;
  std::shared_ptr<engine::Subscription> subscription_;
  Mutex mutex_;
  CondVar changed_;
  std::int64_t allowed_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mutex_);
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  absl::Status dropped_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_INTEGRATION_ENGINE_FOLLOWER_H_
