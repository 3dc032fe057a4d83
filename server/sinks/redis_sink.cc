// Publishes to Redis streams: XADD, in pipelines.
#include <absl/status/status.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "server/sinks/cloud_event.h"
#include "server/sinks/opening.h"
#include "server/sinks/redis_options.h"
#include "server/sinks/sink_types.h"
#include "server/sinks/socket_alarm.h"
#include "server/sinks/stream_order.h"
#include "server/telemetry/logging.h"

namespace eventstore::sinks {
namespace {

// Most of what one pipeline holds.
constexpr std::size_t kWaveMessagesMax = 512;
constexpr std::size_t kWaveBytesMax = 4 << 20;

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
using Context = std::unique_ptr<redisContext, ContextDeleter>;
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, ReplyDeleter>;

// Errors that say that this server takes no writes now, whatever the entry.
constexpr std::array<const char*, 13> kAwayErrors = {
    "LOADING",  "READONLY", "OOM",    "MISCONF",   "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN",
    "TRYAGAIN", "BUSY",     "NOAUTH", "WRONGPASS", "MOVED",      "ASK",
};

bool SaysAway(absl::string_view error) {
  const absl::string_view code = error.substr(0, error.find(' '));
  return std::find(kAwayErrors.begin(), kAwayErrors.end(), code) != kAwayErrors.end();
}

std::string TextOf(const redisReply& reply) {
  return reply.str == nullptr ? "" : std::string(reply.str, reply.len);
}

void Append(redisContext* context, const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  redisAppendCommandArgv(context, static_cast<int>(words.size()), texts.data(), sizes.data());
}

class RedisSink : public Sink {
 public:
  explicit RedisSink(RedisOptions options) : options_(std::move(options)) {}

  std::vector<Delivery> Publish(std::span<const Message> messages, Deadline deadline) override;
  void Interrupt() override { alarm_.Interrupt(); }

 private:
  absl::Status Connect(Deadline deadline);
  absl::Status LogIn();
  absl::Status Ask(const std::vector<std::string>& words, const char* what);
  // Sends what may be sent, and reads the answers; an error if the connection is of no use any
  // more.
  absl::Status PublishWave(StreamOrder* order, Deadline deadline);
  std::vector<std::size_t> SendWave(StreamOrder* order);
  std::vector<std::string> EntryOf(const v1::Event& event) const;
  absl::StatusOr<Reply> ReadReply();
  absl::Status AwaitReplicas(Deadline deadline);
  absl::Status Lost(const char* doing) const;

