"""Packs what a bare machine with JAX and a GPU lacks, to run `benchmark gpu` there.

    python scripts/pack_gpu.py --a faces_a --b faces_b --out gpu_pack.tar.gz

The machine needs Python 3.12, jax, flax, optax, orbax, OpenCV and matplotlib, and no
network. The archive, below 60 MB, holds this checkout's package, the small wheels that
it lacks, the judging networks and some faces of two face sets. There:

    tar xzf gpu_pack.tar.gz && sh gpu_pack/run.sh
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from deepfake_jax.face_sets.face_set import read_record, write_record
from deepfake_jax.faces.pinned_files import fetch_asset
from deepfake_jax.faces.weights import WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
LIMIT_MB = 60
# Networks that look for faces and hands in footage, of which there is none; and that
# which `lite128` learns by, of which steps alone are timed: it is a third of the limit.
LEFT_OUT = ("yunet", "palm", "hand", "hand_lite", "open_nsfw")
WHEELS = (
    *("ai-edge-litert<2", "docstring-parser", "filelock", "flatbuffers", "jaxtyping"),
    *("lazy-loader", "platformdirs", "pyyaml", "tqdm", "typeguard", "tyro"),
    "wadler-lindig",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
RUN = """#!/bin/sh
# Measures for 8 minutes, or as flags of `benchmark gpu` say; figures go to gpu/.
cd "$(dirname "$0")" || exit 1
python=${PYTHON:-python3}
if [ ! -d site ]; then
    for wheel in wheels/*.whl; do "$python" -m zipfile -e "$wheel" site || exit 1; done
fi
export PYTHONPATH="$PWD:$PWD/site" DEEPFAKE_JAX_WEIGHTS="$PWD/weights"
export DEEPFAKE_JAX_CACHE="$PWD/cache"
# OpenCV 5's new engine refuses SFace, whose file lists weights among its inputs.
export OPENCV_FORCE_DNN_ENGINE=1
exec "$python" -m deepfake_jax benchmark gpu --out gpu \\
    --a faces_a --b faces_b "$@"
"""


def main() -> None:
    """Packs, and prints the command to start with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--a", type=Path, required=True, help="face set of A")
    parser.add_argument("--b", type=Path, required=True, help="face set of B")
    parser.add_argument("--out", type=Path, default=Path("gpu_pack.tar.gz"))
    parser.add_argument("--faces", type=int, default=100, help="faces of each side")
    parser.add_argument("--python-version", default="3.12", help="of that machine")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pack = Path(name) / "gpu_pack"
        copy_package(pack)
        fetch_wheels(pack / "wheels", flags.python_version)
        (pack / "weights").mkdir()
        for asset in WEIGHTS:
            if asset.name in LEFT_OUT:
                continue
            path = fetch_asset(asset, table=WEIGHTS)
            shutil.copy(path, pack / "weights" / asset.file_name)
        for side in "ab":
            copy_faces(getattr(flags, side), pack / f"faces_{side}", flags.faces)
        (pack / "run.sh").write_text(RUN)
        with tarfile.open(flags.out, "w:gz") as archive:
            archive.add(pack, arcname=pack.name)
    size = flags.out.stat().st_size / 1e6
    if size > LIMIT_MB:
        sys.exit(f"{flags.out} has {size:.0f} MB, more than {LIMIT_MB}; fewer --faces")
    print(
        f"{flags.out}: {size:.0f} MB. There: tar xzf {flags.out.name} && sh "
        "gpu_pack/run.sh"
    )


def copy_package(pack: Path) -> None:
    """The package, its presets and the peer's script; no compiled files."""
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("deepfake_jax", "configs"):
        shutil.copytree(ROOT / name, pack / name, ignore=unwanted)
    (pack / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bench_peer_torch.py", pack / "scripts")


def fetch_wheels(folder: Path, python_version: str) -> None:
    """Wheels for that Python on Linux, by pip from the user's own index."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    download = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)),
        *("--only-binary=:all:", "--python-version", python_version, *platforms),
    ]
    subprocess.run([*download, "--no-deps", *WHEELS], check=True)
    subprocess.run([*download, "pydantic"], check=True)  # and what it pins


def copy_faces(source: Path, folder: Path, most: int) -> None:
    """Some faces of a set, evenly over its record."""
    header, records = read_record(source)
    step = max(1, -(-len(records) // most))
    chosen = records[::step]
    folder.mkdir()
    for record in chosen:
        shutil.copy(source / record.file, folder / record.file)
    write_record(folder, header, chosen)


if __name__ == "__main__":
    main()
