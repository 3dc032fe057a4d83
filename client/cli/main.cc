// eventstorectl: the command-line client.
#include <unistd.h>

#include <iostream>

#include "client/cli/app.h"
#include "client/cli/console.h"
#include "client/cli/interrupt.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  eventstore::cli::Console console;
  console.in = &std::cin;
  console.out = &std::cout;
  console.err = &std::cerr;
  console.err_is_terminal = isatty(STDERR_FILENO) == 1;
  console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  eventstore::cli::Interrupt interrupt;
  if (!interrupt.HandleSignals()) {
    std::cerr << "error: cannot handle signals\n";
    return 1;
  }
  return eventstore::cli::RunCli(argc, argv, &console, &interrupt);
}
