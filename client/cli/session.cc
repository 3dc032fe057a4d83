#include "client/cli/session.h"

#include <absl/synchronization/mutex.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>

namespace eventstore::cli {
namespace {

// The largest message taken from a server. Batches are bounded by the server; this lies above.
constexpr int kReceiveBytesMax = 64 << 20;
// How long one attempt to connect may take, and how long to wait between attempts. Shorter than
// gRPC's defaults (20 s, 1 s, 120 s): somebody waits in front of a terminal.
constexpr int kConnectTimeoutMs = 5000;
constexpr int kReconnectFirstMs = 100;
constexpr int kReconnectMaxMs = 2000;

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, bool own_socket) {
  // Debian's Abseil looks for lock cycles at every lock that gRPC takes.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  arguments.SetMaxSendMessageSize(-1);  // The server's limit decides and names itself.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectFirstMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  if (own_socket) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void SetDeadline(double timeout_s, grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::microseconds(static_cast<std::int64_t>(timeout_s * 1e6)));
}

std::shared_ptr<grpc::Channel> Session::channel() {
  if (channel_ == nullptr) channel_ = MakeChannel(options.address, /*own_socket=*/false);
  return channel_;
}

v1::EventStoreService::Stub& Session::stub() {
  if (stub_ == nullptr) stub_ = v1::EventStoreService::NewStub(channel());
  return *stub_;
}

void Session::SetDeadline(grpc::ClientContext* context) const {
  cli::SetDeadline(options.timeout_s, context);
}

bool Session::Print(std::string_view text) {
  console_->out->write(text.data(), static_cast<std::streamsize>(text.size()));
  return console_->out->good();
}

void Session::Notice(std::string_view text) { *console_->err << text << '\n' << std::flush; }

}  // namespace eventstore::cli
