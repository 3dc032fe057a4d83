#include "client/cli/watch.h"

#include <fmt/format.h>

#include <chrono>

#include "client/cli/commands.h"
#include "client/cli/failure.h"
#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

// Moves to the top left and clears what is there (ECMA-48: CUP, ED).
constexpr char kClear[] = "\x1b[H\x1b[2J";

}  // namespace

void WatchOptions::AddTo(CLI::App* command) {
  command->add_option("--interval", interval_s, "seconds between two views")
      ->check(CLI::Range(0.1, 86400.0).description(""))
      ->capture_default_str();
  AddNumber(command, "--count", "stop after so many views; 0: never",
            [this](std::int64_t value) { count = value; });
}

int Watch(const WatchOptions& options, Session* session,
          const std::function<grpc::Status()>& show) {
  const auto pause =
      std::chrono::milliseconds(static_cast<std::int64_t>(options.interval_s * 1000));
  for (std::int64_t shown = 1;; ++shown) {
    if (!session->json() && session->console().out_is_terminal && !session->Print(kClear)) {
      return kExitFailed;
    }
    const grpc::Status status = show();
    session->console().out->flush();
    if (!session->console().out->good()) return kExitFailed;
    const bool last = options.count > 0 && shown >= options.count;
    if (!status.ok() && !session->interrupt().raised()) {
      const Failure failure = FailureOf(status);
      if (last || !IsRetryable(failure)) return ReportFailure(failure, session);
      session->Notice(fmt::format("{}: {}", ReasonOf(failure), Escape(failure.message)));
    }
    if (last || session->interrupt().WaitFor(pause)) return kExitOk;
  }
}

}  // namespace eventstore::cli
