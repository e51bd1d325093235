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

constexpr int64_t kSums = 32 * 32;  // of a block of the gradient, for a tap

// Some places' pictures and answers in the order of their use.
struct Packed {
  uint16_t* pictures;  // (channels, `turned`)
  uint16_t* answers;   // (columns of 16, steps) tiles
  int64_t turned;
  std::vector<int64_t> starts;  // of each step's 32 positions
  PanelShape shape;
};

class KernelGradient {
 public:
  KernelGradient(const Pictures& pictures, const Pictures& answers, const Plan& plan)
      : pictures_(pictures), answers_(answers), plan_(plan),
        taps_(plan.phases[0].taps), in_(CeilDiv(pictures.c, kBlock)),
        out_(CeilDiv(answers.c, kBlock)),
        parts_(SplitParts(plan.windows, answers.n,
                          ChooseLanes(answers.n, answers.w, 32),
                          (in_ + out_) * kBlock * 2, kPanelBytes)),
        biases_(parts_.size() * out_ * 32) {}

  // A small gradient is summed in slices, each of some parts, which stay in the cache;
  // a large one block by block, over all parts.
  void Run(xla::ffi::ThreadPool pool, float* kernel, float* bias) {
    const int64_t size = TapCount() * in_ * out_ * kSums;
    if (size * 4 > kLarge)
      RunBlocks(pool, kernel);
    else
      RunSlices(pool, size, kernel);
    for (int64_t channel = 0; channel < answers_.c; ++channel) {
      bias[channel] = 0;
      for (size_t part = 0; part < parts_.size(); ++part)
        bias[channel] += biases_[part * out_ * 32 + channel];
    }
  }

 private:
  static constexpr int64_t kLarge = 2 << 20;     // bytes
  static constexpr int64_t kNear = 256 << 10;    // bytes of sums that are used at once
  static constexpr int64_t kChunk = 8;           // steps that stay in the nearest cache

  int64_t TapCount() const { return static_cast<int64_t>(taps_.size()); }

  void RunSlices(xla::ffi::ThreadPool pool, int64_t size, float* kernel) {
    const int64_t count = static_cast<int64_t>(parts_.size());
    const int64_t slices = std::min(count, std::clamp<int64_t>((1 << 20) / size, 2, 16));
    Lease sums(slices * size * 4);
    ForEach<Tiles>(pool, slices, [&](int64_t slice) {
      thread_local Memory memory;
      float* own = sums.As<float>() + slice * size;
      const int64_t from = count * slice / slices, to = count * (slice + 1) / slices;
      for (int64_t part = from; part < to; ++part) {
        const Packed packed = Pack(part, memory.Take(PackedBytes(parts_[part])));
        for (int64_t block = 0; block < in_; ++block)
          Add(packed, block, 0, out_, part == from,
              own + block * out_ * TapCount() * kSums);
      }
    });
    ForEach<Tiles>(pool, in_, [&](int64_t block) {
      float* first = sums.As<float>() + block * out_ * TapCount() * kSums;
      for (int64_t slice = 1; slice < slices; ++slice)
        for (int64_t i = 0; i < out_ * TapCount() * kSums; i += 16)
          _mm512_store_ps(first + i, _mm512_add_ps(_mm512_load_ps(first + i),
                                                   _mm512_load_ps(first + slice * size + i)));
      Write(first, block, 0, out_, kernel);
    });
  }

  void RunBlocks(xla::ffi::ThreadPool pool, float* kernel) {
    const int64_t count = static_cast<int64_t>(parts_.size());
    const int64_t bytes = PackedBytes(parts_[0]);  // the others' are no larger
    Lease memory(count * bytes);
    std::vector<Packed> packed(count, Packed{nullptr, nullptr, 0, {}, Shape(parts_[0])});
    ForEach<Tiles>(pool, count, [&](int64_t part) {
      packed[part] = Pack(part, memory.As<char>() + part * bytes);
    });
    const int64_t near = std::max<int64_t>(1, kNear / (TapCount() * kSums * 4));
    const int64_t size = std::min(near, std::max<int64_t>(1, in_ * out_ / 16));
    const int64_t groups = CeilDiv(out_, size);
    ForEach<Tiles>(pool, in_ * groups, [&](int64_t task) {
      thread_local Memory sums_memory;
      const int64_t block = task / groups, first = task % groups * size;
      const int64_t last = std::min(first + size, out_);
      auto* sums = static_cast<float*>(
          sums_memory.Take((last - first) * TapCount() * kSums * 4));
      for (int64_t part = 0; part < count; ++part)
        Add(packed[part], block, first, last, part == 0, sums);
      Write(sums, block, first, last, kernel);
    });
  }

  PanelShape Shape(const Part& part) const { return PanelShape(plan_.windows, part); }

  int64_t RowSteps(const Part& part) const {
    return CeilDiv(answers_.w * part.lanes, 32);
  }

  int64_t Steps(const Part& part) const {
    return part.groups * (part.to_y - part.from_y) * RowSteps(part);
  }

  // Not a power of two: 16 rows of a tile would share few places of the cache.
  int64_t Turned(const Part& part) const {
    return CeilDiv(Shape(part).positions + kSlack, 64) * 64 + 32;
  }

  size_t PackedBytes(const Part& part) const {
    return (in_ * kBlock * Turned(part) + out_ * 2 * Steps(part) * kTile) * 2;
  }

