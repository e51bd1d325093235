// Convolutions of 3x3 windows at stride 1 by Winograd's minimal filtering.
//
// A tile of answers is the inverse transform of the product, position by position, of
// the transforms of its pixels and of the kernel. Transforms and products of some tiles
// follow each other while they lie in the caches. Tiles of 4x4 answers need a quarter of
// the products; tiles of 2x2 need 1 / 2.25 and stay accurate with rounded transforms.
// Windows of 5x5 at stride 2 are windows of 3x3 over blocks of 2x2 pixels.
//
// Reference: Lavin and Gray, Fast algorithms for convolutional neural networks, 2015, 4.

#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "float_pictures.h"
#include "threads.h"

namespace kernels {

// F(4x4, 3x3): the numbers of products, a tile's pixels and answers each way, and the
// transforms of vectors that lie kApart.
struct TilesOfFour {
  using Type = Floats;
  static constexpr int kSide = 6, kAnswers = 4;

  // The reference's B^T: pixels of a tile.
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

  // A^T: products to answers.
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

  // A: gradients of answers to those of products.
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

  // G: a kernel's three taps to as many as a tile has pixels.
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

  // G^T: gradients of these to those of three taps.
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
};

#if defined(__AVX512BF16__)
// F(2x2, 3x3), as above.
struct TilesOfTwo {
  using Type = Bfloats;
  static constexpr int kSide = 4, kAnswers = 2;

  struct MixPixels {
    template <int kApart>
    static void Run(Vector* v) {
      const Vector b = v[kApart], c = v[2 * kApart];
      v[0] -= c;
      v[kApart] = b + c;
      v[2 * kApart] = c - b;
      v[3 * kApart] = b - v[3 * kApart];
    }
  };

  struct MixProducts {
    template <int kApart>
    static void Run(Vector* v) {
      const Vector b = v[kApart], c = v[2 * kApart];
      v[0] += b + c;
      v[kApart] = b - c - v[3 * kApart];
    }
  };

  struct SpreadAnswers {
    template <int kApart>
    static void Run(Vector* v) {
      const Vector a = v[0], b = v[kApart];
      v[kApart] = a + b;
      v[2 * kApart] = a - b;
      v[3 * kApart] = -b;
    }
  };

  struct SpreadTaps {
    template <int kApart>
    static void Run(Vector* v) {
      const Vector even = (v[0] + v[2 * kApart]) * .5f, odd = v[kApart] * .5f;
      v[3 * kApart] = v[2 * kApart];
      v[kApart] = even + odd;
      v[2 * kApart] = even - odd;
    }
  };

  struct MixTaps {
    template <int kApart>
    static void Run(Vector* v) {
      const Vector sum = (v[kApart] + v[2 * kApart]) * .5f;
      v[0] += sum;
      v[kApart] = (v[kApart] - v[2 * kApart]) * .5f;
      v[2 * kApart] = sum + v[3 * kApart];
    }
  };
};
#endif

// Transforms a square of vectors, rows of kSide, down its columns, then along its rows.
template <typename Mix, int kSide, int kColumns, int kDown>
[[gnu::always_inline]] inline void MixBoth(Vector* square) {
#pragma GCC unroll 6
  for (int x = 0; x < kColumns; ++x) Mix::template Run<kSide>(square + x);
#pragma GCC unroll 6
  for (int y = 0; y < kDown; ++y) Mix::template Run<1>(square + y * kSide);
}

// A kernel HWIO as it is filtered: 3x3 taps, `in` channels. At stride 2 it has 5x5, and
// those of four pixels follow each other in `in`.
struct Taps {
  static constexpr int64_t kCount = 9;
  int64_t in, out, stride;

