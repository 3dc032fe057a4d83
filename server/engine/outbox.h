// A store's outbox, as workers and people use it.
#ifndef EVENTSTORE_SERVER_ENGINE_OUTBOX_H_
#define EVENTSTORE_SERVER_ENGINE_OUTBOX_H_

#include <functional>
#include <string>
#include <vector>

#include "eventstore/v1/outbox_service.pb.h"

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/workers.h"
#include "server/tables/outbox_admin.h"
#include "server/tables/outbox_table.h"

namespace eventstore::engine {

// What OutboxService does, on validated requests; see outbox_service.proto for what each call
// promises. An interface, so that tests can put another one behind the service. Thread-safe; no
// call blocks.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void ClaimOutbox(v1::ClaimOutboxRequest request, Deadline deadline,
                           Done<v1::ClaimOutboxResponse> done) = 0;
  virtual void CompleteOutbox(v1::CompleteOutboxRequest request, Deadline deadline,
                              Done<v1::CompleteOutboxResponse> done) = 0;
  virtual void FailOutbox(v1::FailOutboxRequest request, Deadline deadline,
                          Done<v1::FailOutboxResponse> done) = 0;
  virtual void ListOutbox(v1::ListOutboxRequest request, Deadline deadline,
                          Done<v1::ListOutboxResponse> done) = 0;
  virtual void RetryOutbox(v1::RetryOutboxRequest request, Deadline deadline,
                           Done<v1::RetryOutboxResponse> done) = 0;
  virtual void GetOutboxStats(v1::GetOutboxStatsRequest request, Deadline deadline,
                              Done<v1::GetOutboxStatsResponse> done) = 0;
  virtual void PauseOutbox(v1::PauseOutboxRequest request, Deadline deadline,
                           Done<v1::PauseOutboxResponse> done) = 0;
  virtual void PurgeOutbox(v1::PurgeOutboxRequest request, Deadline deadline,
                           Done<v1::PurgeOutboxResponse> done) = 0;
};

// On the tables, by the store's workers.
class TableOutbox final : public Outbox {
 public:
  // Both must outlive this object, which needs no stop of its own.
  TableOutbox(const OutboxOptions& options, Workers* workers);

  // `wake` is called, by a worker's thread and before the caller is answered, when a call may have
  // set entries free for a relay or changed whether it is paused. It must not block.
  void OnChanged(std::function<void()> wake);

  void ClaimOutbox(v1::ClaimOutboxRequest request, Deadline deadline,
                   Done<v1::ClaimOutboxResponse> done) override;
  void CompleteOutbox(v1::CompleteOutboxRequest request, Deadline deadline,
                      Done<v1::CompleteOutboxResponse> done) override;
  void FailOutbox(v1::FailOutboxRequest request, Deadline deadline,
                  Done<v1::FailOutboxResponse> done) override;
  void ListOutbox(v1::ListOutboxRequest request, Deadline deadline,
                  Done<v1::ListOutboxResponse> done) override;
  void RetryOutbox(v1::RetryOutboxRequest request, Deadline deadline,
                   Done<v1::RetryOutboxResponse> done) override;
  void GetOutboxStats(v1::GetOutboxStatsRequest request, Deadline deadline,
                      Done<v1::GetOutboxStatsResponse> done) override;
  void PauseOutbox(v1::PauseOutboxRequest request, Deadline deadline,
                   Done<v1::PauseOutboxResponse> done) override;
  void PurgeOutbox(v1::PurgeOutboxRequest request, Deadline deadline,
                   Done<v1::PurgeOutboxResponse> done) override;

 private:
  // Null if it is not configured.
  [[nodiscard]] const OutboxSink* Find(std::string_view sink) const;
  // OK if a sink is configured, or none is named. Errors: NOT_FOUND.
  [[nodiscard]] absl::Status Check(std::string_view sink) const;
  // Passes an answer on, after whoever waits for changes was told.
  template <typename T>
  Done<T> Waking(Done<T> done);

  const OutboxOptions& options_;
  Workers* const workers_;
  const std::vector<tables::OutboxRetryRules> rules_;
  const std::vector<tables::OutboxSinkType> types_;
  Mutex mutex_;
  std::function<void()> wake_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_OUTBOX_H_
