"""Credentials beside a file, made and checked by its hash, whatever its size.

C2PA's own way reads such a file in pieces of 256 MiB, two at a time. Here it is read in
small ones; C2PA is told what came of it, or is asked about all else.
"""

import base64
import ctypes
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import c2pa
from c2pa import c2pa as binding

# What C2PA says where a file is not the one that was signed.
MISMATCH = "assertion.dataHash.mismatch"
_TRUSTED, _UNTRUSTED = "signingCredential.trusted", "signingCredential.untrusted"
_FORMAT = b"c2pa"  # as the credential is, made for no format
_Bytes = ctypes.POINTER(ctypes.c_ubyte)
_ALGORITHMS = ("sha256", "sha384", "sha512")
# The wheel's library has these, and its Python no names for them.
_library: Any = binding._lib
_reserve = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.POINTER(_Bytes)),
)(("c2pa_builder_data_hashed_placeholder", _library))
_sign = ctypes.CFUNCTYPE(
    ctypes.c_int64,
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_void_p, ctypes.POINTER(_Bytes)),
)(("c2pa_builder_sign_data_hashed_embeddable", _library))


def hash_pieces(path: Path, algorithm: str = "sha256") -> bytes:
    """A file's hash, read in small pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).digest()


def sign_hash(builder: c2pa.Builder, signer: c2pa.Signer, digest: bytes) -> bytes:
    """Signs a file by its SHA-256; gives the credential.

    Raises:
        c2pa.C2paError: the signer failed, or the credential is none that is taken.
    """
    handle, by = _point_to(builder), _point_to(signer)
    _take(lambda found: _reserve(handle, signer.reserve_size(), _FORMAT, found))
    said = {
        "exclusions": [],
        "name": "jumbf manifest",
        "alg": "sha256",
        "hash": list(digest),
        "pad": "",
    }
    text = json.dumps(said).encode()
    return _take(lambda found: _sign(handle, by, text, _FORMAT, None, found))


def _point_to(owner: Any) -> ctypes.c_void_p:
    return ctypes.cast(owner._handle, ctypes.c_void_p)


def _take(call: Any) -> bytes:
    """The bytes that a function of C2PA's gives, which are its own to free."""
    found = _Bytes()
    count = call(ctypes.byref(found))
    binding._check_ffi_operation_result(
        count, "The credential could not be made", check=lambda n: n < 0
    )
    try:
        return ctypes.string_at(found, count)
    finally:
        _library.c2pa_free(found)


def read_without(manifest: bytes, mime: str, context: c2pa.Context) -> c2pa.Reader:
    """A credential that lies beside a file, checked but for the file itself.

    Raises:
        c2pa.C2paError: it is none.
    """
    return c2pa.Reader(mime, io.BytesIO(), manifest_data=manifest, context=context)


def check_hash(reader: c2pa.Reader, path: Path) -> bool | None:
    """Whether a file is the one that a credential was made for, by its hash.

    None where the credential has no such hash of a whole file: then C2PA has to look.
    """
    store = json.loads(reader.detailed_json())
    active = store["manifests"][store["active_manifest"]]
    said = active.get("assertion_store", {}).get("c2pa.hash.data")
    if not isinstance(said, dict) or said.get("exclusions"):
        return None
    algorithm = said.get("alg") or active.get("claim", {}).get("alg")
    if algorithm not in _ALGORITHMS:
        return None
    return base64.b64decode(said.get("hash", "")) == hash_pieces(path, algorithm)


def find_state(store: dict[str, Any], *, fits: bool) -> tuple[str, list[str]]:
    """C2PA's verdict of a credential and its codes, when the hash has been checked.

    Args:
        store: what `read_without` says, as JSON.
        fits: what `check_hash` says.
    """
    active = (store.get("validation_results") or {}).get("activeManifest") or {}
    codes = {
        kind: [str(each.get("code", "")) for each in active.get(kind, [])]
        for kind in ("success", "failure")
    }
    wrong = [code for code in codes["failure"] if not (fits and code == MISMATCH)]
    if not fits and MISMATCH not in wrong:
        wrong.append(MISMATCH)
    if set(wrong) - {_UNTRUSTED}:
        return "Invalid", wrong
    return ("Trusted" if _TRUSTED in codes["success"] else "Valid"), wrong
