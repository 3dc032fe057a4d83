#include "server/engine/listener.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "server/engine/hub.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kReconnectPause{500};
constexpr std::chrono::seconds kRoundTrip{10};
// A payload: "<daemon> head <epoch> <position>", "<daemon> change <epoch> <position> <revision>" or
// "<daemon> hello". Who does not know one passes over it.
constexpr pg::Statement kNotify{"listener_notify", "SELECT pg_notify($1, $2)"};

}  // namespace

Listener::Listener(const StoreOptions& options, Uuid daemon_id, const std::string& store_id,
                   telemetry::ReadMetrics metrics, Callbacks callbacks)
    : options_(options),
      daemon_id_(FormatUuid(daemon_id)),
      channel_(absl::StrCat("eventstore_", absl::StrReplaceAll(store_id, {{"-", ""}}))),
      metrics_(metrics),
      callbacks_(std::move(callbacks)),
      connection_options_(options.connection),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  // A NOTIFY is a commit of its own; it is worth nothing after a crash.
  connection_options_.settings.emplace_back("synchronous_commit", "off");
  thread_ = std::thread([this] { ThreadMain(); });
}

Listener::~Listener() {
  Stop();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void Listener::Stop() {
  {
    MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.NotifyAll();
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Listener::Wake() {
  const std::uint64_t one = 1;
  // Fails only where the counter is full, and then the thread is awake already.
  [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);
}

bool Listener::Stopped() {
  MutexLock lock(&mutex_);
  return stopped_;
}

void Listener::Committed(std::int64_t epoch, std::int64_t head_position) {
  {
    MutexLock lock(&mutex_);
    epoch_ = epoch;
    committed_ = head_position;
    if (other_daemons_ == 0) return;
  }
  Wake();
}

void Listener::Changed(const tables::Head& head, std::int64_t revision) {
  {
    MutexLock lock(&mutex_);
    change_ = absl::StrCat(daemon_id_, " change ", head.epoch, " ", head.position, " ", revision);
    if (other_daemons_ == 0) return;
  }
  Wake();
}

void Listener::SetOtherDaemons(int count) {
  {
    MutexLock lock(&mutex_);
    if (other_daemons_ == count) return;
    spdlog::info("store {}: {} other daemons serve it", options_.name, count);
    other_daemons_ = count;
  }
  Wake();  // what was committed before anybody was counted has not been told
}

void Listener::ThreadMain() {
  while (!Stopped()) {
    absl::Status status = Open();
    if (status.ok()) {
      connected_.store(true, std::memory_order_relaxed);
      complained_ = false;
      status = Serve();
      connected_.store(false, std::memory_order_relaxed);
      if (!status.ok()) metrics_.listener_reconnects->Increment();
    }
    connection_.reset();
    if (!status.ok() && !std::exchange(complained_, true)) {
      spdlog::warn("store {}: the listener has no connection: {}", options_.name,
                   telemetry::MessageOf(status));
    }
    MutexLock lock(&mutex_);
    if (!stopped_) changed_.WaitUntil(&mutex_, Clock::now() + kReconnectPause);
  }
}

absl::Status Listener::Open() {
  auto connection = pg::Connection::Open(connection_options_, Clock::now() + kRoundTrip);
  if (!connection.ok()) return connection.status();
  connection_ = std::move(*connection);
  absl::Status listening =
      connection_->RunScript(absl::StrCat("LISTEN ", channel_), Clock::now() + kRoundTrip);
  if (!listening.ok()) return listening;
  return ReadHead();
}

absl::Status Listener::ReadHead() {
  auto head = tables::ReadHead(*connection_, Clock::now() + kRoundTrip);
  if (!head.ok()) return head.status();
  callbacks_.head(head->epoch, head->position, head->revision);
  return absl::OkStatus();
}

absl::Status Listener::Serve() {
  Deadline next_poll = Clock::now() + options_.hub.poll_interval_ms;
  while (!Stopped()) {
    absl::Status sent = Send();
    if (!sent.ok()) return sent;
    auto notifications = connection_->WaitForNotifications(wake_fd_, next_poll);
    if (!notifications.ok()) return notifications.status();
    std::uint64_t wakes = 0;
    [[maybe_unused]] const auto got = read(wake_fd_, &wakes, sizeof wakes);
    for (const pg::Notification& notification : *notifications) {
      OnNotification(notification.payload);
    }
    if (Clock::now() >= next_poll) {
      absl::Status polled = ReadHead();
      if (!polled.ok()) return polled;
      next_poll = Clock::now() + options_.hub.poll_interval_ms;
    }
  }
  return absl::OkStatus();
}

absl::Status Listener::Send() {
  std::vector<std::string> payloads;
  {
    MutexLock lock(&mutex_);
    if (std::exchange(hello_wanted_, false)) payloads.push_back(absl::StrCat(daemon_id_, " hello"));
    if (other_daemons_ > 0 && committed_ != sent_) {
      sent_ = committed_;
      payloads.push_back(absl::StrCat(daemon_id_, " head ", epoch_, " ", committed_));
    }
    if (other_daemons_ > 0 && !change_.empty()) payloads.push_back(std::exchange(change_, ""));
  }
  for (const std::string& payload : payloads) {
    auto result = connection_->Query(kNotify, pg::Params().Text(channel_).Text(payload),
                                     Clock::now() + kRoundTrip);
    if (!result.ok()) return result.status();
  }
  return absl::OkStatus();
}

void Listener::OnNotification(const std::string& payload) {
  const std::vector<std::string> words = absl::StrSplit(payload, ' ');
  if (words.size() < 2 || words[0] == daemon_id_) return;
  {
    // Whoever speaks is there, though our last count may not have seen it yet.
    MutexLock lock(&mutex_);
    if (other_daemons_ == 0) other_daemons_ = 1;
  }
  std::int64_t epoch = 0;
  std::int64_t position = 0;
  std::int64_t revision = 0;
  if (words[1] == "hello") {
    callbacks_.daemon_came();
  } else if (words[1] == "head" && words.size() == 4 && absl::SimpleAtoi(words[2], &epoch) &&
             absl::SimpleAtoi(words[3], &position)) {
    callbacks_.head(epoch, position, Hub::kNoRevision);
  } else if (words[1] == "change" && words.size() == 5 && absl::SimpleAtoi(words[2], &epoch) &&
             absl::SimpleAtoi(words[3], &position) && absl::SimpleAtoi(words[4], &revision)) {
    callbacks_.head(epoch, position, revision);
  }
}

}  // namespace eventstore::engine
