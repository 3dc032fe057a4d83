#include "tests/support/nats_broker.h"

#include <nats/nats.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace eventstore::testing {
namespace {

constexpr std::int64_t kTimeoutMs = 10'000;

void Require(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw std::runtime_error(what + ": " + natsStatus_GetText(status));
}

// A connection with its JetStream context.
class Session {
 public:
  Session(const std::string& url, const std::string& user, const std::string& password) {
    natsOptions* options = nullptr;
    status_ = natsOptions_Create(&options);
    if (status_ == NATS_OK) status_ = natsOptions_SetURL(options, url.c_str());
    if (status_ == NATS_OK && !user.empty()) {
      status_ = natsOptions_SetUserInfo(options, user.c_str(), password.c_str());
    }
    if (status_ == NATS_OK) status_ = natsConnection_Connect(&connection_, options);
    natsOptions_Destroy(options);
    if (status_ == NATS_OK) status_ = natsConnection_JetStream(&js_, connection_, nullptr);
  }
  ~Session() {
    jsCtx_Destroy(js_);
    natsConnection_Destroy(connection_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] natsStatus status() const { return status_; }
  [[nodiscard]] jsCtx* js() const { return js_; }

 private:
  natsStatus status_ = NATS_OK;
  natsConnection* connection_ = nullptr;
  jsCtx* js_ = nullptr;
};

Received ReceivedOf(natsMsg* message) {
  Received received;
  received.subject = natsMsg_GetSubject(message);
  received.body.assign(natsMsg_GetData(message),
                       static_cast<std::size_t>(natsMsg_GetDataLength(message)));
  const char** keys = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &keys, &count) != NATS_OK) return received;
  for (int i = 0; i < count; ++i) {
    const char* value = nullptr;
    if (natsMsgHeader_Get(message, keys[i], &value) == NATS_OK) received.headers[keys[i]] = value;
  }
  std::free(static_cast<void*>(keys));
  received.id = received.headers["Nats-Msg-Id"];
  received.content_type = received.headers.count("Content-Type") != 0
                              ? received.headers["Content-Type"]
                              : received.headers["ce-datacontenttype"];
  return received;
}

}  // namespace

NatsBroker::NatsBroker(std::string user, std::string password)
    : port_(FreePort()), user_(std::move(user)), password_(std::move(password)) {
  Start();
}

void NatsBroker::Start() {
  std::string config = "host: 127.0.0.1\nport: " + std::to_string(port_) +
                       "\nmax_payload: 4194304\njetstream { store_dir: \"" + folder_.path() +
                       "/data\" }\n";
  if (!user_.empty()) {
    config += "authorization { user: " + user_ + ", password: \"" + password_ + "\" }\n";
  }
  process_ = std::make_unique<BrokerProcess>(
      std::vector<std::string>{"nats-server", "-c", folder_.Write("nats.conf", config)},
      std::vector<std::string>{}, folder_.path() + "/log");
  process_->AwaitReady(
      [this] { return Answers(port_) && Session(url(), user_, password_).status() == NATS_OK; });
}

void NatsBroker::AddStream(const std::string& name, const std::string& subject,
                           int messages_max) const {
  const Session session(url(), user_, password_);
  Require(session.status(), "connect");
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  const char* subjects[] = {subject.c_str()};
  config.Name = name.c_str();
  config.Subjects = subjects;
  config.SubjectsLen = 1;
  if (messages_max > 0) {
    config.MaxMsgs = messages_max;
    config.Discard = js_DiscardNew;
  }
  Require(js_AddStream(nullptr, session.js(), &config, nullptr, nullptr), "add a stream");
}

std::vector<Received> NatsBroker::Read(const std::string& stream) const {
  const Session session(url(), user_, password_);
  Require(session.status(), "connect");
  jsStreamInfo* info = nullptr;
  Require(js_GetStreamInfo(&info, session.js(), stream.c_str(), nullptr, nullptr), "stream info");
  const std::uint64_t last = info->State.LastSeq;
  jsStreamInfo_Destroy(info);
  std::vector<Received> messages;
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = kTimeoutMs;
  for (std::uint64_t sequence = 1; sequence <= last; ++sequence) {
    natsMsg* message = nullptr;
    Require(js_GetMsg(&message, session.js(), stream.c_str(), sequence, &options, nullptr), "get");
    messages.push_back(ReceivedOf(message));
    natsMsg_Destroy(message);
  }
  return messages;
}

}  // namespace eventstore::testing
