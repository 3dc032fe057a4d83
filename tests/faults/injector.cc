#include "tests/faults/injector.h"

#include <algorithm>
#include <csignal>
#include <stdexcept>
#include <vector>

namespace eventstore::faults {
namespace {

using std::chrono::milliseconds;
using testing::kPatience;

constexpr int kMeanwhilePercent = 30;

}  // namespace

void Injector::Run(milliseconds duration) {
  static const std::vector<Fault> kAll = {Fault::kCut,          Fault::kKillDaemon,
                                          Fault::kFreezeDaemon, Fault::kCrashPostgres,
                                          Fault::kKillWriter,   Fault::kKillSubscriber};
  const Deadline end = testing::In(duration);
  while (std::chrono::steady_clock::now() < end) {
    arena_->LetRun(dice_.Millis(50, 900));
    Inject(AnyFault());
  }
  for (const Fault fault : kAll) {
    if (counts_[fault] == 0) Inject(fault);
  }
}

Injector::Fault Injector::AnyFault() {
  static const std::vector<Fault> kWeighed = {
      Fault::kCut,          Fault::kCut,           Fault::kCut,        Fault::kCut,
      Fault::kKillDaemon,   Fault::kKillDaemon,    Fault::kKillDaemon, Fault::kFreezeDaemon,
      Fault::kFreezeDaemon, Fault::kCrashPostgres, Fault::kKillWriter, Fault::kKillSubscriber};
  return dice_.Of(kWeighed);
}

void Injector::Inject(Fault fault) {
  ++counts_[fault];
  switch (fault) {
    case Fault::kCut:
      return CutConnections();
    case Fault::kKillDaemon:
      return KillDaemon();
    case Fault::kFreezeDaemon:
      return FreezeDaemon();
    case Fault::kCrashPostgres:
      return CrashPostgres();
    case Fault::kKillWriter:
      return KillWriter();
    case Fault::kKillSubscriber:
      return KillSubscriber();
  }
}

void Injector::Meanwhile(milliseconds duration) {
  if (nested_ || !dice_.Percent(kMeanwhilePercent)) return arena_->LetRun(duration);
  nested_ = true;
  arena_->LetRun(duration / 2);
  // Not what would end the fault that lasts.
  static const std::vector<Fault> kOthers = {Fault::kCut, Fault::kKillDaemon, Fault::kKillWriter,
                                             Fault::kKillSubscriber};
  Inject(dice_.Of(kOthers));
  arena_->LetRun(duration / 2);
  nested_ = false;
}

// Some sessions of any kind, or all that are in a transaction: the lanes' among them.
void Injector::CutConnections() {
  if (postgres_away_) return;
  const auto connection = testing::Connect(arena_->dsn());
  const std::string busy = dice_.Percent(50) ? " AND state <> 'idle'" : "";
  const auto sessions = connection->QueryOnce(
      "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() AND"
      " pid <> pg_backend_pid()" +
          busy + " ORDER BY pid",
      pg::Params(), testing::In(kPatience));
  if (!sessions.ok()) throw std::runtime_error("pg_stat_activity cannot be read");
  const int chance = dice_.Percent(20) ? 100 : 40;
  for (int row = 0; row < sessions->rows(); ++row) {
    if (!dice_.Percent(chance)) continue;
    const auto cut = connection->QueryOnce(
        "SELECT pg_terminate_backend($1::int)",
        pg::Params().Text(std::to_string(sessions->Int64(row, 0))), testing::In(kPatience));
    if (!cut.ok()) throw std::runtime_error("pg_terminate_backend failed");
  }
}

void Injector::KillDaemon() {
  const auto index = static_cast<int>(dice_.Between(0, kDaemons - 1));
  arena_->KillDaemon(index);
  Meanwhile(dice_.Millis(0, 1200));
  arena_->StartDaemon(index);
}

void Injector::FreezeDaemon() {
  const auto index = static_cast<int>(dice_.Between(0, kDaemons - 1));
  arena_->daemon(index).child().Signal(SIGSTOP);
  Meanwhile(dice_.Millis(30, dice_.Percent(30) ? 4000 : 600));
  arena_->daemon(index).child().Signal(SIGCONT);
}

void Injector::CrashPostgres() {
  postgres_away_ = true;
  if (!arena_->postgres().Stop(/*immediate=*/true).ok()) {
    throw std::runtime_error("PostgreSQL does not stop");
  }
  Meanwhile(dice_.Millis(0, 1000));
  if (!arena_->postgres().Restart().ok()) throw std::runtime_error("PostgreSQL does not start");
  postgres_away_ = false;
}

// One goes for ever, with all that it had in flight, and another one comes.
void Injector::KillWriter() {
  const std::vector<Worker*> writers = arena_->Workers("writer");
  if (writers.empty()) return;
  arena_->RemoveWorker(dice_.Of(writers));
  ++writers_;
  arena_->StartWorker("writer", "after" + std::to_string(writers_),
                      static_cast<std::uint64_t>(dice_.Between(1, 1'000'000)));
}

// It comes back and goes on after what it has recorded.
void Injector::KillSubscriber() {
  const std::vector<Worker*> subscribers = arena_->Workers("subscriber");
  if (subscribers.empty()) return;
  Worker* const subscriber = dice_.Of(subscribers);
  subscriber->Kill();
  subscriber->Start();
}

std::string Injector::Text() const {
  static const std::map<Fault, const char*> kNames = {
      {Fault::kCut, "connections cut"},        {Fault::kKillDaemon, "daemon killed"},
      {Fault::kFreezeDaemon, "daemon frozen"}, {Fault::kCrashPostgres, "PostgreSQL crashed"},
      {Fault::kKillWriter, "writer killed"},   {Fault::kKillSubscriber, "subscriber killed"}};
  std::string text;
  for (const auto& [fault, count] : counts_) {
    text +=
        (text.empty() ? "" : ", ") + std::string(kNames.at(fault)) + " " + std::to_string(count);
  }
  return text;
}

}  // namespace eventstore::faults
