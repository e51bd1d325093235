"""What the doctor finds of devices, weights, codecs and disks; one `Check` a finding.

JAX, OpenCV and PyAV are imported inside a check: broken ones are reported, not raised.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from deepfake_jax.cli.package_checks import Check, describe_error, mend_import
from deepfake_jax.faces.pinned_files import (
    FIX,
    Asset,
    AssetError,
    fetch_asset,
    find_asset,
)
from deepfake_jax.faces.weights import WEIGHTS
from deepfake_jax.files import get_cache_dir
from deepfake_jax.version import find_version

CUDA_PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin")
# Encoder or decoder -> required.
ENCODERS = {"libx264": True, "libx265": False, "libvpx-vp9": False, "libsvtav1": False}
DECODERS = {"h264": True, "hevc": False, "vp9": False, "av1": False}
# FFmpeg's own decoder "av1" only drives a GPU's; these decode on the CPU.
SOFTWARE_DECODERS = {"av1": ("libdav1d", "libaom-av1")}
# The largest wheel fetched is 14 MB; the rest is room for one run's faces and
# checkpoints, below which a training run is bound to stop.
MIN_FREE_BYTES = 1 << 30


def check_devices() -> list[Check]:
    """Which devices JAX sees, and whether the default one multiplies two matrices."""
    try:
        import jax

        devices = jax.devices()
    except Exception as error:
        return [
            Check(
                "jax devices",
                False,
                True,
                describe_error(error),
                _mend_jax_install() or "unset JAX_PLATFORMS, or set it to cpu",
            )
        ]
    kinds = Counter((device.platform, device.device_kind) for device in devices)
    detail = "; ".join(f"{p}: {kind} x{n}" for (p, kind), n in kinds.items())
    fix = ""
    if all(device.platform == "cpu" for device in devices):
        asked = os.environ.get("JAX_PLATFORMS", "")
        if "cpu" in asked:
            detail += f" (JAX_PLATFORMS={asked} asks for it)"
        else:
            fix = _mend_jax_install()
    return [Check("jax devices", not fix, False, detail, fix), _check_matmul()]


def check_machine() -> list[Check]:
    """How many CPU cores and how much memory this process may use."""
    cores = os.cpu_count() or 1
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    memory = _find_memory()
    amount = f"{memory / 2**30:.1f} GiB memory" if memory else "memory unknown"
    return [Check("machine", True, False, f"{cores} CPU cores, {amount}")]


def check_precision() -> list[Check]:
    """Which type of arithmetic trains faster here, as `auto` chooses it."""
    try:
        from deepfake_jax.training.precision import find_faster

        found = find_faster(keep=False)
    except Exception as error:  # whatever is wrong with JAX has a check of its own
        return [Check("precision", False, False, describe_error(error))]
    detail = f"auto is {found.precision}: {found.reason}"
    return [Check("precision", True, False, detail)]


def check_kernels() -> list[Check]:
    """Whether a CPU can train by our own kernels; nothing is compiled."""
    try:
        from deepfake_jax.kernels.library import SWITCH, KernelsError, find_compiler
    except Exception as error:  # whatever is wrong with JAX has a check of its own
        return [Check("kernels", True, False, describe_error(error))]
    found, fix = [], ""
    for dtype in ("float32", "bfloat16"):
        try:
            found.append(f"{dtype}: by {find_compiler(dtype)}")
        except KernelsError as error:
            found.append(f"{dtype}: none, {error}")
            if SWITCH in str(error):
                fix = f"unset {SWITCH}: CPUs train faster with them"
            elif "processor" not in str(error):
                fix = "install a C++ compiler, such as Debian's g++: CPUs train faster"
    return [Check("kernels", not fix, False, "\n".join(found), fix)]


def check_weights(asset: Asset, fetch: bool) -> list[Check]:
    """Whether ``asset`` is here and, for YuNet and SFace, whether OpenCV loads it.

    Args:
        asset: One of ``WEIGHTS``.
        fetch: Whether to fetch it where it is not on this machine yet.
    """
    name = f"weights {asset.name}"
    try:
        path = fetch_asset(asset, table=WEIGHTS) if fetch else find_asset(asset)
    except AssetError as error:
        detail, _, fix = str(error).partition(FIX)
        return [Check(name, False, True, detail, fix)]
    if path is None:
        detail = "not here yet; will be fetched at first use"
        return [Check(name, True, False, detail)]
    if asset.name not in ("yunet", "sface"):
        return [Check(name, True, True, str(path))]
    try:
        import cv2

        if asset.name == "yunet":
            cv2.FaceDetectorYN.create(str(path), "", (320, 320))
        else:
            cv2.FaceRecognizerSF.create(str(path), "")
    except Exception as error:
        detail = f"{path}: OpenCV does not load it: {describe_error(error)}"
        fix = mend_import(error, "opencv-python>=4.10,<5")
        return [Check(name, False, True, detail, fix)]
    return [Check(name, True, True, f"{path} (OpenCV loads it)")]


def check_encoders() -> list[Check]:
    """Which of ``ENCODERS`` PyAV's FFmpeg has."""
    return [check_codec(n, "encoder", (n,), need) for n, need in ENCODERS.items()]


