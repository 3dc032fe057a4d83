#include "client/cli/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "client/cli/text.h"

namespace eventstore::cli {
namespace {

constexpr int kFirstDelayMs = 100;
// Doubling stops here: 100 ms * 2^5 are 3.2 s.
constexpr int kDoublingsMax = 5;

}  // namespace

std::chrono::milliseconds Backoff::Next(const Failure& failure) {
  const int doublings = std::min(tries_++, kDoublingsMax);
  const std::chrono::milliseconds asked = RetryDelayOf(failure);
  if (asked.count() > 0) return std::min(asked, kDelayMax);
  thread_local std::minstd_rand random{std::random_device{}()};
  const int full = kFirstDelayMs << doublings;
  return std::chrono::milliseconds(std::uniform_int_distribution<int>(full / 2, full)(random));
}

grpc::Status CallWithRetries(int retries, Session* session,
                             const std::function<grpc::Status(grpc::ClientContext*)>& rpc) {
  Backoff backoff;
  for (int tried = 0;; ++tried) {
    grpc::ClientContext context;
    session->SetDeadline(&context);
    const Interrupt::Callback cancel(&session->interrupt(), [&context] { context.TryCancel(); });
    grpc::Status status = rpc(&context);
    if (status.ok()) return status;
    const Failure failure = FailureOf(status);
    if (session->interrupt().raised() || !IsRetryable(failure) || tried >= retries) return status;
    const std::chrono::milliseconds delay = backoff.Next(failure);
    session->Notice(fmt::format("{}: {}; try {} of {} in {} ms", ReasonOf(failure),
                                Escape(failure.message), tried + 2, retries + 1, delay.count()));
    if (session->interrupt().WaitFor(delay)) return status;
  }
}

}  // namespace eventstore::cli
