"""Content credentials (C2PA): a manifest, signed, in a file.

A `Seal` signs all files of one job. It is the last to write to a file, before that gets
its name: whatever changes the file afterwards breaks or strips the credential. What
cannot hold one (MKV, WebM, BMP) gets it as ``NAME.c2pa`` beside it.

Reference:
    C2PA, Content Credentials: technical specification 2.x.
"""

import copy
import errno
import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import c2pa

from deepfake_jax.files import BESIDE, partial_path, sync_path
from deepfake_jax.media.xmp import insert_xmp, make_xmp
from deepfake_jax.provenance.facts import DIGITAL_SOURCE_TYPE, TOOL
from deepfake_jax.provenance.hashed_files import hash_pieces, sign_hash
from deepfake_jax.provenance.manifest import Statement, make_manifest
from deepfake_jax.provenance.signing_keys import SigningError, SigningKey

# By suffix: what can hold a credential. Names may lie, but not of files of our own.
HOLDERS: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/x-m4v",
    ".mov": "video/quicktime",
    ".avi": "video/avi",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jxl": "image/jxl",
}
# Readers take a file of any other type as bytes.
OTHER = "application/octet-stream"
# Above, a video is hashed in parts of 8 MiB, which cost 32 bytes each; in one piece it
# takes 512 MiB of memory, whatever its size.
_LARGE, _PART_KB = 64 * 2**20, 8 * 1024
_log = logging.getLogger("deepfake_jax")


