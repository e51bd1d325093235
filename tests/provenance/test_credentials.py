"""Credentials: whole files of all kinds are valid, changed ones are not."""

import datetime
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from deepfake_jax.files import write_whole
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.outputs import open_writer
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.output_lock import lock_output
from deepfake_jax.provenance import own_key
from deepfake_jax.provenance.credential_reader import find_mime, read_credential
from deepfake_jax.provenance.credentials import (
    OTHER,
    Seal,
    credential_path,
    make_context,
)
from deepfake_jax.provenance.facts import DIGITAL_SOURCE_TYPE, make_provenance
from deepfake_jax.provenance.manifest import Statement, make_manifest
from deepfake_jax.provenance.own_key import load_own_key
from deepfake_jax.provenance.signing_keys import (
    SigningError,
    SigningKey,
    make_signing_key,
    read_signing_key,
)
from deepfake_jax.provenance.verify import verify_files

FACTS = make_provenance(
    tool_version="1.2.3",
    model_hash="ab" * 32,
    model_step=4000,
    source_name="Anna Muster.mp4",
    source_hash="cd" * 32,
    direction="a_to_b",
)
VIDEOS = ("mp4", "m4v", "mov", "mkv", "webm", "gif")
MOVING = ("moving.webp", "moving.png")
PICTURES = ("png", "jpg", "jpeg", "jfif", "webp", "avif", "bmp", "tif", "tiff")


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return load_own_key()


@pytest.fixture(scope="module")
def seal(key: SigningKey) -> Seal:
    return Seal(Statement(facts=FACTS, watermark=0xDF123456), key)


