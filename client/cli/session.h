// What every command gets: the global options, the console, and the connection.
#ifndef EVENTSTORE_CLIENT_CLI_SESSION_H_
#define EVENTSTORE_CLIENT_CLI_SESSION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "eventstore/v1/event_store_service.grpc.pb.h"

#include "client/cli/console.h"
#include "client/cli/interrupt.h"

namespace eventstore::cli {

// Exit codes, part of the interface; --help and docs/cli.md list them.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitUnreachable = 3,
};

enum class OutputFormat { kText, kJson };

struct GlobalOptions {
  std::string address = "127.0.0.1:7440";
  OutputFormat output = OutputFormat::kText;
  // Time limit of each unary call; reads and subscriptions have none.
  double timeout_s = 10;
};

// Lives for one command, owned by RunCli. Console and Interrupt belong to main. The connection may
// be used by any thread, the rest by the command's own thread.
class Session {
 public:
  Session(Console* console, Interrupt* interrupt) : console_(console), interrupt_(interrupt) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  GlobalOptions options;

  [[nodiscard]] Console& console() { return *console_; }
  [[nodiscard]] Interrupt& interrupt() { return *interrupt_; }
  [[nodiscard]] bool json() const { return options.output == OutputFormat::kJson; }

  // The connection to `options.address`; made by the first call, connected by the first RPC.
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel();
  [[nodiscard]] v1::EventStoreService::Stub& stub();

  // Ends a unary call after `options.timeout_s`.
  void SetDeadline(grpc::ClientContext* context) const;

  // Writes to standard output. False if it cannot be written (a full disk); then the command should
  // end, and RunCli tells why.
  bool Print(std::string_view text);
  // Writes a line to standard error.
  void Notice(std::string_view text);

 private:
  Console* const console_;
  Interrupt* const interrupt_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::EventStoreService::Stub> stub_;
};

// A command that was parsed and is ready to run; returns the exit code.
using Action = std::function<int(Session&)>;

// A connection to a server. `own_socket`: do not share the TCP connection with other channels to
// the same address, as gRPC otherwise does.
[[nodiscard]] std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                                         bool own_socket);

// Ends a unary call after so many seconds.
void SetDeadline(double timeout_s, grpc::ClientContext* context);

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_SESSION_H_
