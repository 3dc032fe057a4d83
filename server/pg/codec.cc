#include "server/pg/codec.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

namespace eventstore::pg {
namespace {

// PostgreSQL counts time from 2000-01-01, Unix from 1970-01-01.
constexpr std::int64_t kEpochDifferenceMicros = 946'684'800'000'000;
constexpr std::int64_t kMicrosMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMicrosMax = std::numeric_limits<std::int64_t>::max();
// The first time that PostgreSQL can say (MIN_TIMESTAMP in datatype/timestamp.h).
constexpr std::int64_t kServerTimeMin = -211'813'488'000'000'000;
// An array's header: dimensions, has-null flag, element type, and for one dimension its length and
// lower bound. An empty array has no dimensions and ends after the type.
constexpr std::size_t kArrayHeaderBytes = 20;
constexpr std::size_t kEmptyArrayHeaderBytes = 12;
// The only version of jsonb's binary form: this byte and then the text.
constexpr char kJsonbVersion = 1;
constexpr std::int32_t kNullLength = -1;

// Converts between the host's byte order and the network's.
template <typename T>
T SwapToNetwork(T value) {
  if constexpr (std::endian::native == std::endian::big) return value;
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(value)));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(value)));
  } else {
    static_assert(sizeof(T) == 2);
    return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(value)));
  }
}

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return SwapToNetwork(value);
}

template <typename T>
void Store(char* bytes, T value) {
  value = SwapToNetwork(value);
  std::memcpy(bytes, &value, sizeof(T));
}

template <typename T>
void Append(std::string* bytes, T value) {
  value = SwapToNetwork(value);
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// The smallest and the largest number mean -infinity and infinity. Times before PostgreSQL's first
// (4713 BC) become -infinity, for it would refuse them; both read back as the smallest and largest
// Unix times, and so do those that Unix microseconds cannot say.
std::int64_t ToServerTime(std::int64_t unix_micros) {
  if (unix_micros == kMicrosMax) return kMicrosMax;
  if (unix_micros < kServerTimeMin + kEpochDifferenceMicros) return kMicrosMin;
  return unix_micros - kEpochDifferenceMicros;
}

std::int64_t ToUnixTime(std::int64_t server_micros) {
  if (server_micros == kMicrosMin) return kMicrosMin;
  if (server_micros > kMicrosMax - kEpochDifferenceMicros) return kMicrosMax;
  return server_micros + kEpochDifferenceMicros;
}

TypeOid ArrayOf(TypeOid element) {
  switch (element) {
    case kBool:
      return kBoolArray;
    case kBytea:
      return kByteaArray;
    case kInt4:
      return kInt4Array;
    case kInt8:
      return kInt8Array;
    case kTimestamptz:
      return kTimestamptzArray;
    case kUuid:
      return kUuidArray;
    case kJsonb:
      return kJsonbArray;
    default:
      assert(element == kText && "no array of this element type");
      return kTextArray;
  }
}

std::string_view Bytes(const UuidBytes& uuid) {
  return {reinterpret_cast<const char*>(uuid.data()), uuid.size()};
}

// What Result's getters take besides the type of their name.
constexpr Oid kVarchar = 1043;
constexpr Oid kName = 19;
constexpr Oid kBpchar = 1042;
constexpr Oid kUnknown = 705;

}  // namespace

ArrayWriter::ArrayWriter(TypeOid element) : element_(element) { bytes_.resize(kArrayHeaderBytes); }

void ArrayWriter::Reserve(std::size_t elements, std::size_t bytes) {
  bytes_.reserve(kArrayHeaderBytes + elements * sizeof(std::int32_t) + bytes);
}

void ArrayWriter::Header(std::int32_t length) {
  ++count_;
  Append(&bytes_, length);
}

void ArrayWriter::Null() {
  has_null_ = true;
  Header(kNullLength);
}

void ArrayWriter::Bool(bool value) {
  assert(element_ == kBool);
  Header(1);
  bytes_ += static_cast<char>(value ? 1 : 0);
}

void ArrayWriter::Int32(std::int32_t value) {
  assert(element_ == kInt4);
  Header(sizeof(value));
  Append(&bytes_, value);
}

