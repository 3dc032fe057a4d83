// What the RPCs need of a store, as an interface: tests put another one behind the same service.
#ifndef EVENTSTORE_SERVER_RPC_BACKEND_H_
#define EVENTSTORE_SERVER_RPC_BACKEND_H_

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/core/transaction.h"
#include "server/core/validation.h"
#include "server/engine/dead_letters.h"
#include "server/engine/groups/groups.h"
#include "server/engine/hub.h"
#include "server/engine/lifecycle.h"
#include "server/engine/outbox.h"
#include "server/engine/payload_indexes.h"
#include "server/engine/projections.h"
#include "server/engine/reader.h"
#include "server/engine/snapshots.h"
#include "server/engine/store.h"
#include "server/engine/writer.h"

namespace eventstore::rpc {

// A subscription; see engine::Subscription for what each call promises.
class Feed {
 public:
  virtual ~Feed() = default;
  virtual void RequestNext(engine::Subscription::Next next) = 0;
  virtual void Close() = 0;
  [[nodiscard]] virtual const std::string& id() const = 0;
};

// A store; see engine::Writer, Reader and Hub for what each call promises. No call blocks. A call
// in progress holds its backend until gRPC is done with it; the answers it waits for do not.
class Backend {
 public:
  virtual ~Backend() = default;
  // Returns what cancels the append.
  [[nodiscard]] virtual std::function<void()> Submit(ValidatedAppend append, Deadline deadline,
                                                     engine::PendingWrite::Done done) = 0;
  [[nodiscard]] virtual std::function<void()> Transact(ValidatedTransaction transaction,
                                                       Deadline deadline,
                                                       engine::Done<v1::TransactResponse> done) = 0;
  virtual void ReadStreamPage(engine::StreamPageQuery query, Deadline deadline,
                              engine::Done<engine::StreamPage> done) = 0;
  virtual void ReadAllPage(engine::AllPageQuery query, Deadline deadline,
                           engine::Done<engine::AllPage> done) = 0;
  virtual void QueryPage(engine::AllPageQuery query, Deadline deadline,
                         engine::Done<engine::AllPage> done) = 0;
  virtual void GetStreamInfo(v1::StreamId stream, Deadline deadline,
                             engine::Done<v1::StreamInfo> done) = 0;
  virtual void ListStreams(v1::ListStreamsRequest request, Deadline deadline,
                           engine::Done<v1::ListStreamsResponse> done) = 0;
  virtual void GetEvent(v1::GetEventRequest request, Deadline deadline,
                        engine::Done<v1::Event> done) = 0;
  virtual void GetHead(Deadline deadline, engine::Done<tables::Head> done) = 0;
  [[nodiscard]] virtual absl::StatusOr<std::shared_ptr<Feed>> Subscribe(
      engine::SubscriptionQuery query, std::function<void(absl::Status)> on_dropped) = 0;
  [[nodiscard]] virtual const std::string& store_id() const = 0;
  // What the consumer group service works on; as long-lived as this object.
  [[nodiscard]] virtual engine::Groups& groups() = 0;
  // What the other services work on; as long-lived as this object.
  [[nodiscard]] virtual engine::Projections& projections() = 0;
  [[nodiscard]] virtual engine::DeadLetters& dead_letters() = 0;
  [[nodiscard]] virtual engine::Snapshots& snapshots() = 0;
  [[nodiscard]] virtual engine::Outbox& outbox() = 0;
  [[nodiscard]] virtual engine::Lifecycle& lifecycle() = 0;
  [[nodiscard]] virtual engine::PayloadIndexes& payload_indexes() = 0;
};

// Finds the backend of a tenant (normalized, may be empty). Errors: STORE_UNAVAILABLE.
using FindBackend =
    std::function<absl::StatusOr<std::shared_ptr<Backend>>(std::string_view tenant_id)>;

// The backends that are stores. `directory` must outlive the result.
[[nodiscard]] FindBackend BackendsOf(engine::StoreDirectory* directory);

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_BACKEND_H_
