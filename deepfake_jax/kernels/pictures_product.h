// Pictures times a kernel: the value of a convolution, and its gradient by the pictures.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "panels.h"
#include "products.h"
#include "threads.h"

namespace kernels {

struct Tap {
  int64_t plane, y, x;  // where it reads, relative to the answer
  int64_t index;        // of the kernel
};

// Answers that share their taps: of answer (y, x), place (y, x) * spread + shift.
struct Phase {
  std::vector<Tap> taps;
  int64_t shift_y, shift_x;
};

struct Plan {
  Windows windows;
  std::vector<Phase> phases;
  int64_t spread;
  bool turned;  // the kernel's inputs are its outputs
};

// Where answers go: `c` channels, as blocks of pixels; with a bias (or null) and leak.
struct Answers {
  uint16_t* data;
  const float* bias;
  float leak;
  int64_t n, h, w, c, block;
};

constexpr int64_t kPanelBytes = 384 << 10;  // of a part: two threads share 2 MB

// How many pictures lie side by side: as many as leave the fewest positions empty.
inline int64_t ChooseLanes(int64_t n, int64_t width, int64_t tile) {
  int64_t best = 1, least = INT64_MAX;
  for (int64_t lanes = 1; lanes <= 32; lanes *= 2) {
    const int64_t cost = CeilDiv(n, lanes) * CeilDiv(width * lanes, tile);
    if (cost < least) best = lanes, least = cost;
  }
  return best;
}

// Parts of about the same size, whatever the number of threads.
inline std::vector<Part> SplitParts(const Windows& windows, int64_t n, int64_t lanes,
                                    int64_t bytes_a_place, int64_t most_bytes) {
  const int64_t rows = windows.to_y - windows.from_y, groups = CeilDiv(n, lanes);
  const int64_t row = (windows.to_x - windows.from_x + windows.more_x) * lanes *
                      windows.step * windows.step * bytes_a_place;
  const int64_t group = row * (rows + windows.more_y);
  std::vector<Part> parts;
  if (group > most_bytes) {
    const int64_t fit = std::max<int64_t>(4, most_bytes / row - windows.more_y);
    const int64_t bands = CeilDiv(rows, fit), band = CeilDiv(rows, bands);
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t y = windows.from_y; y < windows.to_y; y += band)
        parts.push_back({g, 1, lanes, y, std::min(y + band, windows.to_y)});
    return parts;
  }
  const int64_t count = CeilDiv(groups, std::max<int64_t>(1, most_bytes / group));
  const int64_t size = CeilDiv(groups, count);
  for (int64_t g = 0; g < groups; g += size)
    parts.push_back({g, std::min(size, groups - g), lanes, windows.from_y, windows.to_y});
  return parts;
}

// One part and some columns of the kernel, by one thread.
class PartProduct {
 public:
  PartProduct(const Pictures& from, const Plan& plan, const Part& part,
              const Answers& to)
      : from_(from), plan_(plan), part_(part), to_(to),
        shape_(plan.windows, part), blocks_(CeilDiv(from.c, kBlock)) {}

  // `kernel`: tiles for columns [first, last), 32 channels each.
  void Run(const uint16_t* kernel, int64_t first, int64_t last) {
    thread_local Memory memory;
    // Tiles read on past the last position, for answers that nobody wants.
    const int64_t slack = 64 + TapReach();
    const size_t size = (blocks_ * shape_.positions + slack) * kBlock;
    panel_ = static_cast<uint16_t*>(memory.Take(2 * size));
    FillPanel(from_, plan_.windows, part_, panel_);
    for (const Phase& phase : plan_.phases) {
      FindRows(phase);
      std::vector<int64_t> taps;
      for (const Tap& tap : phase.taps)
        taps.push_back((tap.plane * shape_.plane +
                        (tap.y * shape_.pitch + tap.x) * part_.lanes) * kBlock);
      const uint16_t* columns = kernel;
      for (int64_t column = first; column < last; ++column) {
        const bool two = to_.c - column * 32 > 16;
        RunColumn(taps, columns + skipped_ * (two ? 2 : 1) * kTile, column, two);
        columns += TapCount() * blocks_ * (two ? 2 : 1) * kTile;
      }
      skipped_ += static_cast<int64_t>(phase.taps.size()) * blocks_;
    }
  }

  int64_t TapCount() const {
    int64_t count = 0;
    for (const Phase& phase : plan_.phases) count += phase.taps.size();
    return count;
  }

