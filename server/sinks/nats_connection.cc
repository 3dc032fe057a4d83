#include "server/sinks/nats_connection.h"

#include <absl/status/status.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <nats/nats.h>

#include <string_view>
#include <utility>

#include "server/sinks/nats_answer.h"

namespace eventstore::sinks {
namespace {

// Where the answers to questions for streams come, below the inbox; others are of messages.
constexpr std::string_view kQuestion = "q";

struct OptionsDeleter {
  void operator()(natsOptions* options) const { natsOptions_Destroy(options); }
};
struct MessageDeleter {
  void operator()(natsMsg* message) const { natsMsg_Destroy(message); }
};
using MessageHandle = std::unique_ptr<natsMsg, MessageDeleter>;

natsStatus SetServers(const NatsOptions& options, natsOptions* to) {
  const std::vector<std::string> servers = absl::StrSplit(options.url, ',');
  std::vector<const char*> texts;
  for (const std::string& server : servers) texts.push_back(server.c_str());
  return natsOptions_SetServers(to, texts.data(), static_cast<int>(texts.size()));
}

natsStatus SetTls(const NatsOptions& options, natsOptions* to) {
  const TlsOptions& tls = options.tls;
  if (options.url.rfind("tls://", 0) != 0 && tls.ca_file.empty() && tls.cert_file.empty()) {
    return NATS_OK;
  }
  natsStatus status = natsOptions_SetSecure(to, true);
  if (status == NATS_OK && !tls.ca_file.empty()) {
    status = natsOptions_LoadCATrustedCertificates(to, tls.ca_file.c_str());
  }
  if (status == NATS_OK && !tls.cert_file.empty()) {
    status = natsOptions_LoadCertificatesChain(to, tls.cert_file.c_str(), tls.key_file.c_str());
  }
  if (status == NATS_OK) status = natsOptions_SkipServerVerification(to, !tls.verify);
  return status;
}

natsStatus SetAccount(const NatsOptions& options, const std::string& password, natsOptions* to) {
  if (!options.credentials_file.empty()) {
    return natsOptions_SetUserCredentialsFromFiles(to, options.credentials_file.c_str(), nullptr);
  }
  if (options.user.empty()) return NATS_OK;
  return natsOptions_SetUserInfo(to, options.user.c_str(), password.c_str());
}

natsStatus SetAll(const NatsOptions& options, const std::string& password, natsOptions* to) {
  natsStatus status = SetServers(options, to);
  if (status == NATS_OK) status = SetTls(options, to);
  if (status == NATS_OK) status = SetAccount(options, password, to);
  if (status == NATS_OK) status = natsOptions_SetTimeout(to, options.connect_timeout.count());
  if (status == NATS_OK) status = natsOptions_SetWriteDeadline(to, options.connect_timeout.count());
  // A lost connection is an error that the sink deals with, and nothing is sent twice behind its
  // back.
  if (status == NATS_OK) status = natsOptions_SetAllowReconnect(to, false);
  if (status == NATS_OK) status = natsOptions_SetName(to, "eventstored");
  return status;
}

natsStatus SetHeaders(const NatsMessage& message, natsMsg* to) {
  natsStatus status = natsMsgHeader_Set(to, "Nats-Msg-Id", message.id.c_str());
  const bool structured = message.event.attributes().empty();
  if (status == NATS_OK) {
    status = natsMsgHeader_Set(to, structured ? "Content-Type" : "ce-datacontenttype",
                               message.event.content_type().c_str());
  }
  for (const Attribute& attribute : message.event.attributes()) {
    if (status != NATS_OK) break;
    status = natsMsgHeader_Set(to, ("ce-" + attribute.name).c_str(),
                               PercentEncoded(attribute.value).c_str());
  }
  return status;
}

std::string Why(natsStatus status) {
  const char* detail = nats_GetLastError(nullptr);
  return absl::StrCat(natsStatus_GetText(status), detail == nullptr ? "" : ": ",
                      detail == nullptr ? "" : detail);
}

}  // namespace

struct NatsConnection::Link {
  ~Link() {
    natsSubscription_Destroy(answers);
    natsConnection_Destroy(connection);
    natsInbox_Destroy(inbox);
  }

