// A view that is shown again and again.
#ifndef EVENTSTORE_CLIENT_CLI_WATCH_H_
#define EVENTSTORE_CLIENT_CLI_WATCH_H_

#include <grpcpp/support/status.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>

#include "client/cli/session.h"

namespace eventstore::cli {

// A value; the options write into it, so it must outlive parsing.
struct WatchOptions {
  double interval_s = 2;
  std::int64_t count = 0;

  void AddTo(CLI::App* command);
};

// Calls `show` every interval until interrupted, or so many times (0: no end). On a terminal each
// view takes the place of the one before. A server that is away for a while is told of and asked
// again; any other error ends it. Returns the exit code.
[[nodiscard]] int Watch(const WatchOptions& options, Session* session,
                        const std::function<grpc::Status()>& show);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_WATCH_H_
