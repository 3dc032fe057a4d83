// The options that choose dead letters.
#ifndef EVENTSTORE_CLIENT_CLI_DEAD_LETTER_SELECTION_H_
#define EVENTSTORE_CLIENT_CLI_DEAD_LETTER_SELECTION_H_

#include <absl/status/status.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "eventstore/v1/dead_letter_service.pb.h"

namespace eventstore::cli {

// A value; the options write into it, so it must outlive parsing.
struct DeadLetterOptions {
  std::vector<std::int64_t> ids;
  std::string all;
  std::string projection;
  std::string status;
  std::vector<std::string> event_types;
  std::string since;
  std::string until;

  // The options of a filter; or these, and entries by their numbers, and all of a projection.
  void AddFilterTo(CLI::App* command);
  void AddTo(CLI::App* command);
  // Errors: INVALID_ARGUMENT for a time that is none, and for more or less than one kind.
  [[nodiscard]] absl::Status ToFilter(v1::DeadLetterFilter* filter) const;
  [[nodiscard]] absl::Status ToProto(v1::DeadLetterSelection* selection) const;

 private:
  [[nodiscard]] bool has_filter() const;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_DEAD_LETTER_SELECTION_H_
