// Events and connections of the load generator.
#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "client/cli/bench.h"
#include "client/cli/failure.h"
#include "server/core/ids.h"

namespace eventstore::cli {
namespace {

constexpr int kPayloads = 256;
constexpr std::string_view kLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string MakePayload(int bytes, std::mt19937_64* random) {
  constexpr std::string_view kOpen = R"({"data":")";
  constexpr std::string_view kClose = R"("})";
  if (bytes <= 1) return "1";
  const auto size = static_cast<std::size_t>(bytes);
  const bool object = size >= kOpen.size() + kClose.size();
  std::string payload(object ? kOpen : "\"");
  const std::string_view close = object ? kClose : "\"";
  while (payload.size() + close.size() < size) payload += kLetters[(*random)() % kLetters.size()];
  payload += close;
  return payload;
}

EventMaker::EventMaker(const BenchOptions& options)
    : options_(options),
      prefix_("run-" + FormatUuid(MakeUuidV7())),
      next_new_stream_(options.streams) {
  std::mt19937_64 random(std::random_device{}());
  for (int i = 0; i < kPayloads; ++i) {
    payloads_.push_back(MakePayload(options.payload_bytes, &random));
  }
}

void EventMaker::NameStream(std::int64_t number, v1::StreamId* stream) const {
  stream->set_aggregate_type(options_.aggregate_type);
  stream->set_tenant_id(options_.tenant);
  std::string* const id = stream->mutable_aggregate_id();
  id->clear();
  const bool existing = !options_.existing.empty() && number < options_.streams;
  fmt::format_to(std::back_inserter(*id), "{}-{}", existing ? options_.existing : prefix_, number);
}

void EventMaker::FillStream(std::int64_t number, v1::AppendEventsRequest* request,
                            std::mt19937_64* random) {
  NameStream(number, request->mutable_stream());
  request->mutable_expected_version()->mutable_any();
  while (request->events_size() < options_.events_per_append) {
    request->add_events()->set_event_type("BenchEvent");
  }
  for (v1::NewEvent& event : *request->mutable_events()) {
    event.set_event_id(FormatUuid(MakeUuidV7()));
    event.set_payload(payloads_[(*random)() % payloads_.size()]);
  }
}

void EventMaker::Fill(v1::AppendEventsRequest* request, std::mt19937_64* random) {
  const double dice = std::uniform_real_distribution<double>(0, 100)(*random);
  const std::int64_t number =
      dice < options_.new_streams_percent
          ? next_new_stream_.fetch_add(1)
          : static_cast<std::int64_t>((*random)() % static_cast<std::uint64_t>(options_.streams));
  FillStream(number, request, random);
}

Connections::Connections(const GlobalOptions& global, int count) {
  for (int i = 0; i < count; ++i) {
    stubs_.push_back(
        v1::EventStoreService::NewStub(MakeChannel(global.address, /*own_socket=*/true)));
  }
}

std::string FailureReason(const grpc::Status& status) { return ReasonOf(FailureOf(status)); }

}  // namespace eventstore::cli
