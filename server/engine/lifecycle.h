// What happens to a store's streams and events after they were written.
#ifndef EVENTSTORE_SERVER_ENGINE_LIFECYCLE_H_
#define EVENTSTORE_SERVER_ENGINE_LIFECYCLE_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "eventstore/v1/lifecycle.pb.h"

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/workers.h"
#include "server/tables/lifecycle_table.h"
#include "server/telemetry/metrics.h"

namespace eventstore::engine {

// What the lifecycle RPCs of EventStoreService do, on validated requests; see
// event_store_service.proto for what each call promises. An interface, so that tests can put
// another one behind the service. Thread-safe; no call blocks.
class Lifecycle {
 public:
  virtual ~Lifecycle() = default;
  virtual void TruncateStream(v1::TruncateStreamRequest request, Deadline deadline,
                              Done<v1::TruncateStreamResponse> done) = 0;
  virtual void DeleteStream(v1::DeleteStreamRequest request, Deadline deadline,
                            Done<v1::DeleteStreamResponse> done) = 0;
  virtual void EraseEvents(v1::EraseEventsRequest request, Deadline deadline,
                           Done<v1::EraseEventsResponse> done) = 0;
};

// On the tables, by the store's workers. Each change is one transaction that holds the head's lock
// and raises the store's revision: to every lane, this daemon's too, it is what another daemon's
// commit is, and makes it look up the streams that it names. What changes nothing is rolled back.
class TableLifecycle final : public Lifecycle {
 public:
  struct Callbacks {
    // After the commit and before the answer, on the worker's thread: caches must let go of what
    // was changed.
    std::function<void(const tables::LogChanges&)> changed;
    // Calls its argument, from any thread or inline, once everybody has let go.
    std::function<void(std::function<void()>)> settle;
  };
  // Everything named must outlive this object, which needs no stop of its own.
  TableLifecycle(const StoreOptions& options, Workers* workers, telemetry::LifecycleMetrics metrics,
                 Callbacks callbacks);

  void TruncateStream(v1::TruncateStreamRequest request, Deadline deadline,
                      Done<v1::TruncateStreamResponse> done) override;
  void DeleteStream(v1::DeleteStreamRequest request, Deadline deadline,
                    Done<v1::DeleteStreamResponse> done) override;
  void EraseEvents(v1::EraseEventsRequest request, Deadline deadline,
                   Done<v1::EraseEventsResponse> done) override;

 private:
  // What one change works with: its transaction, and what it tells of itself.
  struct Change {
    pg::Connection& connection;
    Deadline deadline;
    tables::LogChanges changes;              // `revision` stays 0 where nothing is changed
    prometheus::Counter* counter = nullptr;  // of its kind
    // Events whose entries in the outbox somebody else has: to be awaited without the head.
    std::vector<Uuid> awaited;

    [[nodiscard]] absl::Status Raise(const char* kind, const std::vector<std::int64_t>& keys,
                                     prometheus::Counter* kind_counter);
  };
  // Runs `work` in a transaction that holds the head, and commits if it raised the revision.
  template <typename Response>
  absl::StatusOr<Response> Attempt(const std::function<absl::StatusOr<Response>(Change*)>& work,
                                   Change* change);
  // The same on a worker's thread. Where `work` has to wait for others, that is done without the
  // head, and it runs again.
  template <typename Response>
  void Run(Deadline deadline, std::function<absl::StatusOr<Response>(Change*)> work,
           Done<Response> done);
  absl::StatusOr<v1::TruncateStreamResponse> Truncate(const v1::TruncateStreamRequest& request,
                                                      Change* change);
  absl::StatusOr<v1::DeleteStreamResponse> Delete(const v1::DeleteStreamRequest& request,
                                                  Change* change);
  absl::StatusOr<v1::EraseEventsResponse> Erase(const v1::EraseEventsRequest& request,
                                                Change* change);

  const StoreOptions& options_;
  Workers* const workers_;
  const telemetry::LifecycleMetrics metrics_;
  const Callbacks callbacks_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_LIFECYCLE_H_
