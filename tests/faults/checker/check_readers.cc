// What subscribers and readers were shown: everything once, in order, and nothing that is not so.
#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "tests/faults/checker/store_index.h"

namespace eventstore::faults {
namespace {

class SubscriberChecker {
 public:
  SubscriberChecker(const SubscriberHistory& subscriber, const FinalState& state,
                    Findings* findings)
      : subscriber_(subscriber), epoch_(state.epoch), findings_(findings) {
    for (const StoredEvent& event : state.all) {
      if (!Matches(event)) continue;
      expected_.push_back(&event);
      if (event.type == kClosedType) needed_ = expected_.size();
    }
    // It leaves after the last closing event: what comes later it need not see.
    if (needed_ == 0) needed_ = expected_.size();
  }

  void Run() {
    for (const SubscriberStep& step : subscriber_.steps) {
      switch (step.kind) {
        case SubscriberStep::Kind::kSession:
          caught_up_ = false;
          floor_ = step.position;
          break;
        case SubscriberStep::Kind::kEvent:
          OnEvent(step);
          break;
        case SubscriberStep::Kind::kMark:
          OnMark(step);
          break;
        case SubscriberStep::Kind::kEnd:
          OnEnd(step);
          break;
      }
    }
    if (next_ < needed_) Missed(needed_);
  }

 private:
  [[nodiscard]] bool Matches(const StoredEvent& event) const {
    if (subscriber_.stream.has_value()) return event.stream == *subscriber_.stream;
    return subscriber_.type.empty() || event.stream.type == subscriber_.type;
  }

  void Missed(std::size_t end) {
    findings_->Add("subscriber missed", subscriber_.name + " did not see " +
                                            std::to_string(end - next_) + " events from position " +
                                            std::to_string(expected_[next_]->position) + " on");
    next_ = end;
  }

  void OnEvent(const SubscriberStep& step) {
    const std::string what =
        subscriber_.name + " saw " + step.text + " at " + std::to_string(step.position);
    if (step.position <= floor_) {
      findings_->Add("subscriber order", what + " after position " + std::to_string(floor_));
    }
    floor_ = std::max(floor_, step.position);
    const auto found = std::lower_bound(
        expected_.begin(), expected_.end(), step.position,
        [](const StoredEvent* event, std::int64_t position) { return event->position < position; });
    if (found == expected_.end() || (*found)->position != step.position) {
      findings_->Add("subscriber saw", what + ", where nothing for it is");
      return;
    }
    const StoredEvent& event = **found;
    if (event.id != step.text || event.stream != step.stream || event.version != step.version) {
      findings_->Add("subscriber saw", what + ", where " + event.id + " is");
    }
    const auto at = static_cast<std::size_t>(found - expected_.begin());
    if (at < next_) {
      findings_->Add("subscriber order", what + " again or too late");
      return;
    }
    if (at > next_) Missed(at);
    next_ = at + 1;
  }

  void OnMark(const SubscriberStep& step) {
    const std::string what =
        subscriber_.name + " was told " + step.text + " at " + std::to_string(step.position);
    if (step.position < floor_) {
      findings_->Add("subscriber order", what + " after position " + std::to_string(floor_));
    }
    if (step.text == "confirmed" && step.position != floor_) {
      findings_->Add("subscriber order", what + ", not at its start " + std::to_string(floor_));
    }
    floor_ = std::max(floor_, step.position);
    if (step.epoch != epoch_) {
      findings_->Add("epoch", what + " in epoch " + std::to_string(step.epoch));
    }
    if (step.text == "caught_up") {
      if (caught_up_) findings_->Add("subscriber order", what + " twice");
      caught_up_ = true;
    }
    if (step.text == "fell_behind") {
      if (!caught_up_) findings_->Add("subscriber order", what + " without having caught up");
      caught_up_ = false;
    }
  }