  natsConnection* connection = nullptr;
  natsSubscription* answers = nullptr;
  natsInbox* inbox = nullptr;  // answers come to <inbox>.<index>
};

NatsConnection::NatsConnection(const NatsOptions* options, std::function<bool()> stopped)
    : options_(options), stopped_(std::move(stopped)) {}

NatsConnection::~NatsConnection() = default;

NatsConnection::Opened NatsConnection::Connect(const NatsOptions& options,
                                               const std::string& password) {
  Opened opened;
  opened.link = std::make_shared<Link>();
  natsOptions* raw = nullptr;
  natsStatus status = natsOptions_Create(&raw);
  const std::unique_ptr<natsOptions, OptionsDeleter> nats_options(raw);
  if (status == NATS_OK) status = SetAll(options, password, raw);
  if (status == NATS_OK) status = natsConnection_Connect(&opened.link->connection, raw);
  if (status == NATS_OK) status = natsInbox_Create(&opened.link->inbox);
  if (status == NATS_OK) {
    const std::string subject = std::string(opened.link->inbox) + ".*";
    status = natsConnection_SubscribeSync(&opened.link->answers, opened.link->connection,
                                          subject.c_str());
  }
  if (status != NATS_OK) {
    opened.error = absl::StrCat("cannot connect to NATS at ", options.url, ": ", Why(status));
  }
  return opened;
}

absl::Status NatsConnection::Open(Deadline deadline) {
  closing_.remove_if([](const std::future<void>& future) {
    return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  if (link_ != nullptr && natsConnection_Status(link_->connection) == NATS_CONN_STATUS_CONNECTED) {
    return absl::OkStatus();
  }
  if (link_ != nullptr) Drop();
  if (!sending_.Settle(deadline, stopped_)) return absl::UnavailableError("NATS takes nothing");
  const absl::StatusOr<std::string> password = options_->password.Read();
  if (!password.ok()) return password.status();
  std::optional<Opened> opened = opening_.Await(
      [options = *options_, password = *password] { return Connect(options, password); }, deadline,
      stopped_);
  if (!opened.has_value()) {
    return absl::UnavailableError(stopped_() ? "interrupted" : "no connection to NATS in time");
  }
  if (!opened->error.empty()) return absl::UnavailableError(opened->error);
  link_ = std::move(opened->link);
  return absl::OkStatus();
}

void NatsConnection::Drop() {
  if (link_ == nullptr) return;
  closing_.push_back(std::async(std::launch::async, [link = std::move(link_)] {}));
  link_ = nullptr;
}

NatsConnection::Sent NatsConnection::SendAll(const Link& link,
                                             const std::vector<NatsMessage>& messages) {
  Sent sent;
  for (const NatsMessage& message : messages) {
    natsMsg* raw = nullptr;
    const std::string reply = absl::StrCat(link.inbox, ".", message.index);
    natsStatus status =
        natsMsg_Create(&raw, message.subject.c_str(), reply.c_str(), message.event.body().data(),
                       static_cast<int>(message.event.body().size()));
    const MessageHandle handle(raw);
    if (status == NATS_OK) status = SetHeaders(message, raw);
    if (status == NATS_OK) status = natsConnection_PublishMsg(link.connection, raw);
    if (status == NATS_MAX_PAYLOAD) {
      sent.refused.push_back({NatsAnswer::Kind::kRefused, message.index,
                              "the message is larger than the server's max_payload"});
    } else if (status != NATS_OK) {
      sent.error = "cannot publish to NATS: " + Why(status);
      break;
    }
  }
  return sent;
}

absl::StatusOr<std::vector<NatsAnswer>> NatsConnection::Send(std::vector<NatsMessage> messages,
                                                             Deadline deadline) {
  auto shared = std::make_shared<std::vector<NatsMessage>>(std::move(messages));
  std::optional<Sent> sent = sending_.Await(
      [link = link_, shared] { return SendAll(*link, *shared); }, deadline, stopped_);
  if (!sent.has_value()) {
    return absl::UnavailableError(stopped_() ? "interrupted" : "NATS takes nothing");
  }
  if (!sent->error.empty()) return absl::UnavailableError(sent->error);
  return std::move(sent->refused);
}

absl::Status NatsConnection::AskForStream(std::size_t index, const std::string& subject) {
  const std::string reply = absl::StrCat(link_->inbox, ".", AsView(kQuestion), index);
  const std::string question = StreamQuestion(subject);
  const natsStatus status = natsConnection_PublishRequestString(
      link_->connection, "$JS.API.STREAM.NAMES", reply.c_str(), question.c_str());
  if (status == NATS_OK) return absl::OkStatus();
  return absl::UnavailableError("cannot publish to NATS: " + Why(status));
}

absl::StatusOr<NatsAnswer> NatsConnection::Receive(std::chrono::milliseconds wait) {
  natsMsg* raw = nullptr;
  const natsStatus status = natsSubscription_NextMsg(&raw, link_->answers, wait.count());
  const MessageHandle message(raw);
  if (status == NATS_TIMEOUT) return NatsAnswer();
  if (status != NATS_OK) return absl::UnavailableError("NATS is lost: " + Why(status));
  std::string_view place = natsMsg_GetSubject(raw);
  place.remove_prefix(place.rfind('.') + 1);
  const bool is_question = place.substr(0, kQuestion.size()) == kQuestion;
  if (is_question) place.remove_prefix(kQuestion.size());
  const std::string_view data(natsMsg_GetData(raw),
                              static_cast<std::size_t>(natsMsg_GetDataLength(raw)));
  NatsAnswer answer;
  if (natsMsg_IsNoResponders(raw)) {
    answer.kind = is_question ? NatsAnswer::Kind::kAway : NatsAnswer::Kind::kUnheard;
    answer.reason = "JetStream does not answer; is it enabled for this account?";
  } else {
    answer = is_question ? ReadStreamAnswer(data) : ReadPublishAnswer(data);
  }
  if (!absl::SimpleAtoi(AsView(place), &answer.index)) return NatsAnswer();
  return answer;
}

std::string NatsConnection::LastError() const {
  const char* text = nullptr;
  if (link_ != nullptr) natsConnection_GetLastError(link_->connection, &text);
  return text == nullptr ? "" : text;
}

}  // namespace eventstore::sinks
