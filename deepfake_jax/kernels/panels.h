// Pictures and kernels brought into the order in which products of tiles read them.
//
// Numbers are bfloat16 as uint16_t. A panel holds the pictures of some groups: for each
// block of 32 channels all positions, 64 bytes each. A group is `lanes` pictures, side
// by side at each place, so that small pictures fill a tile of 16 positions, too.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "float_vectors.h"

namespace kernels {

constexpr int64_t kBlock = 32;  // channels of a block, and bfloat16 of 64 bytes

// For stretches of 32 channels of a place: where they lie, and how many there are.
struct Stretch {
  int64_t first, second;  // offsets of the two halves
  __mmask32 mask;
  bool whole;  // one piece
  bool halves; // two pieces of 16
};

// Pictures of `c` channels, stored as blocks of `block` x `block` pixels that have c /
// block^2 channels each; scaled by `leak` where `sign` is negative.
struct Pictures {
  const uint16_t* data;
  const uint16_t* sign;
  float leak;
  int64_t n, h, w, c, block;
  std::vector<Stretch> stretches;

  Pictures(const void* data, const void* sign, float leak, int64_t n, int64_t h,
           int64_t w, int64_t c, int64_t block)
      : data(static_cast<const uint16_t*>(data)),
        sign(leak == 1 ? nullptr : static_cast<const uint16_t*>(sign)),
        leak(leak), n(n), h(h), w(w), c(c), block(block) {
    for (int64_t from = 0; from < c; from += kBlock) {
      const int64_t count = std::min(kBlock, c - from), run = c / block;
      Stretch stretch;
      stretch.first = Offset(from);
      stretch.second = from + 16 < c ? Offset(from + 16) : 0;
      stretch.mask = count == 32 ? ~0u : (1u << count) - 1;
      stretch.halves = run % 16 == 0;
      stretch.whole = from / run == (from + count - 1) / run;
      stretches.push_back(stretch);
    }
  }

  // Of a channel, from a place's first number. A row of a block lies in one piece.
  int64_t Offset(int64_t channel) const {
    const int64_t run = c / block;
    return channel / run * (w * run) + channel % run;
  }

  int64_t Place(int64_t image, int64_t y, int64_t x) const {
    return ((image * h + y) * block * w + x) * (c / block);
  }

  __m512i Read(int64_t place, int64_t index) const {
    const __m512i value = ReadPlain(data + place, index);
    if (sign == nullptr) return value;
    const __mmask32 negative = _mm512_movepi16_mask(ReadPlain(sign + place, index));
    if (negative == 0) return value;
    const __m512 scale = _mm512_set1_ps(leak);
    const __m512 low = _mm512_mul_ps(scale, Widen(_mm512_castsi512_si256(value)));
    const __m512 high =
        _mm512_mul_ps(scale, Widen(_mm512_extracti64x4_epi64(value, 1)));
    const __m512i scaled = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    return _mm512_mask_mov_epi16(value, negative, scaled);
  }

  static __m512 Widen(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }

 private:
  __m512i ReadPlain(const uint16_t* from, int64_t index) const {
    const Stretch& stretch = stretches[index];
    if (stretch.whole) return _mm512_maskz_loadu_epi16(stretch.mask, from + stretch.first);
    if (stretch.halves) {
      const __m256i low = _mm256_maskz_loadu_epi16(stretch.mask, from + stretch.first);
      const __m256i high =
          _mm256_maskz_loadu_epi16(stretch.mask >> 16, from + stretch.second);
      return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    alignas(64) uint16_t numbers[32] = {};
    const int64_t count = std::min(kBlock, c - index * kBlock);
    for (int64_t i = 0; i < count; ++i) numbers[i] = from[Offset(index * kBlock + i)];
    return _mm512_load_si512(numbers);
  }
};

// How windows move over pictures: panels hold rows and columns `step` apart, one plane
// for each remainder, from `before` places outside of the picture on.
struct Windows {
  int64_t step, before_y, before_x;
  int64_t more_y, more_x;  // rows and columns of a panel beyond those of the answers
  int64_t from_y, to_y, from_x, to_x;  // answers, before they are spread out
};

// The part of a product that a panel is made for: some groups, some rows of answers.
struct Part {
  int64_t first_group, groups, lanes, from_y, to_y;
};

struct PanelShape {
  int64_t rows, pitch, lanes, plane, group, positions;

