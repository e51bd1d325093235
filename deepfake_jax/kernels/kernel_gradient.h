// The gradient of a convolution by its kernel: sums over all places, in a fixed order.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pictures_product.h"

namespace kernels {

constexpr int64_t kSlack = 32;  // positions read past the last

// Pictures of a part turned: (channels, positions), rows `turned` apart.
inline void FillTurned(const Pictures& from, const Windows& windows, const Part& part,
                       int64_t turned, uint16_t* panel, uint16_t* rows) {
  const int64_t blocks = CeilDiv(from.c, kBlock);
  const PanelShape shape(windows, part);
  FillPanel(from, windows, part, rows);
  // What tiles read on past the end is multiplied by zero: it must not be NaN.
  std::fill_n(rows + blocks * shape.positions * kBlock, kSlack * kBlock, 0);
  const int64_t end = CeilDiv(shape.positions, 32) * 32;
  for (int64_t channel = 0; channel < blocks * kBlock; ++channel)
    std::fill(panel + channel * turned + end, panel + (channel + 1) * turned, 0);
  for (int64_t block = 0; block < blocks; ++block) {
    const uint16_t* own = rows + block * shape.positions * kBlock;
    for (int64_t position = 0; position < shape.positions; position += 32) {
      __m512i low[16], high[16];
      for (int64_t i = 0; i < 16; ++i) {
        const uint16_t* pair = own + (position + 2 * i) * kBlock;
        Interleave(_mm512_load_si512(pair), _mm512_load_si512(pair + kBlock), low + i,
                   high + i);
      }
      Transpose16(low);
      Transpose16(high);
      uint16_t* to = panel + block * kBlock * turned + position;
      for (int64_t i = 0; i < 16; ++i) {
        _mm512_store_si512(to + i * turned, low[i]);
        _mm512_store_si512(to + (16 + i) * turned, high[i]);
      }
    }
  }
}

struct KernelGradient {
  const Pictures& pictures;
  const Pictures& answers;
  const Plan& plan;  // of the value
  int64_t in, out;   // channels in blocks of 32

  int64_t Steps(const Part& part) const {
    return CeilDiv(answers.w * part.lanes, 32);  // of 32 positions, for a row
  }

  int64_t Turned(const Part& part) const {
    // Not a power of two: 16 rows of a tile would share few places of the cache.
    return CeilDiv(PanelShape(plan.windows, part).positions + kSlack, 64) * 64 + 32;
  }

  // Answers of some columns as tiles: (column of 16, group, row, step), and their sums.
  void FillAnswers(const Part& part, int64_t first, int64_t last, uint16_t* tiles,
                   float* bias) const {
    const int64_t rows = part.to_y - part.from_y, steps = Steps(part);
    const int64_t apart = part.groups * rows * steps * kTile;
    for (int64_t column = first; column < last; ++column) {
      __m512 sum_low = _mm512_loadu_ps(bias + column * 32);
      __m512 sum_high = _mm512_loadu_ps(bias + column * 32 + 16);
      uint16_t* to = tiles + (column - first) * 2 * apart;
      for (int64_t group = 0; group < part.groups; ++group)
        for (int64_t y = part.from_y; y < part.to_y; ++y)
          for (int64_t step = 0; step < steps; ++step, to += kTile)
            for (int64_t i = 0; i < 16; ++i) {
              __m512i pair[2];
              for (int64_t odd = 0; odd < 2; ++odd) {
                const int64_t position = step * 32 + 2 * i + odd;
                const int64_t x = position / part.lanes;
                const int64_t image =
                    (part.first_group + group) * part.lanes + position % part.lanes;
                const bool inside = x < answers.w && image < answers.n;
                pair[odd] = inside ? answers.Read(answers.Place(image, y, x), column)
                                   : _mm512_setzero_si512();
                sum_low = _mm512_add_ps(
                    sum_low, Pictures::Widen(_mm512_castsi512_si256(pair[odd])));
                sum_high = _mm512_add_ps(
                    sum_high, Pictures::Widen(_mm512_extracti64x4_epi64(pair[odd], 1)));
              }
              __m512i low, high;
              Interleave(pair[0], pair[1], &low, &high);
              _mm512_store_si512(to + i * kBlock, low);
              _mm512_store_si512(to + apart + i * kBlock, high);
            }
      _mm512_storeu_ps(bias + column * 32, sum_low);
      _mm512_storeu_ps(bias + column * 32 + 16, sum_high);
    }
  }

