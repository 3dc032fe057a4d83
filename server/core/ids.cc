#include "server/core/ids.h"

#include <sys/random.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace eventstore {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

// The value of a hexadecimal digit, or -1.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether a dash stands before byte `i` of a UUID's text.
constexpr bool DashBefore(std::size_t i) { return i == 4 || i == 6 || i == 8 || i == 10; }

// Spreads every bit over all others (the finalizer of MurmurHash3, which is in the public domain):
// clients choose ids, and a single bit may be all that differs.
std::uint64_t Mix(std::uint64_t bits) {
  bits = (bits ^ (bits >> 33)) * 0xff51afd7ed558ccdULL;
  bits = (bits ^ (bits >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return bits ^ (bits >> 33);
}

// Random bytes of the system's generator, fetched in portions: a system call per id would cost more
// than the rest of making it. One per thread, so it needs no lock.
class RandomBytes {
 public:
  void Fill(std::uint8_t* out, std::size_t size) {
    if (size > sizeof(bytes_) - used_) Refill();
    std::memcpy(out, bytes_ + used_, size);
    used_ += size;
  }

 private:
  void Refill() {
    // Requests of up to 256 bytes come back whole, says getrandom(2). It can fail only on a kernel
    // without it, where no safe id can be made at all.
    ssize_t got;
    do {
      got = getrandom(bytes_, sizeof(bytes_), 0);
    } while (got < 0 && errno == EINTR);
    if (got != static_cast<ssize_t>(sizeof(bytes_))) std::abort();
    used_ = 0;
  }

  std::uint8_t bytes_[256];
  std::size_t used_ = sizeof(bytes_);
};

}  // namespace

std::optional<Uuid> ParseUuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Uuid uuid;
  std::size_t at = 0;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (DashBefore(i) && text[at++] != '-') return std::nullopt;
    const int high = HexValue(text[at]);
    const int low = HexValue(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    uuid[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return uuid;
}

std::string FormatUuid(const Uuid& uuid) {
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (DashBefore(i)) text += '-';
    text += kHexDigits[uuid[i] >> 4];
    text += kHexDigits[uuid[i] & 0xf];
  }
  return text;
}

Uuid MakeUuidV7() {
  thread_local RandomBytes random;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto millis = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  Uuid uuid;
  for (int i = 0; i < 6; ++i) uuid[i] = static_cast<std::uint8_t>(millis >> (40 - 8 * i));
  random.Fill(uuid.data() + 6, uuid.size() - 6);
  uuid[6] = static_cast<std::uint8_t>(0x70 | (uuid[6] & 0x0f));  // version 7
  uuid[8] = static_cast<std::uint8_t>(0x80 | (uuid[8] & 0x3f));  // the variant of RFC 9562
  return uuid;
}

std::size_t UuidHash::operator()(const Uuid& uuid) const noexcept {
  std::uint64_t high;
  std::uint64_t low;
  std::memcpy(&high, uuid.data(), sizeof(high));
  std::memcpy(&low, uuid.data() + sizeof(high), sizeof(low));
  return static_cast<std::size_t>(Mix(Mix(high) ^ low));
}

}  // namespace eventstore
