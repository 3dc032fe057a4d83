#include "server/engine/save_decider.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/core/errors.h"

namespace eventstore::engine {
namespace {

// Moves a time on, never back.
void Advance(std::int64_t micros, google::protobuf::Timestamp* time) {
  std::int64_t before = 0;
  if (ToUnixMicros(*time, &before) && before > micros) return;
  FromUnixMicros(micros, time);
}

}  // namespace

void SaveDecider::SetHistory(const tables::Head& head, std::vector<tables::Epoch> epochs,
                             std::int64_t now_micros) {
  head_ = head;
  epochs_ = std::move(epochs);
  now_micros_ = now_micros;
}

void SaveDecider::AddCheckpoint(v1::Checkpoint checkpoint) {
  std::string name = checkpoint.projection_name();
  checkpoints_.insert_or_assign(std::move(name),
                                Slot{std::move(checkpoint), /*existed=*/true, /*changed=*/false});
}

void SaveDecider::AddSnapshots(std::int64_t stream_key, const std::vector<std::int64_t>& versions) {
  snapshots_[stream_key].insert(versions.begin(), versions.end());
}

std::int64_t SaveDecider::EffectivePosition(const v1::Checkpoint& checkpoint) const {
  std::int64_t position = checkpoint.position();
  for (const tables::Epoch& epoch : epochs_) {
    if (epoch.epoch > checkpoint.epoch()) position = std::min(position, epoch.first_position - 1);
  }
  return position;
}

// As tables::CheckPosition does it.
absl::Status SaveDecider::CheckPosition(std::int64_t position, std::int64_t epoch) const {
  if (epoch == 0 || epoch == head_.epoch) {
    if (position <= head_.position) return absl::OkStatus();
    return PositionAhead(position, epoch == 0 ? head_.epoch : epoch, head_.position, head_.epoch,
                         head_.position);
  }
  bool known = false;
  std::int64_t end = epochs_.empty() ? 0 : epochs_.back().first_position - 1;
  for (auto it = epochs_.rbegin(); it != epochs_.rend(); ++it) {
    if (it->epoch > epoch) end = std::min(end, it->first_position - 1);
    known = known || it->epoch == epoch;
  }
  if (known && position <= end) return absl::OkStatus();
  return PositionAhead(position, epoch, std::min(position, end), head_.epoch, head_.position);
}

absl::Status SaveDecider::Check(const v1::SaveCheckpointRequest& request) const {
  const v1::Checkpoint now = CheckpointOf(request.projection_name());
  if (request.has_expected_position() && request.expected_position() != now.position()) {
    return CheckpointMoved(request.projection_name(), request.expected_position(), now.position(),
                           now.epoch());
  }
  const bool exists = checkpoints_.contains(request.projection_name());
  if (exists && !request.allow_rewind() && request.position() <= EffectivePosition(now)) {
    return CheckpointNotNewer(request.projection_name(), request.position(), now.position(),
                              now.epoch());
  }
  return CheckPosition(request.position(), request.epoch());
}

const v1::Checkpoint& SaveDecider::Save(const v1::SaveCheckpointRequest& request) {
  Slot& slot = checkpoints_[request.projection_name()];
  v1::Checkpoint& checkpoint = slot.checkpoint;
  if (checkpoint.projection_name().empty()) {
    checkpoint.set_projection_name(request.projection_name());
    FromUnixMicros(now_micros_, checkpoint.mutable_created_at());
  }
  checkpoint.set_position(request.position());
  checkpoint.set_epoch(head_.epoch);
  if (!request.last_event_id().empty() || !request.last_event_type().empty()) {
    checkpoint.set_last_event_id(request.last_event_id());
    checkpoint.set_last_event_type(request.last_event_type());
  }
  checkpoint.set_events_processed(checkpoint.events_processed() + request.events_processed());
  if (request.has_filter()) {
    request.filter().ByteSizeLong() == 0 ? checkpoint.clear_filter()
                                         : checkpoint.mutable_filter()->CopyFrom(request.filter());
  }
  Advance(now_micros_, checkpoint.mutable_last_processed_at());
  Advance(now_micros_, checkpoint.mutable_updated_at());
  slot.changed = true;
  any_checkpoint_ = true;
  return checkpoint;
}

v1::Checkpoint SaveDecider::CheckpointOf(const std::string& projection) const {
  const auto found = checkpoints_.find(projection);
  if (found != checkpoints_.end()) return found->second.checkpoint;
  v1::Checkpoint none;
  none.set_projection_name(projection);
  none.set_epoch(head_.epoch);
  return none;
}

bool SaveDecider::Save(const ValidatedTransaction::Snapshot& snapshot, std::int64_t stream_key) {
  std::set<std::int64_t>& versions = snapshots_[stream_key];
  const auto keep = static_cast<std::ptrdiff_t>(snapshot.request.keep_versions());
  const auto newer = versions.upper_bound(snapshot.request.version());
  if (std::distance(newer, versions.end()) >= keep) return false;
  versions.insert(snapshot.request.version());
  while (std::ssize(versions) > keep) versions.erase(versions.begin());
  snapshot_writes_.push_back(&snapshot.request);
  return true;
}

std::vector<tables::CheckpointWrite> SaveDecider::CheckpointWrites() const {
  std::vector<tables::CheckpointWrite> writes;
  for (const auto& [name, slot] : checkpoints_) {
    if (slot.changed) writes.push_back({slot.checkpoint, slot.existed});
  }
  return writes;
}

}  // namespace eventstore::engine
