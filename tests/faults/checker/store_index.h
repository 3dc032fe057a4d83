// What every part of the checker looks up, and where it puts what it finds. Internal to the
// checker.
#ifndef EVENTSTORE_TESTS_FAULTS_CHECKER_STORE_INDEX_H_
#define EVENTSTORE_TESTS_FAULTS_CHECKER_STORE_INDEX_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/faults/checker/history.h"

namespace eventstore::faults {

// Collects what is wrong; of each rule only the first few texts.
class Findings {
 public:
  void Add(const std::string& rule, const std::string& text) {
    std::vector<std::string>& texts = texts_[rule];
    if (++counts_[rule] <= kTextsMax) texts.push_back(rule + ": " + text);
  }
  [[nodiscard]] std::vector<std::string> Take() const {
    std::vector<std::string> all;
    for (const auto& [rule, texts] : texts_) {
      all.insert(all.end(), texts.begin(), texts.end());
      const std::int64_t left = counts_.at(rule) - kTextsMax;
      if (left > 0) all.push_back(rule + ": and " + std::to_string(left) + " more");
    }
    return all;
  }

 private:
  static constexpr std::int64_t kTextsMax = 5;
  std::map<std::string, std::vector<std::string>> texts_;
  std::map<std::string, std::int64_t> counts_;
};

// A number that only grows, by the time at which somebody was told of it.
class KnownSince {
 public:
  void Add(std::int64_t at_us, std::int64_t number) { told_.emplace_back(at_us, number); }
  // To be called after the last Add.
  void Sort();
  // The greatest number that anybody was told of before `at_us`; 0 if none.
  [[nodiscard]] std::int64_t Before(std::int64_t at_us) const;

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>> told_;
};

// Views of a run. History and state must outlive it.
struct StoreIndex {
  StoreIndex(const History& history, const FinalState& state);

  // The stored event with an id, or nullptr.
  [[nodiscard]] const StoredEvent* Find(const std::string& id) const;

  std::unordered_map<std::string, const StoredEvent*> by_id;
  std::map<StreamName, std::vector<const StoredEvent*>> by_stream;
  // The versions that a stream had between two appends.
  std::map<StreamName, std::set<std::int64_t>> versions;
  // What was acknowledged, and so must be seen by everybody who asks later.
  KnownSince positions;
  std::map<StreamName, KnownSince> stream_versions;
};

// The rules, by what they look at.
void CheckStore(const History& history, const FinalState& state, const StoreIndex& index,
                Findings* findings);
void CheckRequests(const History& history, const StoreIndex& index, Findings* findings);
void CheckSubscribers(const History& history, const FinalState& state, Findings* findings);
void CheckReaders(const History& history, const FinalState& state, const StoreIndex& index,
                  Findings* findings);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CHECKER_STORE_INDEX_H_
