// How far drawn pictures are from true ones, and which way to change them: pixels, their
// structure at several sizes, and the finest bands of a Laplacian pyramid, all weighted.
//
// What `training.forward.reconstruction_loss` defines, by the functions of
// `models.losses`, which have the references. A channel of a picture fits the caches: all
// is done with it before the next, where XLA goes through memory for each sum.

#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "float_vectors.h"
#include "threads.h"

namespace kernels {

// A plane's rows are whole vectors; numbers beyond its columns are zero.
inline int64_t Pitch(int64_t columns) { return RoundUp(columns, kLanes); }

// A matrix whose rows have a few numbers that follow each other.
struct Band {
  int64_t rows, columns, taps;
  std::vector<int64_t> first;
  std::vector<float> weights;  // (rows, taps)

  Band(int64_t rows, int64_t columns, int64_t taps)
      : rows(rows), columns(columns), taps(taps), first(rows), weights(rows * taps) {}

  // Of a matrix written in full.
  Band(int64_t rows, int64_t columns, const std::vector<double>& full)
      : Band(rows, columns, int64_t{0}) {
    std::vector<int64_t> last(rows);
    for (int64_t i = 0; i < rows; ++i) {
      const auto row = full.begin() + i * columns;
      const auto counts = [](double number) { return number != 0; };
      first[i] = std::find_if(row, row + columns, counts) - row;
      last[i] = columns;
      while (last[i] > first[i] && row[last[i] - 1] == 0) --last[i];
      taps = std::max(taps, last[i] - first[i]);
    }
    weights.assign(rows * taps, 0);
    for (int64_t i = 0; i < rows; ++i) {
      first[i] = std::min(first[i], columns - taps);
      for (int64_t tap = 0; tap < taps; ++tap)
        weights[i * taps + tap] = float(full[i * columns + first[i] + tap]);
    }
  }

  Band Turned() const {
    std::vector<double> full(columns * rows);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t tap = 0; tap < taps; ++tap)
        full[(first[row] + tap) * rows + row] = weights[row * taps + tap];
    return Band(columns, rows, full);
  }

  // The Gaussian windows of `dssim`.
  static Band Windows(int64_t size, int64_t step) {
    constexpr int64_t kWindow = 11;
    constexpr float kSigma = 1.5f;
    Band band((size - kWindow) / step + 1, size, kWindow);
    float window[kWindow], sum = 0;
    for (int64_t i = 0; i < kWindow; ++i) {
      const float offset = (float(i) - (kWindow - 1) / 2) / kSigma;
      sum += window[i] = std::exp(-0.5f * offset * offset);
    }
    for (int64_t row = 0; row < band.rows; ++row) {
      band.first[row] = row * step;
      for (int64_t i = 0; i < kWindow; ++i)
        band.weights[row * kWindow + i] = window[i] / sum;
    }
    return band;
  }

  static Band Halves(int64_t size) {
    Band band(size / 2, size, 2);
    for (int64_t row = 0; row < band.rows; ++row) band.first[row] = 2 * row;
    std::fill(band.weights.begin(), band.weights.end(), 0.5f);
    return band;
  }

  // Down and up of `laplacian`.
  static std::pair<Band, Band> Pyramid(int64_t size) {
    const int64_t half = size / 2;
    const double taps[5] = {1 / 16., 4 / 16., 6 / 16., 4 / 16., 1 / 16.};
    std::vector<double> down(half * size), up(size * half);
    for (int64_t place = 0; place < half; ++place)
      for (int64_t tap = -2; tap <= 2; ++tap) {
        const int64_t at = std::abs(2 * place + tap);
        down[place * size + (at < size ? at : 2 * size - 2 - at)] += taps[tap + 2];
        const int64_t inside = 2 * place + tap;
        if (inside >= 0 && inside < size) up[inside * half + place] += 2 * taps[tap + 2];
      }
    for (int64_t row = 0; row < size; ++row) {
      double sum = 0;
      for (int64_t i = 0; i < half; ++i) sum += up[row * half + i];
      for (int64_t i = 0; i < half; ++i) up[row * half + i] /= sum;
    }
    return {Band(half, size, down), Band(size, half, up)};
  }
};

// Some vectors of a row of `Apply`, so that their sums do not wait for one another.
template <bool kAdd, int kCount>
void ApplyRow(const float* weights, int64_t taps, const float* from, int64_t pitch,
              float* to) {
  Vector sums[kCount] = {};
  for (int64_t tap = 0; tap < taps; ++tap, from += pitch) {
    const Vector weight = Fill(weights[tap]);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sums[i] += Load(from + i * kLanes) * weight;
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    float* at = to + i * kLanes;
    Store(at, kAdd ? Load(at) + sums[i] : sums[i]);
  }
}