  // Where the `out` numbers of a channel lie; -1: the larger kernel has none there.
  int64_t Row(int64_t tap, int64_t channel) const {
    if (stride == 1) return (tap * in + channel) * out;
    const int64_t channels = in / 4, pixel = channel / channels;
    const int64_t y = 2 * (tap / 3) + pixel / 2 - 1, x = 2 * (tap % 3) + pixel % 2 - 1;
    if (y < 0 || x < 0) return -1;
    return ((5 * y + x) * channels + channel % channels) * out;
  }
};

// Whether windows are filtered, for pictures and answers stored as the layouts say.
inline bool Filters(const Layout& pictures, const Layout& answers, int64_t kh,
                    int64_t kw, int64_t stride) {
  const bool plain = kh == 3 && kw == 3 && stride == 1;
  const bool halved = kh == 5 && kw == 5 && stride == 2 && pictures.h % 2 == 0 &&
                      pictures.w % 2 == 0;
  const int64_t in = halved ? 2 * pictures.c : pictures.c;
  return (plain || halved) && in % kLanes == 0 &&
         answers.c % (kLanes * answers.block) == 0;
}

// Pictures as blocks of `stride` x `stride` pixels, which the memory's order allows.
inline Layout InBlocks(const Layout& pictures, int64_t stride) {
  return {pictures.n, pictures.h / stride, pictures.w / stride,
          pictures.c * stride * stride, stride};
}

// Tiles of pictures.
struct TileGrid {
  int64_t n, rows, columns, answers;

  TileGrid(const Layout& layout, int64_t answers)
      : n(layout.n), rows(CeilDiv(layout.h, answers)),
        columns(CeilDiv(layout.w, answers)), answers(answers) {}
  int64_t Count() const { return n * rows * columns; }
  int64_t Image(int64_t tile) const { return tile / (rows * columns); }
  int64_t Top(int64_t tile) const { return tile / columns % rows * answers; }
  int64_t Left(int64_t tile) const { return tile % columns * answers; }
};

// Where the transforms of some tiles lie: `width` of a tile's row, `apart` of two
// positions. No powers of two: what lies one apart would share a set of the cache.
template <typename Number>
struct Transformed {
  int64_t channels, width, apart, positions;

  Transformed(int64_t tiles, int64_t channels, int64_t deep, int64_t positions)
      : channels(channels), width(SpreadOut<Number>(channels * deep)),
        apart(SpreadOut<Number>(CeilDiv(tiles, deep) * width)), positions(positions) {}
  int64_t Size() const { return positions * apart; }
  int64_t Bytes() const { return RoundUp(Size() * int64_t{sizeof(Number)}, 64); }
};

// Reads a tile's pixels, kSize each way from kMargin outside of it on, and transforms
// them.
template <typename Tiles, typename Mix, int kMargin, int kSize>
class TileReader {
 public:
  static constexpr int kSide = Tiles::kSide;

  // `tile` may be past the last: there all is zero.
  TileReader(const Source<typename Tiles::Type>& from, const TileGrid& grid, int64_t tile)
      : from_(from) {
    const Layout layout = from.layout;
    const int64_t image = grid.Image(tile);
    const int64_t top = grid.Top(tile) - kMargin, left = grid.Left(tile) - kMargin;
    for (int64_t y = 0; y < kSize; ++y)
      for (int64_t x = 0; x < kSize; ++x) {
        const bool inside = image < layout.n && top + y >= 0 && top + y < layout.h &&
                            left + x >= 0 && left + x < layout.w;
        places_[y * kSize + x] = inside ? layout.Place(image, top + y, left + x) : -1;
      }
  }

  void Read(int64_t channel, Vector* square) const {
    const bool there = channel < from_.layout.c;
    const int64_t offset = there ? from_.layout.Offset(channel) : 0;
    for (int64_t y = 0; y < kSize; ++y)
      for (int64_t x = 0; x < kSize; ++x) {
        const int64_t place = places_[y * kSize + x];
        square[y * kSide + x] =
            there && place >= 0 ? from_.Read(place + offset) : Vector{};
      }
    MixBoth<Mix, kSide, kSize, kSide>(square);
  }

 private:
  const Source<typename Tiles::Type>& from_;
  int64_t places_[kSize * kSize];
};

template <typename Tiles>
void WriteTile(const float* products, const Transformed<float>& shape,
               const TileGrid& grid, int64_t tile, int64_t first_channel,
               int64_t channels, const Target<typename Tiles::Type>& to) {
  constexpr int kSide = Tiles::kSide, kAnswers = Tiles::kAnswers;
  const Layout layout = to.layout;
  const int64_t top = grid.Top(tile), left = grid.Left(tile);
  const int64_t rows = std::min<int64_t>(kAnswers, layout.h - top);
  const int64_t columns = std::min<int64_t>(kAnswers, layout.w - left);
  const int64_t place = layout.Place(grid.Image(tile), top, left);
  const int64_t down = layout.Place(0, 1, 0), right = layout.Place(0, 0, 1);
  for (int64_t channel = 0; channel < channels; channel += kLanes) {
    Vector square[kSide * kSide];
    for (int64_t i = 0; i < kSide * kSide; ++i)
      square[i] = Load(products + i * shape.apart + channel);
    MixBoth<typename Tiles::MixProducts, kSide, kSide, kAnswers>(square);
    const Vector bias = to.Bias(first_channel + channel);
    const int64_t at = place + layout.Offset(first_channel + channel);
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t x = 0; x < columns; ++x)
        to.Write(at + y * down + x * right, square[y * kSide + x] + bias);
  }
}

