// Products of tiles: bfloat16 operands, float32 sums. In the tiles of AMX where the
// processor has them, else in vectors (AVX-512), which read the same tiles in memory.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <vector>

#include "threads.h"

namespace kernels {

constexpr int64_t kTile = 512;  // bfloat16 of a tile of 16 x 32

#if defined(__AMX_BF16__)

// All eight tiles as 16 rows of 64 bytes, for as long as this lives.
class Tiles {
 public:
  Tiles() {
    alignas(64) uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
      config[16 + 2 * tile] = 64;
      config[48 + tile] = 16;
    }
    _tile_loadconfig(config);
  }
  ~Tiles() { _tile_release(); }
};

// Sums of 16 or 32 positions by 16 or 32 channels over blocks and taps, to `sums` with
// rows of 32. `taps` are offsets into a panel's block, whose blocks lie `apart`.
template <bool kTwoRows, bool kTwoColumns>
void MultiplyBlock(const uint16_t* first, const uint16_t* second,
                   const std::vector<int64_t>& taps, int64_t blocks, int64_t apart,
                   const uint16_t* kernel, float* sums) {
  _tile_zero(0);
  if (kTwoColumns) _tile_zero(1);
  if (kTwoRows) _tile_zero(2);
  if (kTwoRows && kTwoColumns) _tile_zero(3);
  for (int64_t block = 0; block < blocks; ++block, first += apart, second += apart)
    for (const int64_t tap : taps) {
      _tile_loadd(6, kernel, 64);
      _tile_loadd(4, first + tap, 64);
      _tile_dpbf16ps(0, 4, 6);
      if (kTwoColumns) {
        _tile_loadd(7, kernel + kTile, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if (kTwoRows) {
        _tile_loadd(5, second + tap, 64);
        _tile_dpbf16ps(2, 5, 6);
        if (kTwoColumns) _tile_dpbf16ps(3, 5, 7);
      }
      kernel += kTwoColumns ? 2 * kTile : kTile;
    }
  _tile_stored(0, sums, 128);
  if (kTwoColumns) _tile_stored(1, sums + 16, 128);
  if (kTwoRows) _tile_stored(2, sums + 512, 128);
  if (kTwoRows && kTwoColumns) _tile_stored(3, sums + 528, 128);
}

// Adds to 32 x 32 sums of a kernel's gradient (or fewer): 32 positions from each of
// `starts` in turned pictures, whose rows lie `turned` apart, times tiles of answers.
template <bool kTwoRows, bool kTwoColumns>
void AddProducts(const uint16_t* pictures, int64_t turned, const int64_t* starts,
                 int64_t count, const uint16_t* answers, int64_t apart, bool fresh,
                 float* sums) {
  const int64_t stride = turned * 2;
  if (fresh) {
    _tile_zero(0);
    if (kTwoColumns) _tile_zero(1);
    if (kTwoRows) _tile_zero(2);
    if (kTwoRows && kTwoColumns) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 128);
    if (kTwoColumns) _tile_loadd(1, sums + 16, 128);
    if (kTwoRows) _tile_loadd(2, sums + 512, 128);
    if (kTwoRows && kTwoColumns) _tile_loadd(3, sums + 528, 128);
  }
  for (int64_t step = 0; step < count; ++step, answers += kTile) {
    const uint16_t* from = pictures + starts[step];
    _tile_loadd(6, answers, 64);
    _tile_loadd(4, from, stride);
    _tile_dpbf16ps(0, 4, 6);
    if (kTwoColumns) {
      _tile_loadd(7, answers + apart, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (kTwoRows) {
      _tile_loadd(5, from + 16 * turned, stride);
      _tile_dpbf16ps(2, 5, 6);
      if (kTwoColumns) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 128);
  if (kTwoColumns) _tile_stored(1, sums + 16, 128);
  if (kTwoRows) _tile_stored(2, sums + 512, 128);
  if (kTwoRows && kTwoColumns) _tile_stored(3, sums + 528, 128);
}

#else

using Tiles = NoSetup;

// Sums of kRows rows by one or two columns of 16, in registers. Step k of `steps` reads
// the tile next to the last one of `kernel` (and the one `apart` from it), and 32 numbers
// of each row from `rows(k)` on, whose rows lie `stride` apart.
template <int kRows, bool kTwoColumns, typename Rows>
inline void MultiplyTile(const Rows& rows, int64_t steps, int64_t stride,
                         const uint16_t* kernel, int64_t step_size, int64_t apart,
                         bool fresh, float* sums) {
  constexpr int kColumns = kTwoColumns ? 2 : 1;
  __m512 sum[kRows][kColumns];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j)
      sum[i][j] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + i * 32 + j * 16);
  for (int64_t k = 0; k < steps; ++k, kernel += step_size) {
    const uint16_t* from = rows(k);
#pragma GCC unroll 4
    for (int pair = 0; pair < 16; ++pair) {
      __m512bh column[kColumns];
#pragma GCC unroll 2
      for (int j = 0; j < kColumns; ++j)
        column[j] = (__m512bh)_mm512_loadu_si512(kernel + j * apart + pair * 32);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        int32_t both;
        __builtin_memcpy(&both, from + i * stride + 2 * pair, 4);
        const auto row = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 2
        for (int j = 0; j < kColumns; ++j)
          sum[i][j] = _mm512_dpbf16_ps(sum[i][j], row, column[j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < kColumns; ++j)
      _mm512_storeu_ps(sums + i * 32 + j * 16, sum[i][j]);
}

// As with AMX.
template <bool kTwoRows, bool kTwoColumns>
void MultiplyBlock(const uint16_t* first, const uint16_t* second,
                   const std::vector<int64_t>& taps, int64_t blocks, int64_t apart,
                   const uint16_t* kernel, float* sums) {
  const int64_t count = static_cast<int64_t>(taps.size());
  const auto multiply = [&](auto rows, const uint16_t* from, float* to) {
    int64_t tap = 0;
    const auto next = [&](int64_t) {
      const uint16_t* place = from + taps[tap];
      if (++tap == count) tap = 0, from += apart;
      return place;
    };
    MultiplyTile<rows, kTwoColumns>(next, blocks * count, 32, kernel,
                                    kTwoColumns ? 2 * kTile : kTile, kTile, true, to);
  };
  using Eight = std::integral_constant<int, 8>;
  for (int64_t row = 0; row < 16; row += 8) {
    multiply(Eight(), first + row * 32, sums + row * 32);
    if (kTwoRows) multiply(Eight(), second + row * 32, sums + 512 + row * 32);
  }
}

template <bool kTwoRows, bool kTwoColumns>
void AddProducts(const uint16_t* pictures, int64_t turned, const int64_t* starts,
                 int64_t count, const uint16_t* answers, int64_t apart, bool fresh,
                 float* sums) {
  for (int64_t row = 0; row < (kTwoRows ? 32 : 16); row += 8)
    MultiplyTile<8, kTwoColumns>(
        [&](int64_t k) { return pictures + row * turned + starts[k]; }, count, turned,
        answers, kTile, apart, fresh, sums + row * 32);
}

#endif

}  // namespace kernels
