// The server is the judge of the binary codec: it casts what we wrote to text, and we read what it
// made of text.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "server/pg/codec.h"
#include "server/telemetry/logging.h"
#include "tests/support/postgres.h"

namespace eventstore::pg {
namespace {

using namespace std::string_literals;
using testing::In;

constexpr std::chrono::seconds kTimeout{20};
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

Connection& Server() {
  static const std::unique_ptr<Connection> connection = testing::Connect(testing::CreateDatabase());
  static const bool utc = connection->RunScript("SET timezone TO 'UTC'", In(kTimeout)).ok();
  REQUIRE(utc);
  return *connection;
}

Result Run(const std::string& sql, const Params& params) {
  absl::StatusOr<Result> result = Server().QueryOnce(sql, params, In(kTimeout));
  INFO(sql << ": " << telemetry::MessageOf(result.status()));
  REQUIRE(result.ok());
  return *std::move(result);
}

// What the server reads from the only parameter.
std::string TextOf(const Params& params) {
  return std::string(Run("SELECT $1::text", params).Text(0, 0));
}

// $1 without a cast has the type that Params gave it; the ::text above would make it a text.
std::string Seen(const std::string& type, const Params& params) {
  return std::string(Run("SELECT ($1::" + type + ")::text", params).Text(0, 0));
}

TEST_CASE("The server reads our scalars", "[codec]") {
  CHECK(Seen("bool", Params().Bool(true)) == "true");
  CHECK(Seen("bool", Params().Bool(false)) == "false");
  CHECK(Seen("int4", Params().Int32(std::numeric_limits<std::int32_t>::min())) == "-2147483648");
  CHECK(Seen("int8", Params().Int64(kMin)) == "-9223372036854775808");
  CHECK(Seen("int8", Params().Int64(kMax)) == "9223372036854775807");
  CHECK(Seen("float8", Params().Double(-0.1)) == "-0.1");
  CHECK(Seen("float8", Params().Double(std::numeric_limits<double>::infinity())) == "Infinity");
  CHECK(Seen("bytea", Params().Bytea("\0\xff"s)) == "\\x00ff");
  CHECK(Seen("jsonb", Params().Jsonb(R"({"b": 1, "a": [null]})")) == R"({"a": [null], "b": 1})");
  CHECK(Seen("uuid", Params().Uuid({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255})) ==
        "00010203-0405-0607-0809-0a0b0c0d0eff");
  CHECK(Seen("timestamptz", Params().Timestamp(0)) == "1970-01-01 00:00:00+00");
  CHECK(Seen("timestamptz", Params().Timestamp(-1)) == "1969-12-31 23:59:59.999999+00");
  CHECK(Seen("timestamptz", Params().Timestamp(kMax)) == "infinity");
  CHECK(Seen("timestamptz", Params().Timestamp(kMin)) == "-infinity");
  CHECK(Seen("timestamptz", Params().Timestamp(kMin + 1)) == "-infinity");
  CHECK(TextOf(Params().Text("\xc3\xa9\xf0\x9f\x8d\xba")) == "\xc3\xa9\xf0\x9f\x8d\xba");
  CHECK(TextOf(Params().Text("")).empty());
}

TEST_CASE("The server reads a NULL of every type", "[codec]") {
  for (const TypeOid type : {kBool, kBytea, kInt8, kInt4, kText, kFloat8, kTimestamptz, kUuid,
                             kJsonb, kTextArray, kInt8Array}) {
    CAPTURE(static_cast<int>(type));
    const Result result = Run("SELECT $1, pg_typeof($1)::oid::bigint", Params().Null(type));
    CHECK(result.IsNull(0, 0));
    CHECK(result.Int64(0, 1) == static_cast<std::int64_t>(type));
    CHECK(result.type(0) == static_cast<Oid>(type));
  }
}

template <typename Fill>
std::string ArraySeen(TypeOid element, const std::string& type, Fill fill) {
  ArrayWriter array(element);
  fill(&array);
  return Seen(type + "[]", Params().Array(&array));
}

TEST_CASE("The server reads our arrays, NULLs included", "[codec]") {
  CHECK(ArraySeen(kBool, "bool", [](ArrayWriter* a) {
          a->Bool(true);
          a->Null();
          a->Bool(false);
        }) == "{t,NULL,f}");
  CHECK(ArraySeen(kInt4, "int4", [](ArrayWriter* a) {
          a->Int32(-1);
          a->Null();
        }) == "{-1,NULL}");
  CHECK(ArraySeen(kInt8, "int8", [](ArrayWriter* a) {
          a->Int64(kMin);
          a->Int64(kMax);
        }) == "{-9223372036854775808,9223372036854775807}");
  CHECK(ArraySeen(kText, "text", [](ArrayWriter* a) {
          a->Text("");
          a->Text("a,\"{}\\");
          a->Null();
          a->Text("NULL");
        }) == R"({"","a,\"{}\\",NULL,"NULL"})");
  CHECK(ArraySeen(kBytea, "bytea", [](ArrayWriter* a) {
          a->Bytea("\0"s);
          a->Bytea("");
        }) == R"({"\\x00","\\x"})");
  CHECK(ArraySeen(kJsonb, "jsonb", [](ArrayWriter* a) {
          a->Jsonb("1");
          a->Null();
          a->Jsonb("null");
        }) == R"({1,NULL,"null"})");
  CHECK(ArraySeen(kUuid, "uuid", [](ArrayWriter* a) { a->Uuid(UuidBytes{}); }) ==
        "{00000000-0000-0000-0000-000000000000}");
  CHECK(ArraySeen(kTimestamptz, "timestamptz", [](ArrayWriter* a) {
          a->Timestamp(0);
          a->Null();
          a->Timestamp(kMax);
        }) == R"({"1970-01-01 00:00:00+00",NULL,infinity})");
}

TEST_CASE("The server reads an empty array of every element type", "[codec]") {
  for (const auto& [element, type] :
       std::vector<std::pair<TypeOid, std::string>>{{kBool, "bool"},
                                                    {kBytea, "bytea"},
                                                    {kInt4, "int4"},
                                                    {kInt8, "int8"},
                                                    {kText, "text"},
                                                    {kTimestamptz, "timestamptz"},
                                                    {kUuid, "uuid"},
                                                    {kJsonb, "jsonb"}}) {
    CAPTURE(type);
    CHECK(ArraySeen(element, type, [](ArrayWriter*) {}) == "{}");
  }
}

TEST_CASE("Arrays of parallel columns unnest row by row", "[codec]") {
  ArrayWriter keys(kInt8);
  ArrayWriter names(kText);
  for (int i = 0; i < 1000; ++i) {
    keys.Int64(i);
    if (i % 3 == 0) {
      names.Null();
    } else {
      names.Text("n" + std::to_string(i));
    }
  }
  const Result result = Run("SELECT k, n FROM unnest($1::int8[], $2::text[]) AS t(k, n) ORDER BY k",
                            Params().Array(&keys).Array(&names));
  REQUIRE(result.rows() == 1000);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(result.Int64(i, 0) == i);
    REQUIRE(result.IsNull(i, 1) == (i % 3 == 0));
    if (i % 3 != 0) REQUIRE(result.Text(i, 1) == "n" + std::to_string(i));
  }
}

