// The settings of the gRPC layer. Those that an operator may set name their configuration key.
#ifndef EVENTSTORE_SERVER_RPC_OPTIONS_H_
#define EVENTSTORE_SERVER_RPC_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace eventstore::rpc {

// What one call may take.
struct RpcOptions {
  // Most requests of one AppendEventsStream call that are unanswered, or whose answer the client
  // has not taken; beyond it the server stops reading from that call.
  std::int64_t append_stream_in_flight_max = 1'000;
  // About the most bytes of one message to a reader or subscriber; only a single event may exceed
  // it. Clients of gRPC refuse messages over 4 MiB unless told otherwise.
  std::int64_t batch_bytes_max = 1 << 20;
  // A read asks for the next page while less than this waits to be sent to its client.
  std::int64_t read_ahead_bytes_max = 1 << 20;
  // A filtered read that finds nothing tells how far it is every so many empty pages.
  int silent_pages_max = 20;
  // A read whose client does not take a message for so long is ended with SLOW_CONSUMER. Key:
  // `hub.stall_timeout_ms`, as for subscribers.
  std::chrono::milliseconds stall_timeout_ms{60'000};
  // How long a client that is being dropped, but still holds up a message, may take to read why;
  // then the call is cut.
  std::chrono::milliseconds drop_grace_ms{5'000};
};

// The listening socket and what holds for every connection.
struct ServerOptions {
  // "host:port"; port 0 picks a free one. Key: `listen`.
  std::string listen = "127.0.0.1:7440";
  // Largest message that is taken from a client. Must lie above `limits.request_bytes_max`, so that
  // what is over that limit gets an answer that names it. Key: `server.message_bytes_max`.
  std::int64_t message_bytes_max = 16 << 20;
  // Most calls at once on one connection; further ones wait in the client.
  int calls_per_connection_max = 10'000;
  // Most memory for messages that are being received and sent, over all connections.
  std::int64_t memory_bytes_max = std::int64_t{1} << 30;
  // A connection on which nothing came for so long is pinged, and closed if no answer comes in
  // time.
  std::chrono::milliseconds keepalive_time_ms{30'000};
  std::chrono::milliseconds keepalive_timeout_ms{10'000};
  // Clients that ping more often than this are cut off.
  std::chrono::milliseconds client_ping_interval_min_ms{10'000};
};

}  // namespace eventstore::rpc

#endif  // EVENTSTORE_SERVER_RPC_OPTIONS_H_
