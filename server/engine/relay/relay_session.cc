#include "server/engine/relay/relay_session.h"

#include <absl/strings/str_cat.h>

#include <utility>

namespace eventstore::engine {
namespace {

// What the transaction of a batch may take beyond the publishing itself, before the server ends it
// and frees its rows.
constexpr std::chrono::milliseconds kIdleMargin{2'000};

}  // namespace

RelaySession::RelaySession(const StoreOptions& options, const OutboxSink& sink)
    : options_(options), connection_options_(options.connection) {
  const auto set = [this](const char* name, std::chrono::milliseconds value) {
    connection_options_.settings.emplace_back(name, absl::StrCat(value.count()));
  };
  set("idle_in_transaction_session_timeout", sink.publish_timeout_ms + kIdleMargin);
  set("statement_timeout", options.writer.statement_timeout_ms);
  set("lock_timeout", options.writer.lock_timeout_ms);
  auto& settings = connection_options_.settings;
  settings.emplace_back("tcp_keepalives_idle", "30");
  settings.emplace_back("tcp_keepalives_interval", "10");
  settings.emplace_back("tcp_keepalives_count", "3");
  settings.emplace_back("tcp_user_timeout", "30000");
  settings.emplace_back("default_transaction_isolation", "read committed");
  settings.emplace_back("default_transaction_read_only", "off");
  settings.emplace_back("plan_cache_mode", "force_generic_plan");
  settings.emplace_back("enable_seqscan", "off");
  settings.emplace_back("enable_bitmapscan", "off");
  settings.emplace_back("enable_hashjoin", "off");
  settings.emplace_back("enable_mergejoin", "off");
}

absl::Status RelaySession::Open() {
  auto connection = pg::Connection::Open(
      connection_options_, std::chrono::steady_clock::now() + options_.connection.connect_timeout);
  if (!connection.ok()) return connection.status();
  Set(std::move(*connection));
  return absl::OkStatus();
}

Deadline RelaySession::RoundTripDeadline() const {
  return std::chrono::steady_clock::now() + options_.writer.statement_timeout_ms +
         options_.writer.lock_timeout_ms;
}

void RelaySession::Interrupt() {
  MutexLock lock(&mutex_);
  if (connection_ != nullptr) connection_->Cancel();
}

void RelaySession::Set(std::unique_ptr<pg::Connection> connection) {
  MutexLock lock(&mutex_);
  connection_ = std::move(connection);
}

}  // namespace eventstore::engine
