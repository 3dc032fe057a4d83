#include "server/engine/snapshots.h"

#include <utility>

#include "server/engine/run_on.h"
#include "server/tables/snapshots_table.h"

namespace eventstore::engine {

using Kind = Workers::Kind;

void TableSnapshots::SaveSnapshot(v1::SaveSnapshotRequest request, Deadline deadline,
                                  Done<v1::SaveSnapshotResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::SaveSnapshot);
}

void TableSnapshots::GetSnapshot(v1::GetSnapshotRequest request, Deadline deadline,
                                 Done<v1::GetSnapshotResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done), tables::GetSnapshot);
}

void TableSnapshots::ListSnapshots(v1::ListSnapshotsRequest request, Deadline deadline,
                                   Done<v1::ListSnapshotsResponse> done) {
  RunOn(workers_, Kind::kRead, std::move(request), deadline, std::move(done),
        tables::ListSnapshots);
}

void TableSnapshots::DeleteSnapshots(v1::DeleteSnapshotsRequest request, Deadline deadline,
                                     Done<v1::DeleteSnapshotsResponse> done) {
  RunOn(workers_, Kind::kWrite, std::move(request), deadline, std::move(done),
        tables::DeleteSnapshots);
}

}  // namespace eventstore::engine
