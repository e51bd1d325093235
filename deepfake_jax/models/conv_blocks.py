"""Convolutions of 5x5 windows over 2x2 blocks of pixels, where they are 3x3 windows.

Forms as in `models.conv`, for pictures of even sizes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from deepfake_jax.models.conv_direct import conv_xla, cut_patches, dot
from deepfake_jax.models.conv_winograd import conv_winograd

_EIGHT = 8  # channels


def conv_blocks(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 5x5 from blocks to blocks, or to pixels at stride 2: even sizes.

    For few channels on one side: a patch is copied in longer runs and shared by more
    outputs, and the blocks undo the pixel shuffle that usually comes before.
    """
    dtype = x.dtype
    # In bfloat16 XLA's convolution on the CPU does not sum in float32 (jax 0.10.2).
    x, kernel = to_blocks(x).astype(jnp.float32), kernel.astype(jnp.float32)
    if stride == 2:
        return _conv_narrow(x, block_kernel(kernel, 1, 1)).astype(dtype)
    kernels = [block_kernel(kernel, i, j) for i in (0, 1) for j in (0, 1)]
    y = _conv_narrow(x, jnp.concatenate(kernels, axis=3)).astype(dtype)
    return pixel_shuffle(y)


def conv_phases(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 5x5 at stride 2 as 3x3 at stride 1 over blocks: even sizes."""
    del stride
    return conv_winograd(to_blocks(x), block_kernel(kernel, 1, 1), 1)


def conv_blocks_xla(x: Array, kernel: Array, stride: int) -> Array:
    """Convolve 5x5 over blocks by `conv_xla`, in the type of `x`: even sizes.

    At stride 2 as 3x3 at stride 1; at stride 1 from blocks to blocks. Channels are
    filled up to eights, of which a GPU's matrix units take a multiple.
    """
    x = _fill_channels(to_blocks(x))
    kernels = [(1, 1)] if stride == 2 else [(i, j) for i in (0, 1) for j in (0, 1)]
    kernel = jnp.concatenate([block_kernel(kernel, *at) for at in kernels], axis=3)
    cout, missing = kernel.shape[3], x.shape[3] - kernel.shape[2]
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, missing), (0, 0)))
    y = conv_xla(x, _fill_channels(kernel), 1)[..., :cout]
    return y if stride == 2 else pixel_shuffle(y)


def _fill_channels(x: Array) -> Array:
    """Zeros up to a multiple of eight in the last axis."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, -x.shape[3] % _EIGHT)))


def to_blocks(x: Array, *, block: int = 2) -> Array:
    """Lay each block of pixels in one place's channels: for 2x2, (n h/2 w/2 4c)."""
    n, h, w, c = x.shape
    h, w = h // block, w // block
    x = x.reshape(n, h, block, w, block, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h, w, block * block * c)


def pixel_shuffle(
    x: Float[Array, "n h w cbb"], *, block: int = 2
) -> Float[Array, "n hb wb c"]:
    """Moves each group of channels to a block of pixels.

    Channel ``(block dy + dx) c + k`` of a pixel becomes channel k of its subpixel (dy,
    dx).

    Reference:
        Shi et al. 2016, "Real-time single image and video super-resolution using an
        efficient sub-pixel convolutional neural network", equation 4.
    """
    n, height, width, channels = x.shape
    if channels % block**2:
        raise ValueError(f"channels must be a multiple of {block**2}, got {channels}")
    x = x.reshape(n, height, width, block, block, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, block * height, block * width, -1)


# Three blocks hold six taps an axis, of which a 5-tap kernel leaves the first empty
# (shift 1: the window of SAME at stride 2, or of a block's second pixel) or the last.
def block_kernel(kernel: Array, shift_h: int, shift_w: int) -> Array:
    """Turn a 5x5 kernel of pixels into a 3x3 kernel of blocks: (3 3 4cin cout)."""
    _, _, cin, cout = kernel.shape
    pads = ((shift_h, 1 - shift_h), (shift_w, 1 - shift_w), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, pads).reshape(3, 2, 3, 2, cin, cout)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(3, 3, 4 * cin, cout)


@jax.custom_vjp
def _conv_narrow(x: Array, kernel: Array) -> Array:
    return conv_xla(x, kernel, 1)


def _conv_narrow_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv_narrow(x, kernel), (x, kernel)


# The kernel's gradient from patches of the side that has fewer channels: 33 ms for 64
# channels to 3, where XLA's takes 121.
def _conv_narrow_backward(saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    kh, kw, cin, cout = kernel.shape
    dx = conv_xla(dy, kernel[::-1, ::-1].transpose(0, 1, 3, 2), 1)
    if cin <= cout:
        patches = cut_patches(x, (kh, kw), 1)
        dkernel = dot(patches, dy.reshape(-1, cout), (0,), (0,))
        return dx, dkernel.reshape(kernel.shape).astype(kernel.dtype)
    patches = cut_patches(dy, (kh, kw), 1)
    dkernel = dot(x.reshape(-1, cin), patches, (0,), (0,)).astype(kernel.dtype)
    dkernel = dkernel.reshape(cin, kh, kw, cout)[:, ::-1, ::-1]
    return dx, dkernel.transpose(1, 2, 0, 3)


_conv_narrow.defvjp(_conv_narrow_forward, _conv_narrow_backward)