// to = band * from, or is added to, for rows of `pitch` numbers.
template <bool kAdd>
void Apply(const Band& band, const float* from, int64_t pitch, float* to) {
  constexpr int64_t kMany = 8;
  for (int64_t row = 0; row < band.rows; ++row) {
    const float* weights = band.weights.data() + row * band.taps;
    const float* first = from + band.first[row] * pitch;
    int64_t x = 0;
    for (; x + kMany * kLanes <= pitch; x += kMany * kLanes)
      ApplyRow<kAdd, kMany>(weights, band.taps, first + x, pitch, to + row * pitch + x);
    for (; x < pitch; x += kLanes)
      ApplyRow<kAdd, 1>(weights, band.taps, first + x, pitch, to + row * pitch + x);
  }
}

// to (columns, rows) = from (rows, columns); zeros beyond the rows.
inline void Turn(const float* from, int64_t rows, int64_t columns, float* to) {
  const int64_t pitch = Pitch(columns), turned = Pitch(rows);
  constexpr int64_t kBlock = 8;
  for (int64_t y = 0; y < turned; y += kBlock)
    for (int64_t x = 0; x < columns; x += kBlock)
      for (int64_t j = x; j < std::min(x + kBlock, columns); ++j)
        for (int64_t i = y; i < y + kBlock; ++i)
          to[j * turned + i] = i < rows ? from[i * pitch + j] : 0;
}

// Memory of one task, handed out piece by piece.
struct Pieces {
  float* next;

  float* Take(int64_t count) {
    float* piece = next;
    next += RoundUp(count, kLanes);
    return piece;
  }
};

// A matrix to both axes of square planes. The answer is left turned, and the gradient is
// taken so.
struct Both {
  Band band, turned;

  explicit Both(const Band& band) : band(band), turned(band.Turned()) {}

  int64_t Answer() const { return band.rows * Pitch(band.rows); }

  void operator()(const float* from, Pieces pieces, float* to) const {
    const int64_t wide = Pitch(band.columns), narrow = Pitch(band.rows);
    float* middle = pieces.Take(band.rows * wide);
    float* turned_middle = pieces.Take(band.columns * narrow);
    Apply<false>(band, from, wide, middle);
    Turn(middle, band.rows, band.columns, turned_middle);
    Apply<false>(band, turned_middle, narrow, to);
  }

  void AddGradient(const float* from, Pieces pieces, float* to) const {
    const int64_t wide = Pitch(band.columns), narrow = Pitch(band.rows);
    float* turned_middle = pieces.Take(band.columns * narrow);
    float* middle = pieces.Take(band.rows * wide);
    Apply<false>(turned, from, narrow, turned_middle);
    Turn(turned_middle, band.columns, band.rows, middle);
    Apply<true>(turned, middle, wide, to);
  }
};

inline float Sum(Vector vector) {
  float sum = 0;
  for (int64_t i = 0; i < kLanes; ++i) sum += vector[i];
  return sum;
}

inline Vector Absolute(Vector value) { return value < Vector{} ? -value : value; }

// Where a value lies: weight times its sign.
inline Vector Signed(Vector value, Vector weight) {
  const Vector none = {};
  return value > none ? weight : value < none ? -weight : none;
}

struct LossWeights {
  bool squares;  // of pixels, not their absolute values
  float structure;
  int64_t scales, step;
  float detail;
  int64_t bands;

  auto Tied() const { return std::tie(squares, structure, scales, step, detail, bands); }
  bool operator<(const LossWeights& other) const { return Tied() < other.Tied(); }
};

// All that depends on the size alone.
class PictureLoss {
 public:
  PictureLoss(int64_t size, const LossWeights& weights) : size_(size), weights_(weights) {
    for (int64_t scale = 0; scale < weights.scales; ++scale)
      windows_.emplace_back(
          Band::Windows(size >> scale, std::max<int64_t>(1, weights.step >> scale)));
    for (int64_t band = 0; band < weights.bands; ++band) {
      const auto [down, up] = Band::Pyramid(size >> band);
      downs_.emplace_back(down);
      ups_.emplace_back(up);
    }
    for (int64_t level = 0; level < Levels(); ++level)
      halves_.emplace_back(Band::Halves(size >> level));
  }

  // Made once for all calls alike.
  static const PictureLoss& Of(int64_t size, const LossWeights& weights) {
    static auto* mutex = new std::mutex;
    static auto* kept = new std::map<std::pair<int64_t, LossWeights>, PictureLoss>;
    std::lock_guard<std::mutex> lock(*mutex);
    return kept->try_emplace({size, weights}, size, weights).first->second;
  }

