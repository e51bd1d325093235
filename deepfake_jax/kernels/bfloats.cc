// Convolutions of bfloat16 on processors that multiply it, as custom calls of XLA.
//
// Pictures NHWC in bfloat16, kernels HWIO, biases and their gradients in float32, sums in
// float32, padding "SAME". An answer's channels can become blocks of pixels: those of
// pixel (dy, dx) of a block follow each other, as in `pixel_shuffle`.

#include <sys/syscall.h>
#include <unistd.h>

#include "handlers.h"
#include "kernel_gradient.h"
#include "winograd.h"

namespace kernels {
namespace {

using Numbers = ffi::Buffer<ffi::BF16, 4>;
using Kernel = ffi::Buffer<ffi::F32, 4>;
using Biases = ffi::Buffer<ffi::F32, 1>;

struct Shape {
  int64_t n, h, w, cin, cout, kh, kw, stride, out_h, out_w, pad_y, pad_x;

  Shape(ffi::Span<const int64_t> x, ffi::Span<const int64_t> kernel, int64_t stride)
      : n(x[0]), h(x[1]), w(x[2]), cin(x[3]), cout(kernel[3]), kh(kernel[0]),
        kw(kernel[1]), stride(stride), out_h(CeilDiv(h, stride)),
        out_w(CeilDiv(w, stride)),
        pad_y(std::max<int64_t>((out_h - 1) * stride + kh - h, 0) / 2),
        pad_x(std::max<int64_t>((out_w - 1) * stride + kw - w, 0) / 2) {}

  Plan Value() const {
    Plan plan{{stride, pad_y, pad_x, (kh - 1) / stride, (kw - 1) / stride, 0, out_h, 0,
               out_w},
              {Phase{{}, 0, 0}}, 1, false};
    for (int64_t y = 0; y < kh; ++y)
      for (int64_t x = 0; x < kw; ++x)
        plan.phases[0].taps.push_back({y % stride * stride + x % stride, y / stride,
                                       x / stride, y * kw + x});
    return plan;
  }

  // Pixels of the same remainder see the same taps of the answers around them.
  Plan Gradient() const {
    const int64_t more_y = (kh - 1) / stride, more_x = (kw - 1) / stride;
    Plan plan{{1, more_y, more_x, more_y, more_x, pad_y / stride,
               (h - 1 + pad_y) / stride + 1, pad_x / stride,
               (w - 1 + pad_x) / stride + 1},
              {}, stride, true};
    for (int64_t y = 0; y < stride; ++y)
      for (int64_t x = 0; x < stride; ++x) {
        Phase phase{{}, y - pad_y, x - pad_x};
        for (int64_t ky = y; ky < kh; ky += stride)
          for (int64_t kx = x; kx < kw; kx += stride)
            phase.taps.push_back(
                {0, more_y - ky / stride, more_x - kx / stride, ky * kw + kx});
        plan.phases.push_back(phase);
      }
    return plan;
  }
};

// Without AMX products are what takes the time, and filtering leaves some out.
#if defined(__AMX_BF16__)
constexpr bool kFilters = false;
#else
constexpr bool kFilters = true;
#endif

// A convolution that is filtered.
struct Filtered {
  Layout pictures, answers;
  Taps taps;
  bool possible;

  Filtered(const Shape& shape, int64_t block)
      : pictures{shape.n, shape.h, shape.w, shape.cin, 1},
        answers{shape.n, shape.out_h, shape.out_w, shape.cout, block},
        taps{shape.cin * shape.stride * shape.stride, shape.cout, shape.stride},
        possible(kFilters && Filters(pictures, answers, shape.kh, shape.kw, shape.stride) &&
                 answers.n * answers.h * answers.w >= kFewest) {
    if (possible) pictures = InBlocks(pictures, shape.stride);
  }

