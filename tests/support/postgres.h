// A real PostgreSQL for tests: one private server a test program, one database a test.
#ifndef EVENTSTORE_TESTS_SUPPORT_POSTGRES_H_
#define EVENTSTORE_TESTS_SUPPORT_POSTGRES_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/pg/connection.h"
#include "server/process/embedded_postgres.h"

namespace eventstore::testing {

// The server that all tests of this program share; started at the first call and stopped at exit.
// fsync is off in it: these tests restart processes, not machines.
process::EmbeddedPostgres& SharedPostgres();

// A server of its own, for tests that stop it.
std::unique_ptr<process::EmbeddedPostgres> StartPostgres();

// Creates an empty database with a unique name on `server` and returns its connection string. It is
// left to the server's end.
std::string CreateDatabase(process::EmbeddedPostgres& server = SharedPostgres());

// Connects, or fails the test.
std::unique_ptr<pg::Connection> Connect(const std::string& conninfo,
                                        const std::string& schema = "");

// A deadline this far away.
Deadline In(std::chrono::milliseconds duration);

// Polls `condition` until it holds or `timeout` passes; returns whether it held.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds timeout = std::chrono::milliseconds(20'000));

}  // namespace eventstore::testing

#endif  // EVENTSTORE_TESTS_SUPPORT_POSTGRES_H_
