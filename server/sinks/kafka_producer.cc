#include "server/sinks/kafka_producer.h"

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>
#include <librdkafka/rdkafka.h>

#include <array>
#include <cstdint>
#include <utility>

namespace eventstore::sinks {
namespace {

constexpr std::size_t kErrorBytesMax = 512;
// How long all brokers may be down before that is an outage.
constexpr std::chrono::milliseconds kAllDownMax{1000};

// Whether an error is about a message, or its topic, and not about the brokers.
bool IsRefusal(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return true;
    default:
      return false;
  }
}

// rd_kafka_message_errstr() would tell the message's own payload, which is no text.
KafkaReport ReportOf(std::size_t index, rd_kafka_resp_err_t error) {
  KafkaReport report;
  report.index = index;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    report.outcome = KafkaOutcome::kDelivered;
  } else {
    report.outcome = IsRefusal(error) ? KafkaOutcome::kRefused : KafkaOutcome::kAway;
    report.error =
        absl::StrCat(report.outcome == KafkaOutcome::kRefused ? "Kafka refuses the message: "
                                                              : "Kafka did not take the message: ",
                     rd_kafka_err2str(error));
  }
  return report;
}

void Set(const char* name, const std::string& value, rd_kafka_conf_t* conf, std::string* error) {
  std::array<char, kErrorBytesMax> text{};
  if (!error->empty() || value.empty()) return;
  if (rd_kafka_conf_set(conf, name, value.c_str(), text.data(), text.size()) != RD_KAFKA_CONF_OK) {
    // The text holds the value, which may be the password.
    *error = absl::StrCat("librdkafka does not take ", name);
  }
}

void SetSecurity(const KafkaOptions& options, const std::string& password, rd_kafka_conf_t* conf,
                 std::string* error) {
  Set("security.protocol", options.security_protocol, conf, error);
  if (options.security_protocol.rfind("sasl", 0) == 0) {
    Set("sasl.mechanisms", options.sasl_mechanism, conf, error);
    Set("sasl.username", options.user, conf, error);
    Set("sasl.password", password, conf, error);
  }
  if (options.security_protocol == "ssl" || options.security_protocol == "sasl_ssl") {
    Set("ssl.ca.location", options.tls.ca_file, conf, error);
    Set("ssl.certificate.location", options.tls.cert_file, conf, error);
    Set("ssl.key.location", options.tls.key_file, conf, error);
    Set("enable.ssl.certificate.verification", options.tls.verify ? "true" : "false", conf, error);
    Set("ssl.endpoint.identification.algorithm", options.tls.verify ? "https" : "none", conf,
        error);
  }
}

}  // namespace

std::string KafkaProducer::Configure(const KafkaOptions& options, const std::string& password,
                                     rd_kafka_conf_t* conf) {
  std::string error;
  Set("bootstrap.servers", options.brokers, conf, &error);
  Set("client.id", options.client_id, conf, &error);
  // No gap, no copy and no change of order by librdkafka's own retries.
  Set("enable.idempotence", "true", conf, &error);
  Set("acks", "all", conf, &error);
  // The deadline of Publish counts, and not one of its own.
  Set("message.timeout.ms", "0", conf, &error);
  Set("message.max.bytes", options.message_bytes_max, conf, &error);
  Set("linger.ms", options.linger_ms, conf, &error);
  Set("compression.codec", options.compression, conf, &error);
  Set("socket.connection.setup.timeout.ms", options.connect_timeout_ms, conf, &error);
  Set("socket.keepalive.enable", "true", conf, &error);
  // How long a topic may be unknown before its messages are refused: it may be made just now.
  Set("topic.metadata.propagation.max.ms", "3000", conf, &error);
  // The partition depends on the key alone, as with the Java client.
  Set("partitioner", "murmur2_random", conf, &error);
  SetSecurity(options, password, conf, &error);
  return error;
}

