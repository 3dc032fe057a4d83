#include "server/sinks/rabbitmq_connection.h"

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace eventstore::sinks {
namespace {

constexpr amqp_channel_t kChannel = 1;
constexpr int kFrameBytesMax = 131072;
constexpr std::uint8_t kPersistent = 2;

amqp_bytes_t Bytes(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

std::string TextOf(amqp_bytes_t bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

timeval ToTimeval(std::chrono::microseconds duration) {
  const auto micros = std::max<std::int64_t>(duration.count(), 0);
  return {micros / 1'000'000, micros % 1'000'000};
}

// The reason that the broker gives when it closes a channel or a connection.
std::string CloseReason(const amqp_method_t& method) {
  if (method.id == AMQP_CHANNEL_CLOSE_METHOD) {
    return TextOf(static_cast<const amqp_channel_close_t*>(method.decoded)->reply_text);
  }
  if (method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    return TextOf(static_cast<const amqp_connection_close_t*>(method.decoded)->reply_text);
  }
  return "an unexpected answer";
}

// Empty, or what is wrong with the files.
std::string SetUpTls(const TlsOptions& tls, amqp_socket_t* socket) {
  const auto verify = static_cast<amqp_boolean_t>(tls.verify);
  amqp_ssl_socket_set_verify_peer(socket, verify);
  amqp_ssl_socket_set_verify_hostname(socket, verify);
  if (!tls.ca_file.empty()) {
    if (amqp_ssl_socket_set_cacert(socket, tls.ca_file.c_str()) != AMQP_STATUS_OK) {
      return "cannot use tls_ca_file " + tls.ca_file;
    }
  } else {
    SSL_CTX_set_default_verify_paths(static_cast<SSL_CTX*>(amqp_ssl_socket_get_context(socket)));
  }
  if (!tls.cert_file.empty() && amqp_ssl_socket_set_key(socket, tls.cert_file.c_str(),
                                                        tls.key_file.c_str()) != AMQP_STATUS_OK) {
    return "cannot use tls_cert_file " + tls.cert_file + " and tls_key_file " + tls.key_file;
  }
  return "";
}

}  // namespace

void RabbitmqConnection::Deleter::operator()(amqp_connection_state_t_* state) const {
  amqp_destroy_connection(state);
}

RabbitmqConnection::RabbitmqConnection(const RabbitmqOptions* options, SocketAlarm* alarm)
    : options_(options), alarm_(alarm) {}

RabbitmqConnection::~RabbitmqConnection() = default;

void RabbitmqConnection::Drop() { state_ = nullptr; }

int RabbitmqConnection::fd() const { return amqp_get_sockfd(state_.get()); }

absl::Status RabbitmqConnection::Failed(const char* doing, int status) const {
  if (alarm_->interrupted()) return absl::UnavailableError("interrupted");
  return absl::UnavailableError(absl::StrCat("RabbitMQ at ", options_->address.host, ":",
                                             options_->address.port, ": cannot ", doing, ": ",
                                             amqp_error_string2(status)));
}

absl::Status RabbitmqConnection::Check(const char* doing) {
  const amqp_rpc_reply_t reply = amqp_get_rpc_reply(state_.get());
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return absl::OkStatus();
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) {
    return Failed(doing, reply.library_error);
  }
  return absl::UnavailableError(
      absl::StrCat("RabbitMQ: cannot ", doing, ": ", CloseReason(reply.reply)));
}

RabbitmqConnection::Opened RabbitmqConnection::OpenSocket(const RabbitmqOptions& options) {
  Opened opened;
  opened.state.reset(amqp_new_connection());
  const bool encrypted = options.address.scheme == "amqps";
  amqp_socket_t* socket =
      encrypted ? amqp_ssl_socket_new(opened.state.get()) : amqp_tcp_socket_new(opened.state.get());
  if (socket == nullptr) {
    opened.error = "no memory for a connection";
    return opened;
  }
  if (encrypted) opened.error = SetUpTls(options.tls, socket);
  if (!opened.error.empty()) return opened;
  const timeval timeout = ToTimeval(options.connect_timeout);
  const int status = amqp_socket_open_noblock(socket, options.address.host.c_str(),
                                              options.address.port, &timeout);
  if (status != AMQP_STATUS_OK) {
    opened.error = absl::StrCat("RabbitMQ at ", options.address.host, ":", options.address.port,
                                ": cannot connect: ", amqp_error_string2(status));
  }
  return opened;
}

absl::Status RabbitmqConnection::LogIn() {
  const absl::StatusOr<std::string> password = options_->password.Read();
  if (!password.ok()) return password.status();
  const timeval timeout = ToTimeval(options_->connect_timeout);
  amqp_set_handshake_timeout(state_.get(), &timeout);
  amqp_set_rpc_timeout(state_.get(), &timeout);
  const amqp_rpc_reply_t reply =
      amqp_login(state_.get(), options_->vhost.c_str(), 0, kFrameBytesMax, options_->heartbeat_s,
                 AMQP_SASL_METHOD_PLAIN, options_->user.c_str(), password->c_str());
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return absl::OkStatus();
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
    return absl::UnavailableError(absl::StrCat("RabbitMQ refuses the user \"", options_->user,
                                               "\": ", CloseReason(reply.reply)));
  }
  return Failed("log in", reply.library_error);
}

absl::Status RabbitmqConnection::SetUpChannel() {
  amqp_channel_open(state_.get(), kChannel);
  if (absl::Status status = Check("open a channel"); !status.ok()) return status;
  const amqp_boolean_t passive = options_->declare_exchange ? 0 : 1;
  amqp_exchange_declare(state_.get(), kChannel, Bytes(options_->exchange), Bytes("topic"), passive,
                        1, 0, 0, amqp_empty_table);
  if (absl::Status status = Check("find or declare the exchange"); !status.ok()) return status;
  amqp_confirm_select(state_.get(), kChannel);
  return Check("ask for confirmations");
}

absl::StatusOr<bool> RabbitmqConnection::IsIdle(Deadline deadline) {
  if (HasPeerClosed(fd())) return absl::UnavailableError("closed");
  const ArmedSocket armed(alarm_, fd(), deadline);
  const absl::StatusOr<RabbitmqAnswer> answer = Receive(std::chrono::steady_clock::now());
  if (!answer.ok()) return answer.status();
  return answer->kind == RabbitmqAnswer::Kind::kNone;
}

absl::Status RabbitmqConnection::Open(Deadline deadline) {
  while (state_ != nullptr) {
    const absl::StatusOr<bool> idle = IsIdle(deadline);
    if (idle.ok() && *idle) return absl::OkStatus();
    if (!idle.ok()) Drop();
  }
  std::optional<Opened> opened =
      opening_.Await([options = *options_] { return OpenSocket(options); }, deadline,
                     [this] { return alarm_->interrupted(); });
  if (!opened.has_value()) {
    return absl::UnavailableError(alarm_->interrupted() ? "interrupted"
                                                        : "no connection to RabbitMQ in time");
  }
  if (!opened->error.empty()) return absl::UnavailableError(opened->error);
  state_ = std::move(opened->state);
  last_tag_ = 0;
  const ArmedSocket armed(
      alarm_, fd(),
      std::min(deadline, std::chrono::steady_clock::now() + options_->connect_timeout));
  if (absl::Status status = LogIn(); !status.ok()) return status;
  return SetUpChannel();
}

absl::Status RabbitmqConnection::Send(const std::string& routing_key, const std::string& message_id,
                                      const CloudEvent& event) {
  std::vector<std::string> names;
  names.reserve(event.attributes().size());
  std::vector<amqp_table_entry_t> headers;
  for (const Attribute& attribute : event.attributes()) {
    names.push_back("cloudEvents:" + attribute.name);
    amqp_table_entry_t& header = headers.emplace_back();
    header.key = Bytes(names.back());
    header.value.kind = AMQP_FIELD_KIND_UTF8;
    header.value.value.bytes = Bytes(attribute.value);
  }
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                      AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_HEADERS_FLAG;
  properties.content_type = Bytes(event.content_type());
  properties.delivery_mode = kPersistent;
  properties.message_id = Bytes(message_id);
  properties.headers = {static_cast<int>(headers.size()), headers.data()};
  const int status =
      amqp_basic_publish(state_.get(), kChannel, Bytes(options_->exchange), Bytes(routing_key),
                         options_->mandatory ? 1 : 0, 0, &properties, Bytes(event.body()));
  if (status != AMQP_STATUS_OK) return Failed("publish", status);
  ++last_tag_;
  return absl::OkStatus();
}

absl::StatusOr<RabbitmqAnswer> RabbitmqConnection::ReadReturned(const amqp_frame_t_& frame) {
  RabbitmqAnswer answer;
  answer.kind = RabbitmqAnswer::Kind::kReturned;
  answer.reason =
      TextOf(static_cast<const amqp_basic_return_t*>(frame.payload.method.decoded)->reply_text);
  amqp_message_t message;
  const amqp_rpc_reply_t reply = amqp_read_message(state_.get(), kChannel, &message, 0);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
    return Failed("read a returned message", reply.library_error);
  }
  answer.message_id = TextOf(message.properties.message_id);
  amqp_destroy_message(&message);
  return answer;
}

