// A store's indexes over JSON payloads, and the thread that builds them.
#ifndef EVENTSTORE_SERVER_ENGINE_PAYLOAD_INDEXES_H_
#define EVENTSTORE_SERVER_ENGINE_PAYLOAD_INDEXES_H_

#include <memory>
#include <optional>
#include <thread>

#include "eventstore/v1/admin_service.pb.h"

#include "server/core/ids.h"
#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/workers.h"
#include "server/pg/connection.h"
#include "server/tables/payload_indexes_table.h"

namespace eventstore::engine {

// What AdminService does with indexes, on validated requests; see admin_service.proto for what each
// call promises. An interface, so that tests can put another one behind the service. Thread-safe;
// no call blocks.
class PayloadIndexes {
 public:
  virtual ~PayloadIndexes() = default;
  virtual void CreatePayloadIndex(v1::CreatePayloadIndexRequest request, Deadline deadline,
                                  Done<v1::CreatePayloadIndexResponse> done) = 0;
  virtual void DropPayloadIndex(v1::DropPayloadIndexRequest request, Deadline deadline,
                                Done<v1::DropPayloadIndexResponse> done) = 0;
  virtual void ListPayloadIndexes(v1::ListPayloadIndexesRequest request, Deadline deadline,
                                  Done<v1::ListPayloadIndexesResponse> done) = 0;
};

// Builds and drops indexes, one partition after the other, on a thread and a connection of its own:
// a build can take minutes. The connection is there only while there is work. Of several daemons
// the one with the lease in the index's row works on it; should two ever do so, the database lets
// one wait for the other, and both only ever do what is still missing. Thread-safe.
class PayloadIndexBuilder {
 public:
  PayloadIndexBuilder(const StoreOptions& options, const Uuid& daemon);
  ~PayloadIndexBuilder();
  PayloadIndexBuilder(const PayloadIndexBuilder&) = delete;
  PayloadIndexBuilder& operator=(const PayloadIndexBuilder&) = delete;

  // There may be work. Does not block.
  void Wake();
  // Keeps the lease of what is being worked on, and looks for work that nobody is at: another
  // daemon may have left it, or a partition came without an index. To be called more often than
  // `daemon.expire_ms`, with a connection of the caller's.
  [[nodiscard]] absl::Status Upkeep(pg::Connection& connection, Deadline deadline);
  // Cancels a build, which this or another daemon begins anew, and ends the thread. Idempotent.
  void Stop();

 private:
  void ThreadMain();
  // Works until there is nothing left to do.
  absl::Status WorkAll();
  absl::Status Work(const tables::PayloadIndexClaim& claim);
  // Runs one statement, however long it takes.
  absl::Status RunLong(const std::string& sql);
  void SetClaim(std::optional<tables::PayloadIndexClaim> claim);
  [[nodiscard]] bool stopped();

  const StoreOptions options_;
  const Uuid daemon_;
  Mutex mutex_;
  CondVar changed_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;  // by Wake; the first Upkeep looks too
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<tables::PayloadIndexClaim> claim_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;  // `connection_` may be cancelled
  std::unique_ptr<pg::Connection> connection_;    // of the thread
  std::thread thread_;
};

// On the tables, by the store's workers.
class TablePayloadIndexes final : public PayloadIndexes {
 public:
  // Both must outlive this object, which needs no stop of its own.
  TablePayloadIndexes(Workers* workers, PayloadIndexBuilder* builder)
      : workers_(workers), builder_(builder) {}

  void CreatePayloadIndex(v1::CreatePayloadIndexRequest request, Deadline deadline,
                          Done<v1::CreatePayloadIndexResponse> done) override;
  void DropPayloadIndex(v1::DropPayloadIndexRequest request, Deadline deadline,
                        Done<v1::DropPayloadIndexResponse> done) override;
  void ListPayloadIndexes(v1::ListPayloadIndexesRequest request, Deadline deadline,
                          Done<v1::ListPayloadIndexesResponse> done) override;

 private:
  Workers* const workers_;
  PayloadIndexBuilder* const builder_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_PAYLOAD_INDEXES_H_
