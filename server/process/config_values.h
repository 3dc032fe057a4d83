// Checks of single configuration values (private to this room). Errors say what is wrong with the
// value, without naming the key.
#ifndef EVENTSTORE_SERVER_PROCESS_CONFIG_VALUES_H_
#define EVENTSTORE_SERVER_PROCESS_CONFIG_VALUES_H_

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eventstore::process {

[[nodiscard]] absl::StatusOr<std::int64_t> ParseInteger(const std::string& text, std::int64_t min,
                                                        std::int64_t max);
// "true" or "false".
[[nodiscard]] absl::StatusOr<bool> ParseBool(const std::string& text);
[[nodiscard]] absl::Status CheckChoice(const std::string& text,
                                       const std::vector<std::string>& choices);
// "host:port"; an IPv6 address stands in brackets.
[[nodiscard]] absl::Status CheckAddress(const std::string& text);
// A schema's name that needs no quotes anywhere.
[[nodiscard]] absl::Status CheckSchemaName(const std::string& text);
// A readable libpq connection string, or nothing.
[[nodiscard]] absl::Status CheckDsn(const std::string& text);

// Whether a readable connection string has a password in it.
[[nodiscard]] bool HasPassword(const std::string& dsn);
// The readable connection string with a password added.
[[nodiscard]] std::string WithPassword(const std::string& dsn, const std::string& password);
// The only line of a password file.
[[nodiscard]] absl::StatusOr<std::string> ReadPasswordFile(const std::string& path);

// The text in double quotes, as YAML has them.
[[nodiscard]] std::string QuotedYaml(std::string_view text);
// "67108864 (64 MiB)".
[[nodiscard]] std::string DescribeBytes(std::int64_t bytes);
// "one, two or three".
[[nodiscard]] std::string JoinChoices(const std::vector<std::string>& choices);
// The candidate that `text` was probably meant to be; empty if none is close.
[[nodiscard]] std::string ClosestTo(std::string_view text,
                                    const std::vector<std::string>& candidates);

}  // namespace eventstore::process

#endif  // EVENTSTORE_SERVER_PROCESS_CONFIG_VALUES_H_
