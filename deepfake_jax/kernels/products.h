// Products of tiles: bfloat16 operands, float32 sums.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <vector>

namespace kernels {

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

constexpr int64_t kTile = 512;  // bfloat16 of a tile of 16 x 32

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

}  // namespace kernels
