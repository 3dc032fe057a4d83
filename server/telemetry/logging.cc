#include "server/telemetry/logging.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <iterator>
#include <memory>
#include <utility>

namespace eventstore::telemetry {
namespace {

// Names in the configuration and in the log, which differ from spdlog's own ("warning").
constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 6> kLevels = {{
    {"trace", spdlog::level::trace},
    {"debug", spdlog::level::debug},
    {"info", spdlog::level::info},
    {"warn", spdlog::level::warn},
    {"error", spdlog::level::err},
    {"off", spdlog::level::off},
}};

thread_local std::string current_request_id;

std::string_view LevelName(spdlog::level::level_enum level) {
  for (const auto& [name, value] : kLevels) {
    if (value == level) return name;
  }
  return "error";  // spdlog's critical, which this project does not use
}

std::string_view View(spdlog::string_view_t text) { return {text.data(), text.size()}; }

void Append(std::string_view text, spdlog::memory_buf_t* out) {
  out->append(text.data(), text.data() + text.size());
}

// ISO 8601 in UTC with microseconds, which sorts and which every log collector reads.
void AppendTime(spdlog::log_clock::time_point time, spdlog::memory_buf_t* out) {
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(micros / 1'000'000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  fmt::format_to(std::back_inserter(*out), "{:%Y-%m-%dT%H:%M:%S}.{:06}Z", utc, micros % 1'000'000);
}

// The number of bytes of the well-formed UTF-8 character at the start of `text`, or 0.
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead < 0x80                    ? 1
                             : lead >= 0xc2 && lead <= 0xdf ? 2
                             : lead >= 0xe0 && lead <= 0xef ? 3
                             : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                            : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool too_high = (lead == 0xed && byte(1) > 0x9f) || (lead == 0xf4 && byte(1) > 0x8f);
  return overlong || too_high ? 0 : length;
}

// Appends `text` with control characters (and in JSON quotes and backslashes) escaped and bad UTF-8
// replaced by U+FFFD: a message may quote what a client sent, which must not be able to forge
// a line of the log or break its format.
void AppendEscaped(std::string_view text, bool json, spdlog::memory_buf_t* out) {
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    const char c = text[0];
    if (length == 0) {
      Append("\xef\xbf\xbd", out);
    } else if (c == '\n') {
      Append("\\n", out);
    } else if (c == '\t') {
      Append(json ? "\\t" : "\t", out);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (json && (c == '"' || c == '\\')) out->push_back('\\');
      Append(text.substr(0, length), out);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
}

// 2026-01-31T12:00:00.000000Z warn  [1234] message request_id=...
class TextFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    AppendTime(message.time, &out);
    fmt::format_to(std::back_inserter(out), " {:<5} [{}] ", LevelName(message.level),
                   message.thread_id);
    AppendEscaped(View(message.payload), false, &out);
    if (!current_request_id.empty()) {
      Append(" request_id=", &out);
      AppendEscaped(current_request_id, false, &out);
    }
    out.push_back('\n');
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>();
  }
};

// {"time":"...","level":"warn","message":"...","thread":1234,"request_id":"..."}
class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    Append(R"({"time":")", &out);
    AppendTime(message.time, &out);
    fmt::format_to(std::back_inserter(out), R"(","level":"{}","message":")",
                   LevelName(message.level));
    AppendEscaped(View(message.payload), true, &out);
    fmt::format_to(std::back_inserter(out), R"(","thread":{})", message.thread_id);
    if (!current_request_id.empty()) {
      Append(R"(,"request_id":")", &out);
      AppendEscaped(current_request_id, true, &out);
      out.push_back('"');
    }
    Append("}\n", &out);
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

}  // namespace

absl::Status SetUpLogging(const LoggingOptions& options) {
  const auto level = std::find_if(kLevels.begin(), kLevels.end(), [&options](const auto& entry) {
    return entry.first == options.level;
  });
  if (level == kLevels.end()) {
    return absl::InvalidArgumentError(
        fmt::format("unknown log level '{}'; it must be trace, debug, info, warn, error or off",
                    options.level));
  }
  std::unique_ptr<spdlog::formatter> formatter;
  if (options.format == "text") {
    formatter = std::make_unique<TextFormatter>();
  } else if (options.format == "json") {
    formatter = std::make_unique<JsonFormatter>();
  } else {
    return absl::InvalidArgumentError(
        fmt::format("unknown log format '{}'; it must be text or json", options.format));
  }
  auto logger = std::make_shared<spdlog::logger>("eventstored",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::move(formatter));
  logger->set_level(level->second);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

ScopedRequestId::ScopedRequestId(std::string_view request_id) { current_request_id = request_id; }

ScopedRequestId::~ScopedRequestId() { current_request_id.clear(); }

}  // namespace eventstore::telemetry
