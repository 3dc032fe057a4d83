// A store's snapshots of its streams.
#ifndef EVENTSTORE_SERVER_ENGINE_SNAPSHOTS_H_
#define EVENTSTORE_SERVER_ENGINE_SNAPSHOTS_H_

#include "eventstore/v1/snapshot_service.pb.h"

#include "server/core/mutex.h"
#include "server/engine/workers.h"

namespace eventstore::engine {

// What SnapshotService does, on validated requests; see snapshot_service.proto for what each call
// promises. An interface, so that tests can put another one behind the service. Thread-safe; no
// call blocks.
class Snapshots {
 public:
  virtual ~Snapshots() = default;
  virtual void SaveSnapshot(v1::SaveSnapshotRequest request, Deadline deadline,
                            Done<v1::SaveSnapshotResponse> done) = 0;
  virtual void GetSnapshot(v1::GetSnapshotRequest request, Deadline deadline,
                           Done<v1::GetSnapshotResponse> done) = 0;
  virtual void ListSnapshots(v1::ListSnapshotsRequest request, Deadline deadline,
                             Done<v1::ListSnapshotsResponse> done) = 0;
  virtual void DeleteSnapshots(v1::DeleteSnapshotsRequest request, Deadline deadline,
                               Done<v1::DeleteSnapshotsResponse> done) = 0;
};

// On the tables, by the store's workers.
class TableSnapshots final : public Snapshots {
 public:
  // `workers` must outlive this object, which needs no stop of its own.
  explicit TableSnapshots(Workers* workers) : workers_(workers) {}

  void SaveSnapshot(v1::SaveSnapshotRequest request, Deadline deadline,
                    Done<v1::SaveSnapshotResponse> done) override;
  void GetSnapshot(v1::GetSnapshotRequest request, Deadline deadline,
                   Done<v1::GetSnapshotResponse> done) override;
  void ListSnapshots(v1::ListSnapshotsRequest request, Deadline deadline,
                     Done<v1::ListSnapshotsResponse> done) override;
  void DeleteSnapshots(v1::DeleteSnapshotsRequest request, Deadline deadline,
                       Done<v1::DeleteSnapshotsResponse> done) override;

 private:
  Workers* const workers_;
};

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_SNAPSHOTS_H_
