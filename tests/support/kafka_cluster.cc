#include "tests/support/kafka_cluster.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <stdexcept>

namespace eventstore::testing {
namespace {

constexpr int kBroker = 1;
constexpr std::int16_t kProduceKey = 0;  // the number of the request Produce
constexpr std::chrono::seconds kReadPatience{10};

rd_kafka_t* Make(rd_kafka_type_t type,
                 const std::vector<std::pair<std::string, std::string>>& conf) {
  rd_kafka_conf_t* made = rd_kafka_conf_new();
  std::array<char, 256> error{};
  for (const auto& [name, value] : conf) {
    rd_kafka_conf_set(made, name.c_str(), value.c_str(), error.data(), error.size());
  }
  rd_kafka_conf_set_log_cb(made, [](const rd_kafka_t*, int, const char*, const char*) {});
  rd_kafka_t* handle = rd_kafka_new(type, made, error.data(), error.size());
  if (handle == nullptr) throw std::runtime_error(error.data());
  return handle;
}

Received ReceivedOf(const rd_kafka_message_t& message) {
  Received received;
  received.subject = rd_kafka_topic_name(message.rkt);
  received.key.assign(static_cast<const char*>(message.key), message.key_len);
  received.body.assign(static_cast<const char*>(message.payload), message.len);
  rd_kafka_headers_t* headers = nullptr;
  if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return received;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    received.headers[name] = std::string(static_cast<const char*>(value), size);
  }
  received.id = received.headers["ce_id"];
  received.content_type = received.headers["content-type"];
  return received;
}

}  // namespace

KafkaCluster::KafkaCluster() : handle_(Make(RD_KAFKA_PRODUCER, {})) {
  cluster_ = rd_kafka_mock_cluster_new(handle_, 1);
  if (cluster_ == nullptr) throw std::runtime_error("no mock cluster");
}

KafkaCluster::~KafkaCluster() {
  rd_kafka_mock_cluster_destroy(cluster_);
  rd_kafka_destroy(handle_);
}

std::string KafkaCluster::brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

void KafkaCluster::AddTopic(const std::string& topic, int partitions) {
  rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, 1);
}

void KafkaCluster::SetUp(bool up) {
  if (up) {
    rd_kafka_mock_broker_set_up(cluster_, kBroker);
  } else {
    rd_kafka_mock_broker_set_down(cluster_, kBroker);
  }
}

void KafkaCluster::SetDelay(int delay_ms) {
  rd_kafka_mock_broker_set_rtt(cluster_, kBroker, delay_ms);
}

void KafkaCluster::RefuseAsTooLarge(int count) {
  const std::vector<rd_kafka_resp_err_t> errors(static_cast<std::size_t>(count),
                                                RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  rd_kafka_mock_push_request_errors_array(cluster_, kProduceKey, errors.size(), errors.data());
}

std::vector<Received> KafkaCluster::Read(const std::string& topic, std::size_t count,
                                         int partition_count) const {
  rd_kafka_t* consumer = Make(
      RD_KAFKA_CONSUMER,
      {{"bootstrap.servers", brokers()}, {"group.id", "test"}, {"auto.offset.reset", "earliest"}});
  rd_kafka_topic_partition_list_t* partitions = rd_kafka_topic_partition_list_new(partition_count);
  for (int i = 0; i < partition_count; ++i) {
    rd_kafka_topic_partition_list_add(partitions, topic.c_str(), i)->offset =
        RD_KAFKA_OFFSET_BEGINNING;
  }
  rd_kafka_assign(consumer, partitions);
  rd_kafka_topic_partition_list_destroy(partitions);
  std::vector<Received> messages;
  const auto deadline = std::chrono::steady_clock::now() + kReadPatience;
  while (messages.size() < count && std::chrono::steady_clock::now() < deadline) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 50);
    if (message == nullptr) continue;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) messages.push_back(ReceivedOf(*message));
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  return messages;
}

}  // namespace eventstore::testing