void ArrayWriter::Int64(std::int64_t value) {
  assert(element_ == kInt8);
  Header(sizeof(value));
  Append(&bytes_, value);
}

void ArrayWriter::Text(std::string_view value) {
  assert(element_ == kText);
  Header(static_cast<std::int32_t>(value.size()));
  bytes_ += value;
}

void ArrayWriter::Bytea(std::string_view value) {
  assert(element_ == kBytea);
  Header(static_cast<std::int32_t>(value.size()));
  bytes_ += value;
}

void ArrayWriter::Jsonb(std::string_view json) {
  assert(element_ == kJsonb);
  Header(static_cast<std::int32_t>(json.size() + 1));
  bytes_ += kJsonbVersion;
  bytes_ += json;
}

void ArrayWriter::Uuid(const UuidBytes& value) {
  assert(element_ == kUuid);
  Header(static_cast<std::int32_t>(value.size()));
  bytes_ += Bytes(value);
}

void ArrayWriter::Timestamp(std::int64_t unix_micros) {
  assert(element_ == kTimestamptz);
  Header(sizeof(unix_micros));
  Append(&bytes_, ToServerTime(unix_micros));
}

TypeOid ArrayWriter::array_oid() const { return ArrayOf(element_); }

std::string ArrayWriter::Finish() {
  const bool empty = count_ == 0;
  char* header = bytes_.data();
  Store<std::int32_t>(header, empty ? 0 : 1);
  Store<std::int32_t>(header + 4, has_null_ ? 1 : 0);
  Store<std::int32_t>(header + 8, element_);
  if (empty) {
    bytes_.resize(kEmptyArrayHeaderBytes);
  } else {
    Store<std::int32_t>(header + 12, count_);
    Store<std::int32_t>(header + 16, 1);
  }
  return std::move(bytes_);
}

void Params::Add(TypeOid type, std::string_view bytes) {
  oids_.push_back(type);
  values_.push_back({Value::Place::kBytes, bytes_.size()});
  lengths_.push_back(static_cast<int>(bytes.size()));
  bytes_ += bytes;
}

Params& Params::Null(TypeOid type) {
  oids_.push_back(type);
  values_.push_back({Value::Place::kNull});
  lengths_.push_back(0);
  return *this;
}

Params& Params::Bool(bool value) {
  const char byte = value ? 1 : 0;
  Add(kBool, {&byte, 1});
  return *this;
}

Params& Params::Int32(std::int32_t value) {
  char bytes[sizeof(value)];
  Store(bytes, value);
  Add(kInt4, {bytes, sizeof(bytes)});
  return *this;
}

Params& Params::Int64(std::int64_t value) {
  char bytes[sizeof(value)];
  Store(bytes, value);
  Add(kInt8, {bytes, sizeof(bytes)});
  return *this;
}

Params& Params::Double(double value) {
  char bytes[sizeof(value)];
  Store(bytes, std::bit_cast<std::int64_t>(value));
  Add(kFloat8, {bytes, sizeof(bytes)});
  return *this;
}

Params& Params::Text(std::string_view value) {
  Add(kText, value);
  return *this;
}

Params& Params::Bytea(std::string_view value) {
  Add(kBytea, value);
  return *this;
}

Params& Params::Jsonb(std::string_view json) {
  Add(kJsonb, {&kJsonbVersion, 1});
  bytes_ += json;
  lengths_.back() += static_cast<int>(json.size());
  return *this;
}

Params& Params::Uuid(const UuidBytes& value) {
  Add(kUuid, Bytes(value));
  return *this;
}

Params& Params::Timestamp(std::int64_t unix_micros) {
  char bytes[sizeof(unix_micros)];
  Store(bytes, ToServerTime(unix_micros));
  Add(kTimestamptz, {bytes, sizeof(bytes)});
  return *this;
}

Params& Params::Array(ArrayWriter* array) {
  oids_.push_back(array->array_oid());
  values_.push_back({Value::Place::kArrays, arrays_.size()});
  arrays_.push_back(array->Finish());
  lengths_.push_back(static_cast<int>(arrays_.back().size()));
  return *this;
}

