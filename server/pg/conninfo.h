// Reading libpq connection strings (private to this room).
#ifndef EVENTSTORE_SERVER_PG_CONNINFO_H_
#define EVENTSTORE_SERVER_PG_CONNINFO_H_

#include <absl/status/statusor.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eventstore::pg {

// One attempt to connect: what libpq is given for it.
struct ConnectTarget {
  // libpq's parameters by keyword, with one host at most.
  std::map<std::string, std::string> parameters;
  // How errors call it: "host db1, port 5432".
  std::string label;
  // The connection string's own connect_timeout, which libpq ignores in its asynchronous interface.
  std::optional<std::chrono::seconds> connect_timeout;
};

// The attempts that a connection string asks for, in order. libpq would walk through several hosts
// by itself, but without a time limit for each: so they become one attempt each here. With
// target_session_attrs=prefer-standby all hosts are tried as standbys first, and then as anything.
// Parameters that the string leaves open are set where the daemon needs them: TCP keepalives, so
// that a vanished server is noticed, and UTF-8.
[[nodiscard]] absl::StatusOr<std::vector<ConnectTarget>> ConnectTargets(std::string_view conninfo);

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_CONNINFO_H_
