// The SQL by which lists and changes walk through the dead letter queue.
#ifndef EVENTSTORE_SERVER_TABLES_DEAD_LETTER_SCAN_H_
#define EVENTSTORE_SERVER_TABLES_DEAD_LETTER_SCAN_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "eventstore/v1/dead_letter_service.pb.h"

#include "server/pg/codec.h"

namespace eventstore::tables {

// What a filter says beyond its projection, over the columns of `q`: " AND ..." for each condition.
// Each value becomes a parameter.
[[nodiscard]] std::string DeadLetterFilterSql(const v1::DeadLetterFilter& filter,
                                              pg::Params* params);

// The next entries by number, of one projection or (empty) of any: one index range. For a
// projection both columns are compared as a row, so that no statistics can make the planner walk
// through the others' entries.
[[nodiscard]] std::string NextDeadLettersSql(std::string_view columns, std::string_view projection,
                                             std::int64_t after_id, std::int64_t rows_max,
                                             pg::Params* params);

}  // namespace eventstore::tables

#endif  // EVENTSTORE_SERVER_TABLES_DEAD_LETTER_SCAN_H_