  PanelShape(const Windows& windows, const Part& part)
      : rows(part.to_y - part.from_y + windows.more_y),
        pitch(windows.to_x - windows.from_x + windows.more_x),
        lanes(part.lanes),
        plane(rows * pitch * lanes),
        group(plane * windows.step * windows.step),
        positions(group * part.groups) {}
};

// Calls write(position, place) for all of a part: `place` is -1 outside of the pictures.
template <typename Write>
void WalkPanel(const Pictures& from, const Windows& windows, const Part& part,
               const Write& write) {
  const PanelShape shape(windows, part);
  const int64_t step = windows.step;
  for (int64_t group = 0; group < part.groups; ++group)
    for (int64_t plane = 0; plane < step * step; ++plane)
      for (int64_t row = 0; row < shape.rows; ++row) {
        const int64_t y =
            (part.from_y + row) * step + plane / step - windows.before_y;
        const int64_t start =
            group * shape.group + plane * shape.plane + row * shape.pitch * part.lanes;
        for (int64_t lane = 0; lane < part.lanes; ++lane) {
          const int64_t image = (part.first_group + group) * part.lanes + lane;
          const bool row_inside = image < from.n && y >= 0 && y < from.h;
          const int64_t first = row_inside ? from.Place(image, y, 0) : -1;
          const int64_t pixel = from.c / from.block;
          int64_t x = windows.from_x * step + plane % step - windows.before_x;
          int64_t position = start + lane;
          for (int64_t column = 0; column < shape.pitch; ++column) {
            const bool inside = row_inside && x >= 0 && x < from.w;
            write(position, inside ? first + x * pixel : -1);
            x += step;
            position += part.lanes;
          }
        }
      }
}

// Panel: (channels / 32, positions, 32).
inline void FillPanel(const Pictures& from, const Windows& windows, const Part& part,
                      uint16_t* panel) {
  const int64_t blocks = CeilDiv(from.c, kBlock);
  const int64_t apart = PanelShape(windows, part).positions * kBlock;
  if (from.sign == nullptr && from.block == 1 && from.c % kBlock == 0) {
    WalkPanel(from, windows, part, [=, data = from.data](int64_t position, int64_t place) {
      uint16_t* to = panel + position * kBlock;
      if (place < 0)
        for (int64_t block = 0; block < blocks; ++block, to += apart)
          _mm512_store_si512(to, _mm512_setzero_si512());
      else
        for (int64_t block = 0; block < blocks; ++block, to += apart)
          _mm512_store_si512(to, _mm512_loadu_si512(data + place + block * kBlock));
    });
    return;
  }
  WalkPanel(from, windows, part, [&](int64_t position, int64_t place) {
    uint16_t* to = panel + position * kBlock;
    for (int64_t block = 0; block < blocks; ++block, to += apart)
      _mm512_store_si512(to, place < 0 ? _mm512_setzero_si512() : from.Read(place, block));
  });
}

inline void Transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// Two rows of 32 numbers to pairs of numbers of one channel, channels 0 to 15 and on.
inline void Interleave(__m512i even, __m512i odd, __m512i* low, __m512i* high) {
  alignas(64) static const auto indices = [] {
    struct { uint16_t low[32], high[32]; } made;
    for (int i = 0; i < 32; ++i) {
      made.low[i] = i / 2 + (i % 2) * 32;
      made.high[i] = 16 + i / 2 + (i % 2) * 32;
    }
    return made;
  }();
  const __m512i first = _mm512_loadu_si512(indices.low);
  const __m512i second = _mm512_loadu_si512(indices.high);
  *low = _mm512_permutex2var_epi16(even, first, odd);
  *high = _mm512_permutex2var_epi16(even, second, odd);
}

inline __m512i Round(__m512 low, __m512 high) {
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

// A tile of a kernel HWIO in float32 for the value: 32 channels in, as pairs, 16 out.
inline void FillKernelTile(const float* kernel, int64_t cin, int64_t cout, int64_t tap,
                           int64_t in, int64_t out, uint16_t* tile) {
  const int64_t columns = std::clamp<int64_t>(cout - out, 0, 16);
  const __mmask16 mask = (1u << columns) - 1;
  for (int64_t row = 0; row < 16; ++row) {
    const int64_t i = in + 2 * row;
    const float* from = kernel + (tap * cin + i) * cout + out;
    const __m512 even = i < cin ? _mm512_maskz_loadu_ps(mask, from) : _mm512_setzero_ps();
    const __m512 odd =
        i + 1 < cin ? _mm512_maskz_loadu_ps(mask, from + cout) : _mm512_setzero_ps();
    __m512i low, high;
    const __m512i both = Round(even, odd);
    Interleave(both, _mm512_shuffle_i64x2(both, both, 0x4e), &low, &high);
    _mm512_store_si512(tile + row * kBlock, low);
  }
}

// The same for the gradient of the pictures: 32 channels out, as pairs, 16 in.
inline void FillTurnedTile(const float* kernel, int64_t cin, int64_t cout, int64_t tap,
                           int64_t in, int64_t out, uint16_t* tile) {
  const int64_t columns = std::clamp<int64_t>(cout - out, 0, 32);
  const __mmask16 low = columns >= 16 ? 0xffff : (1u << columns) - 1;
  const __mmask16 high = columns >= 16 ? (1u << (columns - 16)) - 1 : 0;
  __m512i rows[16];
  for (int64_t row = 0; row < 16; ++row) {
    const float* from = kernel + (tap * cin + in + row) * cout + out;
    rows[row] = in + row < cin ? Round(_mm512_maskz_loadu_ps(low, from),
                                       _mm512_maskz_loadu_ps(high, from + 16))
                               : _mm512_setzero_si512();
  }
  Transpose16(rows);
  for (int64_t row = 0; row < 16; ++row)
    _mm512_store_si512(tile + row * kBlock, rows[row]);
}

}  // namespace kernels
