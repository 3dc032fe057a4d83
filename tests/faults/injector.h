// Makes things go wrong, at moments that a seed chooses.
#ifndef EVENTSTORE_TESTS_FAULTS_INJECTOR_H_
#define EVENTSTORE_TESTS_FAULTS_INJECTOR_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "tests/faults/arena.h"
#include "tests/faults/dice.h"

namespace eventstore::faults {

// Cuts connections, kills and freezes daemons, crashes PostgreSQL, and kills clients; now and then
// one while another lasts. Used by the test's main thread.
class Injector {
 public:
  Injector(Arena* arena, std::uint64_t seed) : arena_(arena), dice_(seed) {}

  // For so long, and until every kind has happened. Everything runs again afterwards.
  void Run(std::chrono::milliseconds duration);
  // What happened how often.
  [[nodiscard]] std::string Text() const;

 private:
  enum class Fault {
    kCut,
    kKillDaemon,
    kFreezeDaemon,
    kCrashPostgres,
    kKillWriter,
    kKillSubscriber
  };

  void Inject(Fault fault);
  Fault AnyFault();
  void CutConnections();
  void KillDaemon();
  void FreezeDaemon();
  void CrashPostgres();
  void KillWriter();
  void KillSubscriber();
  // The time that a fault lasts, in which there may be another one.
  void Meanwhile(std::chrono::milliseconds duration);

  Arena* const arena_;
  Dice dice_;
  std::map<Fault, int> counts_;
  bool postgres_away_ = false;
  bool nested_ = false;
  int writers_ = 0;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_INJECTOR_H_
