// The reader: heads, streams and pieces of the log, each of which must hold what was acknowledged
// before it was asked for.
#include <algorithm>
#include <map>

#include "eventstore/v1/event_store_service.pb.h"

#include "tests/faults/checker/record.h"
#include "tests/faults/client/appender.h"
#include "tests/faults/client/roles.h"
#include "tests/faults/dice.h"
#include "tests/support/daemon_client.h"

namespace eventstore::faults {
namespace {

constexpr std::chrono::milliseconds kCallTime{10'000};
// How far behind the newest that it knows a read begins, at the most.
constexpr std::int64_t kPositionsBack = 300;
constexpr std::int64_t kVersionsBack = 100;

class Asker {
 public:
  Asker(const ClientOptions& options, const StopSignal& stop)
      : stop_(stop),
        clients_(ConnectTo(options.ports)),
        dice_(options.seed),
        log_(options.record) {}

  void Run() {
    while (!stop_.WaitFor(dice_.Millis(5, 60))) {
      ReadRecord read;
      read.daemon = static_cast<int>(dice_.Between(0, static_cast<int>(clients_.size()) - 1));
      const std::int64_t kind = dice_.Between(1, 10);
      bool ok = false;
      if (kind <= 4) ok = ReadHead(&read);
      if (kind > 4 && kind <= 6) ok = ReadStream(&read);
      if (kind > 6) ok = ReadAll(&read);
      // A read that did not come to its end says nothing.
      if (ok) log_.Write(ReadLines(read));
    }
    log_.Write(DoneLine());
  }

 private:
  testing::Client& Client(const ReadRecord& read) {
    return *clients_[static_cast<std::size_t>(read.daemon)];
  }

  bool ReadHead(ReadRecord* read) {
    read->sent_at_us = NowMicros();
    v1::GetHeadResponse head;
    const auto status = Client(*read).Unary("GetHead", v1::GetHeadRequest(), &head, kCallTime);
    read->head = head.position();
    read->epoch = head.epoch();
    head_ = std::max(head_, head.position());
    return status.ok();
  }

  bool ReadStream(ReadRecord* read) {
    read->kind = ReadRecord::Kind::kStream;
    read->stream = {"Shared", "shared-" + std::to_string(dice_.Between(0, 2))};
    v1::ReadStreamRequest request;
    request.mutable_stream()->set_aggregate_type(read->stream.type);
    request.mutable_stream()->set_aggregate_id(read->stream.id);
    std::int64_t& version = versions_[read->stream];
    read->after = std::max<std::int64_t>(0, version - dice_.Between(0, kVersionsBack));
    request.set_from_version(read->after + 1);
    read->sent_at_us = NowMicros();
    const auto call = Client(*read).Stream("ReadStream", request, kCallTime);
    while (auto message = testing::ReadMessage<v1::ReadStreamResponse>(*call)) {
      if (message->has_info()) read->version = message->info().version();
      for (const v1::Event& event : message->events().events()) {
        read->seen.emplace_back(event.version(), event.event_id());
      }
    }
    version = std::max(version, read->version);
    return call->Finish().ok();
  }

  bool ReadAll(ReadRecord* read) {
    read->kind = ReadRecord::Kind::kAll;
    read->after = std::max<std::int64_t>(0, head_ - dice_.Between(0, kPositionsBack));
    v1::ReadAllRequest request;
    request.set_after_position(read->after);
    read->sent_at_us = NowMicros();
    const auto call = Client(*read).Stream("ReadAll", request, kCallTime);
    bool any = false;
    while (auto message = testing::ReadMessage<v1::ReadAllResponse>(*call)) {
      any = true;
      read->head = message->head_position();
      read->epoch = message->events().epoch();
      for (const v1::Event& event : message->events().events()) {
        read->seen.emplace_back(event.global_position(), event.event_id());
      }
    }
    head_ = std::max(head_, read->head);
    return call->Finish().ok() && any;
  }

  const StopSignal& stop_;
  const Clients clients_;
  Dice dice_;
  const Recorder log_;
  std::int64_t head_ = 0;
  std::map<StreamName, std::int64_t> versions_;
};

}  // namespace

int RunReader(const ClientOptions& options, const StopSignal& stop) {
  Asker(options, stop).Run();
  return 0;
}

}  // namespace eventstore::faults
