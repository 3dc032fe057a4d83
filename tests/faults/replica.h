// A streaming, asynchronous replica that can be cut off and promoted.
#ifndef EVENTSTORE_TESTS_FAULTS_REPLICA_H_
#define EVENTSTORE_TESTS_FAULTS_REPLICA_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "server/process/embedded_child.h"
#include "server/process/embedded_postgres.h"

namespace eventstore::faults {

// Made by pg_basebackup of a running server, in a folder of its own, and run as the same account.
// Ends with this object. One thread at a time; failures throw.
class Replica {
 public:
  explicit Replica(const process::EmbeddedPostgres& primary);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // A primary's connection string with this server as a second host: whichever takes writes.
  [[nodiscard]] std::string EitherHost(const std::string& primary_dsn) const;
  // The same database here.
  [[nodiscard]] std::string Here(const std::string& primary_dsn) const;
  // Waits until everything that the primary has written by now is replayed here.
  void CatchUp(const std::string& primary_dsn);
  // Receives nothing more from the primary, which does not mind.
  void CutOff();
  // Becomes a primary, on a timeline of its own.
  void Promote();

 private:
  void Copy(const process::EmbeddedPostgres& primary);
  void Launch();

  process::Account account_;
  std::string bin_dir_;
  std::string folder_;
  std::string primary_socket_dir_;
  std::string socket_dir_;
  std::string data_dir_;
  std::string conninfo_;
  pid_t pid_ = -1;
};

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_REPLICA_H_
