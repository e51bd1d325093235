// Vectors of float32 as the compiler knows them, and products of blocks in registers,
// whose operands are float32 or, where the processor multiplies them, bfloat16.
//
// A block of sums is kRows by kPanel: as many as the processor's registers hold beside
// the operands. Written with the compiler's vectors, so that one source does for all.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

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

// Operands of products: kDeep numbers that are multiplied and summed by one instruction
// follow each other. A row of a panel has kPanel times as many.
struct Floats {
  using Number = float;
  using Wide = Vector;
  static constexpr int64_t kDeep = 1;

  static Vector Load(const Number* from) { return kernels::Load(from); }
  static void Store(Number* to, Vector value) { kernels::Store(to, value); }
  static Wide Spread(const Number* from) { return Fill(*from); }
  static Wide Hold(const Number* from) { return kernels::Hold(from); }
  static Vector Add(Vector sum, Wide a, Wide b) { return sum + a * b; }
};

#if defined(__AVX512BF16__)
struct Bfloats {
  using Number = uint16_t;
  using Wide = __m512bh;
  static constexpr int64_t kDeep = 2;

  static Vector Load(const Number* from) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
  }
  static void Store(Number* to, Vector value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        (__m256i)_mm512_cvtneps_pbh((__m512)value));
  }
  // Pairs of two vectors' numbers.
  static void StorePairs(Number* to, Vector even, Vector odd) {
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)even));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)odd));
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
  static Wide Spread(const Number* from) {
    int32_t pair;
    std::memcpy(&pair, from, sizeof pair);
    return (Wide)_mm512_set1_epi32(pair);
  }
  static Wide Hold(const Number* from) { return (Wide)_mm512_loadu_si512(from); }
  static Vector Add(Vector sum, Wide a, Wide b) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, a, b);
  }
};
#endif

// Sums of kCount rows times panels of a matrix, to `sums` with rows `apart`: for each
// of `taps` the rows' first numbers, kRows pointers, and `depth` rows of a panel.
template <typename Type, int kCount>
void MultiplyRows(const typename Type::Number* const* rows, int64_t taps, int64_t depth,
                  const typename Type::Number* panel, float* sums, int64_t apart) {
  constexpr int64_t kDeep = Type::kDeep;
  Vector low[kCount] = {}, high[kCount] = {};
  for (int64_t tap = 0; tap < taps; ++tap, rows += kRows) {
    const typename Type::Number* row[kCount];
#pragma GCC unroll 12
    for (int i = 0; i < kCount; ++i) row[i] = rows[i];
    for (int64_t k = 0; k < depth; k += kDeep, panel += kDeep * kPanel) {
      const auto first = Type::Hold(panel), second = Type::Hold(panel + kDeep * kLanes);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        const auto number = Type::Spread(row[i] + k);
        low[i] = Type::Add(low[i], number, first);
        high[i] = Type::Add(high[i], number, second);
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
template <typename Type>
struct Run {
  const typename Type::Number* first;
  const typename Type::Number* second;
  int64_t count;
};

// Adds the products of columns: kCount of the first matrix's by a panel of the second's.
// Rows, and how far they lie `apart`, are those of kDeep numbers of each column.
template <typename Type, int kCount>
void MultiplyColumns(const Run<Type>* runs, int64_t count, int64_t in, int64_t out,
                     int64_t first_apart, int64_t second_apart, float* sums,
                     int64_t apart) {
  constexpr int64_t kDeep = Type::kDeep;
  Vector low[kCount], high[kCount];
#pragma GCC unroll 12
  for (int i = 0; i < kCount; ++i) {
    low[i] = Load(sums + i * apart);
    high[i] = Load(sums + i * apart + kLanes);
  }
  for (const Run<Type>* run = runs; run != runs + count; ++run) {
    const auto* a = run->first + in * kDeep;
    const auto* b = run->second + out * kDeep;
    for (int64_t k = 0; k < run->count; ++k, a += first_apart, b += second_apart) {
      const auto first = Type::Hold(b), second = Type::Hold(b + kDeep * kLanes);
#pragma GCC unroll 12
      for (int i = 0; i < kCount; ++i) {
        const auto number = Type::Spread(a + i * kDeep);
        low[i] = Type::Add(low[i], number, first);
        high[i] = Type::Add(high[i], number, second);
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
