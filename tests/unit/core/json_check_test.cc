#include "server/core/json_check.h"

#include <rapidjson/document.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace eventstore {
namespace {

std::string Problem(const absl::StatusOr<std::int64_t>& result) {
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(result.status().message());
}

Limits WideLimits() {
  Limits limits;
  limits.json_number_digits_max = 1'000'000;
  return limits;
}

struct Printed {
  std::string text;
  std::int64_t bytes;
};

TEST_CASE("PrintedSizesAreThoseOfPostgreSQL") {
  // length(text::jsonb::text) of PostgreSQL 15.
  const std::vector<Printed> table = {{"1", 1},
                                      {" 1 ", 1},
                                      {"true", 4},
                                      {"false", 5},
                                      {"null", 4},
                                      {"\"\"", 2},
                                      {"[]", 2},
                                      {"{}", 2},
                                      {"[[],{}]", 8},
                                      {R"({"a":1,"b":[1,2],"c":{}})", 30},
                                      {"1e400", 401},
                                      {"1e131071", 131072},
                                      {"0e131072", 1},
                                      {"0.01e131073", 131072},
                                      {"0.00001e131076", 131072},
                                      {"0e-16383", 16385},
                                      {"1e-16383", 16385},
                                      {"0.1e-16382", 16385},
                                      {"0.000e-16380", 16385},
                                      {"0.001e3", 1},
                                      {"0.0010e2", 4},
                                      {"1.50", 4},
                                      {"5e-3", 5},
                                      {"1.5e1", 2},
                                      {"1.50e1", 4},
                                      {"0e5", 1},
                                      {"0.00e1", 3},
                                      {"10e-1", 3},
                                      {"123.456e-2", 7},
                                      {"1e000000000000000000005", 6},
                                      {"1E+2", 3},
                                      {"100e-2", 4},
                                      {"\"\\u00e9\"", 4},
                                      {"\"\\ud83d\\ude00\"", 6},
                                      {R"("\u0001\u001f\n\t\"\\\/\u007f\b\f\r")", 30},
                                      {R"({"a\nb":"\u0041"})", 13}};
  for (const Printed& row : table) {
    CAPTURE(row.text);
    const auto bytes = CheckJson(row.text, WideLimits());
    REQUIRE(bytes.ok());
    CHECK(*bytes == row.bytes);
  }
  // Bounds: the database drops the sign of zero and all but the last of equal keys.
  CHECK(*CheckJson("-0", Limits()) == 2);
  CHECK(*CheckJson(R"({"a":1,"a":22})", Limits()) == 17);
}

TEST_CASE("WhatPostgreSQLRefusesIsRefused") {
  const std::vector<Printed> table = {{"1e131072", 0},
                                      {"1e-16384", 0},
                                      {"0e-16384", 0},
                                      {"1e99999999999999999999", 0},
                                      {"-1e-99999999999999999999", 0},
                                      {"0e1073741823", 0},
                                      {"01", 0},
                                      {"00", 0},
                                      {"-", 0},
                                      {"-01", 0},
                                      {"+1", 0},
                                      {".5", 0},
                                      {"1.", 0},
                                      {"1.e5", 0},
                                      {"1e", 0},
                                      {"1e+", 0},
                                      {"1-2", 1},
                                      {"--1", 0},
                                      {"0x10", 1},
                                      {"1a", 1},
                                      {"NaN", 0},
                                      {"Infinity", 0},
                                      {"\"\\ude00\"", 8},
                                      {"\"\\ud83d\"", 1},
                                      {"\"\\ud83d\\u0041\"", 1},
                                      {"\"\\ud83dx\"", 1},
                                      {"\"a\\u0000b\"", 0},
                                      {"{\"\\u0000\":1}", 0},
                                      {"[1,]", 3},
                                      {"[,1]", 1},
                                      {"[1 2]", 3},
                                      {"{\"a\":1,}", 7},
                                      {"{a:1}", 1},
                                      {"{\"a\" 1}", 5},
                                      {"{\"a\":}", 5},
                                      {"{1:2}", 1},
                                      {"[1", 2},
                                      {"{", 1},
                                      {"[", 1},
                                      {"]", 0},
                                      {"}", 0},
                                      {"[}", 1},
                                      {"{]", 1},
                                      {"true1", 4},
                                      {"truefalse", 4},
                                      {"tru", 3},
                                      {"True", 0},
                                      {"nul", 3},
                                      {"'a'", 0},
                                      {"\"a", 2},
                                      {"\"\\x\"", 1},
                                      {"\"\\u12g4\"", 0},
                                      {"1 2", 2},
                                      {"[1]]", 3},
                                      {"{} x", 3},
                                      {"// c\n1", 0},
                                      {"[1]/**/", 3},
                                      {"\"a\tb\"", 2},
                                      {"\"a\nb\"", 2},
                                      {"\xef\xbb\xbf{}", 0},
                                      {"\"\xff\"", 1},
                                      {"\"\xc0\x80\"", 1},
                                      {"\"\xed\xa0\x80\"", 1},
                                      {"\xa0", 0},
                                      {"\f1", 0}};
  for (const Printed& row : table) {
    CAPTURE(row.text);
    const std::string problem = Problem(CheckJson(row.text, WideLimits()));
    CAPTURE(problem);
    CHECK(problem.find("at byte ") != std::string::npos);
    CHECK(problem.find("Terminate") == std::string::npos);
  }
}

TEST_CASE("AJsonErrorSaysWhatIsWrongAndWhere") {
  CHECK(Problem(CheckJson("[1, 02]", Limits())) ==
        "not storable as JSON at byte 4: this is not a JSON number, such as 12, -0.5 or 1e3");
  CHECK(Problem(CheckJson("{\"a\": tru}", Limits())) ==
        "not storable as JSON at byte 9: Invalid value.");
  CHECK(Problem(CheckJson("[\"\\u0000\"]", Limits())) ==
        "not storable as JSON at byte 9: the string that ends here contains \\u0000, which the "
        "database cannot store");
  CHECK(Problem(CheckJson("[1,\n2", Limits())) ==
        "not storable as JSON at byte 5: Missing a comma or ']' after an array element.");
  CHECK(Problem(CheckJson("\"a\xff\"", Limits())) ==
        "not storable as JSON at byte 2: not valid UTF-8");
  CHECK(Problem(CheckJson(std::string("{}\0x", 4), Limits())) ==
        "not storable as JSON at byte 2: a NUL byte");
}

TEST_CASE("AnEmptyPayloadIsNoJson") {
  const std::string text = GENERATE("", " ", "\t\r\n ");
  CHECK(Problem(CheckJson(text, Limits())) == "payload is empty; JSON needs a value");
}

TEST_CASE("DigitsAreCountedAsPrinted") {
  Limits limits;
  limits.json_number_digits_max = 10;
  CHECK(CheckJson("1234567890", limits).ok());
  CHECK(CheckJson("-1234567890", limits).ok());
  CHECK(CheckJson("[12345.67890]", limits).ok());
  CHECK(CheckJson("1e9", limits).ok());
  CHECK(CheckJson("1e-9", limits).ok());  // 0.000000001
  CHECK(CheckJson("0.0000000001e10", limits).ok());
  const std::string text =
      GENERATE("12345678901", "1e10", "1e-10", "[0, 123456.78901]", "{\"a\": 0.1e-9}");
  CAPTURE(text);
  const std::string problem = Problem(CheckJson(text, limits));
  CHECK(problem.find(" 11 digits when written in full; at most 10 are allowed "
                     "(json_number_digits_max)") != std::string::npos);
}

TEST_CASE("ThePrintedSizeOfManyLargeNumbersAddsUp") {
  std::string text = "[1e999";
  for (int i = 1; i < 1000; ++i) text += ",1e999";
  text += "]";
  const auto bytes = CheckJson(text, Limits());
  REQUIRE(bytes.ok());
  CHECK(*bytes == 1000 * 1000 + 999 * 2 + 2);
}

TEST_CASE("NestingIsLimited") {
  Limits limits;
  limits.json_depth_max = 3;
  CHECK(CheckJson("[[[1]]]", limits).ok());
  CHECK(CheckJson("[[[]],[[]],{\"a\":{}}]", limits).ok());
  CHECK(Problem(CheckJson("[{\"a\":[[]]}]", limits)) ==
        "not storable as JSON at byte 7: arrays and objects are nested more than 3 deep "
        "(json_depth_max)");
}

TEST_CASE("DeepNestingNeedsNoStack") {
  constexpr std::size_t kSize = 1 << 20;
  CHECK_FALSE(CheckJson(std::string(kSize, '['), Limits()).ok());
  CHECK_FALSE(CheckJson(std::string(kSize, '{'), Limits()).ok());
  Limits unlimited;
  unlimited.json_depth_max = kSize;
  CHECK_FALSE(CheckJson(std::string(kSize, '['), unlimited).ok());
  const auto bytes =
      CheckJson(std::string(kSize / 2, '[') + std::string(kSize / 2, ']'), unlimited);
  REQUIRE(bytes.ok());
  CHECK(*bytes == kSize);
}

TEST_CASE("CleanUtf8IsWhatTheUnicodeStandardAllowsButNul") {
  const std::vector<std::string> good = {"",
                                         "plain",
                                         "\x7f",
                                         "\xc2\x80",
                                         "\xdf\xbf",
                                         "\xe0\xa0\x80",
                                         "\xed\x9f\xbf",
                                         "\xee\x80\x80",
                                         "\xef\xbf\xbf",
                                         "\xf0\x90\x80\x80",
                                         "\xf4\x8f\xbf\xbf"};
  for (const std::string& text : good) CHECK(IsCleanUtf8(text));
  const std::vector<std::string> bad = {std::string(1, '\0'),
                                        "\x80",
                                        "\xbf",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xc2",
                                        "\xc2x",
                                        "\xe0\x9f\xbf",
                                        "\xe2\x82",
                                        "\xe2\x82x",
                                        "\xed\xa0\x80",
                                        "\xed\xbf\xbf",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf0\x90\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff"};
  for (const std::string& text : bad) {
    CHECK_FALSE(IsCleanUtf8(text));
    CHECK_FALSE(IsCleanUtf8("before" + text));
    CHECK_FALSE(IsCleanUtf8(text + "after"));
  }
}

// Makes random JSON together with what jsonb prints for it.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  void Value(int depth, std::string* text, std::string* printed) {
    Space(text);
    switch (Pick(depth > 0 ? 6 : 4)) {
      case 0:
        Both(Pick(2) == 0 ? "true" : "false", text, printed);
        break;
      case 1:
        Both("null", text, printed);
        break;
      case 2:
        Number(text, printed);
        break;
      case 3:
        String("", text, printed);
        break;
      case 4:
        Array(depth, text, printed);
        break;
      default:
        Object(depth, text, printed);
        break;
    }
    Space(text);
  }

