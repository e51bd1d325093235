// Convolutions of 3x3 windows at stride 1 by Winograd's minimal filtering, F(4x4, 3x3).
//
// A tile of 4 x 4 answers is the inverse transform of the product, position by position
// of 6 x 6, of the transforms of its pixels and of the kernel. Transforms and products
// of some tiles follow each other while they lie in the caches.
//
// Reference: Lavin and Gray, Fast algorithms for convolutional neural networks, 2015, 4.

#pragma once

#include <algorithm>
#include <vector>

#include "float_pictures.h"
#include "threads.h"

namespace kernels {

constexpr int kSide = 6, kAnswers = 4;  // of a tile: pixels, answers
constexpr int64_t kPositions = kSide * kSide;

// The reference's B^T: six pixels.
struct MixPixels {
  template <int kApart>
  static void Run(Vector* v) {
    const Vector a = v[0], b = v[kApart], c = v[2 * kApart], d = v[3 * kApart],
                 e = v[4 * kApart], f = v[5 * kApart];
    const Vector even = e - 4.f * c, odd = d - 4.f * b, near = e - c, far = 2.f * (d - b);
    v[0] = 4.f * a - 5.f * c + e;
    v[kApart] = even + odd;
    v[2 * kApart] = even - odd;
    v[3 * kApart] = near + far;
    v[4 * kApart] = near - far;
    v[5 * kApart] = 4.f * b - 5.f * d + f;
  }
};

// A^T: six products to four answers.
struct MixProducts {
  template <int kApart>
  static void Run(Vector* v) {
    const Vector a = v[0], f = v[5 * kApart];
    const Vector sum = v[kApart] + v[2 * kApart], rest = v[kApart] - v[2 * kApart];
    const Vector far_sum = v[3 * kApart] + v[4 * kApart];
    const Vector far_rest = v[3 * kApart] - v[4 * kApart];
    v[0] = a + sum + far_sum;
    v[kApart] = rest + 2.f * far_rest;
    v[2 * kApart] = sum + 4.f * far_sum;
    v[3 * kApart] = rest + 8.f * far_rest + f;
  }
};

// A: gradients of four answers to those of six products.
struct SpreadAnswers {
  template <int kApart>
  static void Run(Vector* v) {
    const Vector a = v[0], b = v[kApart], c = v[2 * kApart], d = v[3 * kApart];
    const Vector even = a + c, odd = b + d;
    const Vector far_even = a + 4.f * c, far_odd = 2.f * b + 8.f * d;
    v[kApart] = even + odd;
    v[2 * kApart] = even - odd;
    v[3 * kApart] = far_even + far_odd;
    v[4 * kApart] = far_even - far_odd;
    v[5 * kApart] = d;
  }
};

// G: three taps of a kernel to six.
struct SpreadTaps {
  template <int kApart>
  static void Run(Vector* v) {
    const Vector a = v[0], b = v[kApart], c = v[2 * kApart];
    const Vector even = (a + c) * (-1 / 6.f), odd = b * (-1 / 6.f);
    const Vector far_even = a * (1 / 24.f) + c * (1 / 6.f), far_odd = b * (1 / 12.f);
    v[0] = a * .25f;
    v[kApart] = even + odd;
    v[2 * kApart] = even - odd;
    v[3 * kApart] = far_even + far_odd;
    v[4 * kApart] = far_even - far_odd;
    v[5 * kApart] = c;
  }
};

// G^T: gradients of six to those of three taps.
struct MixTaps {
  template <int kApart>
  static void Run(Vector* v) {
    const Vector sum = v[kApart] + v[2 * kApart], rest = v[kApart] - v[2 * kApart];
    const Vector far_sum = v[3 * kApart] + v[4 * kApart];
    const Vector far_rest = v[3 * kApart] - v[4 * kApart];
    v[0] = v[0] * .25f - sum * (1 / 6.f) + far_sum * (1 / 24.f);
    v[kApart] = far_rest * (1 / 12.f) - rest * (1 / 6.f);
    v[2 * kApart] = far_sum * (1 / 6.f) - sum * (1 / 6.f) + v[5 * kApart];
  }
};

// Transforms a square of vectors, rows of six, down its columns, then along its rows.
template <typename Mix, int kColumns, int kDown>
void MixBoth(Vector* square) {
#pragma GCC unroll 6
  for (int x = 0; x < kColumns; ++x) Mix::template Run<kSide>(square + x);
#pragma GCC unroll 6
  for (int y = 0; y < kDown; ++y) Mix::template Run<1>(square + y * kSide);
}

// Tiles of pictures, and where the transforms of some of them lie.
struct TileGrid {
  int64_t n, rows, columns;