def write_signed(
    path: Path, seal: Any, *, count: int = 6, overwrite: bool = False
) -> Path:
    """A small output as a conversion writes it."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 255, (count, 48, 64, 3), np.uint8)
    if path.suffix[1:] in PICTURES and "moving" not in path.name:
        kind = DIGITAL_SOURCE_TYPE
        write_picture(path, frames[0], source_type=kind, seal=seal, overwrite=overwrite)
        return path
    codec = "vp9" if path.suffix == ".webm" else "h264"
    spec = OutputSpec(
        path=path,
        width=64,
        height=48,
        time_base=Fraction(1, 25),
        codec=codec,
        seal=seal,
        overwrite=overwrite,
    )
    with open_writer(spec) as writer:
        for pts, frame in enumerate(frames):
            writer.write(frame, pts=pts)
    return path


@pytest.mark.parametrize("suffix", [*VIDEOS, *MOVING, *PICTURES])
def test_every_kind_of_output_is_signed_and_valid(
    tmp_path: Path, seal: Seal, suffix: str
):
    path = write_signed(tmp_path / f"out.{suffix}", seal)
    (found,) = verify_files([path]).files
    assert found.marked and not found.broken
    assert found.credential.status == "valid" and found.credential.own
    assert found.credential.synthetic and found.credential.watermark == "df123456"
    assert found.credential.identifier == seal.statement.identifier
    beside = credential_path(path)
    assert beside.exists() == (suffix in ("mkv", "webm", "bmp"))
    if suffix not in ("mkv", "webm", "bmp"):
        assert found.metadata.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert {p.name for p in tmp_path.iterdir()} <= {path.name, beside.name}
    # C2PA's own reader, which sees all of the file.
    given = {"manifest_data": beside.read_bytes()} if beside.exists() else {}
    with make_context() as context, path.open("rb") as file:
        with c2pa.Reader(find_mime(path), file, context=context, **given) as reader:
            assert reader.get_validation_state() == "Valid"
            store = json.loads(reader.json())
    wrong = store["validation_results"]["activeManifest"]["failure"]
    assert [each["code"] for each in wrong] == ["signingCredential.untrusted"]


def test_a_credential_of_other_programs_beside_a_file_is_read(tmp_path, seal, key):
    """Their hash may be another, or leave a part out: then C2PA itself has to look."""
    path = write_signed(tmp_path / "out.mkv", None)
    manifest = make_manifest(seal.statement, OTHER)
    with make_context() as context, c2pa.Builder(manifest, context) as builder:
        builder.set_no_embed()
        signer = c2pa.Signer.from_callback(
            key.sign, c2pa.C2paSigningAlg[key.algorithm.upper()], key.chain, None
        )
        with path.open("rb") as file, signer:
            theirs = builder.sign(signer, OTHER, file, io.BytesIO())
    path.with_suffix(".c2pa").write_bytes(theirs)
    assert read_credential(path).status == "valid"
    with path.open("ab") as file:
        file.write(b"x")
    assert read_credential(path).codes == ("assertion.dataHash.mismatch",)
    assert read_credential(path).status == "tampered"
    path.with_suffix(".c2pa").write_bytes(theirs[:-40])
    assert read_credential(path).status == "unreadable"


@pytest.mark.parametrize("suffix", ["mkv", "bmp"])
def test_an_older_credential_stays_when_a_new_file_fails(tmp_path, seal, suffix):
    path = write_signed(tmp_path / f"out.{suffix}", seal)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before) == 2
    with pytest.raises(ValueError, match="exists"):
        write_signed(path, seal)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(RuntimeError), write_whole(path, overwrite=True) as partial:
        partial.write_bytes(b"new")
        seal(partial, path)
        assert credential_path(partial).exists()
        raise RuntimeError
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    # What a killed process left goes with the next one that writes this output.
    dead = tmp_path / f".out.{10**8}-0123abcd.partial.{suffix}"
    for left in (dead, credential_path(dead)):
        left.write_bytes(b"")
    with lock_output(path):
        assert {p.name for p in tmp_path.iterdir()} - before.keys() == {
            f".out.{suffix}.lock"
        }


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "gif", "png", "jpg", "webp"])
def test_changed_bits_and_cut_ends_are_told(tmp_path: Path, seal: Seal, suffix: str):
    path = write_signed(tmp_path / f"out.{suffix}", seal)
    data, rng = path.read_bytes(), np.random.default_rng(3)
    # What fills a credential up to its reserved size is nobody's.
    begins = {"mp4": b"mdat", "webp": b"VP8 ", "png": b"IDAT"}
    ends = {"mp4": b"moov", "webp": b"XMP ", "png": b"IEND"}
    start = data.index(begins.get(suffix, data[-len(data) // 4 :]))
    end = data.index(ends.get(suffix, data[-4:]), start)
    for place in rng.integers(start + 4, end, 8):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        assert read_credential(path).status in ("tampered", "unreadable"), place
    for share in (0.97, 0.6):
        path.write_bytes(data[: int(len(data) * share)])
        assert verify_files([path]).files[0].broken
    path.write_bytes(data)
    assert verify_files([path]).marked


def test_credential_names_no_file_or_person(tmp_path: Path, key: SigningKey):
    source = write_signed(tmp_path / "Anna Muster.mp4", None)
    seal = Seal(Statement(facts=FACTS, source=source), key)
    path = write_signed(tmp_path / "Bert.mp4", seal)
    with c2pa.Reader(str(path), context=make_context()) as reader:
        said = reader.detailed_json() + reader.json()
    # Whole words: the name of a computer may be as short as two letters of a hash.
    words = {word.split(".")[0] for word in re.split(r"[^\w.+/=-]+", said)}
    computer = os.uname().nodename.split(".")[0]
    assert words.isdisjoint({"Anna", "Muster", "Bert", computer})
    assert str(tmp_path) not in said
    assert "ab" * 32 in said and "a_to_b" in said and "c2pa.opened" in said


def test_credential_of_the_source_is_kept(tmp_path: Path, key: SigningKey, seal: Seal):
    source = write_signed(tmp_path / "first.mp4", seal)
    again = Seal(Statement(facts=FACTS, source=source), key)
    # The same ingredient serves several files, without being read again.
    source.unlink()
    for name in ("one.mp4", "two.png"):
        path = write_signed(tmp_path / name, again)
        with c2pa.Reader(str(path), context=make_context()) as reader:
            store = json.loads(reader.json())
        assert len(store["manifests"]) == 2
        assert read_credential(path).status == "valid"


def test_large_videos_are_hashed_in_parts(
    tmp_path: Path, seal: Seal, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepfake_jax.provenance.credentials._LARGE", 1000)
    path = write_signed(tmp_path / "out.mp4", seal, count=30)
    assert read_credential(path).status == "valid"
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 4
    path.write_bytes(data)
    assert read_credential(path).status == "tampered"


# Keys


def make_chain(
    *, first: int = -1, last: int = 100, private: object = None, purpose: str = "mail"
) -> tuple[list[x509.Certificate], object]:
    """A chain and its key, valid from and to a day counted from now."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    private = private or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Studio")])
    top = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Authority")])
    now = datetime.datetime.now(datetime.UTC)

    def build(subject: x509.Name, public: object) -> x509.CertificateBuilder:
        days = datetime.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(top)
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + first * days)
            .not_valid_after(now + last * days)
        )

    root = build(top, root_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    oid = ExtendedKeyUsageOID
    use = {"mail": oid.EMAIL_PROTECTION, "server": oid.SERVER_AUTH}[purpose]
    leaf = (
        build(name, private.public_key())  # type: ignore[attr-defined]
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(own_key._usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
    )
    digest = hashes.SHA256()
    return [leaf.sign(root_key, digest), root.sign(root_key, digest)], private


def save_chain(folder: Path, certificates: list, private: object) -> tuple[Path, Path]:
    pem = serialization.Encoding.PEM
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(each.public_bytes(pem) for each in certificates))
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.write_bytes(private.private_bytes(pem, form, none))  # type: ignore[attr-defined]
    return chain, key


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["es384", "ps256", "ed25519"],
)
def test_other_peoples_keys_sign_and_are_trusted_where_known(
    tmp_path: Path, private: object
):
    certificates, private = make_chain(private=private)
    files = save_chain(tmp_path, certificates, private)
    seal = Seal(Statement(facts=FACTS), read_signing_key(*files))
    path = write_signed(tmp_path / "out.png", seal)
    found = read_credential(path)
    assert (found.status, found.own, found.issuer) == ("valid", False, "Studio")
    root = tmp_path / "root.pem"
    root.write_bytes(certificates[1].public_bytes(serialization.Encoding.PEM))
    result = verify_files([path], trust=root)
    assert result.files[0].credential.status == "trusted"


