#include "server/process/config_values.h"

#include <errno.h>
#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <numeric>
#include <system_error>
#include <utility>

#include "server/pg/connection.h"
#include "server/telemetry/logging.h"

namespace eventstore::process {
namespace {

constexpr int kPortMax = 65'535;
constexpr std::size_t kIdentifierBytesMax = 63;
constexpr std::size_t kPasswordBytesMax = 4'096;
// How different a name may be and still be taken for a misspelt one.
constexpr std::size_t kMisspellingDistanceMax = 3;

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

bool IsUri(std::string_view dsn) {
  return dsn.rfind("postgresql://", 0) == 0 || dsn.rfind("postgres://", 0) == 0;
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

absl::StatusOr<std::int64_t> ParseInteger(const std::string& text, std::int64_t min,
                                          std::int64_t max) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool digits = stop == end && error != std::errc::invalid_argument;
  if (!digits) {
    return Invalid(
        fmt::format("\"{}\" is not a whole number; it must be from {} to {}", text, min, max));
  }
  if (error == std::errc::result_out_of_range || value < min || value > max) {
    return Invalid(fmt::format("{} is out of range; it must be from {} to {}", text, min, max));
  }
  return value;
}

absl::StatusOr<bool> ParseBool(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Invalid(fmt::format("\"{}\" is neither true nor false", text));
}

absl::Status CheckChoice(const std::string& text, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return absl::OkStatus();
  return Invalid(fmt::format("\"{}\" is unknown; it must be {}", text, JoinChoices(choices)));
}

absl::Status CheckAddress(const std::string& text) {
  const auto refuse = [&text](std::string_view why) {
    return Invalid(fmt::format(
        "\"{}\" {}; it must be host:port, such as 127.0.0.1:7440 or [::]:7440", text, why));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.find_first_of(" \t/") != std::string::npos) {
    return refuse("is no address");
  }
  const std::string_view host = std::string_view(text).substr(0, colon);
  if (host.empty()) return refuse("names no host");
  const bool bracketed = host.front() == '[' && host.back() == ']' && host.size() > 2;
  if (!bracketed && host.find_first_of(":[]") != std::string_view::npos) {
    return refuse("has an IPv6 address without brackets");
  }
  int port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end || port < 0 || port > kPortMax) {
    return refuse(fmt::format("has no port from 0 to {}", kPortMax));
  }
  return absl::OkStatus();
}

absl::Status CheckSchemaName(const std::string& text) {
  const bool characters = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (text.empty() || text.size() > kIdentifierBytesMax || !characters ||
      (text[0] >= '0' && text[0] <= '9')) {
    return Invalid(
        fmt::format("\"{}\" is no plain name; it must be 1 to {} letters a-z, digits and "
                    "underscores, and not begin with a digit",
                    text, kIdentifierBytesMax));
  }
  if (text.rfind("pg_", 0) == 0 || text == "information_schema") {
    return Invalid(fmt::format("\"{}\" is PostgreSQL's own; choose another name", text));
  }
  return absl::OkStatus();
}

absl::Status CheckDsn(const std::string& text) {
  if (text.empty()) return absl::OkStatus();
  const absl::Status status = pg::CheckConninfo(text);
  // A status of the room below carries details that mean nothing here.
  return status.ok() ? status : Invalid(std::string(telemetry::MessageOf(status)));
}

bool HasPassword(const std::string& dsn) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(dsn.c_str(), nullptr), &PQconninfoFree);
  if (options == nullptr) return false;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view keyword = option->keyword;
    if (option->val != nullptr && (keyword == "password" || keyword == "sslpassword")) return true;
  }
  return false;
}

std::string WithPassword(const std::string& dsn, const std::string& password) {
  std::string result = dsn;
  if (IsUri(dsn)) {
    result += dsn.find('?') == std::string::npos ? "?password=" : "&password=";
    for (const char c : password) result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    return result;
  }
  result += " password='";
  for (const char c : password) {
    if (c == '\'' || c == '\\') result += '\\';
    result += c;
  }
  return result + "'";
}

absl::StatusOr<std::string> ReadPasswordFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string password(kPasswordBytesMax + 1, '\0');
  file.read(password.data(), static_cast<std::streamsize>(password.size()));
  if (file.bad() || (!file.eof() && file.fail()) || !file.is_open()) {
    return Invalid(fmt::format("cannot read {}: {}", path, std::generic_category().message(errno)));
  }
  password.resize(static_cast<std::size_t>(file.gcount()));
  while (!password.empty() && (password.back() == '\n' || password.back() == '\r')) {
    password.pop_back();
  }
  if (password.empty()) return Invalid(fmt::format("{} is empty; it must hold a password", path));
  if (password.size() > kPasswordBytesMax ||
      password.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos) {
    return Invalid(fmt::format("{} must hold one line of at most {} bytes: the password", path,
                               kPasswordBytesMax));
  }
  return password;
}

std::string QuotedYaml(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string DescribeBytes(std::int64_t bytes) {
  constexpr std::pair<std::int64_t, std::string_view> kUnits[] = {
      {1LL << 30, "GiB"}, {1LL << 20, "MiB"}, {1LL << 10, "KiB"}};
  for (const auto& [size, unit] : kUnits) {
    if (bytes >= size && bytes % size == 0) {
      return fmt::format("{} ({} {})", bytes, bytes / size, unit);
    }
  }
  return fmt::format("{}", bytes);
}

std::string JoinChoices(const std::vector<std::string>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += choices[i];
  }
  return text;
}

std::string ClosestTo(std::string_view text, const std::vector<std::string>& candidates) {
  std::string closest;
  std::size_t least = kMisspellingDistanceMax + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(text, candidate);
    if (distance < least) {
      least = distance;
      closest = candidate;
    }
  }
  return closest;
}

}  // namespace eventstore::process