  explicit TileGrid(const Layout& layout)
      : n(layout.n), rows(CeilDiv(layout.h, kAnswers)),
        columns(CeilDiv(layout.w, kAnswers)) {}
  int64_t Count() const { return n * rows * columns; }
};

struct Transformed {
  int64_t channels, width, apart;  // `width` of a tile's row, `apart` of two positions

  // No powers of two: what lies one apart would share a set of the cache.
  Transformed(int64_t tiles, int64_t channels)
      : channels(channels), width(SpreadOut(channels)),
        apart(SpreadOut(tiles * width)) {}
  int64_t Size() const { return kPositions * apart; }
};

// Reads a tile's pixels, kSize each way from kMargin outside of it on, and transforms
// them.
template <typename Mix, int kMargin, int kSize>
void ReadTile(const Source& from, const TileGrid& grid, int64_t tile,
              const Transformed& shape, float* to) {
  const Layout layout = from.layout;
  const int64_t image = tile / (grid.rows * grid.columns);
  const int64_t top = tile / grid.columns % grid.rows * kAnswers - kMargin;
  const int64_t left = tile % grid.columns * kAnswers - kMargin;
  int64_t places[kPositions];
  for (int64_t y = 0; y < kSize; ++y)
    for (int64_t x = 0; x < kSize; ++x) {
      const bool inside = top + y >= 0 && top + y < layout.h && left + x >= 0 &&
                          left + x < layout.w;
      places[y * kSide + x] = inside ? layout.Place(image, top + y, left + x) : -1;
    }
  for (int64_t channel = 0; channel < shape.channels; channel += kLanes) {
    Vector square[kPositions] = {};
    if (channel < layout.c) {
      const int64_t offset = layout.Offset(channel);
      for (int64_t y = 0; y < kSize; ++y)
        for (int64_t x = 0; x < kSize; ++x) {
          const int64_t place = places[y * kSide + x];
          if (place >= 0) square[y * kSide + x] = from.Read(place + offset);
        }
      MixBoth<Mix, kSize, kSide>(square);
    }
    for (int64_t i = 0; i < kPositions; ++i)
      Store(to + i * shape.apart + channel, square[i]);
  }
}

inline void WriteTile(const float* products, const Transformed& shape,
                      const TileGrid& grid, int64_t tile, int64_t first_channel,
                      int64_t channels, const Target& to) {
  const Layout layout = to.layout;
  const int64_t image = tile / (grid.rows * grid.columns);
  const int64_t top = tile / grid.columns % grid.rows * kAnswers;
  const int64_t left = tile % grid.columns * kAnswers;
  const int64_t rows = std::min<int64_t>(kAnswers, layout.h - top);
  const int64_t columns = std::min<int64_t>(kAnswers, layout.w - left);
  const int64_t place = layout.Place(image, top, left);
  const int64_t down = layout.Place(0, 1, 0), right = layout.Place(0, 0, 1);
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    Vector square[kPositions];
    for (int64_t i = 0; i < kPositions; ++i)
      square[i] = Load(products + i * shape.apart + channel);
    MixBoth<MixProducts, kSide, kAnswers>(square);
    const Vector bias = to.Bias(first_channel + channel);
    const int64_t at = place + layout.Offset(first_channel + channel);
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        to.Write(at + y * down + x * right, square[y * kSide + x] + bias);
  }
}

// The kernel's transform as panels: (position, panel, in, kPanel). `turned` gives that
// of the gradient of the pictures, where answers go in and pixels come out.
struct KernelPanels {
  int64_t in, out, panels, apart;

