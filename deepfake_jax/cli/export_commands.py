"""The command from a run to files that other programs read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from deepfake_jax.cli.command import Command, Switch, keep_compiled


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write one direction of a run as a file for other programs.

    Example:
        deepfake-jax export --run run --format dfm --for facefusion --out run_b.dfm

    onnx is for `deepfake-jax convert --backend onnx`, which needs no JAX, and for
    onnxruntime; dfm for facefusion (put it into .assets/models/custom), DeepFaceLive
    and what reads DeepFaceLab's; stablehlo, a zip file of jax.export programs for CPU,
    CUDA and TPU, for deployment: JAX reads it for six months. The file holds all that
    a swap needs. It is compared with JAX on real faces before it appears, OUT.json says
    what it is, and OUT.c2pa, its content credential, signs it.
    """

    run: Path
    """Folder of a training run."""
    out: Path
    """The file to write; it ends in .onnx or .dfm, as the format is."""
    format: Literal["onnx", "dfm", "stablehlo"] = "onnx"
    """Which kind of file."""
    to: Literal["a", "b"] = "b"
    """Whose face shall appear."""
    program: Annotated[
        Literal["facefusion", "deepfacelive", "deepfacelab"], tyro.conf.arg(name="for")
    ] = "facefusion"
    """The program whose way of cutting faces a .dfm is for."""
    precision: Literal["float32", "float16"] = "float32"
    """Of the weights in the file: float16 halves it. Arithmetic stays float32."""
    checkpoint: Literal["last", "best"] = "last"
    """Of the run: the last, or the best by its held-out faces."""
    certificate: str = ""
    """PEM file of the certificates that the file is signed with; as for convert."""
    key: str = ""
    """PEM file of the key that --certificate is for."""
    timestamp: str = ""
    """Address of a time-stamping authority (RFC 3161)."""
    overwrite: Switch = False
    """Replace a file that exists."""

    def execute(self) -> Any:
        """Exports: an `ExportResult`."""
        keep_compiled()
        from deepfake_jax.export.exporter import export_run

        return export_run(
            self.run,
            self.out,
            kind=self.format,
            to=self.to,
            program=self.program,
            precision=self.precision,
            checkpoint=self.checkpoint,
            certificate=self.certificate,
            key_file=self.key,
            timestamp=self.timestamp,
            overwrite=self.overwrite,
        )

    def text(self, result: Any) -> str:
        """What was written, and how far it is from JAX."""
        lines = [
            f"{result.direction} in {result.out}, {result.bytes / 1e6:.1f} MB; differs "
            f"from JAX by {result.difference:.1g} at most ({result.compared_on})"
        ]
        if result.readable_until:
            lines.append(
                f"JAX promises to read it until {result.readable_until}; keep the run"
            )
        return "\n".join(lines)
