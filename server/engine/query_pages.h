// Pages of QueryEvents.
#ifndef EVENTSTORE_SERVER_ENGINE_QUERY_PAGES_H_
#define EVENTSTORE_SERVER_ENGINE_QUERY_PAGES_H_

#include <absl/status/statusor.h>

#include "server/core/mutex.h"
#include "server/engine/options.h"
#include "server/engine/reader.h"
#include "server/pg/connection.h"

namespace eventstore::engine {

// See Reader::QueryPage. Blocks; for a thread of the workers.
//
// Performance: without an index that serves the conditions, every event of a window is looked at,
// so that windows are small. With one, a small window would not be worth its use: windows grow as
// long as they bring less than a page, and shrink where they bring more.
[[nodiscard]] absl::StatusOr<AllPage> ReadQueryPage(const ReaderOptions& options,
                                                    const QueryOptions& query_options,
                                                    AllPageQuery query, pg::Connection& connection,
                                                    Deadline deadline);

}  // namespace eventstore::engine

#endif  // EVENTSTORE_SERVER_ENGINE_QUERY_PAGES_H_
