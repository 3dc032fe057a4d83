#include "client/cli/console.h"

namespace eventstore::cli {

void ProgressLine::Show(std::string_view text) {
  if (!console_->err_is_terminal) return;
  // Back to the first column, the text, and erase what an older, longer text left.
  *console_->err << '\r' << text << "\x1b[K" << std::flush;
  shown_ = true;
}

void ProgressLine::Clear() {
  if (!shown_) return;
  *console_->err << "\r\x1b[K" << std::flush;
  shown_ = false;
}

}  // namespace eventstore::cli
