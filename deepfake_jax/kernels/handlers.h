// What XLA calls: the three kernels of a convolution, for one type of numbers.

#pragma once

#include <new>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace kernels {

template <typename Work>
ffi::Error Finish(const Work& work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "RESOURCE_EXHAUSTED: no memory left for a convolution");
  }
  return ffi::Error::Success();
}

}  // namespace kernels

#define DEEPFAKE_JAX_ATTRIBUTES() \
  Attr<int64_t>("stride").Attr<int64_t>("block").Attr<float>("leak")

// Defines them for `kernels::Value`, `PicturesGradient` and `ParametersGradient`, by the
// types of pictures, of a kernel and of biases.
#define DEEPFAKE_JAX_CONVOLUTIONS(Numbers, Kernel, Biases)                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(deepfake_jax_value, kernels::Value,            \
                                ffi::Ffi::Bind()                               \
                                    .Ctx<ffi::ThreadPool>()                    \
                                    .Arg<Numbers>()                            \
                                    .Arg<Kernel>()                             \
                                    .Arg<Biases>()                             \
                                    .Ret<Numbers>()                            \
                                    .DEEPFAKE_JAX_ATTRIBUTES());               \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(deepfake_jax_pictures, kernels::PicturesGradient, \
                                ffi::Ffi::Bind()                               \
                                    .Ctx<ffi::ThreadPool>()                    \
                                    .Arg<Kernel>()                             \
                                    .Arg<Numbers>()                            \
                                    .Arg<Numbers>()                            \
                                    .Ret<Numbers>()                            \
                                    .DEEPFAKE_JAX_ATTRIBUTES());               \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(deepfake_jax_parameters, kernels::ParametersGradient, \
                                ffi::Ffi::Bind()                               \
                                    .Ctx<ffi::ThreadPool>()                    \
                                    .Arg<Numbers>()                            \
                                    .Arg<Numbers>()                            \
                                    .Arg<Numbers>()                            \
                                    .Ret<Kernel>()                             \
                                    .Ret<Biases>()                             \
                                    .DEEPFAKE_JAX_ATTRIBUTES())
