#include "tests/faults/arena.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <stdexcept>
#include <utility>

#include "tests/faults/checker/record.h"
#include "tests/support/daemon_events.h"

namespace eventstore::faults {
namespace {

namespace fs = std::filesystem;
using testing::Eventually;
using testing::kPatience;

// Of the ids that nobody was told a result of, and of the others, so many are asked for by
// GetEvent.
constexpr std::size_t kIdsAskedMax = 800;
// How often the store is read again because something still came in.
constexpr int kReadsMax = 10;

StoredEvent ToStored(const v1::Event& event) {
  StoredEvent stored;
  stored.position = event.global_position();
  stored.stream = {event.stream().aggregate_type(), event.stream().aggregate_id()};
  stored.version = event.version();
  stored.id = event.event_id();
  stored.type = event.event_type();
  stored.payload = Word(event.payload());
  stored.created_at_us =
      event.created_at().seconds() * 1'000'000 + event.created_at().nanos() / 1000;
  return stored;
}

std::vector<StoredEvent> ToStored(const std::vector<v1::Event>& events) {
  std::vector<StoredEvent> stored;
  stored.reserve(events.size());
  for (const v1::Event& event : events) stored.push_back(ToStored(event));
  return stored;
}

void Require(const testing::CallStatus& status, const std::string& what) {
  if (!status.ok()) throw std::runtime_error(what + ": " + status.Text());
}

std::vector<StoredEvent> ReadLog(testing::Client& client) {
  const testing::AllRead read = testing::ReadAll(client, {});
  Require(read.status, "ReadAll");
  return ToStored(read.events);
}

std::vector<StoredEvent> ReadOne(testing::Client& client, const StreamName& name) {
  v1::StreamId stream;
  stream.set_aggregate_type(name.type);
  stream.set_aggregate_id(name.id);
  const testing::StreamRead read = testing::ReadStream(client, stream);
  Require(read.status, "ReadStream");
  return ToStored(read.events);
}

std::optional<StoredEvent> ReadById(testing::Client& client, const std::string& id) {
  v1::GetEventRequest request;
  request.set_event_id(id);
  v1::GetEventResponse response;
  const testing::CallStatus status = client.Unary("GetEvent", request, &response);
  if (status.code == absl::StatusCode::kNotFound) return std::nullopt;
  Require(status, "GetEvent");
  return ToStored(response.event());
}

// Ids to ask for one by one: a sample of what was acknowledged, and of what was not.
std::vector<std::string> IdsToAsk(const History& history, Dice* dice) {
  std::vector<std::string> told;
  std::vector<std::string> untold;
  for (const WriterHistory& writer : history.writers) {
    for (const auto& [number, request] : writer.requests) {
      const bool acknowledged =
          std::any_of(request.attempts.begin(), request.attempts.end(),
                      [](const Attempt& attempt) { return attempt.appended.has_value(); });
      if (request.bad || request.events.empty()) continue;
      (acknowledged ? told : untold).push_back(dice->Of(request.events).id);
    }
  }
  std::vector<std::string> ids;
  for (std::vector<std::string>* some : {&told, &untold}) {
    while (some->size() > kIdsAskedMax) {
      std::swap((*some)[static_cast<std::size_t>(
                    dice->Between(0, static_cast<std::int64_t>(some->size()) - 1))],
                some->back());
      some->pop_back();
    }
    ids.insert(ids.end(), some->begin(), some->end());
  }
  return ids;
}

}  // namespace

std::uint64_t FaultSeed() {
  return static_cast<std::uint64_t>(EnvironmentNumber(
      "EVENTSTORE_FAULT_SEED", static_cast<std::int64_t>(std::random_device()() % 1'000'000)));
}

std::int64_t EnvironmentNumber(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoll(text, nullptr, 10);
}

Arena::Arena(testing::Settings settings) {
  folder_ = fs::temp_directory_path() / "eventstore-faults-XXXXXX";
  if (mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  postgres_ = testing::StartPostgres();
  dsn_ = testing::CreateDatabase(*postgres_);
  for (std::size_t i = 0; i < kDaemons; ++i) {
    testing::DaemonOptions options;
    options.dsn = dsn_;
    options.settings = settings;
    options.settings["listen"] = "127.0.0.1:" + std::to_string(ports_[i].port());
    options.wait_ready = false;
    daemons_[i] = testing::Daemon::Start(options);
    if (!daemons_[i]->WaitReady()) {
      throw std::runtime_error("the daemon does not become ready:\n" + daemons_[i]->Log());
    }
  }
}

Arena::~Arena() {
  clients_.clear();
  for (int i = 0; keep_ && i < kDaemons; ++i) SaveLog(i);
  for (auto& daemon : daemons_) daemon.reset();
  std::error_code ignored;
  if (!keep_) fs::remove_all(folder_, ignored);
}

std::string Arena::Keep() {
  keep_ = true;
  return folder_;
}

void Arena::SaveLog(int index) {
  if (daemons_[static_cast<std::size_t>(index)] == nullptr) return;
  std::ofstream(folder_ + "/daemon-" + std::to_string(index) + ".log", std::ios::app)
      << daemon(index).Log();
}

void Arena::KillDaemon(int index) {
  daemon(index).child().Signal(SIGKILL);
  daemon(index).child().WaitExit();
}

void Arena::StartDaemon(int index) {
  SaveLog(index);
  daemon(index).Restart();
}

bool Arena::WaitReady() {
  return std::all_of(daemons_.begin(), daemons_.end(),
                     [](const auto& daemon) { return daemon->WaitReady(); });
}

std::string Arena::RecordPath(const std::string& role, const std::string& name) const {
  return folder_ + "/" + role + "-" + name + ".record";
}

Worker& Arena::StartWorker(const std::string& role, const std::string& name, std::uint64_t seed,
                           const std::vector<std::string>& arguments,
                           const std::vector<int>& daemons) {
  std::vector<std::string> words = {"--role", role, "--seed",   std::to_string(seed),
                                    "--name", name, "--record", RecordPath(role, name)};
  for (const int index : daemons) {
    words.insert(words.end(),
                 {"--port", std::to_string(ports_[static_cast<std::size_t>(index)].port())});
  }
  words.insert(words.end(), arguments.begin(), arguments.end());
  clients_.push_back({role, std::make_unique<Worker>(role + " " + name, words,
                                                     folder_ + "/" + role + "-" + name + ".out")});
  return *clients_.back().worker;
}

std::vector<Worker*> Arena::Workers(const std::string& role) {
  std::vector<Worker*> workers;
  for (const Client& client : clients_) {
    if (client.role == role) workers.push_back(client.worker.get());
  }
  return workers;
}

void Arena::RemoveWorker(Worker* worker) {
  worker->Kill();
  const auto is_it = [&](const Client& client) { return client.worker.get() == worker; };
  clients_.erase(std::remove_if(clients_.begin(), clients_.end(), is_it), clients_.end());
}

std::vector<std::string> Arena::FinishWorkers(const std::string& role, bool ask) {
  std::vector<std::string> failed;
  const std::vector<Worker*> workers = Workers(role);
  for (Worker* worker : workers) {
    if (ask) worker->Signal(SIGTERM);
  }
  for (Worker* worker : workers) {
    if (worker->WaitExit(kPatience) != 0) {
      failed.push_back(worker->name() + " did not end as it should");
    }
    RemoveWorker(worker);
  }
  return failed;
}

void Arena::LetRun(std::chrono::milliseconds duration) {
  std::string ended;
  Eventually(
      [&] {
        for (const Client& client : clients_) {
          if (client.worker->WaitExit(std::chrono::milliseconds(0)).has_value()) {
            ended = client.worker->name();
          }
        }
        return !ended.empty();
      },
      duration);
  if (!ended.empty()) throw std::runtime_error(ended + " ended too early; see " + Keep());
}

History Arena::ReadHistory() const {
  History history;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() != ".record") continue;
    const std::string name = entry.path().filename();
    const std::string role = name.substr(0, name.find('-'));
    if (role == "subscriber") {
      history.subscribers.push_back(ReadSubscriber(entry.path()));
    } else if (role == "reader") {
      history.readers.push_back(ReadReader(entry.path()));
    } else {
      history.writers.push_back(ReadWriter(entry.path()));
    }
  }
  return history;
}

FinalState Arena::ReadFinalState(const History& history, Dice* dice) {
  const auto any = [&]() -> testing::Client& {
    return daemon(static_cast<int>(dice->Between(0, kDaemons - 1))).client();
  };
  FinalState state;
  // Something that nobody waits for any more may still be on its way in a daemon.
  for (int tries = 1;; ++tries) {
    const v1::GetHeadResponse head = testing::GetHead(daemon(0).client());
    state.head = head.position();
    state.epoch = head.epoch();
    state.all = ReadLog(daemon(0).client());
    if (ReadLog(daemon(1).client()) != state.all) {
      throw std::runtime_error("the two daemons show different logs");
    }
    std::set<StreamName> names;
    for (const StoredEvent& event : state.all) names.insert(event.stream);
    for (const StreamName& name : names) state.streams[name] = ReadOne(any(), name);
    if (testing::GetHead(any()).position() == state.head) break;
    if (tries == kReadsMax) throw std::runtime_error("the log does not come to rest");
  }
  for (const std::string& id : IdsToAsk(history, dice)) state.by_ids[id] = ReadById(any(), id);
  return state;
}

}  // namespace eventstore::faults
