// Reads this repository's own sources, for the tests of the house style.
#ifndef EVENTSTORE_TESTS_UNIT_CORE_SOURCE_TREE_H_
#define EVENTSTORE_TESTS_UNIT_CORE_SOURCE_TREE_H_

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

namespace eventstore {

struct SourceFile {
  std::string path;  // from the repository's root, such as "server/core/ids.h"
  std::string text;
};

inline std::string ReadText(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// All C++ files below these folders, sorted by path.
inline std::vector<SourceFile> SourcesBelow(std::initializer_list<const char*> folders) {
  const std::filesystem::path root(EVENTSTORE_SOURCE_DIR);
  std::vector<SourceFile> sources;
  for (const char* folder : folders) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::filesystem::path& path = entry.path();
      if (!entry.is_regular_file()) continue;
      if (path.extension() != ".h" && path.extension() != ".cc") continue;
      sources.push_back({path.lexically_relative(root).generic_string(), ReadText(path)});
    }
  }
  std::sort(sources.begin(), sources.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return sources;
}

// One problem a line, for a failing test to print.
inline std::string Lines(const std::vector<std::string>& problems) {
  std::string lines;
  for (const std::string& problem : problems) lines += "\n" + problem;
  return lines;
}

}  // namespace eventstore

#endif  // EVENTSTORE_TESTS_UNIT_CORE_SOURCE_TREE_H_
