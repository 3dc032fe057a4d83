// The order of the rooms: process -> rpc -> engine -> tables -> pg. All but pg may use core (pg
// only core/mutex.h); all may use telemetry, which uses nothing of ours. And no file that is not
// used.
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/core/source_tree.h"

namespace eventstore {
namespace {

// Higher rooms may include lower ones. core and telemetry have rules of their own.
const std::map<std::string, int> kRooms = {{"main.cc", 6}, {"process", 5}, {"rpc", 4},
                                           {"engine", 3},  {"tables", 2},  {"sinks", 2},
                                           {"pg", 1},      {"core", 0},    {"telemetry", 0}};

// "core" of "server/core/ids.h"; nothing outside of server/.
std::optional<std::string> RoomOf(const std::string& path) {
  if (path.rfind("server/", 0) != 0) return std::nullopt;
  const std::string rest = path.substr(7);
  return rest.substr(0, rest.find('/'));
}

std::vector<std::string> IncludesOf(const std::string& text) {
  static const std::regex kInclude("(^|\n)[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"\n]+)[>\"]");
  std::vector<std::string> includes;
  for (std::sregex_iterator it(text.begin(), text.end(), kInclude), end; it != end; ++it) {
    includes.push_back((*it)[2]);
  }
  return includes;
}

// Why a file may not include another, or nothing.
std::optional<std::string> WhyNot(const std::string& path, const std::string& include) {
  const std::optional<std::string> from = RoomOf(path);
  const std::optional<std::string> to = RoomOf(include);
  if (path.rfind("client/", 0) == 0) {
    if (to.has_value() && *to != "core") return "the client may use no room but core";
    return std::nullopt;
  }
  if (!from.has_value()) return std::nullopt;
  if (kRooms.count(*from) == 0) return "server/" + *from + " is no room of this design";
  const bool with_grpc = *from == "main.cc" || *from == "process" || *from == "rpc";
  if (!with_grpc &&
      (include.rfind("grpc", 0) == 0 || include.find(".grpc.pb.h") != std::string::npos)) {
    return "only rpc and process know gRPC; use the messages' *.pb.h and absl::Status";
  }
  const bool vocabulary = include.rfind("eventstore/v1/", 0) == 0;
  if (vocabulary && (*from == "pg" || *from == "telemetry")) {
    return *from + " knows no event vocabulary; move what needs it to tables or above";
  }
  if (!to.has_value() || *to == *from) return std::nullopt;
  if (kRooms.count(*to) == 0) return "server/" + *to + " is no room of this design";
  if (*from == "telemetry") return "telemetry uses nothing of ours; pass the value in";
  if (*to == "telemetry") return std::nullopt;
  if (*from == "core") return "core is at the bottom; move what needs " + *to + " there";
  if (*to == "core") {
    if (*from == "pg" && include != "server/core/mutex.h") return "pg may use only core/mutex.h";
    return std::nullopt;
  }
  if (*from == "sinks") return "sinks know brokers only; move what needs " + *to + " to engine";
  if (*to == "sinks" && *from == "tables") return "tables know no brokers; engine joins the two";
  if (kRooms.at(*to) > kRooms.at(*from)) {
    return "includes point downward (process -> rpc -> engine -> tables -> pg); pass an interface "
           "or a function down instead";
  }
  return std::nullopt;
}

TEST_CASE("TheIncludeRuleTellsGoodFromBad") {
  struct Row {
    const char* path;
    const char* include;
    bool good;
  };
  const std::vector<Row> table = {
      {"server/main.cc", "server/process/process.h", true},
      {"server/process/process.cc", "server/rpc/status.h", true},
      {"server/rpc/status.cc", "grpcpp/grpcpp.h", true},
      {"server/rpc/service.h", "eventstore/v1/event_store_service.grpc.pb.h", true},
      {"server/engine/writer.cc", "server/tables/log_table.h", true},
      {"server/engine/writer.cc", "server/pg/connection.h", true},
      {"server/engine/writer.cc", "server/core/errors.h", true},
      {"server/engine/writer.cc", "server/telemetry/metrics.h", true},
      {"server/engine/writer.cc", "eventstore/v1/types.pb.h", true},
      {"server/engine/relay/relay.cc", "server/sinks/sink.h", true},
      {"server/sinks/kafka.cc", "server/core/errors.h", true},
      {"server/sinks/kafka.cc", "server/pg/pool.h", false},
      {"server/sinks/kafka.cc", "server/tables/log_table.h", false},
      {"server/tables/a.cc", "server/sinks/sink.h", false},
      {"server/pg/pool.h", "server/core/mutex.h", true},
      {"server/pg/pool.h", "server/telemetry/metrics.h", true},
      {"server/core/ids.cc", "server/core/ids.h", true},
      {"client/cli/json.cc", "server/core/ids.h", true},
      {"client/cli/json.cc", "server/engine/hub.h", false},
      {"server/rpc/status.cc", "server/process/process.h", false},
      {"server/engine/writer.cc", "server/rpc/status.h", false},
      {"server/engine/writer.cc", "grpcpp/grpcpp.h", false},
      {"server/engine/writer.cc", "grpc/grpc.h", false},
      {"server/tables/a.cc", "eventstore/v1/event_store_service.grpc.pb.h", false},
      {"server/tables/a.cc", "server/engine/writer.h", false},
      {"server/pg/pool.h", "server/core/errors.h", false},
      {"server/pg/pool.h", "server/tables/log_table.h", false},
      {"server/pg/codec.cc", "eventstore/v1/types.pb.h", false},
      {"server/core/ids.h", "server/pg/codec.h", false},
      {"server/telemetry/metrics.h", "server/core/mutex.h", false},
      {"server/attic/a.cc", "string", false},
      {"server/rpc/a.cc", "server/attic/a.h", false},
  };
  for (const Row& row : table) {
    CAPTURE(row.path, row.include);
    CHECK(WhyNot(row.path, row.include).has_value() == !row.good);
  }
  CHECK(IncludesOf("#include <a>\n  # include \"b/c.h\"\n// #include <d>\n") ==
        std::vector<std::string>{"a", "b/c.h"});
}

TEST_CASE("IncludesPointDownward") {
  std::vector<std::string> problems;
  const std::vector<SourceFile> sources = SourcesBelow({"server", "client"});
  REQUIRE(sources.size() > 10);
  for (const SourceFile& source : sources) {
    for (const std::string& include : IncludesOf(source.text)) {
      if (const auto why = WhyNot(source.path, include); why.has_value()) {
        problems.push_back(source.path + " includes " + include + ": " + *why);
      }
    }
  }
  INFO(Lines(problems));
  CHECK(problems.empty());
}

TEST_CASE("EveryHeaderIsIncludedByAnotherFile") {
  std::set<std::string> included;
  for (const SourceFile& source : SourcesBelow({"server", "client", "tests"})) {
    for (const std::string& include : IncludesOf(source.text)) {
      if (include != source.path) included.insert(include);
    }
  }
  std::vector<std::string> problems;
  for (const SourceFile& source : SourcesBelow({"server", "client", "tests"})) {
    if (source.path.ends_with(".h") && included.count(source.path) == 0) {
      problems.push_back(source.path + " is included by no file: delete it, or use it");
    }
  }
  INFO(Lines(problems));
  CHECK(problems.empty());
}

// The folders whose *.cc files CMake builds, as the lists that name them say.
std::set<std::string> BuiltFolders() {
  const std::filesystem::path root(EVENTSTORE_SOURCE_DIR);
  std::set<std::string> folders;
  const std::string server = ReadText(root / "server" / "CMakeLists.txt");
  static const std::regex kRoom("eventstore_room\\(([a-z]+) ");
  static const std::regex kPart("\\{room\\}/([a-z]+)/\\*\\.cc");  // of a room, if it has it
  for (std::sregex_iterator it(server.begin(), server.end(), kRoom), end; it != end; ++it) {
    const std::string folder = "server/" + (*it)[1].str();
    folders.insert(folder);
    for (std::sregex_iterator part(server.begin(), server.end(), kPart); part != end; ++part) {
      folders.insert(folder + "/" + (*part)[1].str());
    }
  }
  const std::string client = ReadText(root / "client" / "CMakeLists.txt");
  static const std::regex kGlob("CMAKE_CURRENT_SOURCE_DIR\\}/([a-z/]+)/\\*\\.cc");
  for (std::sregex_iterator it(client.begin(), client.end(), kGlob), end; it != end; ++it) {
    folders.insert("client/" + (*it)[1].str());
  }
  return folders;
}

TEST_CASE("EverySourceLiesInAFolderThatIsBuilt") {
  const std::set<std::string> folders = BuiltFolders();
  REQUIRE(folders.count("server/core") == 1);
  REQUIRE(folders.count("client/cli") == 1);
  std::vector<std::string> problems;
  for (const SourceFile& source : SourcesBelow({"server", "client"})) {
    if (!source.path.ends_with(".cc") || source.path == "server/main.cc") continue;
    const std::string folder = source.path.substr(0, source.path.rfind('/'));
    if (folders.count(folder) == 0) {
      problems.push_back(source.path +
                         " is built by no CMakeLists.txt: move it to a room, or name " +
                         "its folder there");
    }
  }
  INFO(Lines(problems));
  CHECK(problems.empty());
}

}  // namespace
}  // namespace eventstore
