// The options that choose events, shared by the commands that read the whole store.
#ifndef EVENTSTORE_CLIENT_CLI_FILTER_OPTIONS_H_
#define EVENTSTORE_CLIENT_CLI_FILTER_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "eventstore/v1/types.pb.h"

namespace eventstore::cli {

// A value; the options write into it, so it must outlive parsing.
struct FilterOptions {
  std::vector<std::string> types;
  std::vector<std::string> event_types;
  std::vector<std::string> event_type_prefixes;
  std::vector<std::string> id_prefixes;
  std::vector<std::string> tags;
  std::string tenant;
  std::string regex;

  void AddTo(CLI::App* command);
  [[nodiscard]] v1::Filter ToProto() const;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_FILTER_OPTIONS_H_