def test_keys_that_no_reader_would_take_are_refused_before_work(tmp_path: Path):
    certificates, private = make_chain(last=0, first=-9)
    with pytest.raises(SigningError, match="expired on"):
        read_signing_key(*save_chain(tmp_path, certificates, private))
    certificates, private = make_chain(first=9)
    with pytest.raises(SigningError, match="is valid from"):
        read_signing_key(*save_chain(tmp_path, certificates, private))
    certificates, private = make_chain()
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SigningError, match="does not belong to"):
        read_signing_key(*save_chain(tmp_path, certificates, other))
    chain, key = save_chain(tmp_path, certificates, private)
    with pytest.raises(SigningError, match="no private key"):
        read_signing_key(chain, chain)
    with pytest.raises(SigningError, match="no certificates"):
        read_signing_key(key, key)
    with pytest.raises(SigningError, match="cannot be read"):
        read_signing_key(tmp_path / "none.pem", key)
    strangers, _ = make_chain()
    mixed = [certificates[0], strangers[1]]
    with pytest.raises(SigningError, match="certificate 1 was not signed by the one"):
        read_signing_key(*save_chain(tmp_path, mixed, private))
    server = make_chain(purpose="server")
    with pytest.raises(SigningError, match="no reader would take it"):
        key = make_signing_key(*server)  # type: ignore[arg-type]
        Seal(Statement(facts=FACTS), key)


def test_time_stamp_that_cannot_be_had_is_told_before_work(key: SigningKey):
    with pytest.raises(SigningError, match="--timestamp http://127.0.0.1:9"):
        Seal(Statement(facts=FACTS), key, timestamp="http://127.0.0.1:9/")


def test_own_key_is_made_once_private_and_by_whoever_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEEPFAKE_JAX_CONFIG", str(tmp_path / "deep" / "config"))
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_own_key(), range(8)))
    assert len({key.chain for key in keys}) == 1
    path = tmp_path / "deep" / "config" / own_key.KEY_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert load_own_key().chain == keys[0].chain
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(SigningError, match="remove"):
        load_own_key()


def test_folder_that_takes_no_key_does_not_end_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DEEPFAKE_JAX_CONFIG", str(tmp_path / "file"))
    seal = Seal(Statement(facts=FACTS), load_own_key())
    assert "no key for signing can be kept" in caplog.text
    found = read_credential(write_signed(tmp_path / "out.png", seal))
    assert (found.status, found.own) == ("valid", False)
