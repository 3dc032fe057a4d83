// One store under test: a PostgreSQL of its own, two daemons on ports that stay theirs, and the
// client processes with their records.
#ifndef EVENTSTORE_TESTS_FAULTS_ARENA_H_
#define EVENTSTORE_TESTS_FAULTS_ARENA_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/faults/checker/history.h"
#include "tests/faults/dice.h"
#include "tests/faults/held_port.h"
#include "tests/faults/worker.h"
#include "tests/support/daemon.h"
#include "tests/support/postgres.h"

namespace eventstore::faults {

inline constexpr int kDaemons = 2;

// EVENTSTORE_FAULT_SEED, or another one each time.
std::uint64_t FaultSeed();
// A number of the environment, or `otherwise`.
std::int64_t EnvironmentNumber(const char* name, std::int64_t otherwise);

// Used by the test's main thread only.
class Arena {
 public:
  // Starts the database and the daemons, and waits until they are ready.
  explicit Arena(testing::Settings settings);
  // Removes the folder of records and logs, unless it is to be kept.
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  [[nodiscard]] const std::string& dsn() const { return dsn_; }
  process::EmbeddedPostgres& postgres() { return *postgres_; }
  testing::Daemon& daemon(int index) { return *daemons_[static_cast<std::size_t>(index)]; }
  // SIGKILL, and waits for its end; StartDaemon brings it back to its port, and does not wait until
  // it is ready.
  void KillDaemon(int index);
  void StartDaemon(int index);
  bool WaitReady();

  // Starts a client; its record's name begins with its role. `daemons`: those that it knows.
  Worker& StartWorker(const std::string& role, const std::string& name, std::uint64_t seed,
                      const std::vector<std::string>& arguments = {},
                      const std::vector<int>& daemons = {0, 1});
  // Those of a role that were not killed for good.
  std::vector<Worker*> Workers(const std::string& role);
  void RemoveWorker(Worker* worker);
  // Sends SIGTERM to a role's clients, if `ask`, and waits for their ends. Tells which did not end
  // well; those are killed.
  std::vector<std::string> FinishWorkers(const std::string& role, bool ask);
  // Lets time pass; throws if a client ends meanwhile.
  void LetRun(std::chrono::milliseconds duration);

  [[nodiscard]] std::string RecordPath(const std::string& role, const std::string& name) const;
  // All records.
  [[nodiscard]] History ReadHistory() const;
  // The store as the public RPCs of both daemons show it, once nobody writes any more. Throws if
  // they do not agree on the log.
  FinalState ReadFinalState(const History& history, Dice* dice);
  // Keeps records and logs, and returns their folder.
  std::string Keep();

 private:
  struct Client {
    std::string role;
    std::unique_ptr<Worker> worker;
  };

  void SaveLog(int index);

  std::string folder_;
  bool keep_ = false;
  std::unique_ptr<process::EmbeddedPostgres> postgres_;
  std::string dsn_;
  std::array<HeldPort, kDaemons> ports_;
  std::array<std::unique_ptr<testing::Daemon>, kDaemons> daemons_;
  std::vector<Client> clients_;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_ARENA_H_
