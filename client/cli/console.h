// What a command talks to: the standard streams, or a test's strings.
#ifndef EVENTSTORE_CLIENT_CLI_CONSOLE_H_
#define EVENTSTORE_CLIENT_CLI_CONSOLE_H_

#include <istream>
#include <ostream>
#include <string_view>

namespace eventstore::cli {

// Results go to `out`, everything else (errors, notices, progress) to `err`, so that a pipe carries
// results alone. The streams belong to the caller. Used by one thread at a time.
struct Console {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  // Progress lines are shown on a terminal only.
  bool err_is_terminal = false;
  // A live view is shown in place on a terminal only.
  bool out_is_terminal = false;
};

// One line on stderr that is written over and over while long work runs; nothing at all where
// stderr is no terminal.
class ProgressLine {
 public:
  explicit ProgressLine(Console* console) : console_(console) {}
  ~ProgressLine() { Clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Shows `text` in place of what was shown before.
  void Show(std::string_view text);
  // Removes the line, before something else is printed.
  void Clear();

 private:
  Console* const console_;
  bool shown_ = false;
};

}  // namespace eventstore::cli

#endif  // EVENTSTORE_CLIENT_CLI_CONSOLE_H_
