// All services of the daemon, as one thing that is served and drained.
#ifndef EVENTSTORE_SERVER_RPC_SERVICES_H_
#define EVENTSTORE_SERVER_RPC_SERVICES_H_

#include <grpcpp/impl/service_type.h>

#include <string>
#include <vector>

#include "server/core/limits.h"
#include "server/rpc/admin_service.h"
#include "server/rpc/backend.h"
#include "server/rpc/consumer_group_service.h"
#include "server/rpc/dead_letter_service.h"
#include "server/rpc/event_store_service.h"
#include "server/rpc/options.h"
#include "server/rpc/outbox_service.h"
#include "server/rpc/projection_service.h"
#include "server/rpc/snapshot_service.h"
#include "server/telemetry/metrics.h"

namespace eventstore::rpc {

// Must outlive the server. Thread-safe.
class Services {
 public:
  // `metrics` must outlive this object, and so must what `find_backend` refers to.
  Services(const FindBackend& find_backend, const Limits& limits, const RpcOptions& options,
           telemetry::Metrics* metrics);

  // See EventStoreService::BeginDrain; for all of them.
  void BeginDrain();

  [[nodiscard]] EventStoreService& event_store() { return event_store_; }

  // What a server registers, and under which name health checks ask for it.
  struct Entry {
    std::string name;
    grpc::Service* service;
  };
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

 private:
  EventStoreService event_store_;
  ProjectionService projections_;
  DeadLetterService dead_letters_;
  ConsumerGroupService groups_;
  SnapshotService snapshots_;
  OutboxService outbox_;
  AdminService admin_;
  const std::vector<Entry> entries_;
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_SERVICES_H_
