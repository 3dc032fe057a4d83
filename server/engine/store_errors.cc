#include "server/engine/store_errors.h"

#include <absl/strings/str_cat.h>

#include <string_view>

#include "server/core/errors.h"
#include "server/pg/errors.h"

namespace eventstore::engine {
namespace {

// Classes of SQLSTATE that say nothing about the request: connection, transaction rollback,
// resources, operator intervention, system error.
bool IsAvailabilityClass(std::string_view sqlstate) {
  const std::string_view category = sqlstate.substr(0, 2);
  return category == "08" || category == "40" || category == "53" || category == "55" ||
         category == "57" || category == "58" || sqlstate == "25006";
}

}  // namespace

absl::Status ToStoreError(const absl::Status& status) {
  const auto error = pg::ErrorOf(status);
  if (status.ok() || !error.has_value()) return status;
  if (absl::IsResourceExhausted(status)) {
    return Overloaded("pool.pool_timeout", 0, std::chrono::milliseconds(1000),
                      "no database connection became free in time");
  }
  if (error->connection_lost || error->timed_out || absl::IsUnavailable(status) ||
      (error->sqlstate.size() == 5 && IsAvailabilityClass(error->sqlstate))) {
    return StoreUnavailable(absl::StrCat("the database does not answer (SQLSTATE ",
                                         error->sqlstate.empty() ? "none" : error->sqlstate, ")"));
  }
  return status;
}

}  // namespace eventstore::engine
