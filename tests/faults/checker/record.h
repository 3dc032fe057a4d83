// Record files: what a client knows, one line each, written before it acts on it.
//
// A line is words with single spaces. It is one write(2) to a file opened for appending, so that
// what a killed client wrote stays; only its last line may be torn, and that is left out.
#ifndef EVENTSTORE_TESTS_FAULTS_CHECKER_RECORD_H_
#define EVENTSTORE_TESTS_FAULTS_CHECKER_RECORD_H_

#include <cstdint>
#include <string>

#include "tests/faults/checker/history.h"

namespace eventstore::faults {

// The machine's monotonic clock, the same for all processes.
std::int64_t NowMicros();

// `text` without whitespace; "-" instead of nothing.
std::string Word(const std::string& text);

// Appends lines to a file. Thread-safe.
class Recorder {
 public:
  // A torn line at the file's end is cut off. Throws if the file cannot be written.
  explicit Recorder(const std::string& path);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // One or several whole lines, each with its newline.
  void Write(const std::string& lines) const;

 private:
  int fd_ = -1;
};

// Lines of writers.
std::string RequestLine(std::int64_t number, const Request& request);
std::string SendLine(std::int64_t number, std::size_t attempt, const Attempt& sent);
std::string AnswerLine(std::int64_t number, std::size_t attempt, const Attempt& answered);
// Lines of subscribers.
std::string FollowLine(const SubscriberHistory& what);
std::string StepLine(const SubscriberStep& step);
// Lines of readers.
std::string ReadLines(const ReadRecord& read);
// The last line of a client that ends by itself.
std::string DoneLine();

// Read a record back; the name is the file's. A line that is no such record throws.
WriterHistory ReadWriter(const std::string& path);
SubscriberHistory ReadSubscriber(const std::string& path);
ReaderHistory ReadReader(const std::string& path);

}  // namespace eventstore::faults

#endif  // EVENTSTORE_TESTS_FAULTS_CHECKER_RECORD_H_
