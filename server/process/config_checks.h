// Checks that need more than one key (private to this room).
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_CHECKS_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_CHECKS_H_

#include <string>
#include <vector>

#include "server/process/config.h"

namespace eventstore::process {

// Connections that a store holds beside its pool: the write lane's, the one that isolates a refused
// append, the listener's and the housekeeper's. Each relay of a sink has one more.
inline constexpr int kConnectionsBesidePool = 4;

// Keys that are fine by themselves but not together; each problem names both.
void CheckTogether(const Config& config, std::vector<std::string>* problems);

// Fills in what is derived: the connection string with its password, and the embedded server's
// folder.
void CompleteConfig(Config* config, std::vector<std::string>* problems);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_CHECKS_H_
