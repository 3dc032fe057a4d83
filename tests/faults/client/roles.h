// What a fault client does. Each role runs to its end and returns the exit code: 0 if it ended as
// it should, after SIGTERM or by its own stop condition.
#ifndef EVENTSTORE_TESTS_FAULTS_CLIENT_ROLES_H_
#define EVENTSTORE_TESTS_FAULTS_CLIENT_ROLES_H_

#include "tests/faults/client/options.h"
#include "tests/faults/client/stop_signal.h"

namespace eventstore::faults {

// Appends until SIGTERM, then until everything that it repeats for ever is settled.
int RunWriter(const ClientOptions& options, const StopSignal& stop);
// Appends one closing event to each of its streams.
int RunCloser(const ClientOptions& options, const StopSignal& stop);
// Follows from the beginning, or from where its record ends, until it saw its closing events.
int RunSubscriber(const ClientOptions& options, const StopSignal& stop);
// Reads until SIGTERM.
int RunReader(const ClientOptions& options, const StopSignal& stop);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CLIENT_ROLES_H_
