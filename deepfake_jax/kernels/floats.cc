// Convolutions of float32 on any processor with wide vectors, as custom calls of XLA.
//
// Pictures NHWC, kernels HWIO, padding "SAME". Windows of 3x3 at stride 1 go by
// Winograd's filtering, others by the definition. An answer's channels can become blocks
// of pixels: those of pixel (dy, dx) of a block follow each other, as in `pixel_shuffle`.

#include "direct.h"
#include "handlers.h"
#include "picture_loss.h"
#include "winograd.h"

namespace kernels {
namespace {

using Numbers = ffi::Buffer<ffi::F32, 4>;
using Weights = ffi::Buffer<ffi::F32, 3>;
using Biases = ffi::Buffer<ffi::F32, 1>;

struct Call {
  Layout pictures, answers;
  Window window;
  Taps taps;
  bool filters;

  Call(ffi::Span<const int64_t> x, ffi::Span<const int64_t> kernel, int64_t stride,
       int64_t block)
      : pictures{x[0], x[1], x[2], x[3], 1},
        answers{x[0], CeilDiv(x[1], stride), CeilDiv(x[2], stride), kernel[3], block},
        window{kernel[0], kernel[1], stride, Pad(x[1], kernel[0], stride),
               Pad(x[2], kernel[1], stride)},
        taps{x[3] * stride * stride, kernel[3], stride},
        filters(Filters(pictures, answers, window.kh, window.kw, stride)) {
    if (filters) pictures = InBlocks(pictures, stride);
  }

  static int64_t Pad(int64_t size, int64_t window, int64_t stride) {
    const int64_t reach = (CeilDiv(size, stride) - 1) * stride + window;
    return std::max<int64_t>(reach - size, 0) / 2;
  }

  Source<Floats> Answers(const Numbers& y, const Numbers& dy, float leak) const {
    return {answers, dy.typed_data(), leak == 1 ? nullptr : y.typed_data(), leak};
  }
};

ffi::Error Value(ffi::ThreadPool pool, Numbers x, Numbers kernel, Biases bias,
                 ffi::Result<Numbers> y, int64_t stride, int64_t block, float leak) {
  const Call call(x.dimensions(), kernel.dimensions(), stride, block);
  const Source<Floats> from{call.pictures, x.typed_data(), nullptr, 1};
  const Target<Floats> to{call.answers, y->typed_data(), bias.typed_data(), leak};
  return Finish([&] {
    if (call.filters)
      Winograd<TilesOfFour>(pool, from, kernel.typed_data(), call.taps, false, to);
    else
      Direct(pool, from, kernel.typed_data(), call.window, to);
  });
}

ffi::Error PicturesGradient(ffi::ThreadPool pool, Numbers kernel, Numbers y, Numbers dy,
                            ffi::Result<Numbers> dx, int64_t stride, int64_t block,
                            float leak) {
  const Call call(dx->dimensions(), kernel.dimensions(), stride, block);
  const Source<Floats> from = call.Answers(y, dy, leak);
  const Target<Floats> to{call.pictures, dx->typed_data(), nullptr, 1};
  return Finish([&] {
    if (call.filters)
      Winograd<TilesOfFour>(pool, from, kernel.typed_data(), call.taps, true, to);
    else
      DirectPictures(pool, from, kernel.typed_data(), call.window, to);
  });
}

ffi::Error ParametersGradient(ffi::ThreadPool pool, Numbers x, Numbers y, Numbers dy,
                              ffi::Result<Numbers> dkernel, ffi::Result<Biases> dbias,
                              int64_t stride, int64_t block, float leak) {
  const Call call(x.dimensions(), dkernel->dimensions(), stride, block);
  const Source<Floats> from{call.pictures, x.typed_data(), nullptr, 1};
  const Source answers = call.Answers(y, dy, leak);
  float *kernel = dkernel->typed_data(), *bias = dbias->typed_data();
  return Finish([&] {
    if (call.filters)
      WinogradParameters<TilesOfFour>(pool, from, answers, call.taps, kernel, bias);
    else
      DirectParameters(pool, from, answers, call.window, kernel, bias);
  });
}

// Losses of pictures, and their gradients by what was drawn.
ffi::Error Losses(ffi::ThreadPool pool, Numbers drawn, Numbers truth,
                  Weights weights, Weights pixel_weights,
                  ffi::Result<Biases> losses, ffi::Result<Numbers> gradients,
                  bool squares, float structure, int64_t scales, int64_t step, float detail,
                  int64_t bands) {
  const auto shape = drawn.dimensions();
  const int64_t n = shape[0], size = shape[1], channels = shape[3], pixels = size * size;
  const LossWeights wanted{squares, structure, structure != 0 ? scales : 0, step,
                           detail, detail != 0 ? bands : 0};
  const float share = 1 / float(n * pixels * channels);
  return Finish([&] {
    const PictureLoss& loss = PictureLoss::Of(size, wanted);
    ForEach<NoSetup>(pool, n, [&](int64_t i) {
      const Lease memory(loss.Floats() * sizeof(float));
      losses->typed_data()[i] = loss.Compute(
          drawn.typed_data() + i * pixels * channels,
          truth.typed_data() + i * pixels * channels, weights.typed_data() + i * pixels,
          pixel_weights.typed_data() + i * pixels, channels, share, memory.As<float>(),
          gradients->typed_data() + i * pixels * channels);
    });
  });
}

}  // namespace
}  // namespace kernels

DEEPFAKE_JAX_CONVOLUTIONS(kernels::Numbers, kernels::Numbers, kernels::Biases);

XLA_FFI_DEFINE_HANDLER_SYMBOL(deepfake_jax_losses, kernels::Losses,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<kernels::Numbers>()
                                  .Arg<kernels::Numbers>()
                                  .Arg<kernels::Weights>()
                                  .Arg<kernels::Weights>()
                                  .Ret<kernels::Biases>()
                                  .Ret<kernels::Numbers>()
                                  .Attr<bool>("squares")
                                  .Attr<float>("structure")
                                  .Attr<int64_t>("scales")
                                  .Attr<int64_t>("step")
                                  .Attr<float>("detail")
                                  .Attr<int64_t>("bands"));