  int Pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }

 private:
  static void Both(const std::string& part, std::string* text, std::string* printed) {
    *text += part;
    *printed += part;
  }

  void Space(std::string* text) {
    if (Pick(4) == 0) *text += " \t\r\n"[Pick(4)];
  }

  void Number(std::string* text, std::string* printed) {
    std::string digits = Pick(3) == 0 ? "0" : std::to_string(1 + Pick(99999));
    const std::string fraction =
        Pick(2) == 0 ? "" : std::string(Pick(3), '0') + std::to_string(Pick(99999));
    const int exponent = Pick(2) == 0 ? 0 : Pick(25) - 12;
    const bool negative = Pick(2) == 0 && digits != "0";
    std::string number = negative ? "-" : "";
    number += digits + (fraction.empty() ? "" : "." + fraction);
    if (exponent != 0 || Pick(4) == 0) {
      number += Pick(2) == 0 ? "e" : "E";
      if (exponent >= 0 && Pick(2) == 0) number += "+";
      number += std::to_string(exponent);
    }
    *text += number;
    // Shift the point by hand.
    std::string all = digits + fraction;
    int point = static_cast<int>(digits.size()) + exponent;
    while (point <= 0) {
      all.insert(0, "0");
      ++point;
    }
    while (point > static_cast<int>(all.size())) all += "0";
    std::string whole = all.substr(0, point);
    whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size() - 1));
    *printed += (negative ? "-" : "") + whole;
    if (point < static_cast<int>(all.size())) *printed += "." + all.substr(point);
  }

  void String(const std::string& start, std::string* text, std::string* printed) {
    static const std::vector<std::pair<std::string, std::string>> kParts = {
        {"a", "a"},
        {"7", "7"},
        {"-", "-"},
        {"[", "["},
        {"}", "}"},
        {",", ","},
        {":", ":"},
        {"\\\"", "\\\""},
        {"\\\\", "\\\\"},
        {"\\/", "/"},
        {"\\b", "\\b"},
        {"\\n", "\\n"},
        {"\\u0001", "\\u0001"},
        {"\\u000A", "\\n"},
        {"\\u0041", "A"},
        {"\\u00e9", "\xc3\xa9"},
        {"\\uD7FF", "\xed\x9f\xbf"},
        {"\\uE000", "\xee\x80\x80"},
        {"\\ud83d\\uDE00", "\xf0\x9f\x98\x80"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
        {"\x7f", "\x7f"},
        {" ", " "}};
    Both("\"" + start, text, printed);
    for (int i = Pick(6); i > 0; --i) {
      const auto& [written, shown] = kParts[Pick(static_cast<int>(kParts.size()))];
      *text += written;
      *printed += shown;
    }
    Both("\"", text, printed);
  }

  void Array(int depth, std::string* text, std::string* printed) {
    Both("[", text, printed);
    for (int i = 0, count = Pick(4); i < count; ++i) {
      if (i > 0) *text += ",", *printed += ", ";
      Value(depth - 1, text, printed);
    }
    Both("]", text, printed);
  }

  void Object(int depth, std::string* text, std::string* printed) {
    Both("{", text, printed);
    for (int i = 0, count = Pick(4); i < count; ++i) {
      if (i > 0) *text += ",", *printed += ", ";
      Space(text);
      String("key" + std::to_string(i), text, printed);
      Space(text);
      *text += ":";
      *printed += ": ";
      Value(depth - 1, text, printed);
    }
    Both("}", text, printed);
  }

  std::mt19937 random_;
};

