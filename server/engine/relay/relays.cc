#include "server/engine/relay/relays.h"

#include <utility>

namespace eventstore::engine {

absl::StatusOr<std::unique_ptr<Relays>> Relays::Start(const StoreOptions& options, Uuid daemon_id,
                                                      pg::Pool* pool, telemetry::Metrics* metrics) {
  std::unique_ptr<Relays> relays(new Relays());
  if (!options.outbox.enabled) return relays;
  for (const OutboxSink& sink : options.outbox.sinks) {
    if (sink.options.type == kWorkerSink) continue;
    auto publisher = options.outbox.make_sink(sink.options);
    if (!publisher.ok()) return publisher.status();
    relays->relays_.push_back(
        std::make_unique<Relay>(options, sink, daemon_id, *std::move(publisher),
                                metrics->Relay(options.name, sink.options.name)));
  }
  relays->keeper_ = std::make_unique<OutboxKeeper>(options, pool, metrics);
  return relays;
}

Relays::~Relays() { Stop(std::chrono::steady_clock::now()); }

void Relays::NoticeCommit() {
  for (const auto& relay : relays_) relay->NoticeCommit();
}

void Relays::NoticeChange() {
  for (const auto& relay : relays_) relay->NoticeChange();
}

void Relays::Stop(Deadline deadline) {
  for (const auto& relay : relays_) relay->BeginStop();
  if (keeper_ != nullptr) keeper_->Stop();
  for (const auto& relay : relays_) relay->Stop(deadline);
}

}  // namespace eventstore::engine