class Seal:
    """Signs the files of a job; may be used from several threads.

    Args:
        statement: what to say.
        signer: who says it.
        timestamp: address of a time-stamping authority; "" for none.

    Raises:
        SigningError: the key signs nothing that a reader takes, or the authority cannot
            be reached. A picture of one pixel is signed to see it before any work.
    """

    def __init__(
        self, statement: Statement, signer: SigningKey, *, timestamp: str = ""
    ):
        self.statement, self._key, self._timestamp = statement, signer, timestamp
        self._failure: Exception | None = None
        self._ingredient = self._read_ingredient()
        self._try()

    def __call__(self, path: Path, place: Path) -> None:
        """Signs a file that is complete.

        Args:
            path: the file under its hidden name.
            place: the name that it will get; its suffix says what it is.

        Raises:
            SigningError: it could not be signed.
            OSError: the disk is full.
        """
        if not self.statement.model:
            insert_xmp(path, make_xmp(DIGITAL_SOURCE_TYPE, tool=TOOL))
        try:
            try:
                self._write(path, place)
            except c2pa.C2paError as error:
                if not self._is_about_time(error):
                    raise
                # Hours of work must not be lost because the net has gone meanwhile.
                _log.warning(
                    "%s: signed without a time stamp; %s gives none any more (%s)",
                    place,
                    self._timestamp,
                    error,
                )
                self._timestamp = ""
                self._write(path, place)
        except c2pa.C2paError as error:
            raise self._explain(error, path, place.name) from error

    def _write(self, path: Path, place: Path) -> None:
        mime = HOLDERS.get(place.suffix.lower())
        if mime is None or self.statement.model:
            self._put_beside(path)
        else:
            self._embed(path, mime)

    def with_source(self, source: Path, facts: Mapping[str, Any]) -> "Seal":
        """The same of another source, without another trial.

        Args:
            source: the new ingredient.
            facts: of its output.
        """
        other = copy.copy(self)
        other.statement = replace(self.statement, source=source, facts=facts)
        other._ingredient = other._read_ingredient()
        return other

    def _embed(self, path: Path, mime: str) -> None:
        signed = partial_path(path)
        try:
            with path.open("rb") as source, signed.open("w+b") as target:
                self._sign(mime, source, target, path.stat().st_size)
            os.replace(signed, path)
        finally:
            with suppress(OSError):
                signed.unlink()

    def _put_beside(self, path: Path) -> None:
        """Under its own hidden name: what an older file of that name has stays."""
        digest = hash_pieces(path)
        with self._open(OTHER, 0) as (builder, signer):
            manifest = sign_hash(builder, signer, digest)
        beside = credential_path(path)
        beside.write_bytes(manifest)
        sync_path(beside)

    def _sign(self, mime: str, source: Any, target: Any, size: int) -> bytes:
        with self._open(mime, size) as (builder, signer):
            return builder.sign(signer, mime, source, target)

    @contextmanager
    def _open(self, mime: str, size: int) -> Iterator[tuple[Any, Any]]:
        definition = make_manifest(self.statement, mime)
        with ExitStack() as stack:
            context = stack.enter_context(make_context(large=size > _LARGE))
            builder = stack.enter_context(c2pa.Builder(definition, context))
            if self._ingredient is not None:
                builder.add_ingredient_from_archive(io.BytesIO(self._ingredient))
            signer = c2pa.Signer.from_callback(
                self._call,
                c2pa.C2paSigningAlg[self._key.algorithm.upper()],
                self._key.chain,
                self._timestamp or None,
            )
            yield builder, stack.enter_context(signer)

    def _read_ingredient(self) -> bytes | None:
        """The source as readers will see it, its own credentials included.

        It is read once for all files of the job.
        """
        source = self.statement.source
        if source is None or not source.is_file():
            return None
        mime = HOLDERS.get(source.suffix.lower(), OTHER)
        for kind in dict.fromkeys((mime, OTHER)):
            # A damaged file is an ingredient as well, of no known kind.
            with suppress(c2pa.C2paError), ExitStack() as stack:
                large = source.stat().st_size > _LARGE
                context = stack.enter_context(make_context(large=large))
                definition = make_manifest(self.statement, kind)
                builder = stack.enter_context(c2pa.Builder(definition, context))
                ingredient = {
                    "title": f"source{source.suffix.lower()}",
                    "relationship": "parentOf",
                    "label": "source",
                    "instance_id": "source",
                }
                beside = find_credential(source)
                if beside is not None and kind == OTHER:
                    ingredient["description"] = "its credential lies in a file beside"
                with source.open("rb") as file:
                    builder.add_ingredient(ingredient, kind, file)
                archive = io.BytesIO()
                builder.write_ingredient_archive("source", archive)
                return archive.getvalue()
        return None

    def _try(self) -> None:
        try:
            self._sign("image/png", io.BytesIO(_PIXEL), io.BytesIO(), len(_PIXEL))
        except c2pa.C2paError as error:
            raise self._explain(error, None, "the output") from error

    def _is_about_time(self, error: c2pa.C2paError) -> bool:
        text = str(error).lower()
        return bool(self._timestamp) and ("http" in text or "time" in text)

    def _call(self, data: bytes) -> bytes:
        try:
            return self._key.sign(data)
        except Exception as error:
            self._failure = error  # of which C2PA says nothing
            raise

    def _explain(
        self, error: c2pa.C2paError, path: Path | None, name: str
    ) -> Exception:
        if self._failure is not None:
            failed = f"{type(self._failure).__name__}: {self._failure}"
            return SigningError(f"{name}: the signer failed ({failed})")
        if path is not None:
            free = shutil.disk_usage(path.parent).free
            full = os.strerror(errno.ENOSPC)
            if full in str(error) or free < path.stat().st_size + 2**20:
                return OSError(errno.ENOSPC, full, str(path.parent))
        if self._is_about_time(error):
            return SigningError(
                f"--timestamp {self._timestamp} gives no time stamp ({error}); check "
                "the address and the network, or leave it out"
            )
        if self._key.own:
            return SigningError(f"{name} cannot be signed by your own key: {error}")
        return SigningError(
            f"{name} cannot be signed by --certificate and --key: no reader would "
            f"take it ({error}). The certificate must be for signing (key usage "
            "digitalSignature, extended key usage emailProtection or one of C2PA's), "
            "come with those that vouch for it, and not vouch for itself"
        )


# A PNG of one black pixel.
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415478da63606060000000040001c8ea18a50000000049454e44ae426082"
)


def make_context(
    *, large: bool = False, anchors: str = "", verify: bool = True
) -> c2pa.Context:
    """Settings of a signature or a look at one; nothing is fetched from anywhere.

    Args:
        large: hash in parts, as `_LARGE` says.
        anchors: PEM certificates whose signers are trusted.
        verify: look at what was signed.
    """
    settings: dict[str, Any] = {
        "verify": {
            "verify_after_sign": verify,
            "verify_trust": True,
            "ocsp_fetch": False,
            "remote_manifest_fetch": False,
        },
        "builder": {"thumbnail": {"enabled": False}},
        "core": {"backing_store_memory_threshold_in_mb": 16},
    }
    if large:
        settings["core"]["merkle_tree_chunk_size_in_kb"] = _PART_KB
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context.from_dict(settings)


def credential_path(output: Path) -> Path:
    """Where the credential of what cannot hold one lies: its name and ``.c2pa``."""
    return output.with_name(f"{output.name}{BESIDE}")


def find_credential(path: Path) -> Path | None:
    """The file with a credential beside a file: ours, or as other programs name it."""
    for beside in (credential_path(path), path.with_suffix(BESIDE)):
        if beside != path and beside.is_file():
            return beside
    return None