// EVENTSTORE_TEST_SEED repeats a run.
unsigned Seed() {
  const char* given = std::getenv("EVENTSTORE_TEST_SEED");
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                          : std::random_device{}();
}

// Whether a parsed value has what RapidJSON takes and PostgreSQL does not.
bool HasRefusedString(const rapidjson::Value& value) {
  if (value.IsString()) {
    const std::string_view text(value.GetString(), value.GetStringLength());
    return !IsCleanUtf8(text);
  }
  if (value.IsArray()) {
    for (const auto& element : value.GetArray()) {
      if (HasRefusedString(element)) return true;
    }
  } else if (value.IsObject()) {
    for (const auto& member : value.GetObject()) {
      if (HasRefusedString(member.name) || HasRefusedString(member.value)) return true;
    }
  }
  return false;
}

enum class Verdict { kGood, kBad, kUnknown };

// What an independent reading of the text says.
Verdict Oracle(const std::string& text) {
  if (!IsCleanUtf8(text)) return Verdict::kBad;
  rapidjson::Document document;
  document.Parse(text.c_str());
  if (document.HasParseError()) {
    return document.GetParseError() == rapidjson::kParseErrorNumberTooBig ? Verdict::kUnknown
                                                                          : Verdict::kBad;
  }
  return HasRefusedString(document) ? Verdict::kBad : Verdict::kGood;
}