// The squares of kDeep numbers that follow each other, for each position of a tile.
template <typename Tiles>
void StoreDeep(const Vector (*squares)[Tiles::kSide * Tiles::kSide],
               typename Tiles::Type::Number* to, int64_t apart) {
  using Type = typename Tiles::Type;
  for (int64_t at = 0; at < Tiles::kSide * Tiles::kSide; ++at)
    if constexpr (Type::kDeep == 1)
      Type::Store(to + at * apart, squares[0][at]);
    else
      Type::StorePairs(to + at * apart, squares[0][at], squares[1][at]);
}

// The kernel's transform as panels: (position, panel, in, kPanel). `turned` gives that
// of the gradient of the pictures, where answers go in and pixels come out.
template <typename Tiles>
struct KernelPanels {
  using Type = typename Tiles::Type;
  using Number = typename Type::Number;
  static constexpr int kSide = Tiles::kSide, kPositions = kSide * kSide;
  int64_t in, out, panels, apart;

  KernelPanels(int64_t in, int64_t out)
      : in(in), out(out), panels(CeilDiv(out, kPanel)),
        apart(SpreadOut<Number>(panels * in * kPanel)) {}
  int64_t Bytes() const { return kPositions * apart * int64_t{sizeof(Number)}; }
  const Number* Panel(const Number* all, int64_t position, int64_t panel) const {
    return all + position * apart + panel * in * kPanel;
  }

  void Fill(xla::ffi::ThreadPool pool, const float* kernel, const Taps& taps, bool turned,
            Number* to) const {
    const int64_t stretches = CeilDiv(in, kLanes);  // of `in`, one a task
    ForEach<NoSetup>(pool, panels * stretches, [&, turned](int64_t task) {
      const int64_t panel = task / stretches, from = task % stretches * kLanes;
      const int64_t depth = std::min(kLanes, in - from), first = panel * kPanel;
      const int64_t count = std::min(kPanel, out - first);
      alignas(64) float read[Taps::kCount][kLanes][kPanel] = {};
      for (int64_t tap = 0; tap < Taps::kCount; ++tap)
        if (turned)
          for (int64_t o = 0; o < count; ++o) {
            const int64_t row = taps.Row(Taps::kCount - 1 - tap, first + o);
            if (row < 0) continue;
            for (int64_t i = 0; i < depth; ++i)
              read[tap][i][o] = kernel[row + from + i];
          }
        else
          for (int64_t i = 0; i < depth; ++i) {
            const int64_t row = taps.Row(tap, from + i);
            if (row >= 0)
              std::memcpy(read[tap][i], kernel + row + first, count * sizeof(float));
          }
      for (int64_t i = 0; i < depth; i += Type::kDeep)
        for (int64_t half = 0; half < kPanel; half += kLanes) {
          Vector squares[Type::kDeep][kPositions];
          for (int64_t deep = 0; deep < Type::kDeep; ++deep) {
            for (int64_t tap = 0; tap < Taps::kCount; ++tap)
              squares[deep][tap / 3 * kSide + tap % 3] = Load(read[tap][i + deep] + half);
            MixBoth<typename Tiles::SpreadTaps, kSide, 3, kSide>(squares[deep]);
          }
          StoreDeep<Tiles>(squares,
                           to + (panel * in + from + i) * kPanel + half * Type::kDeep,
                           apart);
        }
    });
  }
};

