// What the tests of the configuration share.
#ifndef EVENTSTORE_TESTS_UNIT_PROCESS_CONFIG_SUPPORT_H_
#define EVENTSTORE_TESTS_UNIT_PROCESS_CONFIG_SUPPORT_H_

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "server/process/config.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {

// A file that lives as long as this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string path = std::filesystem::temp_directory_path() / "eventstore-config-XXXXXX";
    const int fd = mkstemp(path.data());
    REQUIRE(fd >= 0);
    close(fd);
    path_ = path;
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline Config MustLoad(const ConfigSources& sources) {
  absl::StatusOr<Config> config = LoadConfig(sources);
  INFO(telemetry::MessageOf(config.status()));
  REQUIRE(config.ok());
  return *config;
}

inline std::string LoadError(const ConfigSources& sources) {
  const absl::StatusOr<Config> config = LoadConfig(sources);
  REQUIRE_FALSE(config.ok());
  CHECK(config.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(telemetry::MessageOf(config.status()));
}

}  // namespace eventstore::process

#endif  // EVENTSTORE_TESTS_UNIT_PROCESS_CONFIG_SUPPORT_H_
