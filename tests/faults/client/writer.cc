// The writer: threads that send one request at a time, and one that keeps many in flight on an
// AppendEventsStream call.
#include <thread>
#include <utility>
#include <vector>

#include "tests/faults/client/appender.h"
#include "tests/faults/client/roles.h"
#include "tests/faults/client/stream_writer.h"

namespace eventstore::faults {
namespace {

constexpr int kUnaryThreads = 2;
constexpr int kReplayPercent = 5;

class UnaryWriter {
 public:
  UnaryWriter(const ClientOptions& options, const std::string& name, std::uint64_t seed,
              const StopSignal& stop, AppendLog* log)
      : clients_(ConnectTo(options.ports)),
        stop_(stop),
        log_(log),
        dice_(seed),
        maker_(name, seed + 1) {}

  void Run() {
    while (!stop_.WaitFor(dice_.Millis(0, 3))) Settle(log_->Ask(maker_.Next()));
  }

  // Sends until the answer is definite, or as often as the request may be sent.
  void Settle(Tracked tracked) {
    SendPlan plan;
    plan.daemon = AnyDaemon();
    for (int sent = 1;; ++sent) {
      ChooseTimes(&plan);
      const Verdict verdict = SendOnce(clients_, plan, log_, &tracked);
      Learn(tracked, verdict);
      if (verdict == Verdict::kAcknowledged && dice_.Percent(kReplayPercent)) Replay(&tracked);
      if (verdict != Verdict::kUnclear) return;
      const bool again =
          tracked.wish.record.forever || (sent < tracked.wish.attempts_max && !stop_.came());
      if (!again) return;
      const bool away = tracked.wish.record.attempts.back().code == "UNAVAILABLE";
      if (away) plan.daemon = (plan.daemon + 1) % static_cast<int>(clients_.size());
      if (!away) plan.daemon = AnyDaemon();
      BackOff(dice_.Millis(5, 100));
    }
  }

 private:
  int AnyDaemon() {
    return static_cast<int>(dice_.Between(0, static_cast<std::int64_t>(clients_.size()) - 1));
  }

  // Mostly patient; sometimes a deadline so near, or a cancel so soon, that nobody knows.
  void ChooseTimes(SendPlan* plan) {
    plan->timeout = std::chrono::milliseconds(5'000);
    plan->cancel_after.reset();
    const std::int64_t kind = dice_.Between(1, 100);
    if (kind <= 8) plan->timeout = dice_.Millis(1, 12);
    if (kind > 8 && kind <= 16) plan->cancel_after = dice_.Millis(0, 8);
  }

  void Learn(const Tracked& tracked, Verdict verdict) {
    const Attempt& attempt = tracked.wish.record.attempts.back();
    if (const auto version = ToldVersion(attempt)) {
      maker_.Learn(tracked.wish.record.stream, *version);
    }
    if (verdict == Verdict::kAcknowledged) maker_.LearnId(tracked.wish.record.events.back().id);
  }

  // What is stored is answered the same, whatever is expected now.
  void Replay(Tracked* tracked) {
    tracked->wish.request.mutable_expected_version()->set_exact(1'000'000'000);
    SendPlan plan;
    plan.daemon = AnyDaemon();
    (void)SendOnce(clients_, plan, log_, tracked);
  }

  const Clients clients_;
  const StopSignal& stop_;
  AppendLog* const log_;
  Dice dice_;
  RequestMaker maker_;
};

}  // namespace

int RunWriter(const ClientOptions& options, const StopSignal& stop) {
  AppendLog log(options.record);
  std::vector<std::thread> threads;
  for (int i = 0; i < kUnaryThreads; ++i) {
    threads.emplace_back([&, i] {
      const std::string name = options.name + "-" + std::to_string(i);
      UnaryWriter(options, name, options.seed * 100 + static_cast<std::uint64_t>(10 * i), stop,
                  &log)
          .Run();
    });
  }
  threads.emplace_back([&] {
    StreamWriter(options, options.name + "-s", options.seed * 100 + 90, stop, &log).Run();
  });
  for (std::thread& thread : threads) thread.join();
  log.Done();
  return 0;
}

int RunCloser(const ClientOptions& options, const StopSignal& stop) {
  AppendLog log(options.record);
  UnaryWriter writer(options, options.name, options.seed, stop, &log);
  for (const std::string& stream : options.close) {
    writer.Settle(log.Ask(MakeClosing(ParseStream(stream))));
  }
  log.Done();
  return 0;
}

}  // namespace eventstore::faults