TEST_CASE("We read the server's values", "[codec]") {
  const Result result = Run(
      "SELECT true, (-7)::int2, 2147483647, (-9223372036854775808)::int8, 'NaN'::float8,"
      " 'a'::varchar, 'b'::name, 'c'::text, '\\x00ff'::bytea, '{\"a\": 1}'::jsonb,"
      " '00010203-0405-0607-0809-0a0b0c0d0eff'::uuid, '1970-01-01 00:00:00.000001+00'::timestamptz,"
      " 'infinity'::timestamptz, '-infinity'::timestamptz, '4713-01-01 BC'::timestamptz,"
      " '294276-12-31'::timestamptz, ARRAY['a', NULL, ''], '{}'::text[], NULL::text",
      {});
  REQUIRE(result.rows() == 1);
  CHECK(result.Bool(0, 0));
  CHECK(result.Int32(0, 1) == -7);
  CHECK(result.Int64(0, 1) == -7);
  CHECK(result.Int32(0, 2) == 2'147'483'647);
  CHECK(result.Int64(0, 3) == kMin);
  CHECK(std::isnan(result.Double(0, 4)));
  CHECK(result.Text(0, 5) == "a");
  CHECK(result.Text(0, 6) == "b");
  CHECK(result.Text(0, 7) == "c");
  CHECK(result.Bytea(0, 8) == "\0\xff"s);
  CHECK(result.Jsonb(0, 9) == R"({"a": 1})");
  CHECK(result.Uuid(0, 10) == UuidBytes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255});
  CHECK(result.Timestamp(0, 11) == 1);
  CHECK(result.Timestamp(0, 12) == kMax);
  CHECK(result.Timestamp(0, 13) == kMin);
  CHECK(result.Timestamp(0, 14) < -210'000'000'000'000'000);
  CHECK(result.Timestamp(0, 14) > kMin);
  CHECK(result.Timestamp(0, 15) == kMax);  // Later than Unix microseconds can say.
  CHECK(result.TextArray(0, 16) == std::vector<std::string>{"a", "", ""});
  CHECK(result.TextArray(0, 17).empty());
  CHECK(result.IsNull(0, 18));
}

TEST_CASE("Large values pass unharmed", "[codec]") {
  std::string bytes(3 << 20, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + (i >> 8));
  CHECK(Run("SELECT $1::bytea", Params().Bytea(bytes)).Bytea(0, 0) == bytes);
}

TEST_CASE("Changed rows are counted", "[codec]") {
  REQUIRE(Server().RunScript("CREATE TEMP TABLE counted (a int)", In(kTimeout)).ok());
  CHECK(Run("INSERT INTO counted SELECT generate_series(1, 5)", {}).affected() == 5);
  CHECK(Run("UPDATE counted SET a = 0 WHERE a > 3", {}).affected() == 2);
  CHECK(Run("DELETE FROM counted WHERE a = 99", {}).affected() == 0);
}

}  // namespace
}  // namespace eventstore::pg
