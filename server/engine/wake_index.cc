#include "server/engine/wake_index.h"

namespace eventstore::engine {
namespace {

// The first byte of a key, which is also its kind's place in `keys_of_kind_`.
constexpr char kEverything = 0;
constexpr char kStream = 1;
constexpr char kTag = 2;
constexpr char kEventType = 3;
constexpr char kAggregateType = 4;
constexpr char kTenant = 5;

void MakeKey(char kind, std::string_view value, std::string* key) {
  key->assign(1, kind);
  key->append(value);
}

// NUL is refused in every name, so it parts them.
void MakeStreamKey(const v1::StreamId& stream, std::string* key) {
  key->assign(1, kStream);
  key->append(stream.tenant_id()).append(1, '\0');
  key->append(stream.aggregate_type()).append(1, '\0');
  key->append(stream.aggregate_id());
}

void AddKeys(char kind, const google::protobuf::RepeatedPtrField<std::string>& values,
             std::vector<std::string>* keys) {
  for (const std::string& value : values) MakeKey(kind, value, &keys->emplace_back());
}

}  // namespace

std::vector<std::string> WakeIndex::KeysOf(const v1::StreamId* stream, const EventFilter* filter) {
  std::vector<std::string> keys;
  if (stream != nullptr) {
    MakeStreamKey(*stream, &keys.emplace_back());
    return keys;
  }
  if (filter != nullptr) {
    const v1::Filter& proto = filter->proto();
    if (!proto.tags().empty()) {
      MakeKey(kTag, proto.tags(0), &keys.emplace_back());  // all must be there, so any one will do
    } else if (!proto.event_types().empty()) {
      AddKeys(kEventType, proto.event_types(), &keys);
    } else if (!proto.aggregate_types().empty()) {
      AddKeys(kAggregateType, proto.aggregate_types(), &keys);
    } else if (!proto.tenant_id().empty()) {
      MakeKey(kTenant, proto.tenant_id(), &keys.emplace_back());
    }
  }
  if (keys.empty()) MakeKey(kEverything, "", &keys.emplace_back());
  return keys;
}

void WakeIndex::Park(Subscriber subscriber, const std::vector<std::string>* keys,
                     std::int64_t due) {
  for (const std::string& key : *keys) {
    by_key_[key].insert(subscriber);
    ++keys_of_kind_[static_cast<std::size_t>(key[0])];
  }
  due_.insert({due, subscriber});
  entries_[subscriber] = {keys, due, std::nullopt};
}

bool WakeIndex::Uses(char kind) const { return keys_of_kind_[static_cast<std::size_t>(kind)] > 0; }

void WakeIndex::Wake(Subscriber subscriber, Entry* entry, std::int64_t resume_position) {
  for (const std::string& key : *entry->keys) {
    --keys_of_kind_[static_cast<std::size_t>(key[0])];
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) continue;  // WakeKey took it out as a whole
    found->second.erase(subscriber);
    if (found->second.empty()) by_key_.erase(found);
  }
  due_.erase({entry->due, subscriber});
  entry->resume_position = resume_position;
}

void WakeIndex::WakeKey(const std::string& key, std::int64_t position,
                        std::vector<Subscriber>* woken) {
  auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  const absl::flat_hash_set<Subscriber> subscribers = std::move(found->second);
  by_key_.erase(found);
  for (const Subscriber subscriber : subscribers) {
    Wake(subscriber, &entries_[subscriber], position - 1);
    woken->push_back(subscriber);
  }
}

void WakeIndex::WakeByEvent(const v1::Event& event, std::vector<Subscriber>* woken) {
  const std::int64_t position = event.global_position();
  const auto wake = [&](char kind, std::string_view value) {
    MakeKey(kind, value, &scratch_);
    WakeKey(scratch_, position, woken);
  };
  if (Uses(kEverything)) wake(kEverything, "");
  if (Uses(kStream)) {
    MakeStreamKey(event.stream(), &scratch_);
    WakeKey(scratch_, position, woken);
  }
  if (Uses(kTag)) {
    for (const std::string& tag : event.tags()) wake(kTag, tag);
  }
  if (Uses(kEventType)) wake(kEventType, event.event_type());
  if (Uses(kAggregateType)) wake(kAggregateType, event.stream().aggregate_type());
  if (Uses(kTenant) && !event.stream().tenant_id().empty()) {
    wake(kTenant, event.stream().tenant_id());
  }
}

std::vector<WakeIndex::Subscriber> WakeIndex::Advance(const EventBlock& block) {
  std::vector<Subscriber> woken;
  for (std::size_t i = 0; i < block.size() && !by_key_.empty(); ++i) {
    WakeByEvent(block.header(i), &woken);
  }
  // Nothing in the block concerns who is still here, but some have to be told how far it got.
  while (!due_.empty() && due_.begin()->first <= block.last_position()) {
    const Subscriber subscriber = due_.begin()->second;
    Wake(subscriber, &entries_[subscriber], block.last_position());
    woken.push_back(subscriber);
  }
  return woken;
}

void WakeIndex::WakeAll(std::int64_t end_position) {
  for (auto& [subscriber, entry] : entries_) {
    if (!entry.resume_position.has_value()) entry.resume_position = end_position;
  }
  by_key_.clear();
  keys_of_kind_.fill(0);
  due_.clear();
}

std::optional<std::int64_t> WakeIndex::Unpark(Subscriber subscriber, std::int64_t end_position) {
  const auto found = entries_.find(subscriber);
  if (found == entries_.end()) return std::nullopt;
  if (!found->second.resume_position.has_value()) Wake(subscriber, &found->second, end_position);
  const std::int64_t position = *found->second.resume_position;
  entries_.erase(found);
  return position;
}

}  // namespace eventstore::engine
