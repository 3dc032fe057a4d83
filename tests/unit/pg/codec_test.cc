#include "server/pg/codec.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>

namespace eventstore::pg {
namespace {

using namespace std::string_literals;

// A result of one row made of `params`, as if the server had echoed them.
Result Echo(const Params& params) {
  PGresult* result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
  std::vector<PGresAttDesc> columns;
  std::string name = "column";
  for (int i = 0; i < params.size(); ++i) {
    columns.push_back({name.data(), 0, 0, 1, params.oids()[i], -1, -1});
  }
  REQUIRE(PQsetResultAttrs(result, params.size(), columns.data()) == 1);
  const Params::Raw raw = params.raw();
  for (int i = 0; i < params.size(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    char* value = const_cast<char*>(raw.values[index]);
    REQUIRE(PQsetvalue(result, 0, i, value, value == nullptr ? -1 : raw.lengths[index]) == 1);
  }
  return Result(result);
}

std::string BytesOf(const Params& params) {
  const Params::Raw raw = params.raw();
  return {raw.values[0], static_cast<std::size_t>(raw.lengths[0])};
}

TEST_CASE("Scalars are PostgreSQL's binary forms", "[codec]") {
  CHECK(BytesOf(Params().Bool(true)) == "\x01"s);
  CHECK(BytesOf(Params().Int32(-2)) == "\xff\xff\xff\xfe"s);
  CHECK(BytesOf(Params().Int64(258)) == "\0\0\0\0\0\0\x01\x02"s);
  CHECK(BytesOf(Params().Double(1.0)) == "\x3f\xf0\0\0\0\0\0\0"s);
  CHECK(BytesOf(Params().Text("a\xc3\xa9")) == "a\xc3\xa9"s);
  CHECK(BytesOf(Params().Bytea("\0\xff"s)) == "\0\xff"s);
  CHECK(BytesOf(Params().Jsonb("{}")) == "\x01{}"s);
  // 2000-01-01T00:00:00.000001Z is one microsecond after PostgreSQL's epoch.
  CHECK(BytesOf(Params().Timestamp(946'684'800'000'001)) == "\0\0\0\0\0\0\0\x01"s);
}

TEST_CASE("An array has a header, and a length before each element", "[codec]") {
  ArrayWriter array(kInt4);
  array.Int32(7);
  array.Null();
  CHECK(array.array_oid() == kInt4Array);
  CHECK(array.size() == 2);
  const std::string expected =
      "\0\0\0\x01"s         // one dimension
      "\0\0\0\x01"s         // with NULLs
      "\0\0\0\x17"s         // of int4 (OID 23)
      "\0\0\0\x02"s         // two elements
      "\0\0\0\x01"s         // the first has index 1
      "\0\0\0\x04"s         // four bytes
      "\0\0\0\x07"s         // 7
      "\xff\xff\xff\xff"s;  // NULL
  CHECK(array.Finish() == expected);
}

TEST_CASE("An empty array has no dimension", "[codec]") {
  ArrayWriter array(kText);
  CHECK(array.Finish() == "\0\0\0\0"s + "\0\0\0\0"s + "\0\0\0\x19"s);
}

TEST_CASE("Parameters keep their order, types and NULLs", "[codec]") {
  Params params;
  params.Text("").Null(kUuid).Int32(1).Null(kText);
  REQUIRE(params.size() == 4);
  CHECK(params.oids()[0] == kText);
  CHECK(params.oids()[1] == kUuid);
  CHECK(params.oids()[2] == kInt4);
  const Params::Raw raw = params.raw();
  CHECK(raw.values[0] != nullptr);  // An empty text is no NULL.
  CHECK(raw.lengths[0] == 0);
  CHECK(raw.values[1] == nullptr);
  CHECK(raw.values[3] == nullptr);
  CHECK(raw.lengths[2] == 4);
  CHECK(
      std::all_of(raw.formats.begin(), raw.formats.end(), [](int format) { return format == 1; }));
}

TEST_CASE("Fill overwrites what an earlier statement left", "[codec]") {
  Params::Raw raw = Params().Int32(1).Int32(2).raw();
  const Params one = Params().Text("x");
  one.Fill(&raw);
  CHECK(raw.values.size() == 1);
  CHECK(raw.lengths == std::vector<int>{1});
  CHECK(raw.formats == std::vector<int>{1});
}

TEST_CASE("What was written is read back, extremes included", "[codec]") {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const UuidBytes uuid = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
  Params params;
  params.Bool(false).Bool(true);
  params.Int32(std::numeric_limits<std::int32_t>::min()).Int64(kMin).Int64(kMax);
  params.Double(-0.0).Double(std::numeric_limits<double>::infinity());
  params.Text("text").Bytea("\0x"s).Jsonb("[1]").Uuid(uuid).Null(kInt8).Int32(-5);
  const Result result = Echo(params);
  CHECK_FALSE(result.Bool(0, 0));
  CHECK(result.Bool(0, 1));
  CHECK(result.Int32(0, 2) == std::numeric_limits<std::int32_t>::min());
  CHECK(result.Int64(0, 3) == kMin);
  CHECK(result.Int64(0, 4) == kMax);
  CHECK(std::signbit(result.Double(0, 5)));
  CHECK(result.Double(0, 6) == std::numeric_limits<double>::infinity());
  CHECK(result.Text(0, 7) == "text");
  CHECK(result.Bytea(0, 8) == "\0x"s);
  CHECK(result.Jsonb(0, 9) == "[1]");
  CHECK(result.Uuid(0, 10) == uuid);
  CHECK(result.IsNull(0, 11));
  CHECK_FALSE(result.IsNull(0, 10));
  CHECK(result.Int64(0, 12) == -5);  // An INTEGER may be read as a BIGINT.
}

TEST_CASE("Times saturate at PostgreSQL's infinities", "[codec]") {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  CHECK(BytesOf(Params().Timestamp(kMin)) == BytesOf(Params().Int64(kMin)));
  CHECK(BytesOf(Params().Timestamp(kMax)) == BytesOf(Params().Int64(kMax)));
  // Before 4713 BC, which PostgreSQL would refuse.
  CHECK(BytesOf(Params().Timestamp(-300'000'000'000'000'000)) == BytesOf(Params().Int64(kMin)));
  const std::int64_t time =
      GENERATE_COPY(kMin, kMax, 0, 1, -1, 1'700'000'000'123'456, kMax - 1'000'000'000'000'000);
  CHECK(Echo(Params().Timestamp(time)).Timestamp(0, 0) == time);
}

TEST_CASE("Text arrays are read back", "[codec]") {
  const auto values = GENERATE(std::vector<std::string>{}, std::vector<std::string>{""},
                               std::vector<std::string>{"a", "", "b,{}\"\\"});
  CHECK(Echo(Params().TextArray(values)).TextArray(0, 0) == values);
}

TEST_CASE("A NULL in a text array reads as an empty text", "[codec]") {
  ArrayWriter array(kText);
  array.Null();
  array.Text("b");
  CHECK(Echo(Params().Array(&array)).TextArray(0, 0) == std::vector<std::string>{"", "b"});
}

}  // namespace
}  // namespace eventstore::pg
