// bench read-stream, bench read-all: reads of one stream, and of pages of the whole store.
#include <algorithm>
#include <deque>
#include <optional>

#include "eventstore/v1/snapshot_service.grpc.pb.h"

#include "client/cli/bench.h"
#include "client/cli/retry.h"

namespace eventstore::cli {
namespace {

int EventsIn(const v1::ReadStreamResponse& response) { return response.events().events_size(); }
int EventsIn(const v1::ReadAllResponse& response) { return response.events().events_size(); }

// One slot's reads, one after the other. Owned by the workload; called by gRPC's threads.
template <typename Request, typename Response>
class ReadSlot : public grpc::ClientReadReactor<Response> {
 public:
  ReadSlot(LoadDriver* driver, int slot) : driver_(driver), slot_(slot) {}

  Request request;
  std::mt19937_64 random{std::random_device{}()};

  // `call` starts the RPC with the context, the request and this reactor.
  template <typename Call>
  void Start(const Call& call) {
    context_.emplace();
    events_ = 0;
    call(&*context_, &request, this);
    this->StartRead(&response_);
    this->StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    events_ += EventsIn(response_);
    this->StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    if (status.ok()) {
      driver_->Finish(slot_, events_);
    } else {
      driver_->Fail(slot_, FailureReason(status));
    }
  }

 private:
  LoadDriver* const driver_;
  const int slot_;
  std::optional<grpc::ClientContext> context_;
  Response response_;
  std::int64_t events_ = 0;
};

class ReadStreamWorkload : public Workload {
 public:
  explicit ReadStreamWorkload(const BenchContext& bench) : bench_(bench) {
    for (int i = 0; i < bench.options.in_flight; ++i) {
      slots_.emplace_back(bench.driver, i)
          .request.set_from_snapshot(bench.options.snapshot_tail > 0);
    }
  }

  void Start(int slot, LoadDriver::TimePoint /*intended*/) override {
    auto& used = slots_[static_cast<std::size_t>(slot)];
    const auto number = used.random() % static_cast<std::uint64_t>(bench_.options.streams);
    bench_.events->NameStream(static_cast<std::int64_t>(number), used.request.mutable_stream());
    auto* const stub = bench_.connections->ForSlot(slot).async();
    used.Start([&](auto* context, auto* request, auto* reactor) {
      bench_.session->SetDeadline(context);
      stub->ReadStream(context, request, reactor);
    });
  }

  // Every call has a deadline: all end by themselves.
  void Cancel() override {}

 private:
  const BenchContext bench_;
  std::deque<ReadSlot<v1::ReadStreamRequest, v1::ReadStreamResponse>> slots_;
};

class ReadAllWorkload : public Workload {
 public:
  ReadAllWorkload(const BenchContext& bench, std::int64_t head) : bench_(bench) {
    const std::int64_t page = bench.options.events_per_read;
    starts_ = static_cast<std::uint64_t>(std::max<std::int64_t>(1, head - page + 1));
    for (int i = 0; i < bench.options.in_flight; ++i) {
      slots_.emplace_back(bench.driver, i).request.set_limit(page);
    }
  }

  void Start(int slot, LoadDriver::TimePoint /*intended*/) override {
    auto& used = slots_[static_cast<std::size_t>(slot)];
    used.request.set_after_position(static_cast<std::int64_t>(used.random() % starts_));
    auto* const stub = bench_.connections->ForSlot(slot).async();
    used.Start([&](auto* context, auto* request, auto* reactor) {
      bench_.session->SetDeadline(context);
      stub->ReadAll(context, request, reactor);
    });
  }

  // As above.
  void Cancel() override {}

 private:
  const BenchContext bench_;
  std::uint64_t starts_ = 1;
  std::deque<ReadSlot<v1::ReadAllRequest, v1::ReadAllResponse>> slots_;
};

}  // namespace

grpc::Status SaveSnapshots(const BenchContext& context) {
  const auto stub = v1::SnapshotService::NewStub(context.session->channel());
  std::mt19937_64 random{std::random_device{}()};
  v1::SaveSnapshotRequest request;
  request.set_version(context.options.events_per_append - context.options.snapshot_tail);
  request.set_state(MakePayload(context.options.payload_bytes, &random));
  for (int i = 0; i < context.options.streams; ++i) {
    if (context.session->interrupt().raised()) {
      return {grpc::StatusCode::CANCELLED, "interrupted while snapshots were saved"};
    }
    context.events->NameStream(i, request.mutable_stream());
    v1::SaveSnapshotResponse response;
    grpc::Status status = Call(context.session, [&](grpc::ClientContext* rpc) {
      return stub->SaveSnapshot(rpc, request, &response);
    });
    if (!status.ok()) return status;
  }
  return grpc::Status::OK;
}

std::unique_ptr<Workload> MakeReadStreamWorkload(const BenchContext& context) {
  return std::make_unique<ReadStreamWorkload>(context);
}

std::unique_ptr<Workload> MakeReadAllWorkload(const BenchContext& context, std::int64_t head) {
  return std::make_unique<ReadAllWorkload>(context, head);
}

}  // namespace eventstore::cli
