"""A run as a file for other programs, compared with JAX before it appears."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepfake_jax.export.card import describe_identities, make_card
from deepfake_jax.export.comparison import (
    Examples,
    compare_dfm,
    compare_onnx,
    compare_program,
    gather_examples,
)
from deepfake_jax.export.dfm import Program
from deepfake_jax.export.onnx_swap import Swap
from deepfake_jax.files import write_whole
from deepfake_jax.models.autoencoder import make_autoencoder
from deepfake_jax.output_lock import lock_output
from deepfake_jax.provenance.credentials import Seal
from deepfake_jax.provenance.facts import write_sidecar
from deepfake_jax.provenance.manifest import Statement
from deepfake_jax.provenance.own_key import choose_key
from deepfake_jax.runs.consent import sum_up_consent
from deepfake_jax.runs.trained_run import TrainedRun, load_run
from deepfake_jax.types import Side

Kind = Literal["onnx", "dfm", "stablehlo"]
Precision = Literal["float32", "float16"]
# By how much an export may differ from JAX, in [0, 1].
_APART: dict[str, float] = {"float32": 1e-5, "float16": 2e-2}


class ExportError(ValueError):
    """An export that cannot be made; the text says why and the usual fix."""


@dataclass(frozen=True)
class ExportResult:
    """What an export gave.

    Attributes:
        out: the file.
        format: which kind.
        direction: who is swapped to whom.
        bytes: its size.
        difference: the largest one to JAX, of pictures in [0, 1].
        compared_on: what faces that was measured on.
        readable_until: where the format ends, the date; else empty.
    """

    out: str
    format: Kind
    direction: str
    bytes: int
    difference: float
    compared_on: str
    readable_until: str = ""


def export_run(
    run: str | Path,
    out: str | Path,
    *,
    kind: Kind = "onnx",
    to: Side = "b",
    program: Program = "facefusion",
    precision: Precision = "float32",
    checkpoint: Literal["last", "best"] = "last",
    certificate: str = "",
    key_file: str = "",
    timestamp: str = "",
    overwrite: bool = False,
) -> ExportResult:
    """Writes one direction of a run as a file.

    Args:
        run: its folder.
        out: the file; ``OUT.json`` beside it says what it is, and ``OUT.c2pa`` is its
            content credential.
        kind: "onnx", "dfm" or "stablehlo"; see `onnx_files`, `dfm` and `stablehlo`.
        to: whose faces appear.
        program: whose crops a .dfm is for.
        precision: of the weights in the file; arithmetic is float32.
        checkpoint: of the run.
        certificate: PEM file of the signer's certificates; empty for the user's own.
        key_file: PEM file of the key that they are for.
        timestamp: address of a time-stamping authority; empty for none.
        overwrite: replace a file that exists.

    Raises:
        ExportError: the output does not fit, or its pictures are not those of JAX; then
            nothing was written.
        RunError, CheckpointError: the run cannot be used.
        ImportError: onnx or onnxruntime is missing.
        SigningError: the file cannot be signed as asked.
        OutputBusyError: another process writes `out`.
    """
    out, run = Path(out), Path(run)
    _check_output(out, kind, precision, overwrite=overwrite)
    with lock_output(out):
        trained = load_run(run, checkpoint=checkpoint)
        return export_trained(
            trained,
            run,
            out,
            kind=kind,
            to=to,
            program=program,
            precision=precision,
            checkpoint=checkpoint,
            certificate=certificate,
            key_file=key_file,
            timestamp=timestamp,
            overwrite=overwrite,
        )


def export_trained(
    trained: TrainedRun,
    run: Path,
    out: Path,
    *,
    kind: Kind = "onnx",
    to: Side = "b",
    program: Program = "facefusion",
    precision: Precision = "float32",
    checkpoint: Literal["last", "best"] = "last",
    certificate: str = "",
    key_file: str = "",
    timestamp: str = "",
    overwrite: bool = False,
) -> ExportResult:
    """`export_run` of a run that was read already, without its checks of `out`."""
    config = replace(trained.facts.model, precision="float32")
    swap = Swap(config, make_autoencoder(config), trained.params, to)
    card = make_card(trained, swap, run, kind=kind, precision=precision)
    card["checkpoint"] = checkpoint
    statement = Statement(facts=card, consent=sum_up_consent(run), model=True)
    seal = Seal(statement, choose_key(certificate, key_file), timestamp=timestamp)
    examples = gather_examples(run, swap)
    job = _Job(trained, swap, card, examples, program)
    with write_whole(out, overwrite=overwrite) as partial:
        difference = _WRITERS[kind](job, partial)
        if not difference <= _APART[precision]:  # NaN, too
            raise ExportError(
                f"the exported network differs from JAX by {difference:.2g} on "
                f"{examples.origin}, where {_APART[precision]:g} is allowed; nothing "
                "was written. This is a fault of the program; please report it with "
                "the run's config.yaml"
            )
        seal(partial, out)
    facts = {**card, "difference": difference, "compared_on": examples.origin}
    for name in ("source_identity", "target_identity"):
        facts.pop(name, None)
    facts["credential"] = seal.statement.identifier
    write_sidecar(out, facts)
    return ExportResult(
        out=str(out),
        format=kind,
        direction=card["direction"],
        bytes=out.stat().st_size,
        difference=difference,
        compared_on=examples.origin,
        readable_until=card.get("readable_until", ""),
    )


@dataclass(frozen=True, eq=False)
class _Job:
    trained: TrainedRun
    swap: Swap
    card: dict[str, Any]
    examples: Examples
    program: Program


def _write_onnx(job: _Job, path: Path) -> float:
    from deepfake_jax.export.onnx_files import make_onnx

    swap, card = job.swap, job.card
    card |= describe_identities(job.trained, swap)
    half = card["precision"] == "float16"
    path.write_bytes(make_onnx(swap, card, half=half).SerializeToString())
    return compare_onnx(_open(path), swap, job.examples, card["color_shift"])


def _write_dfm(job: _Job, path: Path) -> float:
    from deepfake_jax.export.onnx_files import make_dfm

    swap, card = job.swap, job.card
    shift = np.asarray(card["color_shift"], np.float64)
    card["for"] = job.program
    half = card["precision"] == "float16"
    model = make_dfm(swap, card, half=half, program=job.program, shift=shift)
    path.write_bytes(model.SerializeToString())
    return compare_dfm(_open(path), swap, job.examples, shift, job.program)


def _write_stablehlo(job: _Job, path: Path) -> float:
    from deepfake_jax.export.stablehlo import (
        describe_expiry,
        read_stablehlo,
        write_stablehlo,
    )

    card = job.card
    card |= describe_expiry(datetime.datetime.now(datetime.UTC).date())
    write_stablehlo(path, job.swap, card)
    program, params = read_stablehlo(path, 1)
    return compare_program(program, params, job.swap, job.examples)


_WRITERS: dict[str, Callable[[_Job, Path], float]] = {
    "onnx": _write_onnx,
    "dfm": _write_dfm,
    "stablehlo": _write_stablehlo,
}


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "what is exported is compared with JAX by onnxruntime, which is not "
            "installed; pip install 'deepfake-jax[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of constants that no node reads
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def _check_output(
    out: Path, kind: Kind, precision: Precision, *, overwrite: bool
) -> None:
    if out.is_dir():
        raise ExportError(f"--out {out} is a folder; name a file, as {out}/run.{kind}")
    if kind == "stablehlo" and precision != "float32":
        raise ExportError("--precision float16 is for onnx and dfm; leave it out here")
    suffixes = {"stablehlo": (".stablehlo", ".zip")}.get(kind, (f".{kind}",))
    if out.suffix.lower() not in suffixes:
        raise ExportError(
            f"--out {out.name}: programs know a file of --format {kind} by its ending; "
            f"name it {out.stem}.{kind}"
        )
    if out.exists() and not overwrite:
        raise ExportError(f"{out} exists; give --overwrite to replace it")
    if kind != "stablehlo":
        _import_onnx()


def _import_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "files of ONNX are written with onnx, which is not installed; pip install "
            "'deepfake-jax[onnx]'"
        ) from error
