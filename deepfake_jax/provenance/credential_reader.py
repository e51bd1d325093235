"""Content credentials of a file, whoever made them, and what they are worth."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import c2pa

from deepfake_jax.media.file_kinds import find_format
from deepfake_jax.provenance.credentials import (
    HOLDERS,
    OTHER,
    find_credential,
    make_context,
)
from deepfake_jax.provenance.hashed_files import check_hash, find_state, read_without
from deepfake_jax.provenance.manifest import CONSENT, WATERMARK
from deepfake_jax.provenance.own_key import read_own_root

Status = Literal["trusted", "valid", "expired", "tampered", "unreadable", "absent"]
MODEL = "trainedAlgorithmicData"
# Sources of which IPTC's last part of the address says that a machine made them.
SYNTHETIC = (
    *("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"),
    *("compositeSynthetic", "algorithmicallyEnhanced", "algorithmicMedia"),
    MODEL,
)
_MIMES = {
    "png": "image/png",
    "apng": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "animated webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "animated avif": "image/avif",
    "heic": "image/heic",
    "jxl": "image/jxl",
}
# A signer that is unknown, and a certificate that has expired, say nothing about the
# content.
_UNTRUSTED, _EXPIRED = "signingCredential.untrusted", "signingCredential.expired"


@dataclass(frozen=True)
class CredentialFound:
    """A file's credential.

    Attributes:
        status: trusted (valid, and the signer is known), valid (signer unknown),
            expired (it fits the file, but the signer's certificate has expired and
            nothing proves that it was signed before), tampered (the file is not what
            was signed), unreadable (there is a part of one), or absent.
        synthetic: whether it says that a machine made the content or a part of it.
        model: whether it says that the file itself is a model.
        own: whether this user's own key signed it.
        issuer: who is named as the signer's organisation.
        tool: the program that made it.
        identifier: six digits of a credential of this program's, as the watermark and
            the sidecar name it.
        watermark: what it says the pixels carry, eight hexadecimal digits, or "none".
        place: embedded, or the name of the file beside.
        signed_at: by a time stamp; "" without.
        codes: C2PA's own codes of what is wrong.
        actions: what was done, in C2PA's words.
        ingredients: titles of what it was made from.
        consent: when which consent was recorded with the run.
    """

    status: Status
    synthetic: bool = False
    model: bool = False
    own: bool = False
    issuer: str = ""
    tool: str = ""
    identifier: str = ""
    watermark: str = ""
    place: str = ""
    signed_at: str = ""
    codes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    ingredients: tuple[str, ...] = ()
    consent: tuple[dict[str, Any], ...] = field(default_factory=tuple)

    def describe(self) -> str:
        """The status in a few words."""
        if self.status == "absent":
            return "no credential"
        if self.status == "unreadable":
            return "a damaged credential"
        wrong = ", ".join(self.codes)
        who = "signed by your own key" if self.own else f"signer {self.issuer!r}"
        known = {
            "trusted": f"valid credential, {who}, trusted",
            "valid": f"valid credential, {who}"
            + ("" if self.own else ", whom nobody here vouches for"),
            "expired": f"credential that fits, {who}, whose certificate has expired",
            "tampered": f"credential that does not fit the file ({wrong})",
        }
        return known[self.status]


def read_credential(path: Path, *, anchors: str = "") -> CredentialFound:
    """Reads and checks a file's credential, in it or beside it.

    Args:
        path: a file of any kind.
        anchors: PEM certificates whose signers are trusted.
    """
    mime, own = find_mime(path), read_own_root()
    beside = find_credential(path)
    with ExitStack() as stack:
        context = stack.enter_context(make_context(anchors=f"{anchors}\n{own}".strip()))
        file = stack.enter_context(path.open("rb"))
        try:
            reader = c2pa.Reader(mime, file, context=context) if mime != OTHER else None
        except c2pa.C2paError as error:
            if _is_absent(error):
                reader = None
            else:
                return _explain(error)
        place = "embedded"
        if reader is None:
            if beside is None:
                return CredentialFound("absent")
            place = beside.name
            try:
                reader, fits = _read_beside(stack, path, mime, beside, context)
            except c2pa.C2paError as error:
                return CredentialFound("unreadable", codes=(str(error),), place=place)
            return _read_found(reader, own=own, place=place, fits=fits)
        return _read_found(stack.enter_context(reader), own=own, place=place)


def _read_beside(
    stack: ExitStack, path: Path, mime: str, beside: Path, context: c2pa.Context
) -> tuple[c2pa.Reader, bool | None]:
    """A credential beside a file, and whether it fits; None where C2PA has looked."""
    manifest = beside.read_bytes()
    if mime == OTHER:
        reader = stack.enter_context(read_without(manifest, mime, context))
        if (fits := check_hash(reader, path)) is not None:
            return reader, fits
    file = stack.enter_context(path.open("rb"))
    whole = c2pa.Reader(mime, file, manifest_data=manifest, context=context)
    return stack.enter_context(whole), None


def find_mime(path: Path) -> str:
    """What a file is to C2PA, by its content where that tells."""
    known = _MIMES.get(find_format(path))
    if known is not None:
        return known
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"GIF8":
        return "image/gif"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"uuid"):
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/avi"
    suffix = path.suffix.lower()
    return HOLDERS.get(suffix, OTHER) if suffix in (".heic", ".jxl") else OTHER


def _is_absent(error: c2pa.C2paError) -> bool:
    kind, text = type(error).__name__, str(error)
    return any(
        word in kind or word in text for word in ("ManifestNotFound", "NotSupported")
    )


def _explain(error: c2pa.C2paError) -> CredentialFound:
    return CredentialFound("unreadable", codes=(str(error)[:200],), place="embedded")


def _read_found(
    reader: c2pa.Reader, *, own: str, place: str, fits: bool | None = None
) -> CredentialFound:
    store = json.loads(reader.json())
    state, found = reader.get_validation_state() or "", list(_list_failures(store))
    if fits is not None:
        state, found = find_state(store, fits=fits)
    codes = tuple(dict.fromkeys(found))
    every = store["manifests"]
    manifest = every[store["active_manifest"]]
    label = str(manifest.get("label") or store["active_manifest"])
    info = manifest.get("signature_info") or {}
    assertions = {
        each["label"]: each.get("data") or {} for each in manifest.get("assertions", [])
    }
    issuer = str(info.get("issuer", ""))
    is_own = bool(own) and state == "Trusted" and issuer == "deepfake-jax, unverified"
    agent = (manifest.get("claim_generator_info") or [{}])[0]
    name = str(agent.get("name", ""))
    tool = f"{name} {agent.get('version', '')}".strip()
    ours = name == "deepfake-jax"
    return CredentialFound(
        status=_judge(state, codes, own=is_own),
        synthetic=any(each in SYNTHETIC for each in _list_terms(*every.values())),
        model=MODEL in _list_terms(manifest),
        own=is_own,
        issuer=issuer,
        tool=tool,
        identifier=label.rsplit(":", 1)[-1][:6] if ours else "",
        watermark=_find_watermark(assertions),
        place=place,
        signed_at=str(info.get("time") or ""),
        codes=codes,
        actions=tuple(
            str(action.get("action", "")) for action in _list_actions(manifest)
        ),
        ingredients=tuple(
            str(each.get("title", "")) for each in manifest.get("ingredients", [])
        ),
        consent=tuple(assertions.get(CONSENT, {}).get("recorded", ())),
    )


def _judge(state: str, codes: tuple[str, ...], *, own: bool) -> Status:
    if state == "Trusted":
        # That its user's key is known here is no reason for others to trust it.
        return "valid" if own else "trusted"
    if state == "Valid":
        return "valid"
    if codes and set(codes) <= {_UNTRUSTED, _EXPIRED}:
        return "expired"
    return "tampered"


def _list_failures(store: dict[str, Any]) -> Iterator[str]:
    """Codes of what is wrong with the active manifest, not with its ingredients."""
    results = store.get("validation_results") or {}
    active = results.get("activeManifest") or {}
    for failure in active.get("failure", []):
        yield str(failure.get("code", ""))
    if not results:
        for failure in store.get("validation_status", []):
            yield str(failure.get("code", ""))


def _list_actions(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for assertion in manifest.get("assertions", []):
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            yield from (assertion.get("data") or {}).get("actions", [])


def _list_terms(*manifests: dict[str, Any]) -> Iterator[str]:
    """What each action of manifests made, the last part of IPTC's or C2PA's address."""
    for manifest in manifests:
        for action in _list_actions(manifest):
            yield str(action.get("digitalSourceType", "")).rsplit("/", 1)[-1]


def _find_watermark(assertions: dict[str, Any]) -> str:
    for label, data in assertions.items():
        if label.startswith("c2pa.soft-binding") and data.get("alg") == WATERMARK:
            return str(data["blocks"][0]["value"])
    parameters = [
        action.get("parameters") or {}
        for label, data in assertions.items()
        if label.startswith("c2pa.actions")
        for action in data.get("actions", [])
    ]
    return next((str(p["watermark"]) for p in parameters if "watermark" in p), "")
