"""The key that signs by default: made on first use, this user's own.

It lies with its certificates in one file, ``signing.pem`` in the user's config folder,
which nobody else may read. Readers find what it signs valid and the signer unknown:
nobody vouches for a chain that a program made for itself. Its root's key is thrown
away, so that no other certificate can ever claim to come of it.
"""

import datetime
import logging
import os
from contextlib import suppress
from pathlib import Path

import filelock
import platformdirs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepfake_jax.files import write_whole
from deepfake_jax.output_lock import clear_partials
from deepfake_jax.provenance.signing_keys import (
    SigningError,
    SigningKey,
    check_chain,
    check_dates,
    is_key_of,
    make_signing_key,
    parse_private_key,
    read_signing_key,
)

KEY_NAME = "signing.pem"
# Without a time stamp, for which a network is needed, a file's credential is refused
# from the day on which its certificate expires.
_YEARS = 20
_PATIENCE = 20  # seconds for another process to make the key, which takes 0.01
_log = logging.getLogger("deepfake_jax")


def get_config_folder() -> Path:
    """The folder of the user's own key; it need not exist yet.

    ``$DEEPFAKE_JAX_CONFIG`` where that is set, else the user's config folder.
    """
    folder = os.environ.get("DEEPFAKE_JAX_CONFIG") or platformdirs.user_config_dir(
        "deepfake-jax"
    )
    return Path(folder).expanduser().absolute()


def choose_key(certificate: str, key_file: str) -> SigningKey:
    """Who signs: that of two PEM files, or the user's own key where none is named.

    Raises:
        SigningError: one of the two files is not named, or they cannot be used.
    """
    if bool(certificate) != bool(key_file):
        missing = "--key" if certificate else "--certificate"
        raise SigningError(
            f"{missing} is not given: a key and its certificate go together; name both "
            "PEM files, or none to sign by your own key"
        )
    return read_signing_key(certificate, key_file) if certificate else load_own_key()


def load_own_key() -> SigningKey:
    """The user's own key, made where there is none.

    Where the folder cannot be written to, a key for this process alone is made, which
    is said: then outputs of two commands do not show that they are of one hand.

    Raises:
        SigningError: the file is damaged, or cannot be read.
    """
    path = get_config_folder() / KEY_NAME
    try:
        data = _read_or_make(path)
    except filelock.Timeout:
        raise SigningError(
            f"{path}: another process has been making this key for {_PATIENCE} s; "
            f"remove {path.parent / '.lock'} if there is none"
        ) from None
    except OSError as error:
        if path.is_file():
            raise SigningError(
                f"{path}, your key for signing, cannot be read ({error.strerror}); give"
                " yourself the right to, or name another folder in DEEPFAKE_JAX_CONFIG"
            ) from None
        _log.warning(
            "%s: no key for signing can be kept there (%s), so this output is signed "
            "by a key of its own; name a folder of yours in DEEPFAKE_JAX_CONFIG",
            path,
            error.strerror or error,
        )
        data = _make_key()
    return _parse(data, path)


def read_own_root() -> str:
    """The root certificate of the user's own key in PEM; "" where there is none."""
    try:
        data = (get_config_folder() / KEY_NAME).read_bytes()
        root = x509.load_pem_x509_certificates(data)[-1]
    except (OSError, ValueError):
        return ""
    return root.public_bytes(serialization.Encoding.PEM).decode()


def _read_or_make(path: Path) -> bytes:
    with suppress(FileNotFoundError):
        return _read_private(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may come here at once: the second reads what the first made.
    with filelock.FileLock(path.parent / ".lock", timeout=_PATIENCE):
        with suppress(FileNotFoundError):
            return _read_private(path)
        clear_partials(path.parent)
        data = _make_key()
        with write_whole(path, overwrite=False) as partial:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
                file.write(data)
        _log.info(
            "%s: made your own key, which signs what you make: readers will find it "
            "valid, and the signer unknown",
            path,
        )
        return data


def _read_private(path: Path) -> bytes:
    data = path.read_bytes()
    if os.name == "posix" and path.stat().st_mode & 0o077:
        _log.warning("%s: others could read your key; now they cannot", path)
        path.chmod(0o600)
    return data


def _parse(data: bytes, path: Path) -> SigningKey:
    fix = f"remove {path}, so that the next command makes a new one"
    try:
        private = parse_private_key(data, str(path))
        certificates = x509.load_pem_x509_certificates(data)
        check_dates(certificates[0], "its certificate")
        if len(certificates) != 2 or not is_key_of(certificates[0], private):
            raise ValueError("it is damaged")
        check_chain([*certificates, certificates[1]], "the file")
        return make_signing_key(certificates, private, own=True)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(
            f"{path}, your key for signing, cannot be used ({error}); {fix}"
        ) from None


def _make_key() -> bytes:
    """A new key, its certificate and its root's, in PEM."""
    curve = ec.SECP256R1()
    root_key, leaf_key = ec.generate_private_key(curve), ec.generate_private_key(curve)
    root_name, leaf_name = _name("local root"), _name("local signer")
    root = (
        _start(root_name, root_name, root_key, days=1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    # The purpose that all readers of credentials allow without being told to.
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    leaf = (
        _start(leaf_name, root_name, leaf_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(issuer, critical=False)
        .add_extension(purpose, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    private = leaf_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return private + leaf.public_bytes(pem) + root.public_bytes(pem)


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"deepfake-jax {role}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "deepfake-jax, unverified"),
        ]
    )


def _start(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    days: int = 0,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of two machines may differ by some minutes.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS + days))
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    )


def _usage(**purposes: bool) -> x509.KeyUsage:
    every = (
        *("digital_signature", "content_commitment", "key_encipherment"),
        *("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
        *("encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**(dict.fromkeys(every, False) | purposes))