TEST_CASE("RandomValidJsonIsTakenAndItsPrintedSizeIsExact") {
  const unsigned seed = Seed();
  CAPTURE(seed);
  Generator generator(seed);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    std::string printed;
    generator.Value(5, &text, &printed);
    CAPTURE(text, printed);
    const auto bytes = CheckJson(text, Limits());
    REQUIRE(bytes.ok());
    REQUIRE(*bytes == static_cast<std::int64_t>(printed.size()));
    // What the database prints is the same value, and prints the same again.
    const auto again = CheckJson(printed, Limits());
    REQUIRE(again.ok());
    REQUIRE(*again == *bytes);
  }
}

TEST_CASE("RandomlyBrokenJsonIsJudgedAsAnotherParserDoes") {
  const unsigned seed = Seed();
  CAPTURE(seed);
  Generator generator(seed);
  const std::string alphabet = "{}[]\",:\\u0019dDeE+-. \ttrnflsa\xc3\xa9\xed\xff";
  int good = 0;
  int bad = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    std::string printed;
    generator.Value(3, &text, &printed);
    for (int i = 1 + generator.Pick(3); i > 0 && !text.empty(); --i) {
      const int at = generator.Pick(static_cast<int>(text.size()));
      const char c = alphabet[generator.Pick(static_cast<int>(alphabet.size()))];
      switch (generator.Pick(3)) {
        case 0:
          text.erase(at, 1);
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text[at] = c;
          break;
      }
    }
    const Verdict verdict = Oracle(text);
    if (verdict == Verdict::kUnknown) continue;
    const auto result = CheckJson(text, WideLimits());
    CAPTURE(text, result.status().ToString());
    if (verdict == Verdict::kBad) {
      ++bad;
      REQUIRE_FALSE(result.ok());
    } else if (!result.ok()) {
      // RapidJSON rounds tiny numbers to 0, which numeric cannot hold.
      REQUIRE(result.status().ToString().find("out of the database's range") != std::string::npos);
    } else {
      ++good;
    }
  }
  CHECK(good > 1000);
  CHECK(bad > 1000);
}

}  // namespace
}  // namespace eventstore