// Convolves what is read with the kernel, or with its turned form.
template <typename Tiles>
void Winograd(xla::ffi::ThreadPool pool, const Source<typename Tiles::Type>& from,
              const float* kernel, const Taps& taps, bool turned,
              const Target<typename Tiles::Type>& to) {
  using Type = typename Tiles::Type;
  using Number = typename Type::Number;
  constexpr int64_t kSide = Tiles::kSide, kPositions = kSide * kSide;
  const KernelPanels<Tiles> panels(from.layout.c, to.layout.c);
  const Lease kernels(panels.Bytes());
  panels.Fill(pool, kernel, taps, turned, kernels.As<Number>());
  const TileGrid grid(from.layout, Tiles::kAnswers);
  const int64_t in = from.layout.c, tiles = grid.Count();
  constexpr int64_t kMost = 16;  // panels of one task
  const int64_t groups = CeilDiv(panels.panels, kMost);
  const int64_t per_group = CeilDiv(panels.panels, groups);
  const int64_t bytes = kPositions * (in * int64_t{sizeof(Number)} +
                                      per_group * kPanel * int64_t{sizeof(float)});
  int64_t chunk = std::clamp<int64_t>(kChunkBytes / bytes / kRows, 2, 8) * kRows;
  chunk = std::min(chunk, RoundUp(CeilDiv(tiles, 2), kRows));
  const int64_t chunks = CeilDiv(tiles, chunk);
  const Transformed<Number> pixels(chunk, in, 1, kPositions);
  const Transformed<float> products(chunk, per_group * kPanel, 1, kPositions);
  ForEach<NoSetup>(pool, chunks * groups, [&](int64_t task) {
    const int64_t first_tile = task / groups * chunk;
    const int64_t count = std::min(chunk, tiles - first_tile);
    const int64_t first_panel = task % groups * per_group;
    const int64_t last_panel = std::min(first_panel + per_group, panels.panels);
    const Lease lease(pixels.Bytes() + products.Bytes());
    auto* read = lease.As<Number>();
    auto* made = reinterpret_cast<float*>(lease.As<char>() + pixels.Bytes());
    for (int64_t t = 0; t < count; ++t) {
      const TileReader<Tiles, typename Tiles::MixPixels, 1, kSide> reader(from, grid,
                                                                          first_tile + t);
      for (int64_t channel = 0; channel < in; channel += kLanes) {
        Vector square[kPositions];
        reader.Read(channel, square);
        Number* place = read + t * pixels.width + channel;
        for (int64_t at = 0; at < kPositions; ++at)
          Type::Store(place + at * pixels.apart, square[at]);
      }
    }
    for (int64_t at = 0; at < kPositions; ++at)
      for (int64_t panel = first_panel; panel < last_panel; ++panel) {
        const Number* matrix = panels.Panel(kernels.As<Number>(), at, panel);
        float* sums = made + at * products.apart + (panel - first_panel) * kPanel;
        for (int64_t t = 0; t < count; t += kRows) {
          const Number* rows[kRows];
          for (int64_t i = 0; i < kRows; ++i)
            rows[i] = read + at * pixels.apart + (t + i) * pixels.width;
          WithCount(std::min(kRows, count - t), [&](auto rest) {
            MultiplyRows<Type, rest.value>(rows, 1, in, matrix, sums + t * products.width,
                                           products.width);
          });
        }
      }
    const int64_t channel = first_panel * kPanel;
    const int64_t channels = std::min(last_panel * kPanel, to.layout.c) - channel;
    for (int64_t t = 0; t < count; ++t)
      WriteTile<Tiles>(made + t * products.width, products, grid, first_tile + t, channel,
                       channels, to);
  });
}

// Transforms of kDeep tiles, their numbers beside each other; and, if `sums` is not null,
// adds all that was read: what SpreadAnswers has at the second position each way.
template <typename Tiles, typename Mix, int kMargin, int kSize>
void ReadDeep(const Source<typename Tiles::Type>& from, const TileGrid& grid,
              int64_t tile, const Transformed<typename Tiles::Type::Number>& shape,
              typename Tiles::Type::Number* to, float* sums) {
  constexpr int64_t kSide = Tiles::kSide, kDeep = Tiles::Type::kDeep;
  using Reader = TileReader<Tiles, Mix, kMargin, kSize>;
  const auto readers = [&] {
    if constexpr (kDeep == 1)
      return std::array<Reader, 1>{Reader(from, grid, tile)};
    else
      return std::array<Reader, 2>{Reader(from, grid, tile), Reader(from, grid, tile + 1)};
  }();
  for (int64_t channel = 0; channel < shape.channels; channel += kLanes) {
    Vector squares[kDeep][kSide * kSide];
    for (int64_t deep = 0; deep < kDeep; ++deep) {
      readers[deep].Read(channel, squares[deep]);
      if (sums != nullptr)
        Store(sums + channel, Load(sums + channel) + squares[deep][kSide + 1]);
    }
    StoreDeep<Tiles>(squares, to + channel * kDeep, shape.apart);
  }
}

