// Child processes of the embedded server: the account that they run as, how they start and end.
#ifndef EVENTSTORE_SERVER_PROCESS_EMBEDDED_CHILD_H_
#define EVENTSTORE_SERVER_PROCESS_EMBEDDED_CHILD_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "server/core/mutex.h"

namespace eventstore::process {

// Whom a child runs as.
struct Account {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  // Whether the child has to change to it: true only when this process is root.
  bool change = false;
};

// The account `user` if this process is root, because PostgreSQL refuses root; otherwise ourselves.
// An account that is missing, or is root by another name, is FAILED_PRECONDITION with what to do.
[[nodiscard]] absl::StatusOr<Account> FindAccount(const std::string& user);

struct ChildCommand {
  // The program's path and its arguments.
  std::vector<std::string> argv;
  std::string working_dir = "/";
  // Where its standard output and errors go. Must stay open until Spawn returned.
  int output_fd = -1;
};

// Starts a child in a session of its own (so that a Ctrl-C in the terminal hits only us), with an
// empty environment but PATH and LC_ALL=C, no open files but its standard ones and default signals.
// May be called while other threads run. A working_dir that the account may not enter is
// PERMISSION_DENIED; any other failure is INTERNAL with the step that failed.
[[nodiscard]] absl::StatusOr<pid_t> Spawn(const Account& account, const ChildCommand& command);

// Whether the child `pid` has ended; it is reaped then.
[[nodiscard]] bool HasEnded(pid_t pid);

// Waits for the child's end and reaps it; false if the deadline passed first.
[[nodiscard]] bool WaitForEnd(pid_t pid, Deadline deadline);

// Runs a program to its end and returns what it printed. A program that fails is INTERNAL with its
// output; one that takes longer than the deadline is killed: DEADLINE_EXCEEDED.
[[nodiscard]] absl::StatusOr<std::string> RunToEnd(const Account& account,
                                                   const std::vector<std::string>& argv,
                                                   const std::string& working_dir,
                                                   Deadline deadline);

// The server processes (ours or not) that work in the folder `cluster_dir`, which is how every
// process of a PostgreSQL cluster is known: a postmaster and its backends chdir there.
[[nodiscard]] std::vector<pid_t> ServerProcessesIn(const std::string& cluster_dir);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_EMBEDDED_CHILD_H_
