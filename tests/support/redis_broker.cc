#include "tests/support/redis_broker.h"

#include <hiredis/hiredis.h>

#include <stdexcept>

namespace eventstore::testing {
namespace {

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, ReplyDeleter>;

std::string TextOf(const redisReply& reply) {
  if (reply.type == REDIS_REPLY_INTEGER) return std::to_string(reply.integer);
  return reply.str == nullptr ? "" : std::string(reply.str, reply.len);
}

Reply Ask(int port, const std::vector<std::string>& words) {
  const std::unique_ptr<redisContext, ContextDeleter> context(redisConnect("127.0.0.1", port));
  if (context == nullptr || context->err != 0) return nullptr;
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  return Reply(static_cast<redisReply*>(
      redisCommandArgv(context.get(), static_cast<int>(words.size()), texts.data(), sizes.data())));
}

Reply MustAsk(int port, const std::vector<std::string>& words) {
  Reply reply = Ask(port, words);
  if (reply == nullptr || reply->type == REDIS_REPLY_ERROR) {
    throw std::runtime_error(words.front() + ": " +
                             (reply == nullptr ? "no answer" : TextOf(*reply)));
  }
  return reply;
}

}  // namespace

RedisBroker::RedisBroker() : port_(FreePort()) { Start(); }

void RedisBroker::Start() {
  process_ = std::make_unique<BrokerProcess>(
      std::vector<std::string>{"redis-server", "--port", std::to_string(port_), "--bind",
                               "127.0.0.1", "--appendonly", "yes", "--appendfsync", "no", "--save",
                               "", "--dir", folder_.path()},
      std::vector<std::string>{}, folder_.path() + "/log");
  process_->AwaitReady([this] {
    const Reply reply = Ask(port_, {"PING"});
    return reply != nullptr && TextOf(*reply) == "PONG";
  });
}

std::string RedisBroker::Run(const std::vector<std::string>& words) const {
  return TextOf(*MustAsk(port_, words));
}

std::vector<Received> RedisBroker::Read(const std::string& stream) const {
  const Reply reply = MustAsk(port_, {"XRANGE", stream, "-", "+"});
  std::vector<Received> entries;
  for (std::size_t i = 0; i < reply->elements; ++i) {
    const redisReply& fields = *reply->element[i]->element[1];
    Received& entry = entries.emplace_back();
    entry.subject = stream;
    for (std::size_t j = 0; j + 1 < fields.elements; j += 2) {
      entry.headers[TextOf(*fields.element[j])] = TextOf(*fields.element[j + 1]);
    }
    entry.id = entry.headers["id"];
    entry.content_type = entry.headers["datacontenttype"];
    entry.body = entry.headers.count("event") != 0 ? entry.headers["event"] : entry.headers["data"];
  }
  return entries;
}

}  // namespace eventstore::testing
