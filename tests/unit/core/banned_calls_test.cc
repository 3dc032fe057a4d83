// Calls that this project does not make, each with what to use instead.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/core/source_tree.h"

namespace eventstore {
namespace {

struct Ban {
  const char* pattern;
  std::vector<std::string> below;   // where it holds: beginnings of paths
  std::vector<std::string> except;  // where it does not
  const char* instead;
};

// Patterns are matched against code without comments and literals.
const std::vector<Ban> kBans = {
    {R"((\.|->)\s*detach\s*\()",
     {"server/", "client/", "tests/"},
     {},
     "a detached thread outlives what it uses; join it in its owner's destructor"},
    // Another process signals nothing: the two that wait for a PostgreSQL server poll, each in a
    // loop with a deadline.
    {R"(\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\()",
     {"server/", "tests/"},
     {"server/process/embedded_", "tests/support/"},
     "wait on a condition with a deadline: CondVar::WaitUntil, or a helper of tests/support"},
    {R"(std::(cout|cerr|clog)\b|\b(printf|fprintf|vprintf|vfprintf|puts|fputs|putchar)\s*\()",
     {"server/"},
     {"server/process/", "server/main.cc"},
     "log with spdlog; only the program itself writes to its output"},
    {R"(\b(absl::Mutex|absl::MutexLock|absl::CondVar)\b|absl/synchronization/mutex\.h)",
     {"server/", "client/", "tests/"},
     // These two switch off a check of gRPC's own locks.
     {"server/rpc/server.cc", "client/cli/session.cc"},
     "ThreadSanitizer cannot see into it; use Mutex, MutexLock and CondVar of core/mutex.h"},
    {R"(\busing\s+namespace\s+std\s*;)",
     {"server/", "client/", "tests/"},
     {},
     "write std:: where it is needed"},
    {R"(\b(strcpy|strcat|sprintf|vsprintf|gets|strtok)\s*\()",
     {"server/", "client/", "tests/"},
     {},
     "it knows no bounds; use std::string, absl::StrCat or fmt::format"},
};

// Where the comment or literal that starts at `at` ends; `at` itself if none does.
std::size_t EndOfNoCode(const std::string& text, std::size_t at) {
  const auto after = [&text](const std::string& end, std::size_t from) {
    const std::size_t found = text.find(end, from);
    return found == std::string::npos ? text.size() : found + end.size();
  };
  if (text.compare(at, 2, "//") == 0) return std::min(text.find('\n', at), text.size());
  if (text.compare(at, 2, "/*") == 0) return after("*/", at + 2);
  if (text.compare(at, 2, "R\"") == 0) {
    const std::size_t open = text.find('(', at);
    return open == std::string::npos ? text.size()
                                     : after(")" + text.substr(at + 2, open - at - 2) + "\"", open);
  }
  const char quote = text[at];
  const bool digit_separator = at > 0 && std::isalnum(static_cast<unsigned char>(text[at - 1]));
  if (quote != '"' && (quote != '\'' || digit_separator)) return at;
  std::size_t end = at + 1;
  while (end < text.size() && text[end] != quote && text[end] != '\n') {
    end += text[end] == '\\' ? 2 : 1;
  }
  return std::min(end + 1, text.size());
}

// Blanks out comments and literals, so that only code is looked at. Lines stay what they are, and
// so do the names of included files.
std::string CodeOf(const std::string& text) {
  std::string code = text;
  std::size_t at = 0;
  while (at < text.size()) {
    const bool line_starts = at == 0 || text[at - 1] == '\n';
    if (line_starts && text.compare(at, 8, "#include") == 0) {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    const std::size_t end = EndOfNoCode(text, at);
    for (std::size_t i = at; i < end; ++i) {
      if (code[i] != '\n') code[i] = ' ';
    }
    at = std::max(end, at + 1);
  }
  return code;
}

bool BeginsWithAny(const std::string& path, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&path](const std::string& beginning) {
    return path.rfind(beginning, 0) == 0;
  });
}

std::vector<std::string> ProblemsOf(const SourceFile& source) {
  std::vector<std::string> problems;
  const std::string code = CodeOf(source.text);
  for (const Ban& ban : kBans) {
    if (!BeginsWithAny(source.path, ban.below) || BeginsWithAny(source.path, ban.except)) continue;
    const std::regex pattern(ban.pattern);
    for (std::sregex_iterator it(code.begin(), code.end(), pattern), end; it != end; ++it) {
      const auto line = 1 + std::count(code.begin(), code.begin() + it->position(), '\n');
      problems.push_back(source.path + ":" + std::to_string(line) + ": " + it->str() + ": " +
                         ban.instead);
    }
  }
  return problems;
}

TEST_CASE("ABannedCallIsFoundWhereItIsBanned") {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"server/engine/a.cc", "thread.detach();"},
      {"tests/unit/a_test.cc", "thread->detach ();"},
      {"server/engine/a.cc", "std::this_thread::sleep_for(x);"},
      {"tests/integration/a_test.cc", "usleep(5);"},
      {"tests/integration/a_test.cc", "sleep(5);"},
      {"server/pg/a.cc", "std::cout << 1;"},
      {"server/pg/a.cc", "printf(format);"},
      {"server/pg/a.cc", "absl::Mutex mutex;"},
      {"server/pg/a.h", "#include <absl/synchronization/mutex.h>"},
      {"server/pg/a.h", "#include \"absl/synchronization/mutex.h\""},
      {"client/cli/a.cc", "using  namespace std ;"},
      {"client/cli/a.cc", "sprintf(to, from);"},
  };
  for (const auto& [path, text] : bad) {
    CAPTURE(path, text);
    CHECK(ProblemsOf({path, text}).size() == 1);
  }
  CHECK(ProblemsOf({"server/a.cc", "int a;\n// x\nstrcpy(a, b);\n"})[0].rfind(
            "server/a.cc:3: strcpy(", 0) == 0);
}

TEST_CASE("WhatIsNoBannedCallIsLeftAlone") {
  const std::vector<std::pair<std::string, std::string>> good = {
      {"server/engine/a.cc", "// thread.detach();"},
      {"server/engine/a.cc", "/* sleep(1)\n */ int a;"},
      {"server/engine/a.cc", "log(\"sleep(1) \\\" printf(\");"},
      {"server/tables/a.cc", "const char* sql = R\"(\nSELECT pg_sleep(1), sleep(1)\n)\";"},
      {"server/tables/a.cc", "const char* sql = R\"sql(sleep(1)\")sql\";"},
      {"server/engine/a.cc", "int n = 1'000; char c = '\"'; int m = 1'000;"},
      {"server/pg/a.cc", "snprintf(to, size, format);"},
      {"server/pg/a.cc", "DetachPartition(); partition_detach();"},
      {"server/process/help.cc", "std::cout << help;"},
      {"client/cli/main.cc", "std::cout << 1;"},
      {"server/core/a.cc", "using std::string; std::mutex mutex;"},
  };
  for (const auto& [path, text] : good) {
    CAPTURE(path, text);
    CHECK(ProblemsOf({path, text}).empty());
  }
}

TEST_CASE("NoBannedCallIsMade") {
  std::vector<std::string> problems;
  const std::vector<SourceFile> sources = SourcesBelow({"server", "client", "tests"});
  REQUIRE(sources.size() > 10);
  for (const SourceFile& source : sources) {
    for (std::string& problem : ProblemsOf(source)) problems.push_back(std::move(problem));
  }
  INFO(Lines(problems));
  CHECK(problems.empty());
}

}  // namespace
}  // namespace eventstore