  void OnEnd(const SubscriberStep& step) {
    static constexpr const char* kExpected[] = {"LEFT",
                                                "UNAVAILABLE",
                                                "CANCELLED",
                                                "DEADLINE_EXCEEDED",
                                                "RESOURCE_EXHAUSTED",
                                                "ABORTED:ERROR_REASON_SLOW_CONSUMER"};
    const bool expected = std::any_of(
        std::begin(kExpected), std::end(kExpected),
        [&](const std::string& beginning) { return step.text.rfind(beginning, 0) == 0; });
    if (!expected) findings_->Add("unexpected error", subscriber_.name + ": " + step.text);
  }

  const SubscriberHistory& subscriber_;
  const std::int64_t epoch_;
  Findings* const findings_;
  std::vector<const StoredEvent*> expected_;
  std::size_t needed_ = 0;  // how many of them it must see
  std::size_t next_ = 0;    // the first of them that was not seen
  std::int64_t floor_ = 0;  // nothing at or below it may come
  bool caught_up_ = false;  // since the last fell_behind
};

// Whether `seen` are the numbers from the one after `after` on, each with its id.
template <typename IdAt>
bool IsRun(const std::vector<std::pair<std::int64_t, std::string>>& seen, std::int64_t after,
           const IdAt& id_at) {
  std::int64_t number = after;
  return std::all_of(seen.begin(), seen.end(), [&](const auto& entry) {
    return entry.first == ++number && entry.second == id_at(number);
  });
}

void CheckRead(const std::string& name, const ReadRecord& read, const FinalState& state,
               const StoreIndex& index, Findings* findings) {
  const std::string what = name + " at daemon " + std::to_string(read.daemon) + ": ";
  if (read.kind == ReadRecord::Kind::kStream) {
    const auto stored = index.by_stream.find(read.stream);
    const auto count =
        stored == index.by_stream.end() ? 0 : static_cast<std::int64_t>(stored->second.size());
    const auto known = index.stream_versions.find(read.stream);
    if (known != index.stream_versions.end() &&
        read.version < known->second.Before(read.sent_at_us)) {
      findings->Add("stale", what + read.stream.Text() + " had version " +
                                 std::to_string(read.version) +
                                 " after a later one was acknowledged");
    }
    const auto id_at = [&](std::int64_t version) {
      return version > count ? "" : stored->second[static_cast<std::size_t>(version - 1)]->id;
    };
    const std::int64_t length = std::max(read.version, read.after) - read.after;
    if (static_cast<std::int64_t>(read.seen.size()) != length ||
        !IsRun(read.seen, read.after, id_at)) {
      findings->Add("reader saw", what + read.stream.Text() + " with other events than it has");
    }
    return;
  }
  const std::int64_t acknowledged = index.positions.Before(read.sent_at_us);
  if (read.head < acknowledged) {
    findings->Add("stale", what + "the head was " + std::to_string(read.head) + " after " +
                               std::to_string(acknowledged) + " was acknowledged");
  }
  if (read.head > state.head) {
    findings->Add("reader saw", what + "the head " + std::to_string(read.head) +
                                    " beyond the last, " + std::to_string(state.head));
  }
  if (read.epoch != state.epoch) {
    findings->Add("epoch", what + "the head is in epoch " + std::to_string(read.epoch));
  }
  if (read.kind == ReadRecord::Kind::kHead) return;
  const auto id_at = [&](std::int64_t position) {
    const auto at = static_cast<std::size_t>(position - 1);
    return at < state.all.size() ? state.all[at].id : "";
  };
  if (!IsRun(read.seen, read.after, id_at) ||
      read.after + static_cast<std::int64_t>(read.seen.size()) != std::max(read.head, read.after)) {
    findings->Add("reader saw", what + "other events than there are between " +
                                    std::to_string(read.after) + " and " +
                                    std::to_string(read.head));
  }
}

}  // namespace

void CheckSubscribers(const History& history, const FinalState& state, Findings* findings) {
  for (const SubscriberHistory& subscriber : history.subscribers) {
    SubscriberChecker(subscriber, state, findings).Run();
  }
}

void CheckReaders(const History& history, const FinalState& state, const StoreIndex& index,
                  Findings* findings) {
  for (const ReaderHistory& reader : history.readers) {
    for (const ReadRecord& read : reader.reads) {
      CheckRead(reader.name, read, state, index, findings);
    }
  }
}

}  // namespace eventstore::faults
