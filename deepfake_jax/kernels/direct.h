// Convolutions of any window and stride by the definition: sums over the taps.

#pragma once

#include <algorithm>
#include <vector>

#include "float_pictures.h"
#include "threads.h"

namespace kernels {

// How windows lie over pictures.
struct Window {
  int64_t kh, kw, stride, pad_y, pad_x;

  int64_t Taps() const { return kh * kw; }
};

// Places on one axis of a picture whose taps are the same: every `step`-th from `first`
// on. Tap `first_tap + i step` of place q is seen from answer q + from - i.
struct Phase {
  int64_t first, count, from, first_tap, taps;

  Phase(int64_t remainder, int64_t size, int64_t window, int64_t step, int64_t pad)
      : first(((remainder - pad) % step + step) % step),
        count(first < size ? CeilDiv(size - first, step) : 0),
        from((first + pad - remainder) / step), first_tap(remainder),
        taps(remainder < window ? CeilDiv(window - remainder, step) : 0) {}
};

// Panels of a kernel: for each panel and tap `depth` rows of kPanel numbers.
inline void FillPanel(const float* kernel, int64_t in, int64_t out, bool turned,
                      const std::vector<int64_t>& taps, int64_t panel, float* to) {
  const int64_t first = panel * kPanel;
  const int64_t count = std::min(kPanel, (turned ? in : out) - first);
  for (const int64_t tap : taps) {
    const float* from = kernel + tap * in * out;
    for (int64_t k = 0; k < (turned ? out : in); ++k, to += kPanel) {
      if (count < kPanel) std::memset(to, 0, kPanel * sizeof(float));
      if (turned)
        for (int64_t i = 0; i < count; ++i) to[i] = from[(first + i) * out + k];
      else
        std::memcpy(to, from + k * out + first, count * sizeof(float));
    }
  }
}

constexpr int64_t kDirectTask = 8;  // blocks of rows of one task

// Products of places with panels: row(place, tap) gives a place's numbers, or null, and
// find(place) where its answer lies.
template <typename Row, typename Find>
void MultiplyPlaces(xla::ffi::ThreadPool pool, int64_t places, int64_t taps,
                    int64_t depth, const float* panels, const Target<Floats>& to, const Row& row,
                    const Find& find) {
  const int64_t channels = to.layout.c;
  const std::vector<float> zeros(depth);
  constexpr int64_t kPlaces = kDirectTask * kRows;
  ForEach<NoSetup>(pool, CeilDiv(places, kPlaces), [&](int64_t task) {
    const int64_t until = std::min(places, (task + 1) * kPlaces);
    std::vector<const float*> rows(kDirectTask * taps * kRows);
    int64_t found[kPlaces];
    for (int64_t place = task * kPlaces; place < until; ++place) {
      found[place - task * kPlaces] = find(place);
      for (int64_t tap = 0; tap < taps; ++tap) {
        const float* from = row(place, tap);
        const int64_t at = place - task * kPlaces;
        rows[(at / kRows * taps + tap) * kRows + at % kRows] =
            from == nullptr ? zeros.data() : from;
      }
    }
    alignas(64) float sums[kRows * kPanel];
    for (int64_t channel = 0; channel < channels; channel += kPanel)
      for (int64_t block = 0; block < kDirectTask; ++block) {
        const int64_t first = task * kPlaces + block * kRows;
        const int64_t count = std::min(kRows, until - first);
        if (count <= 0) break;
        WithCount(count, [&](auto rest) {
          MultiplyRows<Floats, rest.value>(rows.data() + block * taps * kRows, taps, depth,
                                   panels + channel * taps * depth, sums, kPanel);
        });
        const int64_t wide = std::min(kPanel, channels - channel);
        for (int64_t lane = 0; lane < wide; lane += kLanes) {
          const Vector bias = to.Bias(channel + lane);
          const int64_t offset = to.layout.Offset(channel + lane);
          for (int64_t i = 0; i < count; ++i)
            to.Write(found[block * kRows + i] + offset,
                     Load(sums + i * kPanel + lane) + bias);
        }
      }
  });
}

inline void FillPanels(xla::ffi::ThreadPool pool, const float* kernel, int64_t in,
                       int64_t out, bool turned, const std::vector<int64_t>& taps,
                       float* to) {
  const int64_t size = int64_t(taps.size()) * (turned ? out : in) * kPanel;
  ForEach<NoSetup>(pool, CeilDiv(turned ? in : out, kPanel), [&](int64_t panel) {
    FillPanel(kernel, in, out, turned, taps, panel, to + panel * size);
  });
}

inline int64_t PanelFloats(int64_t taps, int64_t depth, int64_t channels) {
  return taps * depth * RoundUp(channels, kPanel);
}

inline void Direct(xla::ffi::ThreadPool pool, const Source<Floats>& from, const float* kernel,
                   const Window& window, const Target<Floats>& to) {
  const Layout &x = from.layout, &y = to.layout;
  std::vector<int64_t> taps(window.Taps());
  for (int64_t tap = 0; tap < window.Taps(); ++tap) taps[tap] = tap;
  const Lease panels(PanelFloats(window.Taps(), x.c, y.c) * sizeof(float));
  FillPanels(pool, kernel, x.c, y.c, false, taps, panels.As<float>());
  const auto row = [&](int64_t place, int64_t tap) -> const float* {
    const int64_t in_y =
        place / y.w % y.h * window.stride + tap / window.kw - window.pad_y;
    const int64_t in_x = place % y.w * window.stride + tap % window.kw - window.pad_x;
    if (in_y < 0 || in_y >= x.h || in_x < 0 || in_x >= x.w) return nullptr;
    return from.data + x.Place(place / (y.w * y.h), in_y, in_x);
  };
  const auto find = [&](int64_t place) {
    return y.Place(place / (y.w * y.h), place / y.w % y.h, place % y.w);
  };
  MultiplyPlaces(pool, y.n * y.h * y.w, window.Taps(), x.c, panels.As<float>(), to, row,
                 find);
}

// Answers' gradients without leak and blocks, rows of `wide` numbers `apart`; and, if
// `dbias` is not null, their sums.
inline void ReadAnswers(xla::ffi::ThreadPool pool, const Source<Floats>& answers, int64_t wide,
                        int64_t apart, float* to, float* dbias) {
  const Layout& layout = answers.layout;
  const int64_t places = layout.h * layout.w;
  std::vector<float> biases(layout.n * wide);
  ForEach<NoSetup>(pool, layout.n, [&](int64_t image) {
    float* bias = biases.data() + image * wide;
    for (int64_t place = 0; place < places; ++place) {
      const int64_t from = layout.Place(image, place / layout.w, place % layout.w);
      float* row = to + (image * places + place) * apart;
      for (int64_t channel = 0; channel < wide; channel += kLanes) {
        Vector value = {};
        if (channel < layout.c) value = answers.Read(from + layout.Offset(channel));
        Store(row + channel, value);
        Store(bias + channel, Load(bias + channel) + value);
      }
    }
  });
  if (dbias == nullptr) return;
  std::fill(dbias, dbias + layout.c, 0.f);
  for (int64_t image = 0; image < layout.n; ++image)
    for (int64_t i = 0; i < layout.c; ++i) dbias[i] += biases[image * wide + i];
}

inline void DirectPictures(xla::ffi::ThreadPool pool, const Source<Floats>& answers,
                           const float* kernel, const Window& window, const Target<Floats>& to) {
  const Layout &x = to.layout, &y = answers.layout;
  const Lease read(y.Size() * sizeof(float));
  ReadAnswers(pool, answers, y.c, y.c, read.As<float>(), nullptr);
  const Lease panels(PanelFloats(window.Taps(), y.c, x.c) * sizeof(float));
  for (int64_t py = 0; py < window.stride; ++py)
    for (int64_t px = 0; px < window.stride; ++px) {
      const Phase down(py, x.h, window.kh, window.stride, window.pad_y);
      const Phase right(px, x.w, window.kw, window.stride, window.pad_x);
      const int64_t places = x.n * down.count * right.count;
      if (places == 0) continue;
      std::vector<int64_t> taps;
      for (int64_t i = 0; i < down.taps; ++i)
        for (int64_t j = 0; j < right.taps; ++j)
          taps.push_back((py + i * window.stride) * window.kw + px + j * window.stride);
      FillPanels(pool, kernel, x.c, y.c, true, taps, panels.As<float>());
      const auto row = [&](int64_t place, int64_t tap) -> const float* {
        const int64_t out_y =
            place / right.count % down.count + down.from - tap / right.taps;
        const int64_t out_x = place % right.count + right.from - tap % right.taps;
        if (out_y < 0 || out_y >= y.h || out_x < 0 || out_x >= y.w) return nullptr;
        const int64_t image = place / (right.count * down.count);
        return read.As<float>() + ((image * y.h + out_y) * y.w + out_x) * y.c;
      };
      const auto find = [&](int64_t place) {
        const int64_t q = place / right.count % down.count;
        return x.Place(place / (right.count * down.count), down.first + q * window.stride,
                       right.first + place % right.count * window.stride);
      };
      MultiplyPlaces(pool, places, int64_t(taps.size()), y.c, panels.As<float>(), to, row,
                     find);
    }
}

inline void DirectParameters(xla::ffi::ThreadPool pool, const Source<Floats>& from,
                             const Source<Floats>& answers, const Window& window, float* dkernel,
                             float* dbias) {
  const Layout &x = from.layout, &y = answers.layout;
  const int64_t wide = RoundUp(y.c, kPanel), taps = window.Taps();
  const int64_t apart = SpreadOut<float>(wide);
  const Lease read(y.n * y.h * y.w * apart * sizeof(float));
  ReadAnswers(pool, answers, wide, apart, read.As<float>(), dbias);
  const Lease lease(taps * x.c * wide * sizeof(float));
  float* sums = lease.As<float>();
  // A task has one row of taps and two panels.
  const int64_t groups = CeilDiv(wide, 2 * kPanel);
  const int64_t row_bytes =
      (window.stride * x.w * x.c + 2 * kPanel * y.w) * int64_t{sizeof(float)};
  const int64_t chunk = std::max<int64_t>(1, kChunkBytes / row_bytes);
  ForEach<NoSetup>(pool, window.kh * groups, [&](int64_t task) {
    const int64_t ky = task / groups, first = task % groups * 2 * kPanel;
    const int64_t until = std::min(first + 2 * kPanel, wide);
    for (int64_t i = 0; i < window.kw * x.c; ++i)
      std::memset(sums + (ky * window.kw * x.c + i) * wide + first, 0,
                  (until - first) * sizeof(float));
    std::vector<Run<Floats>> runs;
    for (int64_t row = 0; row < y.n * y.h; row += chunk)
      for (int64_t kx = 0; kx < window.kw; ++kx) {
        runs.clear();
        const int64_t pad = window.pad_x - kx, step = window.stride;
        const int64_t left = pad > 0 ? CeilDiv(pad, step) : 0;
        const int64_t right = std::min(y.w, (x.w - 1 + pad) / step + 1);
        for (int64_t at = row; at < std::min(row + chunk, y.n * y.h); ++at) {
          const int64_t in_y = at % y.h * step + ky - window.pad_y;
          if (in_y < 0 || in_y >= x.h || right <= left) continue;
          runs.push_back({from.data + x.Place(at / y.h, in_y, left * step - pad),
                          read.As<float>() + (at * y.w + left) * apart, right - left});
        }
        float* tap = sums + (ky * window.kw + kx) * x.c * wide;
        for (int64_t out = first; out < until; out += kPanel)
          for (int64_t in = 0; in < x.c; in += kRows)
            WithCount(std::min(kRows, x.c - in), [&](auto rest) {
              MultiplyColumns<Floats, rest.value>(runs.data(), int64_t(runs.size()), in, out,
                                          step * x.c, apart, tap + in * wide + out, wide);
            });
      }
  });
  for (int64_t i = 0; i < taps * x.c; ++i)
    std::memcpy(dkernel + i * y.c, sums + i * wide, y.c * sizeof(float));
}

}  // namespace kernels
