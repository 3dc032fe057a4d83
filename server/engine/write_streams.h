// The streams that a write of the lane concerns.
#ifndef EVENTSTORE_SERVER_ENGINE_WRITE_STREAMS_H_
#define EVENTSTORE_SERVER_ENGINE_WRITE_STREAMS_H_

#include "server/core/transaction.h"
#include "server/tables/streams_table.h"

namespace eventstore::engine {

// The name's views live as long as the stream.
[[nodiscard]] inline tables::StreamName NameOf(const v1::StreamId& stream, const Uuid& tenant) {
  return {tenant, stream.aggregate_type(), stream.aggregate_id()};
}

// Calls `visit` with the name of every append's stream, then of every check's, then of every
// snapshot's, also where several are the same.
template <typename Visit>
void VisitStreams(const ValidatedTransaction& transaction, Visit visit) {
  for (const ValidatedAppend& append : transaction.appends) {
    visit(NameOf(append.request.stream(), append.tenant));
  }
  for (const auto& check : transaction.checks) visit(NameOf(check.check.stream(), check.tenant));
  for (const auto& snapshot : transaction.snapshots) {
    visit(NameOf(snapshot.request.stream(), snapshot.tenant));
  }
}

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_WRITE_STREAMS_H_