Params& Params::TextArray(const std::vector<std::string>& values) {
  ArrayWriter array(kText);
  for (const std::string& value : values) array.Text(value);
  return Array(&array);
}

void Params::Fill(Raw* raw) const {
  raw->values.clear();
  for (const Value& value : values_) {
    switch (value.place) {
      case Value::Place::kNull:
        raw->values.push_back(nullptr);
        break;
      case Value::Place::kBytes:
        raw->values.push_back(bytes_.data() + value.at);
        break;
      case Value::Place::kArrays:
        raw->values.push_back(arrays_[value.at].data());
        break;
    }
  }
  raw->lengths.assign(lengths_.begin(), lengths_.end());
  raw->formats.assign(lengths_.size(), 1);
}

Params::Raw Params::raw() const {
  Raw raw;
  Fill(&raw);
  return raw;
}

std::int64_t Result::affected() const {
  const std::string_view text = PQcmdTuples(result_.get());
  std::int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

bool Result::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Result::Raw(int row, int column) const {
  assert(row >= 0 && row < rows() && column >= 0 && column < columns());
  assert(!IsNull(row, column) && "reading a NULL");
  const char* value = PQgetvalue(result_.get(), row, column);
  if (value == nullptr) return {};
  return {value, static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

bool Result::Bool(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kBool);
  return raw.size() == 1 && raw[0] != 0;
}

std::int32_t Result::Int32(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kInt4 || type(column) == kInt2);
  if (raw.size() == 4) return Load<std::int32_t>(raw.data());
  return raw.size() == 2 ? Load<std::int16_t>(raw.data()) : 0;
}

std::int64_t Result::Int64(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kInt8 || type(column) == kInt4 || type(column) == kInt2);
  if (raw.size() == 8) return Load<std::int64_t>(raw.data());
  if (raw.size() == 4) return Load<std::int32_t>(raw.data());
  return raw.size() == 2 ? Load<std::int16_t>(raw.data()) : 0;
}

double Result::Double(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kFloat8);
  return raw.size() == 8 ? std::bit_cast<double>(Load<std::int64_t>(raw.data())) : 0;
}

std::string_view Result::Text(int row, int column) const {
  assert(type(column) == kText || type(column) == kVarchar || type(column) == kName ||
         type(column) == kBpchar || type(column) == kUnknown);
  return Raw(row, column);
}

std::string_view Result::Bytea(int row, int column) const {
  assert(type(column) == kBytea);
  return Raw(row, column);
}

std::string_view Result::Jsonb(int row, int column) const {
  std::string_view raw = Raw(row, column);
  assert(type(column) == kJsonb);
  if (raw.empty() || raw[0] != kJsonbVersion) return {};
  raw.remove_prefix(1);
  return raw;
}

UuidBytes Result::Uuid(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kUuid);
  UuidBytes uuid{};
  if (raw.size() == uuid.size()) std::memcpy(uuid.data(), raw.data(), uuid.size());
  return uuid;
}

std::int64_t Result::Timestamp(int row, int column) const {
  const std::string_view raw = Raw(row, column);
  assert(type(column) == kTimestamptz);
  return raw.size() == 8 ? ToUnixTime(Load<std::int64_t>(raw.data())) : 0;
}

std::vector<std::string> Result::TextArray(int row, int column) const {
  std::string_view raw = Raw(row, column);
  assert(type(column) == kTextArray);
  std::vector<std::string> values;
  if (raw.size() < kArrayHeaderBytes || Load<std::int32_t>(raw.data()) != 1) return values;
  const std::int32_t count = Load<std::int32_t>(raw.data() + kEmptyArrayHeaderBytes);
  raw.remove_prefix(kArrayHeaderBytes);
  values.reserve(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count && raw.size() >= 4; ++i) {
    const std::int32_t length = Load<std::int32_t>(raw.data());
    raw.remove_prefix(4);
    const auto size = static_cast<std::size_t>(length == kNullLength ? 0 : length);
    values.emplace_back(raw.substr(0, size));  // A NULL element reads as an empty text.
    raw.remove_prefix(std::min(size, raw.size()));
  }
  return values;
}

}  // namespace eventstore::pg
