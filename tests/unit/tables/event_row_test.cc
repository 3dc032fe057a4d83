#include "server/tables/event_row.h"

#include <rapidjson/document.h>

#include <catch2/catch.hpp>

#include "server/core/ids.h"
#include "server/tables/streams_table.h"

namespace eventstore::tables {
namespace {

TEST_CASE("Tags are quoted so that every text is one element of the array", "[tags]") {
  v1::Event event;
  CHECK(TagsLiteral(event.tags()) == "{}");
  for (const char* tag : {"plain", "a,b", "q\"", "b\\", "{}", "NULL", " ", "ü"}) {
    event.add_tags(tag);
  }
  CHECK(TagsLiteral(event.tags()) == R"({"plain","a,b","q\"","b\\","{}","NULL"," ","ü"})");
}

TEST_CASE("Metadata is a JSON object of its very texts", "[metadata]") {
  v1::Event event;
  CHECK(MetadataJson(event.metadata()) == "{}");
  auto& metadata = *event.mutable_metadata();
  metadata["k\"ey"] = "line\nbreak \x01 \\ ü 😀";
  metadata[""] = "";
  rapidjson::Document document;
  REQUIRE_FALSE(document.Parse(MetadataJson(event.metadata()).c_str()).HasParseError());
  REQUIRE(document.IsObject());
  REQUIRE(document.MemberCount() == 2);
  CHECK(document["k\"ey"].GetString() == metadata["k\"ey"]);
  CHECK(document[""].GetStringLength() == 0);
}

TEST_CASE("No tenant is the nil UUID in the tables", "[tenant]") {
  CHECK(TenantOf("") == kNilUuid);
  const std::string tenant = "01890a5d-ac96-774b-bcce-b302099a8057";
  CHECK(FormatUuid(TenantOf(tenant)) == tenant);
}

}  // namespace
}  // namespace eventstore::tables
