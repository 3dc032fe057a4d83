#include "server/telemetry/logging.h"

#include <rapidjson/document.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace eventstore::telemetry {
namespace {

// While it lives, what is written to stderr goes to a file; then the log is switched off again.
class CapturedStderr {
 public:
  CapturedStderr() : saved_(dup(STDERR_FILENO)), file_(std::tmpfile()) {
    REQUIRE(saved_ >= 0);
    REQUIRE(file_ != nullptr);
    std::fflush(stderr);
    REQUIRE(dup2(fileno(file_), STDERR_FILENO) >= 0);
  }

  ~CapturedStderr() {
    Restore();
    std::fclose(file_);
    LoggingOptions off;
    off.level = "off";
    if (!SetUpLogging(off).ok()) std::abort();
  }

  // The lines so far. Ends the capture, so that a failing check is seen.
  std::vector<std::string> Lines() {
    Restore();
    std::rewind(file_);
    std::string text;
    std::array<char, 4096> part;
    for (std::size_t got; (got = std::fread(part.data(), 1, part.size(), file_)) > 0;) {
      text.append(part.data(), got);
    }
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

 private:
  void Restore() {
    if (saved_ < 0) return;
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    saved_ = -1;
  }

  int saved_;
  std::FILE* const file_;
};

LoggingOptions Options(std::string level, std::string format) {
  LoggingOptions options;
  options.level = std::move(level);
  options.format = std::move(format);
  return options;
}

rapidjson::Document Parse(const std::string& line) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag>(line.c_str());
  CAPTURE(line);
  REQUIRE_FALSE(document.HasParseError());
  REQUIRE(document.IsObject());
  return document;
}

TEST_CASE("UnknownLevelsAndFormatsAreRefusedWithTheOnesThereAre") {
  absl::Status status = SetUpLogging(Options("verbose", "text"));
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(MessageOf(status) ==
        "unknown log level 'verbose'; it must be trace, debug, info, warn, error or off");
  CHECK_FALSE(SetUpLogging(Options("", "text")).ok());
  CHECK_FALSE(SetUpLogging(Options("warning", "text")).ok());
  status = SetUpLogging(Options("info", "xml"));
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(MessageOf(status) == "unknown log format 'xml'; it must be text or json");
}

TEST_CASE("ALevelHidesWhatLiesBelow") {
  const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error", "off"};
  for (std::size_t i = 0; i < levels.size(); ++i) {
    CAPTURE(levels[i]);
    CapturedStderr captured;
    REQUIRE(SetUpLogging(Options(levels[i], "text")).ok());
    spdlog::trace("t");
    spdlog::debug("d");
    spdlog::info("i");
    spdlog::warn("w");
    spdlog::error("e");
    CHECK(captured.Lines().size() == 5 - i);
  }
}

TEST_CASE("ATextLineHasTimeLevelThreadAndMessage") {
  CapturedStderr captured;
  REQUIRE(SetUpLogging(Options("info", "text")).ok());
  spdlog::warn("the pool is {}", "dry");
  {
    const ScopedRequestId id("abc-1");
    spdlog::error("failed");
  }
  spdlog::info("after");
  const auto lines = captured.Lines();
  REQUIRE(lines.size() == 3);
  const std::string start = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z )";
  CHECK(std::regex_match(lines[0], std::regex(start + R"(warn  \[\d+\] the pool is dry)")));
  CHECK(std::regex_match(lines[1], std::regex(start + R"(error \[\d+\] failed request_id=abc-1)")));
  CHECK(std::regex_match(lines[2], std::regex(start + R"(info  \[\d+\] after)")));
}

TEST_CASE("AJsonLineIsOneObject") {
  CapturedStderr captured;
  REQUIRE(SetUpLogging(Options("info", "json")).ok());
  const std::time_t before = std::time(nullptr);
  {
    const ScopedRequestId id("r\"1");
    spdlog::warn("slow");
  }
  spdlog::info("plain");
  const auto lines = captured.Lines();
  REQUIRE(lines.size() == 2);
  const rapidjson::Document first = Parse(lines[0]);
  CHECK(first.MemberCount() == 5);
  CHECK(first["level"] == "warn");
  CHECK(first["message"] == "slow");
  CHECK(first["request_id"] == "r\"1");
  CHECK(first["thread"].IsUint64());
  std::tm time{};
  REQUIRE(strptime(first["time"].GetString(), "%Y-%m-%dT%H:%M:%S", &time) != nullptr);
  CHECK(std::abs(std::difftime(timegm(&time), before)) <= 60);
  const rapidjson::Document second = Parse(lines[1]);
  CHECK(second.MemberCount() == 4);
  CHECK_FALSE(second.HasMember("request_id"));
}

TEST_CASE("WhatAClientSentCannotForgeALine") {
  const std::string evil("a\nb\r\t\"\\\x01\x7f\xff\xed\xa0\x80\xc3\xa9\0z", 17);
  std::vector<std::string> lines;
  {
    CapturedStderr captured;
    REQUIRE(SetUpLogging(Options("info", "json")).ok());
    spdlog::info("{}", evil);
    lines = captured.Lines();
  }
  REQUIRE(lines.size() == 1);
  const rapidjson::Document line = Parse(lines[0]);
  const std::string bad = "\xef\xbf\xbd";
  const std::string seen(line["message"].GetString(), line["message"].GetStringLength());
  CHECK(seen == std::string("a\nb\r\t\"\\\x01\x7f", 9) + bad + bad + bad + bad + "\xc3\xa9" +
                    std::string("\0z", 2));
  {
    CapturedStderr captured;
    REQUIRE(SetUpLogging(Options("info", "text")).ok());
    spdlog::info("{}", evil);
    lines = captured.Lines();
  }
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("a\\nb\\u000d\t\"\\\\u0001\\u007f") != std::string::npos);
}

TEST_CASE("ARequestIdBelongsToItsThread") {
  CapturedStderr captured;
  REQUIRE(SetUpLogging(Options("info", "json")).ok());
  {
    const ScopedRequestId id("mine");
    std::thread([] { spdlog::info("other"); }).join();
    spdlog::info("same");
  }
  const auto lines = captured.Lines();
  REQUIRE(lines.size() == 2);
  CHECK_FALSE(Parse(lines[0]).HasMember("request_id"));
  CHECK(Parse(lines[1])["request_id"] == "mine");
}

}  // namespace
}  // namespace eventstore::telemetry
