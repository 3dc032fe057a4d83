#include "tests/support/http_receiver.h"

#include <absl/strings/ascii.h>
#include <civetweb.h>

#include <array>
#include <future>
#include <stdexcept>
#include <utility>

namespace eventstore::testing {
namespace {

constexpr std::chrono::milliseconds kKnockInterval{10};

Received ReceivedOf(mg_connection* connection) {
  const mg_request_info* info = mg_get_request_info(connection);
  Received request;
  request.subject = info->local_uri;
  for (int i = 0; i < info->num_headers; ++i) {
    request.headers[absl::AsciiStrToLower(info->http_headers[i].name)] =
        info->http_headers[i].value;
  }
  request.id = request.headers["ce-id"];
  request.content_type = request.headers["content-type"];
  std::array<char, 16384> bytes{};
  for (int got = mg_read(connection, bytes.data(), bytes.size()); got > 0;
       got = mg_read(connection, bytes.data(), bytes.size())) {
    request.body.append(bytes.data(), static_cast<std::size_t>(got));
  }
  return request;
}

}  // namespace

HttpReceiver::HttpReceiver(int port) : port_(port == 0 ? FreePort() : port) {
  [[maybe_unused]] static const unsigned features = mg_init_library(0);
  const std::string address = "127.0.0.1:" + std::to_string(port_);
  std::vector<const char*> options = {
      "listening_ports",   address.c_str(), "num_threads",           "16",
      "enable_keep_alive", "yes",           "keep_alive_timeout_ms", "500"};
  options.push_back(nullptr);
  const mg_callbacks callbacks{};
  context_ = mg_start(&callbacks, this, options.data());
  if (context_ == nullptr) throw std::runtime_error("the receiver cannot listen on " + address);
  mg_set_request_handler(context_, "/", &HttpReceiver::Handle, this);
}

HttpReceiver::~HttpReceiver() { Stop(); }

void HttpReceiver::Stop() {
  mg_context* const context = std::exchange(context_, nullptr);
  if (context == nullptr) return;
  // civetweb looks up from its sleep when somebody knocks.
  auto stop = std::async(std::launch::async, [context] { mg_stop(context); });
  while (stop.wait_for(kKnockInterval) != std::future_status::ready) Answers(port_);
}

std::string HttpReceiver::url(const std::string& path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + path;
}

void HttpReceiver::SetRule(Rule rule) {
  const MutexLock lock(&mutex_);
  rule_ = std::move(rule);
}

std::vector<Received> HttpReceiver::Requests() const {
  const MutexLock lock(&mutex_);
  return requests_;
}

int HttpReceiver::Handle(mg_connection* connection, void* self) {
  auto* const receiver = static_cast<HttpReceiver*>(self);
  const Received request = ReceivedOf(connection);
  Rule rule;
  {
    const MutexLock lock(&receiver->mutex_);
    receiver->requests_.push_back(request);
    rule = receiver->rule_;
  }
  const HttpReply reply = rule ? rule(request) : HttpReply();
  mg_printf(connection, "HTTP/1.1 %d X\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
            reply.status, reply.headers.c_str(), reply.body.size());
  mg_write(connection, reply.body.data(), reply.body.size());
  return reply.status;
}

}  // namespace eventstore::testing
