// fault_client: one client of the store as a process of its own, which may be killed at any moment.
// What it knows is in its record file.
#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "tests/faults/client/roles.h"

int main(int argc, char** argv) {
  using namespace eventstore::faults;
  const StopSignal stop;
  ClientOptions options;
  CLI::App app{"A client that records all that it asks and is told"};
  app.add_option("--role", options.role)
      ->required()
      ->check(CLI::IsMember({"writer", "subscriber", "reader", "closer"}));
  app.add_option("--port", options.ports, "A daemon on this machine; may be repeated")->required();
  app.add_option("--seed", options.seed)->required();
  app.add_option("--record", options.record, "The file to append to")->required();
  app.add_option("--name", options.name)->required();
  app.add_option("--type", options.type, "subscriber: only this aggregate type");
  app.add_option("--stream", options.stream, "subscriber: only this stream, type/id");
  app.add_option("--until", options.until, "subscriber: the closing events that it waits for");
  app.add_option("--close", options.close, "closer: a stream, type/id; may be repeated");
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.role == "writer") return RunWriter(options, stop);
    if (options.role == "closer") return RunCloser(options, stop);
    if (options.role == "reader") return RunReader(options, stop);
    return RunSubscriber(options, stop);
  } catch (const std::exception& error) {
    std::cerr << options.name << ": " << error.what() << "\n";
    return 1;
  }
}