  const RedisOptions options_;
  SocketAlarm alarm_;
  Opening<Context> opening_;
  Context context_;
};

absl::Status RedisSink::Lost(const char* doing) const {
  if (alarm_.interrupted()) return absl::UnavailableError("interrupted");
  return absl::UnavailableError(absl::StrCat("Redis at ", options_.address.host, ":",
                                             options_.address.port, ": ", doing, ": ",
                                             context_->errstr));
}

absl::StatusOr<Reply> RedisSink::ReadReply() {
  void* reply = nullptr;
  if (redisGetReply(context_.get(), &reply) != REDIS_OK) return Lost("no answer");
  return Reply(static_cast<redisReply*>(reply));
}

absl::Status RedisSink::Ask(const std::vector<std::string>& words, const char* what) {
  Append(context_.get(), words);
  absl::StatusOr<Reply> reply = ReadReply();
  if (!reply.ok()) return reply.status();
  if ((*reply)->type != REDIS_REPLY_ERROR) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("Redis refuses ", what, ": ", TextOf(**reply)));
}

absl::Status RedisSink::LogIn() {
  absl::StatusOr<std::string> password = options_.password.Read();
  if (!password.ok()) return password.status();
  if (!password->empty()) {
    std::vector<std::string> words = {"AUTH"};
    if (!options_.user.empty()) words.push_back(options_.user);
    words.push_back(*std::move(password));
    if (absl::Status status = Ask(words, "the account"); !status.ok()) return status;
  }
  if (options_.database == 0) return absl::OkStatus();
  return Ask({"SELECT", absl::StrCat(options_.database)}, "the database");
}

absl::Status RedisSink::Connect(Deadline deadline) {
  if (context_ != nullptr && !HasPeerClosed(context_->fd)) return absl::OkStatus();
  context_ = nullptr;
  const auto micros = std::chrono::microseconds(options_.connect_timeout).count();
  const timeval timeout{micros / 1'000'000, micros % 1'000'000};
  std::optional<Context> opened = opening_.Await(
      [host = options_.address.host, port = options_.address.port, timeout] {
        return Context(redisConnectWithTimeout(host.c_str(), port, timeout));
      },
      deadline, [this] { return alarm_.interrupted(); });
  if (!opened.has_value()) {
    return absl::UnavailableError(alarm_.interrupted() ? "interrupted"
                                                       : "no connection to Redis by the deadline");
  }
  context_ = *std::move(opened);
  if (context_ == nullptr) return absl::ResourceExhaustedError("no memory for a connection");
  if (context_->err != 0) return Lost("cannot connect");
  const ArmedSocket armed(
      &alarm_, context_->fd,
      std::min(deadline, std::chrono::steady_clock::now() + options_.connect_timeout));
  return LogIn();
}

std::vector<std::string> RedisSink::EntryOf(const v1::Event& event) const {
  std::vector<std::string> words = {"XADD", options_.stream.Expand(event)};
  if (options_.maxlen > 0) {
    words.insert(words.end(), {"MAXLEN", "~", absl::StrCat(options_.maxlen)});
  }
  words.emplace_back("*");
  const CloudEvent cloud_event(event, options_.source, options_.structured);
  if (options_.structured) {
    words.insert(words.end(), {"id", event.event_id(), "event", std::string(cloud_event.body())});
    return words;
  }
  for (const Attribute& attribute : cloud_event.attributes()) {
    words.push_back(attribute.name);
    words.push_back(attribute.value);
  }
  words.insert(words.end(), {"datacontenttype", cloud_event.content_type(), "data",
                             std::string(cloud_event.body())});
  return words;
}

std::vector<std::size_t> RedisSink::SendWave(StreamOrder* order) {
  std::vector<std::size_t> wave;
  std::size_t bytes = 0;
  while (wave.size() < kWaveMessagesMax && bytes < kWaveBytesMax) {
    const std::optional<std::size_t> index = order->Take();
    if (!index.has_value()) break;
    Append(context_.get(), EntryOf(order->event(*index)));
    bytes += order->event(*index).payload().size();
    wave.push_back(*index);
  }
  return wave;
}

absl::Status RedisSink::AwaitReplicas(Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  // 0 would be for ever.
  const auto timeout = std::clamp(left, std::chrono::milliseconds(1), options_.wait_timeout);
  Append(context_.get(),
         {"WAIT", absl::StrCat(options_.wait_replicas), absl::StrCat(timeout.count())});
  absl::StatusOr<Reply> reply = ReadReply();
  if (!reply.ok()) return reply.status();
  if ((*reply)->type == REDIS_REPLY_INTEGER && (*reply)->integer >= options_.wait_replicas) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("only ", (*reply)->integer, " of ",
                                             options_.wait_replicas,
                                             " replicas have the entries (wait_replicas)"));
}

absl::Status RedisSink::PublishWave(StreamOrder* order, Deadline deadline) {
  absl::Status away;
  std::vector<std::size_t> added;
  for (const std::size_t index : SendWave(order)) {
    absl::StatusOr<Reply> reply = ReadReply();
    if (!reply.ok()) {
      away = reply.status();
      break;
    }
    const std::string text = TextOf(**reply);
    if ((*reply)->type != REDIS_REPLY_ERROR) {
      added.push_back(index);
    } else if (SaysAway(text)) {
      away = absl::UnavailableError("Redis takes no writes: " + text);
    } else {
      order->Refused(index, "Redis refuses the entry: " + text);
    }
  }
  if (options_.wait_replicas > 0 && !added.empty()) {
    const absl::Status status = AwaitReplicas(deadline);
    if (!status.ok()) return status;
  }
  for (const std::size_t index : added) order->Published(index);
  return away;
}

std::vector<Delivery> RedisSink::Publish(std::span<const Message> messages, Deadline deadline) {
  StreamOrder order(messages);
  absl::Status status = Connect(deadline);
  if (status.ok()) {
    const ArmedSocket armed(&alarm_, context_->fd, deadline);
    while (status.ok() && !order.done()) status = PublishWave(&order, deadline);
  }
  if (!status.ok()) {
    const bool late = std::chrono::steady_clock::now() >= deadline && !alarm_.interrupted();
    order.BrokerAway(late ? "no answer from Redis by the deadline" : telemetry::MessageOf(status));
    context_ = nullptr;
  }
  return order.TakeDeliveries();
}

}  // namespace

SinkType RedisSinkType() {
  return {"redis", RedisRules(), [](const Settings& settings) -> std::unique_ptr<Sink> {
            return std::make_unique<RedisSink>(RedisOptions::Of(settings));
          }};
}

}  // namespace eventstore::sinks
