// PostgreSQL's binary formats: parameters, arrays and results.
//
// Everything travels in binary: no text parsing on either side, and no quoting. Not thread-safe:
// each object belongs to one thread at a time.
#ifndef EVENTSTORE_SERVER_PG_CODEC_H_
#define EVENTSTORE_SERVER_PG_CODEC_H_

#include <libpq-fe.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace eventstore::pg {

// A UUID's 16 bytes in network order.
using UuidBytes = std::array<std::uint8_t, 16>;

// The type OIDs that this codec speaks; they are fixed in PostgreSQL's catalog (pg_type.dat).
enum TypeOid : Oid {
  kBool = 16,
  kBytea = 17,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kText = 25,
  kFloat8 = 701,
  kTimestamptz = 1184,
  kUuid = 2950,
  kJsonb = 3802,
  kBoolArray = 1000,
  kByteaArray = 1001,
  kInt4Array = 1007,
  kTextArray = 1009,
  kInt8Array = 1016,
  kTimestamptzArray = 1185,
  kUuidArray = 2951,
  kJsonbArray = 3807,
};

// Builds one array parameter. All elements have the type given to the constructor; the caller uses
// the matching method (asserted in debug builds).
class ArrayWriter {
 public:
  explicit ArrayWriter(TypeOid element);
  // Makes room for so many elements of so many bytes in all.
  void Reserve(std::size_t elements, std::size_t bytes);

  void Null();
  void Bool(bool value);
  void Int32(std::int32_t value);
  void Int64(std::int64_t value);
  void Text(std::string_view value);
  void Bytea(std::string_view value);
  void Jsonb(std::string_view json);
  void Uuid(const UuidBytes& value);
  void Timestamp(std::int64_t unix_micros);

  [[nodiscard]] TypeOid array_oid() const;
  [[nodiscard]] std::int32_t size() const { return count_; }
  // The array's bytes, header included; the writer must not be used any more.
  [[nodiscard]] std::string Finish();

 private:
  void Header(std::int32_t length);

  TypeOid element_;
  std::int32_t count_ = 0;
  bool has_null_ = false;
  std::string bytes_;
};

// The parameters of one statement: $1 is the first that was added.
class Params {
 public:
  Params& Null(TypeOid type);
  Params& Bool(bool value);
  Params& Int32(std::int32_t value);
  Params& Int64(std::int64_t value);
  Params& Double(double value);
  Params& Text(std::string_view value);
  Params& Bytea(std::string_view value);
  Params& Jsonb(std::string_view json);
  Params& Uuid(const UuidBytes& value);
  Params& Timestamp(std::int64_t unix_micros);
  Params& Array(ArrayWriter* array);  // Takes the array's bytes (see ArrayWriter::Finish).
  Params& TextArray(const std::vector<std::string>& values);

  [[nodiscard]] int size() const { return static_cast<int>(oids_.size()); }
  // In libpq's form; pointers are valid until the next change.
  struct Raw {
    std::vector<const char*> values;
    std::vector<int> lengths;
    std::vector<int> formats;
  };
  [[nodiscard]] Raw raw() const;
  // As raw(), into vectors that are used again: the hot path sends many statements in a row.
  void Fill(Raw* raw) const;
  [[nodiscard]] const Oid* oids() const { return oids_.data(); }

 private:
  void Add(TypeOid type, std::string_view bytes);

  // Where a value is: NULL, at this offset of `bytes_`, or (large ones) a string of its own.
  struct Value {
    enum class Place { kNull, kBytes, kArrays } place;
    std::size_t at = 0;
  };

  std::string bytes_;
  std::vector<std::string> arrays_;
  std::vector<Oid> oids_;
  std::vector<Value> values_;
  std::vector<int> lengths_;
};

// One statement's rows. Views into it are valid as long as it lives. Reading a NULL, or a column of
// another type, is a defect of the caller: it is asserted in debug builds and reads as zero or
// empty.
class Result {
 public:
  explicit Result(PGresult* result) : result_(result, &PQclear) {}

  [[nodiscard]] int rows() const { return PQntuples(result_.get()); }
  [[nodiscard]] int columns() const { return PQnfields(result_.get()); }
  // Rows that an INSERT, UPDATE or DELETE changed.
  [[nodiscard]] std::int64_t affected() const;
  [[nodiscard]] bool IsNull(int row, int column) const;
  [[nodiscard]] bool Bool(int row, int column) const;
  [[nodiscard]] std::int32_t Int32(int row, int column) const;  // also SMALLINT
  [[nodiscard]] std::int64_t Int64(int row, int column) const;  // also INTEGER and SMALLINT
  [[nodiscard]] double Double(int row, int column) const;
  [[nodiscard]] std::string_view Text(int row, int column) const;  // also VARCHAR and NAME
  [[nodiscard]] std::string_view Bytea(int row, int column) const;
  [[nodiscard]] std::string_view Jsonb(int row, int column) const;  // the JSON text
  [[nodiscard]] UuidBytes Uuid(int row, int column) const;
  [[nodiscard]] std::int64_t Timestamp(int row, int column) const;  // Unix microseconds
  // A NULL element reads as an empty text.
  [[nodiscard]] std::vector<std::string> TextArray(int row, int column) const;
  // The type of a column.
  [[nodiscard]] Oid type(int column) const { return PQftype(result_.get(), column); }
  [[nodiscard]] PGresult* get() const { return result_.get(); }

 private:
  [[nodiscard]] std::string_view Raw(int row, int column) const;

  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

}  // namespace eventstore::pg

#endif  // EVENTSTORE_SERVER_PG_CODEC_H_