  Packed Pack(int64_t index, void* memory) {
    const Part& part = parts_[index];
    const PanelShape shape = Shape(part);
    Packed packed{static_cast<uint16_t*>(memory), nullptr, Turned(part), {}, shape};
    packed.answers = packed.pictures + in_ * kBlock * packed.turned;
    for (int64_t group = 0; group < part.groups; ++group)
      for (int64_t row = 0; row < part.to_y - part.from_y; ++row)
        for (int64_t step = 0; step < RowSteps(part); ++step)
          packed.starts.push_back(group * shape.group + row * shape.pitch * part.lanes +
                                  step * 32);
    thread_local Memory rows;
    FillTurned(pictures_, plan_.windows, part, packed.turned, packed.pictures,
               static_cast<uint16_t*>(
                   rows.Take((in_ * shape.positions + kSlack) * kBlock * 2)));
    FillAnswers(part, packed.answers, biases_.data() + index * out_ * 32);
    return packed;
  }

  // Answers as tiles, and their sums.
  void FillAnswers(const Part& part, uint16_t* tiles, float* bias) const {
    const int64_t apart = Steps(part) * kTile;
    std::fill(bias, bias + out_ * 32, 0.0f);
    for (int64_t group = 0; group < part.groups; ++group)
      for (int64_t y = part.from_y; y < part.to_y; ++y)
        for (int64_t step = 0; step < RowSteps(part); ++step, tiles += kTile) {
          int64_t places[32];
          for (int64_t i = 0; i < 32; ++i) {
            const int64_t x = (step * 32 + i) / part.lanes;
            const int64_t image = (part.first_group + group) * part.lanes +
                                  (step * 32 + i) % part.lanes;
            const bool inside = x < answers_.w && image < answers_.n;
            places[i] = inside ? answers_.Place(image, y, x) : -1;
          }
          for (int64_t column = 0; column < out_; ++column)
            FillStep(places, column, tiles + column * 2 * apart, apart,
                     bias + column * 32);
        }
  }

  // Two tiles of 32 positions by 16 channels.
  void FillStep(const int64_t* places, int64_t column, uint16_t* to, int64_t apart,
                float* bias) const {
    __m512 sum_low = _mm512_loadu_ps(bias), sum_high = _mm512_loadu_ps(bias + 16);
    for (int64_t i = 0; i < 16; ++i) {
      __m512i pair[2];
      for (int64_t odd = 0; odd < 2; ++odd) {
        const int64_t place = places[2 * i + odd];
        pair[odd] =
            place < 0 ? _mm512_setzero_si512() : answers_.Read(place, column);
        sum_low = _mm512_add_ps(sum_low,
                                Pictures::Widen(_mm512_castsi512_si256(pair[odd])));
        sum_high = _mm512_add_ps(
            sum_high, Pictures::Widen(_mm512_extracti64x4_epi64(pair[odd], 1)));
      }
      __m512i low, high;
      Interleave(pair[0], pair[1], &low, &high);
      _mm512_store_si512(to + i * kBlock, low);
      _mm512_store_si512(to + apart + i * kBlock, high);
    }
    _mm512_storeu_ps(bias, sum_low);
    _mm512_storeu_ps(bias + 16, sum_high);
  }

  // Sums: (column from `first`, tap, 32, 32). A few steps of pictures and answers stay
  // near for all taps.
  void Add(const Packed& packed, int64_t block, int64_t first, int64_t last, bool fresh,
           float* sums) const {
    const int64_t steps = static_cast<int64_t>(packed.starts.size());
    const uint16_t* pictures = packed.pictures + block * kBlock * packed.turned;
    const bool two_rows = pictures_.c - block * 32 > 16;
    for (int64_t from = 0; from < steps; from += kChunk) {
      const int64_t count = std::min(kChunk, steps - from);
      float* to = sums;
      for (int64_t column = first; column < last; ++column) {
        const bool two_columns = answers_.c - column * 32 > 16;
        const auto add =
            two_rows ? (two_columns ? AddProducts<true, true> : AddProducts<true, false>)
                     : (two_columns ? AddProducts<false, true> : AddProducts<false, false>);
        const uint16_t* answers = packed.answers + (column * 2 * steps + from) * kTile;
        for (const Tap& tap : taps_) {
          const int64_t shift = tap.plane * packed.shape.plane +
                                (tap.y * packed.shape.pitch + tap.x) * packed.shape.lanes;
          add(pictures + shift, packed.turned, packed.starts.data() + from, count, answers,
              steps * kTile, fresh && from == 0, to);
          to += kSums;
        }
      }
    }
  }

  void Write(const float* sums, int64_t block, int64_t first, int64_t last,
             float* kernel) const {
    for (int64_t column = first; column < last; ++column) {
      const int64_t count = std::min<int64_t>(32, answers_.c - column * 32);
      const __mmask32 mask = count == 32 ? ~0u : (1u << count) - 1;
      const int64_t rows = std::min<int64_t>(32, pictures_.c - block * 32);
      for (const Tap& tap : taps_) {
        for (int64_t i = 0; i < rows; ++i) {
          float* to = kernel + (tap.index * pictures_.c + block * 32 + i) * answers_.c +
                      column * 32;
          _mm512_mask_storeu_ps(to, mask, _mm512_load_ps(sums + i * 32));
          _mm512_mask_storeu_ps(to + 16, mask >> 16, _mm512_load_ps(sums + i * 32 + 16));
        }
        sums += kSums;
      }
    }
  }

  const Pictures& pictures_;
  const Pictures& answers_;
  const Plan& plan_;
  const std::vector<Tap>& taps_;
  const int64_t in_, out_;
  const std::vector<Part> parts_;
  std::vector<float> biases_;
};

}  // namespace kernels
