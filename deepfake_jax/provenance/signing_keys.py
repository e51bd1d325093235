"""Keys that sign credentials: this user's own, one from files, or one in hardware.

A `SigningKey` is a chain of certificates and a function that signs bytes; where its
private part lies is nobody else's business. Certificates are checked before any work:
what a reader would refuse is refused here.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

_CURVES = {
    "secp256r1": ("es256", hashes.SHA256()),
    "secp384r1": ("es384", hashes.SHA384()),
    "secp521r1": ("es512", hashes.SHA512()),
}
_KINDS = "EC P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519"
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class SigningError(ValueError):
    """A file that cannot be signed, or by this key; the text says why and the fix."""


@dataclass(frozen=True)
class SigningKey:
    """What signs credentials.

    Attributes:
        chain: PEM certificates, the signer's own first, its root last or left out.
        algorithm: es256, es384, es512, ps256 or ed25519.
        sign: from the bytes to sign to their signature: DER or r and s in a row for
            es*, PSS with a salt of the hash's length for ps256. Keys in hardware or
            agents go here; it may be called from another thread.
        own: whether it is the key that this program made for its user.
    """

    chain: str
    algorithm: str
    sign: Callable[[bytes], bytes]
    own: bool = False


def read_signing_key(certificate: str | Path, private_key: str | Path) -> SigningKey:
    """Reads a key and the certificates that say whose it is.

    Args:
        certificate: PEM file; the signer's own certificate first, then those that
            vouch for it.
        private_key: PEM file, not encrypted.

    Raises:
        SigningError: a file is missing or no PEM, the two do not belong together, or
            the certificate is not valid today.
    """
    certificates = read_certificates(Path(certificate))
    name = f"--key {private_key}"
    private = parse_private_key(_read(Path(private_key), "--key"), name)
    leaf = certificates[0]
    check_dates(leaf, f"--certificate {certificate}")
    if not is_key_of(leaf, private):
        raise SigningError(
            f"{name} does not belong to --certificate {certificate}: its first "
            "certificate is for another key; put the signer's own first, or name the "
            "key that it was made for"
        )
    check_chain(certificates, f"--certificate {certificate}")
    return make_signing_key(certificates, private)


def make_signing_key(
    certificates: Sequence[x509.Certificate], private: _PrivateKey, *, own: bool = False
) -> SigningKey:
    """A signing key of a private key in memory.

    Args:
        certificates: the key's own first.
        private: the key.
        own: see `SigningKey`.

    Raises:
        SigningError: a kind of key that credentials do not allow.
    """
    chain = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)
    algorithm, sign = _choose_signature(private)
    return SigningKey(chain.decode(), algorithm, sign, own)


def _choose_signature(private: _PrivateKey) -> tuple[str, Callable[[bytes], bytes]]:
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519", private.sign
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        digest = hashes.SHA256()
        salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
        return "ps256", lambda data: private.sign(data, salted, digest)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        if private.curve.name in _CURVES:
            algorithm, digest = _CURVES[private.curve.name]
            return algorithm, lambda data: private.sign(data, ec.ECDSA(digest))
    raise SigningError(f"credentials cannot be signed by this key; it must be {_KINDS}")


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file.

    Raises:
        SigningError: it holds none.
    """
    try:
        return x509.load_pem_x509_certificates(_read(path, "--certificate"))
    except ValueError as error:
        raise SigningError(
            f"--certificate {path} holds no certificates in PEM ({error}); give a file "
            "that starts with -----BEGIN CERTIFICATE-----"
        ) from None


def parse_private_key(data: bytes, name: str) -> _PrivateKey:
    """A private key of PEM bytes.

    Args:
        data: with nothing but the key, or with certificates around it.
        name: of where they come from, for the error.

    Raises:
        SigningError: no key, an encrypted one, or one of another kind.
    """
    try:
        private = serialization.load_pem_private_key(data, None)
    except TypeError:
        raise SigningError(
            f"{name} is encrypted; give one that is not (openssl pkey -in KEY -out "
            "PLAIN), or sign by a callback of the library"
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{name} holds no private key in PEM ({error})") from None
    if not isinstance(private, _PrivateKey):
        raise SigningError(f"{name} is no key that can sign; it must be {_KINDS}")
    return private


def check_dates(certificate: x509.Certificate, name: str) -> None:
    """Checks that a certificate is valid now.

    Raises:
        SigningError: it has expired, or is not valid yet.
    """
    now = datetime.datetime.now(datetime.UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        raise SigningError(
            f"{name} expired on {last:%Y-%m-%d}; what it signs would be refused by all "
            "readers. Renew it, or leave both --certificate and --key out to sign by "
            "your own key"
        )
    if now < first:
        raise SigningError(
            f"{name} is valid from {first:%Y-%m-%d} on, which is later than this "
            "machine's clock; check both"
        )


def check_chain(certificates: Sequence[x509.Certificate], name: str) -> None:
    """Checks that each certificate was signed by the key of the one behind it.

    Raises:
        SigningError: one was not, as where the file was damaged.
    """
    for place, (signed, signer) in enumerate(pairwise(certificates), 1):
        try:
            signed.verify_directly_issued_by(signer)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            raise SigningError(
                f"{name}: its certificate {place} was not signed by the one behind it, "
                "so readers would refuse what it signs; put the signer's own first, "
                "then those that vouch for it, each for the one before"
            ) from None


def is_key_of(certificate: x509.Certificate, private: _PrivateKey) -> bool:
    """Whether a certificate was made for a key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    public = certificate.public_key(), private.public_key()
    return len({key.public_bytes(der, form) for key in public}) == 1


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"{option} {path} cannot be read ({error.strerror}); name a PEM file"
        ) from None