  KernelPanels(int64_t in, int64_t out)
      : in(in), out(out), panels(CeilDiv(out, kPanel)),
        apart(SpreadOut(panels * in * kPanel)) {}
  int64_t Size() const { return kPositions * apart; }
  const float* Panel(const float* all, int64_t position, int64_t panel) const {
    return all + position * apart + panel * in * kPanel;
  }
};

inline void FillKernelPanels(xla::ffi::ThreadPool pool, const float* kernel,
                             const KernelPanels& shape, bool turned, float* to) {
  constexpr int64_t kTaps = 9;
  const int64_t stretch = kLanes;  // of `in`, for one task
  const int64_t stretches = CeilDiv(shape.in, stretch);
  ForEach<NoSetup>(pool, shape.panels * stretches, [&, turned](int64_t task) {
    const int64_t panel = task / stretches, from = task % stretches * stretch;
    const int64_t until = std::min(from + stretch, shape.in);
    alignas(64) float taps[kTaps][kLanes][kPanel] = {};
    const int64_t first = panel * kPanel, count = std::min(kPanel, shape.out - first);
    for (int64_t tap = 0; tap < kTaps; ++tap)
      if (turned)
        for (int64_t o = 0; o < count; ++o) {
          const float* row =
              kernel + ((kTaps - 1 - tap) * shape.out + first + o) * shape.in + from;
          for (int64_t i = 0; i < until - from; ++i) taps[tap][i][o] = row[i];
        }
      else
        for (int64_t i = 0; i < until - from; ++i)
          std::memcpy(taps[tap][i],
                      kernel + (tap * shape.in + from + i) * shape.out + first,
                      count * sizeof(float));
    for (int64_t i = 0; i < until - from; ++i)
      for (int64_t half = 0; half < kPanel; half += kLanes) {
        Vector square[kPositions];
        for (int64_t tap = 0; tap < kTaps; ++tap)
          square[tap / 3 * kSide + tap % 3] = Load(taps[tap][i] + half);
        MixBoth<SpreadTaps, 3, kSide>(square);
        float* place = to + (panel * shape.in + from + i) * kPanel + half;
        for (int64_t at = 0; at < kPositions; ++at)
          Store(place + at * shape.apart, square[at]);
      }
  });
}

// Convolves what is read with the kernel, or with its turned form.
inline void Winograd(xla::ffi::ThreadPool pool, const Source& from, const float* kernel,
                     bool turned, const Target& to) {
  const KernelPanels panels(from.layout.c, to.layout.c);
  const Lease kernels(panels.Size() * sizeof(float));
  FillKernelPanels(pool, kernel, panels, turned, kernels.As<float>());
  const TileGrid grid(from.layout);
  const int64_t in = from.layout.c, tiles = grid.Count();
  constexpr int64_t kMost = 16;  // panels of one task
  const int64_t groups = CeilDiv(panels.panels, kMost);
  const int64_t per_group = CeilDiv(panels.panels, groups);
  const int64_t bytes = kPositions * (in + per_group * kPanel) * int64_t{sizeof(float)};
  int64_t chunk = std::clamp<int64_t>(kChunkBytes / bytes / kRows, 2, 8) * kRows;
  chunk = std::min(chunk, RoundUp(CeilDiv(tiles, 2), kRows));
  const int64_t chunks = CeilDiv(tiles, chunk);
  const Transformed pixels(chunk, in), products(chunk, per_group * kPanel);
  ForEach<NoSetup>(pool, chunks * groups, [&](int64_t task) {
    const int64_t first_tile = task / groups * chunk;
    const int64_t count = std::min(chunk, tiles - first_tile);
    const int64_t first_panel = task % groups * per_group;
    const int64_t last_panel = std::min(first_panel + per_group, panels.panels);
    const Lease lease((pixels.Size() + products.Size()) * sizeof(float));
    float* read = lease.As<float>();
    float* made = read + pixels.Size();
    for (int64_t t = 0; t < count; ++t)
      ReadTile<MixPixels, 1, kSide>(from, grid, first_tile + t, pixels,
                                    read + t * pixels.width);
    for (int64_t at = 0; at < kPositions; ++at)
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        const float* matrix = panels.Panel(kernels.As<float>(), at, panel);
        float* sums = made + at * products.apart + (panel - first_panel) * kPanel;
        for (int64_t t = 0; t < count; t += kRows) {
          const float* rows[kRows];
          for (int64_t i = 0; i < kRows; ++i)
            rows[i] = read + at * pixels.apart + (t + i) * pixels.width;
          WithCount(std::min(kRows, count - t), [&](auto rest) {
            MultiplyRows<rest.value>(rows, 1, in, matrix, sums + t * products.width,
                                     products.width);
          });
        }
      }
    const int64_t channel = first_panel * kPanel;
    const int64_t channels = std::min(last_panel * kPanel, to.layout.c) - channel;
    for (int64_t t = 0; t < count; ++t)
      WriteTile(made + t * products.width, products, grid, first_tile + t, channel,
                channels, to);
  });
}

