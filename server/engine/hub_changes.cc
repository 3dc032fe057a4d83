// What the hub does when streams or events were changed: see hub.h.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "server/engine/hub.h"
#include "server/telemetry/logging.h"

namespace eventstore::engine {

void Hub::NoteRevision(std::int64_t revision) {
  if (revision == kNoRevision) return;
  if (revision_ == kNoRevision) revision_ = revision;
  seen_revision_ = std::max(seen_revision_, revision);
}

bool Hub::IsStale(const tables::Head& head) {
  MutexLock lock(&mutex_);
  return head.epoch == ring_.epoch() && head.revision < erased_revision_;
}

void Hub::ReadChanges() {
  std::int64_t after = 0;
  {
    MutexLock lock(&mutex_);
    if (stopped_ || !WantsChanges()) return;
    reading_changes_ = true;
    after = revision_;
  }
  reader_->ReadChanges(after, Deadline::max(), [this, after](auto changes) {
    if (changes.ok()) Apply(*changes);
    MutexLock lock(&mutex_);
    reading_changes_ = false;
    // Otherwise again at once where there is more, or another epoch.
    changes_failed_ = !changes.ok() || changes->revision <= after;
    changed_.NotifyOne();
    if (changes.ok()) return;
    spdlog::warn("what another daemon erased or deleted is not known yet: {}",
                 telemetry::MessageOf(changes.status()));
  });
}

void Hub::Apply(const tables::LogChanges& changes) {
  NoticeHead(changes.head.epoch, changes.head.position);
  {
    MutexLock wake_lock(&wake_mutex_);
    MutexLock lock(&mutex_);
    if (changes.head.epoch != ring_.epoch()) return;  // of a history that was lost
    NoteRevision(changes.revision);
    if (revision_ >= changes.after) revision_ = std::max(revision_, changes.revision);
    if (!changes.erased.empty() || changes.anything) {
      erased_revision_ = std::max(erased_revision_, changes.revision);
      erasures_.fetch_add(1);
      // Who has everything stays live; the others, and what is on its way to the ring, come from
      // the tables.
      const std::int64_t head = head_position_;
      ResetRing(ring_.epoch(), ring_.end_position());
      head_position_ = head;
      metrics_.ring_bytes->Set(0);
      metrics_.ring_events->Set(0);
    }
    changed_.NotifyOne();
  }
  if (!changes.streams.empty() || changes.anything) {
    for (const auto& subscription : Snapshot()) subscription->OnChanges(changes);
  }
  if (on_changes_) on_changes_(changes);
}

}  // namespace eventstore::engine
