#include "server/rpc/services.h"

namespace eventstore::rpc {

Services::Services(const FindBackend& find_backend, const Limits& limits, const RpcOptions& options,
                   telemetry::Metrics* metrics)
    : event_store_(find_backend, limits, options, metrics),
      projections_(find_backend, limits, options, metrics),
      dead_letters_(find_backend, limits, options, metrics),
      groups_(find_backend, limits, options, metrics),
      snapshots_(find_backend, limits, options, metrics),
      outbox_(find_backend, limits, options, metrics),
      admin_(find_backend, limits, options, metrics),
      entries_{{v1::EventStoreService::service_full_name(), &event_store_},
               {v1::ProjectionService::service_full_name(), &projections_},
               {v1::DeadLetterService::service_full_name(), &dead_letters_},
               {v1::ConsumerGroupService::service_full_name(), &groups_},
               {v1::SnapshotService::service_full_name(), &snapshots_},
               {v1::OutboxService::service_full_name(), &outbox_},
               {v1::AdminService::service_full_name(), &admin_}} {}

void Services::BeginDrain() {
  event_store_.BeginDrain();
  projections_.BeginDrain();
  dead_letters_.BeginDrain();
  groups_.BeginDrain();
  snapshots_.BeginDrain();
  outbox_.BeginDrain();
  admin_.BeginDrain();
}

}  // namespace eventstore::rpc
