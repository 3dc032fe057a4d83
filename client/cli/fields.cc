#include "client/cli/fields.h"

#include <fmt/format.h>

#include <algorithm>

namespace eventstore::cli {

void PrintFields(const Fields& fields, Session* session) {
  std::size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, name.size());
  std::string text;
  for (const auto& [name, value] : fields) {
    text += fmt::format("{:<{}}  {}\n", name, width, value);
  }
  session->Print(text);
}

}  // namespace eventstore::cli