  int64_t Levels() const { return std::max(weights_.scales, weights_.bands); }
  int64_t Plane() const { return size_ * Pitch(size_); }
  // Of a task: 16 planes at most, of pictures of 12 to 512 pixels; the sizes below the
  // first add a third to what it needs.
  int64_t Floats() const { return 20 * Plane(); }

  // The loss of a picture's channels, summed over its pixels, and its gradient, both
  // times `share`.
  float Compute(const float* drawn, const float* truth, const float* weights,
                const float* pixel_weights, int64_t channels, float share, float* memory,
                float* gradient) const {
    Pieces pieces{memory};
    float* pixels = pieces.Take(Plane());
    Spread(pixel_weights, 1, 0, pixels);
    std::vector<float*> levels;
    for (int64_t level = 0; level < Levels(); ++level)
      levels.push_back(pieces.Take(LevelPlane(level)));
    if (!levels.empty()) {
      Spread(weights, 1, 0, levels[0]);
      for (int64_t level = 1; level < Levels(); ++level)
        Halve(level - 1, levels[level - 1], pieces, levels[level]);
    }
    std::vector<float*> windows;
    for (int64_t scale = 0; scale < weights_.scales; ++scale) {
      const Both& blur = windows_[scale];
      windows.push_back(pieces.Take(blur.Answer()));
      blur(levels[scale], pieces, windows.back());
    }
    float loss = 0;
    for (int64_t channel = 0; channel < channels; ++channel) {
      Pieces own = pieces;
      float *x = own.Take(Plane()), *y = own.Take(Plane()), *dx = own.Take(Plane());
      Spread(drawn, channels, channel, x);
      Spread(truth, channels, channel, y);
      loss += Pixels(x, y, pixels, share, dx);
      if (weights_.structure != 0)
        loss += Structure(0, x, y, windows, share * weights_.structure / weights_.scales,
                          own, dx);
      if (weights_.detail != 0)
        loss += Detail(x, y, levels, share * weights_.detail, own, dx);
      for (int64_t row = 0; row < size_; ++row)
        for (int64_t column = 0; column < size_; ++column)
          gradient[(row * size_ + column) * channels + channel] =
              dx[row * Pitch(size_) + column];
    }
    return loss;
  }

 private:
  int64_t LevelPlane(int64_t level) const {
    return (size_ >> level) * Pitch(size_ >> level);
  }

  void Spread(const float* from, int64_t channels, int64_t channel, float* to) const {
    const int64_t pitch = Pitch(size_);
    for (int64_t row = 0; row < size_; ++row)
      for (int64_t column = 0; column < pitch; ++column)
        to[row * pitch + column] =
            column < size_ ? from[(row * size_ + column) * channels + channel] : 0;
  }

  void Halve(int64_t level, const float* from, Pieces pieces, float* to) const {
    const Both& halves = halves_[level];
    float* turned = pieces.Take(halves.Answer());
    halves(from, pieces, turned);
    Turn(turned, halves.band.rows, halves.band.rows, to);
  }

  float Pixels(const float* x, const float* y, const float* weights, float share,
               float* dx) const {
    Vector sum = {};
    for (int64_t i = 0; i < Plane(); i += kLanes) {
      const Vector apart = Load(x + i) - Load(y + i), weight = Load(weights + i) * share;
      sum += weight * (weights_.squares ? apart * apart : Absolute(apart));
      Store(dx + i, weights_.squares ? 2.f * weight * apart : Signed(apart, weight));
    }
    return Sum(sum);
  }