  // Adds a part to sums of columns [first, last), (tap, 32 in, 32 out).
  void AddPart(const Part& part, int64_t first, int64_t last, bool fresh, float* sums,
               float* bias) const {
    thread_local Memory rows_memory, turned_memory, tiles_memory;
    const PanelShape shape(plan.windows, part);
    const int64_t turned = Turned(part), rows = part.to_y - part.from_y;
    const int64_t steps = Steps(part), apart = part.groups * rows * steps * kTile;
    auto* plain = static_cast<uint16_t*>(
        rows_memory.Take((in * shape.positions + kSlack) * kBlock * 2));
    auto* panel = static_cast<uint16_t*>(turned_memory.Take(in * kBlock * turned * 2));
    auto* tiles =
        static_cast<uint16_t*>(tiles_memory.Take((last - first) * 2 * apart * 2));
    FillTurned(pictures, plan.windows, part, turned, panel, plain);
    FillAnswers(part, first, last, tiles, bias);
    std::vector<int64_t> starts, offsets;
    for (int64_t group = 0; group < part.groups; ++group)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t step = 0; step < steps; ++step)
          starts.push_back(group * shape.group + row * shape.pitch * part.lanes +
                           step * 32);
    const int64_t wide = out * 32;
    for (int64_t column = first; column < last; ++column)
      for (int64_t block = 0; block < in; ++block)
        for (const Tap& tap : plan.phases[0].taps) {
          const int64_t shift = tap.plane * shape.plane +
                                (tap.y * shape.pitch + tap.x) * part.lanes;
          offsets.clear();
          for (const int64_t start : starts) offsets.push_back(start + shift);
          const bool two_rows = pictures.c - block * 32 > 16;
          const bool two_columns = answers.c - column * 32 > 16;
          const auto add =
              two_rows ? (two_columns ? AddProducts<true, true> : AddProducts<true, false>)
                       : (two_columns ? AddProducts<false, true>
                                      : AddProducts<false, false>);
          add(panel + block * kBlock * turned, turned, offsets,
              tiles + (column - first) * 2 * apart, apart, fresh,
              sums + (tap.index * in * 32 + block * 32) * wide + column * 32, wide);
        }
  }

  // Parts are added up in a few slices, the slices one after the other.
  void Run(xla::ffi::ThreadPool pool, float* kernel, float* bias) const {
    const int64_t taps = plan.phases[0].taps.size();
    const int64_t size = taps * in * 32 * out * 32;
    const int64_t lanes = ChooseLanes(answers.n, answers.w, 32);
    const int64_t most = size * 4 > (4 << 20) ? 16 * kPanelBytes : kPanelBytes;
    const std::vector<Part> parts = SplitParts(plan.windows, answers.n, lanes,
                                               (in + out) * kBlock * 2, most);
    const int64_t count = static_cast<int64_t>(parts.size());
    const int64_t slices = std::min(count, std::clamp<int64_t>((4 << 20) / (size * 4), 1, 16));
    const int64_t shares = std::min(CeilDiv(out, 4), CeilDiv(8, slices));
    const int64_t columns = CeilDiv(out, shares), steps = CeilDiv(out, columns);
    const bool direct = slices == 1 && pictures.c % 32 == 0 && answers.c % 32 == 0;
    Lease memory((direct ? 0 : slices * size * 4) + slices * out * 32 * 4 + 64);
    float* biases = memory.As<float>();
    float* sums = direct ? kernel : biases + slices * out * 32;
    std::fill(biases, biases + slices * out * 32, 0.0f);
    ForEach(pool, slices * steps, [&](int64_t task) {
      const int64_t slice = task % slices, first = task / slices * columns;
      const int64_t last = std::min(first + columns, out);
      const int64_t from = count * slice / slices, to = count * (slice + 1) / slices;
      for (int64_t part = from; part < to; ++part)
        AddPart(parts[part], first, last, part == from, sums + slice * size,
                biases + slice * out * 32);
    });
    for (int64_t channel = 0; channel < answers.c; ++channel) {
      float sum = 0;
      for (int64_t slice = 0; slice < slices; ++slice)
        sum += biases[slice * out * 32 + channel];
      bias[channel] = sum;
    }
    if (!direct) AddSlices(pool, sums, slices, kernel);
  }

 private:
  // Slices of padded sums to a kernel's gradient.
  void AddSlices(xla::ffi::ThreadPool pool, const float* sums, int64_t slices,
                 float* kernel) const {
    const int64_t taps = plan.phases[0].taps.size(), wide = out * 32;
    const int64_t size = taps * in * 32 * wide;
    ForEach(pool, taps, [&](int64_t tap) {
      for (int64_t i = 0; i < pictures.c; ++i)
        for (int64_t o = 0; o < answers.c; o += 16) {
          const float* own = sums + (tap * in * 32 + i) * wide + o;
          __m512 sum = _mm512_loadu_ps(own);
          for (int64_t slice = 1; slice < slices; ++slice)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(own + slice * size));
          const int64_t count = std::min<int64_t>(16, answers.c - o);
          _mm512_mask_storeu_ps(kernel + (tap * pictures.c + i) * answers.c + o,
                                (1u << count) - 1, sum);
        }
    });
  }
};

}  // namespace kernels
