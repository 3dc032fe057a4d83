// Waiting for sockets with a deadline (private to this room).
#ifndef EVENTSTORE_SERVER_PG_SOCKET_WAIT_H_
#define EVENTSTORE_SERVER_PG_SOCKET_WAIT_H_

#include <poll.h>

#include <span>

#include "server/core/mutex.h"

namespace eventstore::pg {

// Waits until one of `fds` has an event or `deadline` passed (one in the past: looks once). Returns
// poll(2)'s value: how many have events, 0 at the deadline, -1 with errno set. A signal is no
// reason to return.
int WaitForSockets(std::span<pollfd> fds, Deadline deadline);

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_SOCKET_WAIT_H_
