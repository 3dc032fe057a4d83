// What went wrong with PostgreSQL, as properties rather than a tree of classes.
#ifndef EVENTSTORE_SERVER_PG_ERRORS_H_
#define EVENTSTORE_SERVER_PG_ERRORS_H_

#include <absl/status/status.h>

#include <optional>
#include <string>
#include <string_view>

namespace eventstore::pg {

// What became of the statements that an error speaks of.
enum class Outcome {
  kNotSent,     // Nothing reached the server.
  kRolledBack,  // The server refused and rolled back.
  kInDoubt,     // The connection was lost after something was sent: it may have been done.
};

// The typed detail inside every status of this room.
struct Error {
  std::string sqlstate;  // Five characters; empty when the server did not say.
  Outcome outcome = Outcome::kNotSent;
  bool connection_lost = false;  // The connection can no longer be used.
  bool timed_out = false;        // Our own deadline passed (pool wait, connect, round trip).
  std::string constraint;        // The violated constraint, if any.
};

// A status (UNAVAILABLE where the connection is lost, DEADLINE_EXCEEDED where our deadline passed,
// RESOURCE_EXHAUSTED for a pool that ran dry, FAILED_PRECONDITION for what an operator has to mend,
// INVALID_ARGUMENT for a bad connection string, otherwise INTERNAL) that carries `error`. The
// message gets the SQLSTATE, unless it ends with it.
[[nodiscard]] absl::Status MakeStatus(absl::StatusCode code, std::string_view message,
                                      const Error& error);

// The detail of a status that this room made.
[[nodiscard]] std::optional<Error> ErrorOf(const absl::Status& status);

// `status`, of a connection that was lost after it: what became of the statements is known still.
[[nodiscard]] absl::Status WithConnectionLost(const absl::Status& status);

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_ERRORS_H_
