#include "server/engine/event_block.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <utility>

namespace eventstore::engine {

std::shared_ptr<const EventBlock> EventBlock::Make(std::vector<v1::Event> events) {
  using google::protobuf::internal::WireFormatLite;
  using google::protobuf::io::CodedOutputStream;
  constexpr std::uint32_t kTag = WireFormatLite::MakeTag(v1::EventBatch::kEventsFieldNumber,
                                                         WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  std::shared_ptr<EventBlock> block(new EventBlock());
  std::size_t total = 0;
  for (const v1::Event& event : events) {
    const std::size_t size = event.ByteSizeLong();  // also caches the size for serializing
    total += CodedOutputStream::VarintSize32(kTag) +
             CodedOutputStream::VarintSize32(static_cast<std::uint32_t>(size)) + size;
  }
  block->bytes_.resize(total);
  block->offsets_.reserve(events.size() + 1);
  auto* const begin = reinterpret_cast<std::uint8_t*>(block->bytes_.data());
  std::uint8_t* out = begin;
  for (v1::Event& event : events) {
    block->offsets_.push_back(static_cast<std::size_t>(out - begin));
    out = CodedOutputStream::WriteVarint32ToArray(kTag, out);
    out = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(event.GetCachedSize()),
                                                  out);
    out = event.SerializeWithCachedSizesToArray(out);
    // Setting a moved-from string frees its memory; clear_payload() would keep it.
    std::string().swap(*event.mutable_payload());
    event.clear_metadata();
    block->memory_bytes_ += static_cast<std::int64_t>(event.SpaceUsedLong());
  }
  block->offsets_.push_back(total);
  block->headers_ = std::move(events);
  block->memory_bytes_ +=
      static_cast<std::int64_t>(total + block->offsets_.size() * sizeof(std::size_t));
  return block;
}

}  // namespace eventstore::engine
