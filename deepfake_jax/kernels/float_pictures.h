// Pictures whose channels may lie as blocks of pixels, read and written as float32.

#pragma once

#include "float_vectors.h"

namespace kernels {

// What a task works on at once: of the second cache, and of the third that all share.
constexpr int64_t kChunkBytes = 256 << 10, kGradientBytes = 3 << 20;

// Numbers from one row to the next, so that rows do not share the sets of a cache.
template <typename Number>
int64_t SpreadOut(int64_t numbers) {
  constexpr int64_t kLine = 64 / sizeof(Number);
  return (CeilDiv(numbers, kLine) | 1) * kLine;
}

// Pictures NHWC of `c` channels, stored as blocks of `block` x `block` pixels that have
// c / block^2 channels each. A row of a block lies in one piece, which is whole vectors.
struct Layout {
  int64_t n, h, w, c, block;

  int64_t Place(int64_t image, int64_t y, int64_t x) const {
    return ((image * h + y) * block * w + x) * (c / block);
  }
  // Of a channel, from a place's first number.
  int64_t Offset(int64_t channel) const {
    const int64_t run = c / block;
    return channel / run * (w * run) + channel % run;
  }
  int64_t Size() const { return n * h * w * c; }
};

// What is read, scaled by `leak` where `sign` is negative.
template <typename Type>
struct Source {
  Layout layout;
  const typename Type::Number* data;
  const typename Type::Number* sign;  // null: nothing is scaled
  float leak;

  Vector Read(int64_t at) const {
    const Vector value = Type::Load(data + at);
    if (sign == nullptr) return value;
    return Type::Load(sign + at) < Vector{} ? value * leak : value;
  }
};

// What is written: with a bias, if there is one, and a leak below zero, if it is not 1.
template <typename Type>
struct Target {
  Layout layout;
  typename Type::Number* data;
  const float* bias;
  float leak;

  // Of a channel and those after it; `at` is a place and the channel's offset.
  Vector Bias(int64_t channel) const {
    return bias == nullptr ? Vector{} : Load(bias + channel);
  }
  void Write(int64_t at, Vector value) const {
    if (leak != 1) value = value < Vector{} ? value * leak : value;
    Type::Store(data + at, value);
  }
};

}  // namespace kernels
