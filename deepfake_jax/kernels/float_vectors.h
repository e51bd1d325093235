// Vectors of float32 as the compiler knows them, and products of blocks in registers.
//
// A block of sums is kRows by kPanel: as many as the processor's registers hold beside
// the operands. Written with the compiler's vectors, so that one source does for all.

#pragma once

#include <cstdint>
#include <type_traits>

namespace kernels {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16, kRows = 12;
#else
constexpr int64_t kLanes = 8, kRows = 6;
#endif
constexpr int64_t kPanel = 2 * kLanes;

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float Loose __attribute__((vector_size(4 * kLanes), aligned(4)));

inline Vector Load(const float* from) { return *reinterpret_cast<const Loose*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<Loose*>(to) = value; }
// `number + 0` is an instruction, for it turns -0 into 0; `number - 0` is none.
inline Vector Fill(float number) { return number - Vector{}; }

// A vector in a register: compilers would else read it from memory for every use.
inline Vector Hold(const float* from) {
  Vector value = Load(from);
  asm("" : "+v"(value));
  return value;
}

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// Sums of kCount rows times panels of a matrix, to `sums` with rows `apart`: for each
// of `taps` the rows' first numbers, kRows pointers, and `depth` rows of a panel.
template <int kCount>
void MultiplyRows(const float* const* rows, int64_t taps, int64_t depth,
                  const float* panel, float* sums, int64_t apart) {
  Vector low[kCount] = {}, high[kCount] = {};
  for (int64_t tap = 0; tap < taps; ++tap, rows += kRows) {
    const float* row[kCount];
#pragma GCC unroll 12
    for (int i = 0; i < kCount; ++i) row[i] = rows[i];
    for (int64_t k = 0; k < depth; ++k, panel += kPanel) {
      const Vector first = Hold(panel), second = Hold(panel + kLanes);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        const Vector number = Fill(row[i][k]);
        low[i] += number * first;
        high[i] += number * second;
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    Store(sums + i * apart, low[i]);
    Store(sums + i * apart + kLanes, high[i]);
  }
}

// A stretch of two matrices' rows, one of the first `step` numbers apart.
struct Run {
  const float* first;
  const float* second;
  int64_t count;
};

// Adds the products of columns: kCount of the first matrix's by a panel of the second's.
template <int kCount>
void MultiplyColumns(const Run* runs, int64_t count, int64_t in, int64_t out,
                     int64_t first_apart, int64_t second_apart, float* sums,
                     int64_t apart) {
  Vector low[kCount], high[kCount];
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    low[i] = Load(sums + i * apart);
    high[i] = Load(sums + i * apart + kLanes);
  }
  for (const Run* run = runs; run != runs + count; ++run) {
    const float* a = run->first + in;
    const float* b = run->second + out;
    for (int64_t k = 0; k < run->count; ++k, a += first_apart, b += second_apart) {
      const Vector first = Hold(b), second = Hold(b + kLanes);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        const Vector number = Fill(a[i]);
        low[i] += number * first;
        high[i] += number * second;
      }
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    Store(sums + i * apart, low[i]);
    Store(sums + i * apart + kLanes, high[i]);
  }
}

// Calls with the count that is left as a constant, 1 to kRows.
template <int kCount = kRows, typename Call>
void WithCount(int64_t count, const Call& call) {
  if constexpr (kCount > 1) {
    if (count < kCount) return WithCount<kCount - 1>(count, call);
  }
  call(std::integral_constant<int, kCount>());
}

}  // namespace kernels
