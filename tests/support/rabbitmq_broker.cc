#include "tests/support/rabbitmq_broker.h"

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>

#include <stdexcept>
#include <string_view>

#include "tests/support/certificates.h"

namespace eventstore::testing {
namespace {

constexpr amqp_channel_t kChannel = 1;

amqp_bytes_t Bytes(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

std::string TextOf(amqp_bytes_t bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// A connection with one channel.
class Session {
 public:
  explicit Session(int port) : state_(amqp_new_connection()) {
    amqp_socket_t* socket = amqp_tcp_socket_new(state_);
    const timeval timeout{5, 0};
    amqp_set_handshake_timeout(state_, &timeout);
    ok_ = amqp_socket_open_noblock(socket, "127.0.0.1", port, &timeout) == AMQP_STATUS_OK &&
          amqp_login(state_, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
                  .reply_type == AMQP_RESPONSE_NORMAL;
    if (ok_) amqp_channel_open(state_, kChannel);
  }
  ~Session() { amqp_destroy_connection(state_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] amqp_connection_state_t state() const { return state_; }
  void Check(const char* what) const {
    if (!ok_ || amqp_get_rpc_reply(state_).reply_type != AMQP_RESPONSE_NORMAL) {
      throw std::runtime_error(std::string("RabbitMQ: ") + what + " failed");
    }
  }

 private:
  amqp_connection_state_t state_;
  bool ok_ = false;
};

Received ReceivedOf(const amqp_basic_get_ok_t& got, const amqp_message_t& message) {
  Received received;
  received.subject = TextOf(got.routing_key);
  received.id = TextOf(message.properties.message_id);
  received.content_type = TextOf(message.properties.content_type);
  received.body = TextOf(message.body);
  received.headers["delivery_mode"] = std::to_string(message.properties.delivery_mode);
  for (int i = 0; i < message.properties.headers.num_entries; ++i) {
    const amqp_table_entry_t& entry = message.properties.headers.entries[i];
    received.headers[TextOf(entry.key)] = TextOf(entry.value.value.bytes);
  }
  return received;
}

}  // namespace

RabbitmqBroker::RabbitmqBroker()
    : port_(FreePort()), tls_port_(FreePort()), dist_port_(FreePort()), epmd_port_(FreePort()) {
  epmd_ =
      std::make_unique<BrokerProcess>(std::vector<std::string>{"epmd", "-address", "127.0.0.1",
                                                               "-port", std::to_string(epmd_port_)},
                                      std::vector<std::string>{}, folder_.path() + "/epmd.log");
  epmd_->AwaitReady([this] { return Answers(epmd_port_); });
  Start();
}

void RabbitmqBroker::Start() {
  const std::string& folder = folder_.path();
  const Certificates& certificates = SharedCertificates();
  folder_.Write("plugins", "[].");
  folder_.Write("rabbitmq.conf",
                "listeners.tcp.1 = 127.0.0.1:" + std::to_string(port_) +
                    "\nlisteners.ssl.1 = 127.0.0.1:" + std::to_string(tls_port_) +
                    "\nssl_options.cacertfile = " + certificates.ca() +
                    "\nssl_options.certfile = " + certificates.certificate() +
                    "\nssl_options.keyfile = " + certificates.key() +
                    "\nssl_options.verify = verify_none\nlog.file.level = error\n");
  process_ = std::make_unique<BrokerProcess>(
      std::vector<std::string>{"/usr/lib/rabbitmq/bin/rabbitmq-server"},
      std::vector<std::string>{
          "HOME=" + folder, "RABBITMQ_NODENAME=eventstore-test@localhost",
          "RABBITMQ_MNESIA_BASE=" + folder + "/mnesia", "RABBITMQ_LOG_BASE=" + folder + "/log",
          "RABBITMQ_DIST_PORT=" + std::to_string(dist_port_),
          "ERL_EPMD_PORT=" + std::to_string(epmd_port_), "ERL_EPMD_ADDRESS=127.0.0.1",
          "RABBITMQ_ENABLED_PLUGINS_FILE=" + folder + "/plugins",
          "RABBITMQ_CONFIG_FILE=" + folder + "/rabbitmq", "RABBITMQ_CONF_ENV_FILE=/dev/null",
          "RABBITMQ_PID_FILE=" + folder + "/pid",
          // The script becomes the node, so that signals reach it.
          "RABBITMQ_ALLOW_INPUT=1",
          "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface "
          "{127,0,0,1} +sbwt none"},
      folder + "/out");
  process_->AwaitReady([this] { return Answers(port_) && Session(port_).ok(); });
}

void RabbitmqBroker::AddQueue(const std::string& exchange, const std::string& queue,
                              const std::string& binding, int messages_max) const {
  const Session session(port_);
  amqp_exchange_declare(session.state(), kChannel, Bytes(exchange), Bytes("topic"), 0, 1, 0, 0,
                        amqp_empty_table);
  session.Check("declare the exchange");
  amqp_table_entry_t entries[2];
  entries[0].key = Bytes("x-max-length");
  entries[0].value.kind = AMQP_FIELD_KIND_I32;
  entries[0].value.value.i32 = messages_max;
  entries[1].key = Bytes("x-overflow");
  entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
  entries[1].value.value.bytes = Bytes("reject-publish");
  const amqp_table_t arguments{messages_max > 0 ? 2 : 0, entries};
  amqp_queue_declare(session.state(), kChannel, Bytes(queue), 0, 1, 0, 0, arguments);
  session.Check("declare the queue");
  amqp_queue_bind(session.state(), kChannel, Bytes(queue), Bytes(exchange), Bytes(binding),
                  amqp_empty_table);
  session.Check("bind the queue");
}

std::vector<Received> RabbitmqBroker::Read(const std::string& queue) const {
  const Session session(port_);
  std::vector<Received> messages;
  while (true) {
    const amqp_rpc_reply_t reply = amqp_basic_get(session.state(), kChannel, Bytes(queue), 1);
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) throw std::runtime_error("basic.get failed");
    if (reply.reply.id != AMQP_BASIC_GET_OK_METHOD) return messages;
    const auto* got = static_cast<const amqp_basic_get_ok_t*>(reply.reply.decoded);
    amqp_message_t message;
    if (amqp_read_message(session.state(), kChannel, &message, 0).reply_type !=
        AMQP_RESPONSE_NORMAL) {
      throw std::runtime_error("a message cannot be read");
    }
    messages.push_back(ReceivedOf(*got, message));
    amqp_destroy_message(&message);
  }
}

RabbitmqBroker& SharedRabbitmq() {
  SharedCertificates();  // Made before the broker, so that it goes after it.
  static RabbitmqBroker broker;
  return broker;
}

}  // namespace eventstore::testing