 private:
  int64_t TapReach() const {
    return (plan_.windows.more_y * shape_.pitch + plan_.windows.more_x) * part_.lanes;
  }

  // Tiles' first positions in a panel's block, and where each row of a tile goes.
  void FindRows(const Phase& phase) {
    starts_.clear();
    places_.clear();
    const Windows& windows = plan_.windows;
    const int64_t row = (windows.to_x - windows.from_x) * part_.lanes;
    for (int64_t group = 0; group < part_.groups; ++group)
      for (int64_t y = part_.from_y; y < part_.to_y; ++y) {
        const int64_t out_y = y * plan_.spread + phase.shift_y;
        if (out_y < 0 || out_y >= to_.h) continue;
        const int64_t start = group * shape_.group +
                              (y - part_.from_y) * shape_.pitch * part_.lanes;
        for (int64_t from = 0; from < row; from += 16) {
          starts_.push_back((start + from) * kBlock);
          for (int64_t i = from; i < from + 16; ++i) {
            const int64_t image =
                (part_.first_group + group) * part_.lanes + i % part_.lanes;
            const int64_t out_x =
                (windows.from_x + i / part_.lanes) * plan_.spread + phase.shift_x;
            const bool inside = i < row && image < to_.n && out_x >= 0 && out_x < to_.w;
            places_.push_back(inside ? Place(image, out_y, out_x) : -1);
          }
        }
      }
  }

  int64_t Place(int64_t image, int64_t y, int64_t x) const {
    return ((image * to_.h + y) * to_.block * to_.w + x) * (to_.c / to_.block);
  }

  void RunColumn(const std::vector<int64_t>& taps, const uint16_t* kernel,
                 int64_t column, bool two) {
    alignas(64) float sums[32 * 32];
    const int64_t apart = shape_.positions * kBlock, run = to_.c / to_.block;
    const int64_t tiles = static_cast<int64_t>(starts_.size()), channel = column * 32;
    const bool whole = channel + 32 <= to_.c && channel / run == (channel + 31) / run;
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      const bool pair = tile + 1 < tiles;
      const uint16_t* first = panel_ + starts_[tile];
      const uint16_t* second = pair ? panel_ + starts_[tile + 1] : first;
      const auto multiply =
          two ? (pair ? MultiplyBlock<true, true> : MultiplyBlock<false, true>)
              : (pair ? MultiplyBlock<true, false> : MultiplyBlock<false, false>);
      multiply(first, second, taps, blocks_, apart, kernel, sums);
      const int64_t* places = places_.data() + tile * 16;
      if (whole) {
        WriteWhole(places, pair ? 32 : 16, channel, sums);
        continue;
      }
      for (int64_t row = 0; row < (pair ? 32 : 16); ++row)
        if (places[row] >= 0) Write(places[row], channel, two, sums + row * 32);
    }
  }

  // 32 channels that lie in one piece.
  void WriteWhole(const int64_t* places, int64_t rows, int64_t channel,
                  const float* sums) const {
    const bool biased = to_.bias != nullptr;
    const __m512 low_bias = biased ? _mm512_loadu_ps(to_.bias + channel) : __m512{};
    const __m512 high_bias = biased ? _mm512_loadu_ps(to_.bias + channel + 16) : __m512{};
    const __m512 leak = _mm512_set1_ps(to_.leak), zero = _mm512_setzero_ps();
    uint16_t* to = to_.data + Offset(channel);
    for (int64_t row = 0; row < rows; ++row, sums += 32) {
      if (places[row] < 0) continue;
      __m512 low = _mm512_add_ps(_mm512_load_ps(sums), low_bias);
      __m512 high = _mm512_add_ps(_mm512_load_ps(sums + 16), high_bias);
      low = _mm512_mask_mul_ps(low, _mm512_cmp_ps_mask(low, zero, _CMP_LT_OQ), low, leak);
      high =
          _mm512_mask_mul_ps(high, _mm512_cmp_ps_mask(high, zero, _CMP_LT_OQ), high, leak);
      _mm512_storeu_si512(to + places[row], Round(low, high));
    }
  }

  __m512 Finish(__m512 sum, int64_t channel, __mmask16 mask) const {
    if (to_.bias != nullptr)
      sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, to_.bias + channel));
    if (to_.leak == 1) return sum;
    const __mmask16 negative = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(sum, negative, sum, _mm512_set1_ps(to_.leak));
  }

  void Write(int64_t place, int64_t channel, bool two, const float* sums) const {
    const int64_t run = to_.c / to_.block;
    for (int64_t c = channel; c < channel + (two ? 32 : 16) && c < to_.c; c += 16) {
      const int64_t count = std::min<int64_t>(16, to_.c - c);
      const __mmask16 mask = (1u << count) - 1;
      const __m512 sum = Finish(_mm512_load_ps(sums + c - channel), c, mask);
      const __m256i numbers = (__m256i)_mm512_cvtneps_pbh(sum);
      if (c / run == (c + count - 1) / run) {
        _mm256_mask_storeu_epi16(to_.data + place + Offset(c), mask, numbers);
        continue;
      }
      alignas(32) uint16_t apart[16];
      _mm256_store_si256(reinterpret_cast<__m256i*>(apart), numbers);
      for (int64_t i = 0; i < count; ++i) to_.data[place + Offset(c + i)] = apart[i];
    }
  }

  int64_t Offset(int64_t channel) const {
    const int64_t run = to_.c / to_.block;
    return channel / run * (to_.w * run) + channel % run;
  }

  const Pictures& from_;
  const Plan& plan_;
  const Part& part_;
  const Answers& to_;
  const PanelShape shape_;
  const int64_t blocks_;
  uint16_t* panel_ = nullptr;
  int64_t skipped_ = 0;
  std::vector<int64_t> starts_, places_;
};

