"""A disk that is full when an output is signed: nothing half, nothing lost, said."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Each kind: an older output that is signed, then a new one, and when that is complete
# but for its signature somebody else fills the disk.
_PROGRAM = """
import hashlib, os, sys
from pathlib import Path
from provenance.test_credentials import FACTS, write_signed
from deepfake_jax.provenance.credentials import Seal
from deepfake_jax.provenance.manifest import Statement
from deepfake_jax.provenance.own_key import load_own_key
from deepfake_jax.provenance.verify import verify_files

seal = Seal(Statement(facts=FACTS), load_own_key())

def fill(path, place):
    with open("filling", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
    try:
        seal(path, place)
    finally:
        os.unlink("filling")

def look():
    found = sorted(Path(".").iterdir())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

kinds = sys.argv[1:]
for kind in kinds:
    write_signed(Path(f"old.{kind}"), seal)
before = look()
for kind in kinds:
    for name in ("old", "new"):
        try:
            write_signed(Path(f"{name}.{kind}"), fill, overwrite=True)
        except (ValueError, OSError) as error:
            print(kind, name, error)
            assert "No space left" in str(error) or "free space" in str(error), error
        else:
            raise AssertionError(kind)
        assert look() == before, (kind, name, look().keys() ^ before.keys())
files = verify_files([f"old.{kind}" for kind in kinds]).files
assert all(each.credential.status == "valid" for each in files)
print("all as before")
"""


def test_disk_that_is_full_while_signing(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=2m none "{disk}"'
    own = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if not shutil.which("unshare") or subprocess.run([*own, mount]).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    tests = Path(__file__).resolve().parents[1]
    paths = f"PYTHONPATH={tests}:{tests.parent}"
    kinds = ["mp4", "mkv", "gif", "png", "jpg", "bmp", "moving.png", "moving.webp"]
    line = f'{mount} && cd "{disk}" && {paths} exec "$@"'
    words = [*own, line, "bash", sys.executable, "-c", _PROGRAM, *kinds]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all as before\n")