absl::StatusOr<RabbitmqAnswer> RabbitmqConnection::Understand(const amqp_frame_t_& frame) {
  RabbitmqAnswer answer;
  if (frame.frame_type != AMQP_FRAME_METHOD) return answer;
  const amqp_method_t& method = frame.payload.method;
  switch (method.id) {
    case AMQP_BASIC_ACK_METHOD: {
      const auto* ack = static_cast<const amqp_basic_ack_t*>(method.decoded);
      answer.kind = RabbitmqAnswer::Kind::kAck;
      answer.tag = ack->delivery_tag;
      answer.multiple = ack->multiple != 0;
      return answer;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto* nack = static_cast<const amqp_basic_nack_t*>(method.decoded);
      answer.kind = RabbitmqAnswer::Kind::kNack;
      answer.tag = nack->delivery_tag;
      answer.multiple = nack->multiple != 0;
      return answer;
    }
    case AMQP_BASIC_RETURN_METHOD:
      return ReadReturned(frame);
    case AMQP_CHANNEL_CLOSE_METHOD:
    case AMQP_CONNECTION_CLOSE_METHOD:
      return absl::UnavailableError("RabbitMQ closes the channel: " + CloseReason(method));
    default:
      return answer;
  }
}

absl::StatusOr<RabbitmqAnswer> RabbitmqConnection::Receive(Deadline deadline) {
  amqp_maybe_release_buffers(state_.get());
  const timeval timeout = ToTimeval(std::chrono::duration_cast<std::chrono::microseconds>(
      deadline - std::chrono::steady_clock::now()));
  amqp_frame_t frame;
  const int status = amqp_simple_wait_frame_noblock(state_.get(), &frame, &timeout);
  if (status == AMQP_STATUS_TIMEOUT) return RabbitmqAnswer();
  if (status != AMQP_STATUS_OK) return Failed("read an answer", status);
  return Understand(frame);
}

}  // namespace eventstore::sinks