// The gradients by kernel and bias.
template <typename Tiles>
void WinogradParameters(xla::ffi::ThreadPool pool,
                        const Source<typename Tiles::Type>& from,
                        const Source<typename Tiles::Type>& answers, const Taps& taps,
                        float* dkernel, float* dbias) {
  using Type = typename Tiles::Type;
  using Number = typename Type::Number;
  constexpr int64_t kSide = Tiles::kSide, kPositions = kSide * kSide;
  constexpr int64_t kDeep = Type::kDeep;
  const TileGrid grid(from.layout, Tiles::kAnswers);
  const int64_t in = from.layout.c, out = answers.layout.c;
  const int64_t wide = RoundUp(out, kPanel), tiles = grid.Count();
  constexpr int64_t kTask = 8;  // tiles
  const int64_t bytes = kPositions * (in + wide) * int64_t{sizeof(Number)};
  const int64_t sum_bytes = kPositions * in * wide * int64_t{sizeof(float)};
  // All sums are read and written for each chunk: large ones are worth a large chunk.
  const int64_t most = std::max(kGradientBytes, sum_bytes / 2);
  const int64_t chunk = std::min(std::clamp<int64_t>(most / bytes / kTask, 4, 128) * kTask,
                                 RoundUp(tiles, kTask));
  const Transformed<Number> pixels(chunk, in, kDeep, kPositions);
  const Transformed<Number> gradients(chunk, wide, kDeep, kPositions);
  const int64_t apart = SpreadOut<float>(in * wide);
  const Lease lease(pixels.Bytes() + gradients.Bytes() +
                    kPositions * apart * int64_t{sizeof(float)});
  auto* read = lease.As<Number>();
  auto* spread = reinterpret_cast<Number*>(lease.As<char>() + pixels.Bytes());
  auto* sums = reinterpret_cast<float*>(lease.As<char>() + pixels.Bytes() +
                                        gradients.Bytes());
  const int64_t parts = CeilDiv(tiles, kTask);
  std::vector<float> biases(parts * wide);
  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t count = std::min(chunk, tiles - first);
    ForEach<NoSetup>(pool, CeilDiv(count, kTask), [&](int64_t task) {
      float* bias = biases.data() + (first / kTask + task) * wide;
      const int64_t until = std::min(count, (task + 1) * kTask);
      for (int64_t t = task * kTask; t < until; t += kDeep) {
        ReadDeep<Tiles, typename Tiles::MixPixels, 1, kSide>(
            from, grid, first + t, pixels, read + t / kDeep * pixels.width, nullptr);
        ReadDeep<Tiles, typename Tiles::SpreadAnswers, 0, Tiles::kAnswers>(
            answers, grid, first + t, gradients, spread + t / kDeep * gradients.width,
            bias);
      }
    });
    ForEach<NoSetup>(pool, kPositions, [&](int64_t at) {
      float* to = sums + at * apart;
      if (first == 0) std::memset(to, 0, in * wide * sizeof(float));
      const Run<Type> run{read + at * pixels.apart, spread + at * gradients.apart,
                          CeilDiv(count, kDeep)};
      for (int64_t o = 0; o < wide; o += kPanel)
        for (int64_t i = 0; i < in; i += kRows)
          WithCount(std::min(kRows, in - i), [&](auto rest) {
            MultiplyColumns<Type, rest.value>(&run, 1, i, o, pixels.width,
                                              gradients.width, to + i * wide + o, wide);
          });
    });
  }
  ForEach<NoSetup>(pool, in, [&](int64_t i) {
    for (int64_t o = 0; o < out; o += kLanes) {
      Vector square[kPositions];
      for (int64_t at = 0; at < kPositions; ++at)
        square[at] = Load(sums + at * apart + i * wide + o);
      MixBoth<typename Tiles::MixTaps, kSide, kSide, 3>(square);
      for (int64_t tap = 0; tap < Taps::kCount; ++tap)
        if (const int64_t row = taps.Row(tap, i); row >= 0)
          Store(dkernel + row + o, square[tap / 3 * kSide + tap % 3]);
    }
  });
  std::fill(dbias, dbias + out, 0.f);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t o = 0; o < out; ++o) dbias[o] += biases[part * wide + o];
}

}  // namespace kernels
