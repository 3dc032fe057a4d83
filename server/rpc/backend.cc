#include "server/rpc/backend.h"

#include <utility>

namespace eventstore::rpc {
namespace {

class StoreFeed final : public Feed {
 public:
  explicit StoreFeed(std::shared_ptr<engine::Subscription> subscription)
      : subscription_(std::move(subscription)) {}

  void RequestNext(engine::Subscription::Next next) override {
    subscription_->RequestNext(std::move(next));
  }
  void Close() override { subscription_->Close(); }
  const std::string& id() const override { return subscription_->id(); }

 private:
  const std::shared_ptr<engine::Subscription> subscription_;
};

class StoreBackend final : public Backend {
 public:
  explicit StoreBackend(std::shared_ptr<engine::Store> store) : store_(std::move(store)) {}

  std::function<void()> Submit(ValidatedAppend append, Deadline deadline,
                               engine::PendingWrite::Done done) override {
    return [pending = store_->writer().Submit(std::move(append), deadline, std::move(done))] {
      pending->Cancel();
    };
  }
  std::function<void()> Transact(ValidatedTransaction transaction, Deadline deadline,
                                 engine::Done<v1::TransactResponse> done) override {
    return store_->transactor().Submit(std::move(transaction), deadline, std::move(done));
  }
  void ReadStreamPage(engine::StreamPageQuery query, Deadline deadline,
                      engine::Done<engine::StreamPage> done) override {
    store_->reader().ReadStreamPage(std::move(query), deadline, std::move(done));
  }
  void ReadAllPage(engine::AllPageQuery query, Deadline deadline,
                   engine::Done<engine::AllPage> done) override {
    store_->reader().ReadAllPage(std::move(query), deadline, std::move(done));
  }
  void QueryPage(engine::AllPageQuery query, Deadline deadline,
                 engine::Done<engine::AllPage> done) override {
    store_->reader().QueryPage(std::move(query), deadline, std::move(done));
  }
  void GetStreamInfo(v1::StreamId stream, Deadline deadline,
                     engine::Done<v1::StreamInfo> done) override {
    store_->reader().GetStreamInfo(std::move(stream), deadline, std::move(done));
  }
  void ListStreams(v1::ListStreamsRequest request, Deadline deadline,
                   engine::Done<v1::ListStreamsResponse> done) override {
    store_->reader().ListStreams(std::move(request), deadline, std::move(done));
  }
  void GetEvent(v1::GetEventRequest request, Deadline deadline,
                engine::Done<v1::Event> done) override {
    store_->reader().GetEvent(std::move(request), deadline, std::move(done));
  }
  void GetHead(Deadline deadline, engine::Done<tables::Head> done) override {
    store_->reader().GetHead(deadline, std::move(done));
  }
  absl::StatusOr<std::shared_ptr<Feed>> Subscribe(
      engine::SubscriptionQuery query, std::function<void(absl::Status)> on_dropped) override {
    auto subscription = store_->hub().Subscribe(std::move(query), std::move(on_dropped));
    if (!subscription.ok()) return subscription.status();
    return std::make_shared<StoreFeed>(*std::move(subscription));
  }
  const std::string& store_id() const override { return store_->store_id(); }
  engine::Groups& groups() override { return store_->groups(); }
  engine::Projections& projections() override { return store_->projections(); }
  engine::DeadLetters& dead_letters() override { return store_->dead_letters(); }
  engine::Snapshots& snapshots() override { return store_->snapshots(); }
  engine::Outbox& outbox() override { return store_->outbox(); }
  engine::Lifecycle& lifecycle() override { return store_->lifecycle(); }
  engine::PayloadIndexes& payload_indexes() override { return store_->payload_indexes(); }

 private:
  const std::shared_ptr<engine::Store> store_;
};

}  // namespace

FindBackend BackendsOf(engine::StoreDirectory* directory) {
  return [directory](std::string_view tenant_id) -> absl::StatusOr<std::shared_ptr<Backend>> {
    absl::StatusOr<std::shared_ptr<engine::Store>> store = directory->Find(tenant_id);
    if (!store.ok()) return store.status();
    return std::make_shared<StoreBackend>(*std::move(store));
  };
}

}  // namespace eventstore::rpc
