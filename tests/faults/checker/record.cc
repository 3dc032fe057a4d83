#include "tests/faults/checker/record.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace eventstore::faults {
namespace {

constexpr const char* kExpectations[] = {"any", "no_stream", "stream_exists", "exact"};

// The file without a torn last line.
std::string WholeLines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  text.resize(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
  return text;
}

// Words of one line, each of which must be there.
class Words {
 public:
  explicit Words(const std::string& line) : line_(line), words_(line) {}

  std::string Text() {
    std::string word;
    if (!(words_ >> word)) throw std::runtime_error("a record's line is too short: " + line_);
    return word;
  }
  std::int64_t Number() { return std::stoll(Text()); }
  StreamName Stream() {
    StreamName stream;
    stream.type = Text();
    stream.id = Text();
    return stream;
  }
  void End() {
    std::string word;
    if (words_ >> word) throw std::runtime_error("a record's line is too long: " + line_);
  }
  [[noreturn]] void Unknown() const {
    throw std::runtime_error("a record's line is of no known kind: " + line_);
  }

 private:
  const std::string line_;
  std::istringstream words_;
};

void ForEachLine(const std::string& path, const std::function<void(const std::string&)>& use) {
  std::istringstream text(WholeLines(path));
  for (std::string line; std::getline(text, line);) use(line);
}

Expectation ExpectationOf(const std::string& word) {
  const auto* found = std::find(std::begin(kExpectations), std::end(kExpectations), word);
  if (found == std::end(kExpectations)) throw std::runtime_error("no expectation: " + word);
  return static_cast<Expectation>(found - std::begin(kExpectations));
}

Request ParseRequest(Words* words) {
  Request request;
  request.stream = words->Stream();
  request.expects = ExpectationOf(words->Text());
  request.exact = words->Number();
  request.bad = words->Text() == "bad";
  request.forever = words->Text() == "forever";
  const std::int64_t count = words->Number();
  for (std::int64_t i = 0; i < count; ++i) {
    WantedEvent event;
    event.id = words->Text();
    event.type = words->Text();
    event.payload = words->Text();
    request.events.push_back(std::move(event));
  }
  return request;
}

Appended ParseAppended(Words* words) {
  Appended appended;
  appended.first_version = words->Number();
  appended.last_version = words->Number();
  appended.first_position = words->Number();
  appended.last_position = words->Number();
  appended.created_at_us = words->Number();
  appended.deduplicated = words->Number() != 0;
  const std::int64_t count = words->Number();
  for (std::int64_t i = 0; i < count; ++i) appended.ids.push_back(words->Text());
  return appended;
}

void ParseWriterLine(const std::string& line, WriterHistory* history) {
  Words words(line);
  const std::string kind = words.Text();
  if (kind == "done") {
    history->finished = true;
    return words.End();
  }
  const std::int64_t number = words.Number();
  if (kind == "request") {
    history->requests[number] = ParseRequest(&words);
    return words.End();
  }
  Request& request = history->requests.at(number);
  const auto index = static_cast<std::size_t>(words.Number());
  if (kind == "send") {
    if (index != request.attempts.size())
      throw std::runtime_error("attempts out of order: " + line);
    Attempt& attempt = request.attempts.emplace_back();
    attempt.sent_at_us = words.Number();
    attempt.daemon = static_cast<int>(words.Number());
    return words.End();
  }
  Attempt& attempt = request.attempts.at(index);
  attempt.answered_at_us = words.Number();
  if (kind == "ok") {
    attempt.appended = ParseAppended(&words);
  } else if (kind == "error") {
    attempt.code = words.Text();
    attempt.reason = words.Text();
    attempt.actual = words.Number();
  } else {
    words.Unknown();
  }
  words.End();
}

void ParseSubscriberLine(const std::string& line, SubscriberHistory* history) {
  using Kind = SubscriberStep::Kind;
  Words words(line);
  const std::string kind = words.Text();
  SubscriberStep step;
  if (kind == "done") {
    history->finished = true;
    return words.End();
  }
  if (kind == "follow") {
    const std::string what = words.Text();
    if (what == "type") history->type = words.Text();
    if (what == "stream") history->stream = words.Stream();
    return words.End();
  }
  if (kind == "session") {
    step.kind = Kind::kSession;
    step.daemon = static_cast<int>(words.Number());
    step.position = words.Number();
    step.epoch = words.Number();
  } else if (kind == "event") {
    step.kind = Kind::kEvent;
    step.position = words.Number();
    step.stream = words.Stream();
    step.version = words.Number();
    step.text = words.Text();
  } else if (kind == "mark") {
    step.kind = Kind::kMark;
    step.text = words.Text();
    step.position = words.Number();
    step.epoch = words.Number();
  } else if (kind == "end") {
    step.kind = Kind::kEnd;
    step.text = words.Text();
  } else {
    words.Unknown();
  }
  words.End();
  history->steps.push_back(std::move(step));
}

void ParseReaderLine(const std::string& line, ReaderHistory* history) {
  Words words(line);
  const std::string kind = words.Text();
  if (kind == "done") return words.End();
  ReadRecord read;
  read.sent_at_us = words.Number();
  read.daemon = static_cast<int>(words.Number());
  read.head = words.Number();
  read.epoch = words.Number();
  read.after = words.Number();
  if (kind == "all") {
    read.kind = ReadRecord::Kind::kAll;
  } else if (kind == "stream") {
    read.kind = ReadRecord::Kind::kStream;
    read.stream = words.Stream();
    read.version = words.Number();
  } else if (kind != "head") {
    words.Unknown();
  }
  const std::int64_t count = words.Number();
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t number = words.Number();
    read.seen.emplace_back(number, words.Text());
  }
  words.End();
  history->reads.push_back(std::move(read));
}

