// Runs the command line as a shell would, with strings for the standard streams.
#ifndef EVENTSTORE_TESTS_UNIT_CLIENT_RUN_CLI_H_
#define EVENTSTORE_TESTS_UNIT_CLIENT_RUN_CLI_H_

#include <sstream>
#include <string>
#include <vector>

#include "client/cli/app.h"

namespace eventstore::cli {

struct CliResult {
  int code = 0;
  std::string out;
  std::string err;
};

// `arguments` are what follows the program's name.
inline CliResult RunCliWith(const std::vector<std::string>& arguments,
                            const std::string& input = "", Interrupt* interrupt = nullptr) {
  std::vector<const char*> argv = {"eventstorectl"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  Console console;
  console.in = &in;
  console.out = &out;
  console.err = &err;
  Interrupt own;
  const int code = RunCli(static_cast<int>(argv.size()), argv.data(), &console,
                          interrupt != nullptr ? interrupt : &own);
  return {code, out.str(), err.str()};
}

}  // namespace eventstore::cli

#endif  // EVENTSTORE_TESTS_UNIT_CLIENT_RUN_CLI_H_