// The gradients by kernel and bias.
inline void WinogradParameters(xla::ffi::ThreadPool pool, const Source& from,
                               const Source& answers, float* dkernel, float* dbias) {
  const TileGrid grid(from.layout);
  const int64_t in = from.layout.c, out = answers.layout.c;
  const int64_t wide = RoundUp(out, kPanel), tiles = grid.Count();
  constexpr int64_t kTask = 8;  // tiles
  const int64_t bytes = kPositions * (in + wide) * int64_t{sizeof(float)};
  const int64_t chunk =
      std::min(std::clamp<int64_t>(kGradientBytes / bytes / kTask, 4, 64) * kTask,
               RoundUp(tiles, kTask));
  const Transformed pixels(chunk, in), gradients(chunk, wide);
  const int64_t apart = SpreadOut(in * wide);
  const Lease lease((pixels.Size() + gradients.Size() + kPositions * apart) *
                    sizeof(float));
  float* read = lease.As<float>();
  float* spread = read + pixels.Size();
  float* sums = spread + gradients.Size();
  const int64_t parts = CeilDiv(tiles, kTask);
  std::vector<float> biases(parts * out);
  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t count = std::min(chunk, tiles - first);
    ForEach<NoSetup>(pool, CeilDiv(count, kTask), [&](int64_t task) {
      float* bias = biases.data() + (first / kTask + task) * out;
      for (int64_t t = task * kTask; t < std::min(count, (task + 1) * kTask); ++t) {
        ReadTile<MixPixels, 1, kSide>(from, grid, first + t, pixels,
                                      read + t * pixels.width);
        float* to = spread + t * gradients.width;
        ReadTile<SpreadAnswers, 0, kAnswers>(answers, grid, first + t, gradients, to);
        // The second position each way is the sum of a tile's four answers.
        const float* all = to + (kSide + 1) * gradients.apart;
        for (int64_t channel = 0; channel < out; channel += kLanes)
          Store(bias + channel, Load(bias + channel) + Load(all + channel));
      }
    });
    ForEach<NoSetup>(pool, kPositions, [&](int64_t at) {
      float* to = sums + at * apart;
      if (first == 0) std::memset(to, 0, in * wide * sizeof(float));
      const Run run{read + at * pixels.apart, spread + at * gradients.apart, count};
      for (int64_t o = 0; o < wide; o += kPanel)
        for (int64_t i = 0; i < in; i += kRows)
          WithCount(std::min(kRows, in - i), [&](auto rest) {
            MultiplyColumns<rest.value>(&run, 1, i, o, pixels.width, gradients.width,
                                        to + i * wide + o, wide);
          });
    });
  }
  ForEach<NoSetup>(pool, in, [&](int64_t i) {
    for (int64_t o = 0; o < out; o += kLanes) {
      Vector square[kPositions];
      for (int64_t at = 0; at < kPositions; ++at)
        square[at] = Load(sums + at * apart + i * wide + o);
      MixBoth<MixTaps, kSide, 3>(square);
      for (int64_t tap = 0; tap < 9; ++tap)
        Store(dkernel + (tap * in + i) * out + o, square[tap / 3 * kSide + tap % 3]);
    }
  });
  std::fill(dbias, dbias + out, 0.f);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t o = 0; o < out; ++o) dbias[o] += biases[part * out + o];
}

}  // namespace kernels