std::string NameOf(const std::string& path) { return std::filesystem::path(path).filename(); }

}  // namespace

std::int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string Word(const std::string& text) {
  std::string word;
  std::copy_if(text.begin(), text.end(), std::back_inserter(word),
               [](unsigned char c) { return std::isspace(c) == 0; });
  return word.empty() ? "-" : word;
}

Recorder::Recorder(const std::string& path) {
  if (std::filesystem::exists(path)) {
    std::filesystem::resize_file(path, WholeLines(path).size());
  }
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw std::runtime_error("cannot write " + path);
}

Recorder::~Recorder() { close(fd_); }

void Recorder::Write(const std::string& lines) const {
  const ssize_t written = write(fd_, lines.data(), lines.size());
  if (written != static_cast<ssize_t>(lines.size())) throw std::runtime_error("a record is full");
}

std::string RequestLine(std::int64_t number, const Request& request) {
  std::ostringstream line;
  line << "request " << number << ' ' << request.stream.type << ' ' << request.stream.id << ' '
       << kExpectations[static_cast<int>(request.expects)] << ' ' << request.exact << ' '
       << (request.bad ? "bad" : "good") << ' ' << (request.forever ? "forever" : "maybe") << ' '
       << request.events.size();
  for (const WantedEvent& event : request.events) {
    line << ' ' << event.id << ' ' << event.type << ' ' << Word(event.payload);
  }
  line << '\n';
  return line.str();
}

std::string SendLine(std::int64_t number, std::size_t attempt, const Attempt& sent) {
  std::ostringstream line;
  line << "send " << number << ' ' << attempt << ' ' << sent.sent_at_us << ' ' << sent.daemon
       << '\n';
  return line.str();
}

std::string AnswerLine(std::int64_t number, std::size_t attempt, const Attempt& answered) {
  std::ostringstream line;
  line << (answered.appended.has_value() ? "ok " : "error ") << number << ' ' << attempt << ' '
       << answered.answered_at_us << ' ';
  if (answered.appended.has_value()) {
    const Appended& appended = *answered.appended;
    line << appended.first_version << ' ' << appended.last_version << ' ' << appended.first_position
         << ' ' << appended.last_position << ' ' << appended.created_at_us << ' '
         << (appended.deduplicated ? 1 : 0) << ' ' << appended.ids.size();
    for (const std::string& id : appended.ids) line << ' ' << Word(id);
  } else {
    line << Word(answered.code) << ' ' << Word(answered.reason) << ' ' << answered.actual;
  }
  line << '\n';
  return line.str();
}

std::string FollowLine(const SubscriberHistory& what) {
  if (what.stream.has_value()) {
    return "follow stream " + what.stream->type + " " + what.stream->id + "\n";
  }
  return what.type.empty() ? "follow all\n" : "follow type " + what.type + "\n";
}

std::string StepLine(const SubscriberStep& step) {
  std::ostringstream line;
  switch (step.kind) {
    case SubscriberStep::Kind::kSession:
      line << "session " << step.daemon << ' ' << step.position << ' ' << step.epoch;
      break;
    case SubscriberStep::Kind::kEvent:
      line << "event " << step.position << ' ' << step.stream.type << ' ' << step.stream.id << ' '
           << step.version << ' ' << Word(step.text);
      break;
    case SubscriberStep::Kind::kMark:
      line << "mark " << step.text << ' ' << step.position << ' ' << step.epoch;
      break;
    case SubscriberStep::Kind::kEnd:
      line << "end " << Word(step.text);
      break;
  }
  line << '\n';
  return line.str();
}

std::string ReadLines(const ReadRecord& read) {
  std::ostringstream line;
  switch (read.kind) {
    case ReadRecord::Kind::kHead:
      line << "head";
      break;
    case ReadRecord::Kind::kStream:
      line << "stream";
      break;
    case ReadRecord::Kind::kAll:
      line << "all";
      break;
  }
  line << ' ' << read.sent_at_us << ' ' << read.daemon << ' ' << read.head << ' ' << read.epoch
       << ' ' << read.after;
  if (read.kind == ReadRecord::Kind::kStream) {
    line << ' ' << read.stream.type << ' ' << read.stream.id << ' ' << read.version;
  }
  line << ' ' << read.seen.size();
  for (const auto& [number, id] : read.seen) line << ' ' << number << ' ' << Word(id);
  line << '\n';
  return line.str();
}

std::string DoneLine() { return "done\n"; }

WriterHistory ReadWriter(const std::string& path) {
  WriterHistory history;
  history.name = NameOf(path);
  ForEachLine(path, [&](const std::string& line) { ParseWriterLine(line, &history); });
  return history;
}

SubscriberHistory ReadSubscriber(const std::string& path) {
  SubscriberHistory history;
  history.name = NameOf(path);
  ForEachLine(path, [&](const std::string& line) { ParseSubscriberLine(line, &history); });
  return history;
}

ReaderHistory ReadReader(const std::string& path) {
  ReaderHistory history;
  history.name = NameOf(path);
  ForEachLine(path, [&](const std::string& line) { ParseReaderLine(line, &history); });
  return history;
}

}  // namespace eventstore::faults