absl::StatusOr<std::unique_ptr<KafkaProducer>> KafkaProducer::Make(const KafkaOptions& options) {
  const absl::StatusOr<std::string> password = options.password.Read();
  if (!password.ok()) return password.status();
  std::unique_ptr<KafkaProducer> made(new KafkaProducer);
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const std::string wrong = Configure(options, *password, conf);
  if (!wrong.empty()) {
    rd_kafka_conf_destroy(conf);
    return absl::UnavailableError(wrong);
  }
  rd_kafka_conf_set_opaque(conf, made.get());
  rd_kafka_conf_set_dr_msg_cb(conf, &KafkaProducer::OnReport);
  rd_kafka_conf_set_error_cb(conf, &KafkaProducer::OnError);
  // Without this it writes to the standard error.
  rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
  std::array<char, kErrorBytesMax> text{};
  made->producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text.data(), text.size());
  if (made->producer_ == nullptr) {
    rd_kafka_conf_destroy(conf);
    return absl::UnavailableError(absl::StrCat("cannot make a Kafka producer: ", text.data()));
  }
  return made;
}

KafkaProducer::~KafkaProducer() {
  if (producer_ == nullptr) return;
  rd_kafka_purge(producer_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  rd_kafka_destroy(producer_);
}

void KafkaProducer::OnReport(rd_kafka_t*, const rd_kafka_message_t* message, void* self) {
  const auto index = reinterpret_cast<std::uintptr_t>(message->_private);
  auto* const ours = static_cast<KafkaProducer*>(self);
  ours->reports_.push_back(ReportOf(index, message->err));
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) ours->all_down_since_.reset();
}

void KafkaProducer::OnError(rd_kafka_t* producer, int error, const char* reason, void* self) {
  auto* const ours = static_cast<KafkaProducer*>(self);
  if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    if (!ours->all_down_since_.has_value()) {
      ours->all_down_since_ = std::chrono::steady_clock::now();
    }
    if (!ours->last_error_.empty()) return;  // It says more.
  }
  ours->last_error_ = reason;
  if (error == RD_KAFKA_RESP_ERR__FATAL) {
    std::array<char, kErrorBytesMax> text{};
    rd_kafka_fatal_error(producer, text.data(), text.size());
    ours->last_error_ = text.data();
  }
  if (error == RD_KAFKA_RESP_ERR__FATAL || error == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
    ours->trouble_ = ours->last_error_;
  }
}

void KafkaProducer::ForgetTrouble() {
  rd_kafka_poll(producer_, 0);
  trouble_.clear();
  last_error_.clear();
  all_down_since_.reset();
}

std::vector<KafkaReport> KafkaProducer::Produce(std::size_t index, const std::string& topic,
                                                const std::string& key, const CloudEvent& event) {
  rd_kafka_headers_t* headers = rd_kafka_headers_new(event.attributes().size() + 1);
  rd_kafka_header_add(headers, "content-type", -1, event.content_type().data(),
                      static_cast<ssize_t>(event.content_type().size()));
  for (const Attribute& attribute : event.attributes()) {
    const std::string name = "ce_" + attribute.name;
    rd_kafka_header_add(headers, name.data(), static_cast<ssize_t>(name.size()),
                        attribute.value.data(), static_cast<ssize_t>(attribute.value.size()));
  }
  // The library's macros for these pairs use an extension of GNU C.
  const rd_kafka_resp_err_t error = rd_kafka_producev(
      producer_, RD_KAFKA_VTYPE_TOPIC, topic.c_str(), RD_KAFKA_VTYPE_VALUE, event.body().data(),
      event.body().size(), RD_KAFKA_VTYPE_KEY, key.data(), key.size(), RD_KAFKA_VTYPE_HEADERS,
      headers, RD_KAFKA_VTYPE_MSGFLAGS, static_cast<int>(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_VTYPE_OPAQUE, reinterpret_cast<void*>(index), RD_KAFKA_VTYPE_END);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  rd_kafka_headers_destroy(headers);  // It is ours still.
  return {ReportOf(index, error)};
}

std::vector<KafkaReport> KafkaProducer::Poll(std::chrono::milliseconds wait) {
  rd_kafka_poll(producer_, static_cast<int>(wait.count()));
  if (all_down_since_.has_value() &&
      std::chrono::steady_clock::now() - *all_down_since_ >= kAllDownMax) {
    trouble_ = last_error_;
  }
  return std::exchange(reports_, {});
}

}  // namespace eventstore::sinks