// The kernel as tiles in the order of their use: column, phase, block, tap.
inline void FillKernel(xla::ffi::ThreadPool pool, const float* kernel, int64_t cin,
                       int64_t cout, const Plan& plan, uint16_t* tiles) {
  const int64_t in = plan.turned ? cout : cin, out = plan.turned ? cin : cout;
  const int64_t blocks = CeilDiv(in, kBlock), columns = CeilDiv(out, 32);
  int64_t taps = 0;
  for (const Phase& phase : plan.phases) taps += phase.taps.size();
  ForEach<Tiles>(pool, columns, [&](int64_t column) {
    const int64_t wide = out - column * 32 > 16 ? 2 : 1;
    uint16_t* to = tiles + column * taps * blocks * 2 * kTile;
    for (const Phase& phase : plan.phases)
      for (int64_t block = 0; block < blocks; ++block)
        for (const Tap& tap : phase.taps)
          for (int64_t half = 0; half < wide; ++half, to += kTile) {
            const int64_t column_from = column * 32 + half * 16;
            if (plan.turned)
              FillTurnedTile(kernel, cin, cout, tap.index, column_from, block * kBlock, to);
            else
              FillKernelTile(kernel, cin, cout, tap.index, block * kBlock, column_from, to);
          }
  });
}

inline void Multiply(xla::ffi::ThreadPool pool, const Pictures& from,
                     const float* kernel, const Plan& plan, const Answers& to) {
  const int64_t blocks = CeilDiv(from.c, kBlock), columns = CeilDiv(to.c, 32);
  int64_t taps = 0;
  for (const Phase& phase : plan.phases) taps += phase.taps.size();
  const int64_t column = taps * blocks * 2 * kTile;  // numbers of a column's tiles
  Lease tiles(columns * column * 2);
  FillKernel(pool, kernel, plan.turned ? to.c : from.c, plan.turned ? from.c : to.c, plan,
             tiles.As<uint16_t>());
  const Windows& windows = plan.windows;
  const int64_t lanes = ChooseLanes(from.n, windows.to_x - windows.from_x, 16);
  // A large kernel comes from far away, and so is used for more positions at once.
  const int64_t most = columns * column * 2 > (1 << 20) ? 2 * kPanelBytes : kPanelBytes;
  const std::vector<Part> parts =
      SplitParts(windows, from.n, lanes, blocks * kBlock * 2, most);
  const int64_t count = static_cast<int64_t>(parts.size());
  const int64_t shares = count >= 16 ? 1 : std::min(CeilDiv(columns, 4), CeilDiv(16, count));
  const int64_t size = CeilDiv(columns, shares);
  const int64_t steps = CeilDiv(columns, size);
  ForEach<Tiles>(pool, count * steps, [&](int64_t task) {
    const int64_t first = task / count * size, last = std::min(first + size, columns);
    PartProduct product(from, plan, parts[task % count], to);
    product.Run(tiles.As<uint16_t>() + first * column, first, last);
  });
}

}  // namespace kernels