def check_decoders() -> list[Check]:
    """Which of ``DECODERS`` PyAV's FFmpeg has."""
    return [
        check_codec(n, "decoder", SOFTWARE_DECODERS.get(n, (n,)), need)
        for n, need in DECODERS.items()
    ]


def check_codec(name: str, kind: str, codecs: tuple[str, ...], required: bool) -> Check:
    """Whether PyAV's FFmpeg has one of some codecs.

    Args:
        name: what they write or read.
        kind: ``encoder`` or ``decoder``.
        codecs: FFmpeg's names, the best first.
        required: whether the program needs one.
    """
    label = f"{kind} {name}"
    fix = "pip install --force-reinstall --no-deps --only-binary=:all: av"
    try:
        from av.codec import Codec
    except Exception as error:
        detail = f"PyAV: {describe_error(error)}"
        return Check(label, False, required, detail, fix)
    for codec in codecs:
        try:
            long_name = Codec(codec, "w" if kind == "encoder" else "r").long_name
        except Exception:  # PyAV's class for an unknown codec has moved over the years
            continue
        return Check(label, True, required, long_name)
    return Check(label, False, required, "not in PyAV's FFmpeg", fix)


def check_disk() -> list[Check]:
    """How much disk is free, in the working folder and in the cache folder."""
    here, cache = Path.cwd(), _find_parent(get_cache_dir())
    free = {folder: shutil.disk_usage(folder).free for folder in (here, cache)}
    detail = ", ".join(f"{n / 2**30:.1f} GiB free in {f}" for f, n in free.items())
    ok = min(free.values()) >= MIN_FREE_BYTES
    fix = "" if ok else "free some space, or set $DEEPFAKE_JAX_CACHE to another disk"
    return [Check("disk", ok, False, detail, fix)]


def check_cache() -> list[Check]:
    """Whether the cache folder, or the one it will be made in, can be written to."""
    cache = get_cache_dir()
    try:
        # os.access is wrong on network disks and for root; a real file is not.
        with tempfile.TemporaryFile(dir=_find_parent(cache)):
            pass
    except OSError as error:
        fix = "set $DEEPFAKE_JAX_CACHE to a folder that you can write to"
        return [Check("cache folder", False, False, f"{cache}: {error}", fix)]
    state = "writable" if cache.is_dir() else "will be made at the first fetch"
    return [Check("cache folder", True, False, f"{cache} ({state})")]


def _check_matmul() -> Check:
    try:
        import jax
        import jax.numpy as jnp

        ones = jnp.ones((2, 2), jnp.float32)
        product = jax.block_until_ready(ones @ ones)
        where = ", ".join(str(device) for device in product.devices())
        if product.tolist() != [[2.0, 2.0], [2.0, 2.0]]:
            detail = f"wrong product on {where}: {product.tolist()}"
            return Check("jax matmul", False, True, detail, "update the GPU's driver")
    except Exception as error:
        # JAX takes most of a GPU's memory at its first array, so a busy GPU fails here.
        return Check(
            "jax matmul",
            False,
            True,
            describe_error(error),
            "where another process holds the GPU's memory, end it or set "
            + "XLA_PYTHON_CLIENT_PREALLOCATE=false; else update the GPU's driver",
        )
    return Check("jax matmul", True, True, f"a 2x2 product is right on {where}")


def _mend_jax_install() -> str:
    if shutil.which("nvidia-smi"):
        found = [name for name in CUDA_PLUGINS if find_version(name)]
        if found:
            return (
                f"an NVIDIA GPU seems to be here, but {found[0]} does not start: "
                "update the driver and read what JAX prints at its import"
            )
        return 'an NVIDIA GPU seems to be here: pip install "deepfake-jax[cuda]"'
    if importlib.util.find_spec("libtpu"):
        return 'libtpu is installed, a TPU may be here: pip install "jax[tpu]"'
    return ""


def _find_memory() -> int:
    """Bytes of memory, a container's limit included; 0 where that is unknown."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 0
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return min(memory, int(limit)) if limit.isdecimal() else memory
    except OSError:
        return memory


def _find_parent(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
