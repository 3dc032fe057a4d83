// The SQL files of this folder, embedded into the binary.
#ifndef EVENTSTORE_SCHEMA_MIGRATIONS_H_
#define EVENTSTORE_SCHEMA_MIGRATIONS_H_

#include <vector>

#include "server/pg/migrator.h"

namespace eventstore::schema {

// Every migration, in ascending order. The texts live for ever.
[[nodiscard]] std::vector<pg::Migration> Migrations();

}  // namespace eventstore::schema

#endif  // EVENTSTORE_SCHEMA_MIGRATIONS_H_