  static constexpr int64_t kFewest = 512;  // places that pay for the kernel's transform
};

const uint16_t* Read(const Numbers& numbers) {
  return static_cast<const uint16_t*>(numbers.untyped_data());
}

Source<Bfloats> ReadAnswers(const Filtered& call, Numbers y, Numbers dy, float leak) {
  return {call.answers, Read(dy), leak == 1 ? nullptr : Read(y), leak};
}

ffi::Error Value(ffi::ThreadPool pool, Numbers x, Kernel kernel, Biases bias,
                 ffi::Result<Numbers> y, int64_t stride, int64_t block, float leak) {
  const Shape shape(x.dimensions(), kernel.dimensions(), stride);
  if (const Filtered call(shape, block); call.possible) {
    const Source<Bfloats> from{call.pictures, Read(x), nullptr, 1};
    const Target<Bfloats> to{call.answers, static_cast<uint16_t*>(y->untyped_data()),
                             bias.typed_data(), leak};
    return Finish([&] {
      Winograd<TilesOfTwo>(pool, from, kernel.typed_data(), call.taps, false, to);
    });
  }
  const Pictures from(x.untyped_data(), nullptr, 1, shape.n, shape.h, shape.w, shape.cin, 1);
  const Answers to{static_cast<uint16_t*>(y->untyped_data()), bias.typed_data(), leak,
                   shape.n, shape.out_h, shape.out_w, shape.cout, block};
  return Finish([&] { Multiply(pool, from, kernel.typed_data(), shape.Value(), to); });
}

Pictures ReadAnswers(const Shape& shape, Numbers y, Numbers dy, int64_t block, float leak) {
  return Pictures(dy.untyped_data(), y.untyped_data(), leak, shape.n, shape.out_h,
                  shape.out_w, shape.cout, block);
}

ffi::Error PicturesGradient(ffi::ThreadPool pool, Kernel kernel, Numbers y, Numbers dy,
                            ffi::Result<Numbers> dx, int64_t stride, int64_t block,
                            float leak) {
  const Shape shape(dx->dimensions(), kernel.dimensions(), stride);
  if (const Filtered call(shape, block); call.possible) {
    const Source<Bfloats> from = ReadAnswers(call, y, dy, leak);
    const Target<Bfloats> to{call.pictures, static_cast<uint16_t*>(dx->untyped_data()),
                             nullptr, 1};
    return Finish([&] {
      Winograd<TilesOfTwo>(pool, from, kernel.typed_data(), call.taps, true, to);
    });
  }
  const Pictures from = ReadAnswers(shape, y, dy, block, leak);
  const Answers to{static_cast<uint16_t*>(dx->untyped_data()), nullptr, 1, shape.n,
                   shape.h, shape.w, shape.cin, 1};
  return Finish([&] { Multiply(pool, from, kernel.typed_data(), shape.Gradient(), to); });
}

ffi::Error ParametersGradient(ffi::ThreadPool pool, Numbers x, Numbers y, Numbers dy,
                              ffi::Result<Kernel> dkernel, ffi::Result<Biases> dbias,
                              int64_t stride, int64_t block, float leak) {
  const Shape shape(x.dimensions(), dkernel->dimensions(), stride);
  if (const Filtered call(shape, block); call.possible) {
    const Source<Bfloats> from{call.pictures, Read(x), nullptr, 1};
    const Source<Bfloats> answers = ReadAnswers(call, y, dy, leak);
    return Finish([&] {
      WinogradParameters<TilesOfTwo>(pool, from, answers, call.taps,
                                     dkernel->typed_data(), dbias->typed_data());
    });
  }
  const Pictures from(x.untyped_data(), nullptr, 1, shape.n, shape.h, shape.w, shape.cin, 1);
  const Pictures answers = ReadAnswers(shape, y, dy, block, leak);
  const Plan plan = shape.Value();
  return Finish([&] {
    KernelGradient gradient(from, answers, plan);
    gradient.Run(pool, dkernel->typed_data(), dbias->typed_data());
  });
}

}  // namespace
}  // namespace kernels

// Asks the system for the tiles, for all threads of the process; 0 if it grants them.
extern "C" long deepfake_jax_ask_for_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequest, kTileData);
}

DEEPFAKE_JAX_CONVOLUTIONS(kernels::Numbers, kernels::Kernel, kernels::Biases);