  // Adds its gradient to `dx`. The share grows with the size of a pixel.
  float Structure(int64_t scale, const float* x, const float* y,
                  const std::vector<float*>& weights, float share, Pieces pieces,
                  float* dx) const {
    constexpr float kC1 = 1e-4f, kC2 = 9e-4f;
    const int64_t size = size_ >> scale, plane = LevelPlane(scale);
    const Both& blur = windows_[scale];
    const int64_t answer = blur.Answer();
    float* squares = pieces.Take(plane);
    float* means[5];  // of x, y, x^2, y^2, xy
    for (float*& mean : means) mean = pieces.Take(answer);
    blur(x, pieces, means[0]);
    blur(y, pieces, means[1]);
    for (int64_t i = 0; i < plane; i += kLanes)
      Store(squares + i, Load(x + i) * Load(x + i));
    blur(squares, pieces, means[2]);
    for (int64_t i = 0; i < plane; i += kLanes)
      Store(squares + i, Load(y + i) * Load(y + i));
    blur(squares, pieces, means[3]);
    for (int64_t i = 0; i < plane; i += kLanes)
      Store(squares + i, Load(x + i) * Load(y + i));
    blur(squares, pieces, means[4]);
    const float places = float(blur.band.rows * blur.band.rows);
    const float own = share * float(size_ * size_) / places / 2;
    Vector sum = {};
    for (int64_t i = 0; i < answer; i += kLanes) {
      const Vector mx = Load(means[0] + i), my = Load(means[1] + i);
      const Vector xx = Load(means[2] + i) - mx * mx, yy = Load(means[3] + i) - my * my;
      const Vector xy = Load(means[4] + i) - mx * my;
      const Vector a1 = 2.f * mx * my + kC1, a2 = 2.f * xy + kC2;
      const Vector b1 = mx * mx + my * my + kC1, b2 = xx + yy + kC2;
      const Vector whole = 1.f / (b1 * b2), alike = a1 * a2 * whole;
      const Vector weight = Load(weights[scale] + i) * own;
      sum += weight * (1.f - alike);
      const Vector mixed = 2.f * my * (a2 - a1) * whole;
      const Vector by_mean = mixed + 2.f * mx * alike * (1.f / b2 - 1.f / b1);
      Store(means[0] + i, -weight * by_mean);
      Store(means[2] + i, weight * alike / b2);
      Store(means[4] + i, -2.f * weight * a1 * whole);
    }
    float loss = Sum(sum);
    blur.AddGradient(means[0], pieces, dx);
    for (const int64_t which : {2, 4}) {
      std::fill(squares, squares + plane, 0.f);
      blur.AddGradient(means[which], pieces, squares);
      for (int64_t i = 0; i < plane; i += kLanes) {
        const Vector factor = which == 2 ? 2.f * Load(x + i) : Load(y + i);
        Store(dx + i, Load(dx + i) + factor * Load(squares + i));
      }
    }
    if (scale + 1 == weights_.scales) return loss;
    const int64_t smaller = LevelPlane(scale + 1), half = size / 2;
    float *hx = pieces.Take(smaller), *hy = pieces.Take(smaller);
    float *dh = pieces.Take(smaller), *turned = pieces.Take(smaller);
    Halve(scale, x, pieces, hx);
    Halve(scale, y, pieces, hy);
    std::fill(dh, dh + smaller, 0.f);
    loss += Structure(scale + 1, hx, hy, weights, share, pieces, dh);
    Turn(dh, half, half, turned);
    halves_[scale].AddGradient(turned, pieces, dx);
    return loss;
  }

  float Detail(const float* x, const float* y, const std::vector<float*>& weights,
               float share, Pieces pieces, float* dx) const {
    float *apart = pieces.Take(Plane()), *d = pieces.Take(Plane());
    for (int64_t i = 0; i < Plane(); i += kLanes)
      Store(apart + i, Load(x + i) - Load(y + i));
    std::fill(d, d + Plane(), 0.f);
    const float loss = Finest(0, apart, weights, share, pieces, d);
    for (int64_t i = 0; i < Plane(); i += kLanes)
      Store(dx + i, Load(dx + i) + Load(d + i));
    return loss;
  }

  float Finest(int64_t band, const float* apart, const std::vector<float*>& weights,
               float share, Pieces pieces, float* d) const {
    const int64_t size = size_ >> band, half = size / 2, plane = LevelPlane(band);
    const Both &down = downs_[band], &up = ups_[band];
    const int64_t smaller = LevelPlane(band + 1);
    float *small = pieces.Take(smaller), *turned = pieces.Take(smaller);
    float *blurred = pieces.Take(plane), *back = pieces.Take(plane);
    down(apart, pieces, turned);
    Turn(turned, half, half, small);
    up(small, pieces, back);
    Turn(back, size, size, blurred);
    const float own = share * float(size_ * size_) / float(size * size);
    Vector sum = {};
    for (int64_t i = 0; i < plane; i += kLanes) {
      const Vector rest = Load(apart + i) - Load(blurred + i);
      const Vector weight = Load(weights[band] + i) * own;
      sum += weight * Absolute(rest);
      const Vector slope = Signed(rest, weight);
      Store(d + i, Load(d + i) + slope);
      Store(blurred + i, -slope);
    }
    float loss = Sum(sum);
    float* dsmall = pieces.Take(smaller);
    std::fill(dsmall, dsmall + smaller, 0.f);
    Turn(blurred, size, size, back);
    up.AddGradient(back, pieces, dsmall);
    if (band + 1 < weights_.bands)
      loss += Finest(band + 1, small, weights, share, pieces, dsmall);
    Turn(dsmall, half, half, turned);
    down.AddGradient(turned, pieces, d);
    return loss;
  }

  int64_t size_;
  LossWeights weights_;
  std::vector<Both> windows_, halves_, downs_, ups_;
};

}  // namespace kernels
