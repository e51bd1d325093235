"""Our step against the same in PyTorch, alternating in one run.

The peer is a process of its own, which waits at its standard input while ours runs; so
both have the whole machine in their turn, and drift of the machine's speed cancels.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_jax.benchmarks.machine import Machine, describe_machine, peak_memory_mb
from deepfake_jax.benchmarks.step import StepRunner
from deepfake_jax.train_config import TrainConfig

PRECISIONS = ("float32", "bfloat16")
_KEEP = 0.75  # of the best form's rate in the first round
_SETTLE_SECONDS = 0.5  # the other's worker threads spin for a while before they sleep


class PeerError(RuntimeError):
    """A peer that cannot be measured; the text says why."""


@dataclass(frozen=True)
class RatioResult:
    """What `measure_ratio` found.

    Attributes:
        ratio_float32: our float32 to the peer's best float32 form, each round's, the
            median; None without such a form.
        ratio_float32_min: of the rounds.
        ratio_float32_max: of the rounds.
        ratio_bfloat16: our bfloat16 to the peer's best form of all.
        ratio_bfloat16_min: of the rounds.
        ratio_bfloat16_max: of the rounds.
        peer_best_float32: that form's name.
        peer_best: the best form of all.
        images_per_second: of ours and of every form, by name; median over the rounds,
            and of a form that was left behind in the first round, that round's.
        failed: forms of the peer that could not run, and why.
        peer: its device, versions and settings.
        peak_memory_mb: of our process, 10^6 bytes; it holds two training states.
        width: of the network.
        batch_size: faces of each side.
        steps: of each form in a round.
        rounds: alternations.
        machine: where.
    """

    ratio_float32: float | None
    ratio_float32_min: float | None
    ratio_float32_max: float | None
    ratio_bfloat16: float | None
    ratio_bfloat16_min: float | None
    ratio_bfloat16_max: float | None
    peer_best_float32: str | None
    peer_best: str | None
    images_per_second: dict[str, float]
    failed: dict[str, str]
    peer: dict[str, Any]
    peak_memory_mb: float
    width: int
    batch_size: int
    steps: int
    rounds: int
    machine: Machine


class Peer:
    """The process that runs the peer's script; a context manager."""

    def __init__(self, python: Path, script: Path, *, width: int, batch_size: int):
        """Starts it and reads what it is.

        Raises:
            PeerError: no such script or Python, or one without torch.
        """
        if not script.is_file():
            raise PeerError(
                f"no peer script at {script}: it is in a checkout's scripts/ folder; "
                "name it with --peer-script"
            )
        size = ["--width", str(width), "--batch-size", str(batch_size)]
        command = [str(python), str(script), "--serve", *size]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, text=True
            )
        except OSError as error:
            raise PeerError(f"cannot start {python}: {error}") from error
        self.info = self._read()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def measure(self, form: str, steps: int) -> dict[str, Any]:
        """One line of the peer's: its rate, or its error."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{form} {steps}\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; reading says so
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise PeerError(
                f"the peer ended with status {status}; its messages are above. It "
                "needs torch in the Python that --peer-python names"
            )
        return json.loads(line)


def find_peer_script() -> Path:
    """Where the peer's script is in a checkout."""
    return Path(__file__).resolve().parents[2] / "scripts" / "bench_peer_torch.py"


def measure_ratio(
    config: TrainConfig,
    *,
    python: Path | None = None,
    script: Path | None = None,
    steps: int = 3,
    rounds: int = 5,
    forms: Sequence[str] = (),
) -> RatioResult:
    """Times our step in both precisions and every form of the peer in turns.

    Args:
        config: ours; the peer has its width and batch size.
        python: one that has torch; by default this process's.
        script: the peer's; by default the checkout's.
        steps: of each form in a round.
        rounds: alternations after the one that screens the peer's forms.
        forms: of the peer; none stands for all that it has.

    Raises:
        PeerError: the peer cannot be started, ends, has no such form, or another
            network than ours.
    """
    if config.model.name != "original":
        raise PeerError(
            f"the peer has no network {config.model.name!r}; compare the classic one "
            "of that width: --set model.name=original"
        )
    python, script = python or Path(sys.executable), script or find_peer_script()
    size = {"width": config.model.width, "batch_size": config.batch_size}
    with Peer(python, script, **size) as peer:
        forms = _check_forms(peer, forms)
        ours = _warm_up(config)
        first, failed = _time_peer(peer, forms, steps)
        forms = keep_best(first)  # the first round chooses who goes on
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            found, more = _time_peer(peer, forms, steps)
            failed |= more
            found |= _time_ours(ours, 2 * config.batch_size, steps)
            for name, rate in found.items():
                rates.setdefault(name, []).append(rate)
    forms = [form for form in forms if form not in failed]
    best = choose_best(rates, forms)
    best_float32 = choose_best(rates, [f for f in forms if f.startswith("float32")])
    float32 = compare(rates["ours-float32"], rates.get(best_float32 or ""))
    bfloat16 = compare(rates["ours-bfloat16"], rates.get(best or ""))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return RatioResult(
        *float32,
        *bfloat16,
        peer_best_float32=best_float32,
        peer_best=best,
        images_per_second=first | medians,
        failed=failed,
        peer=peer.info,
        peak_memory_mb=peak_memory_mb(),
        width=config.model.width,
        batch_size=config.batch_size,
        steps=steps,
        rounds=rounds,
        machine=describe_machine(),
    )


def _check_forms(peer: Peer, forms: Sequence[str]) -> list[str]:
    known = peer.info["forms"]
    if unknown := set(forms) - set(known):
        raise PeerError(
            f"the peer has no form {', '.join(sorted(unknown))}; it has "
            f"{', '.join(known)}"
        )
    return list(forms or known)


def _warm_up(config: TrainConfig) -> dict[str, StepRunner]:
    """Our step in each precision, compiled, by the form's name."""
    ours = {}
    for precision in PRECISIONS:
        model = replace(config.model, precision=precision)
        ours[f"ours-{precision}"] = runner = StepRunner(replace(config, model=model))
        runner.run(1)
    return ours


def _time_peer(
    peer: Peer, forms: Sequence[str], steps: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Rates of the peer's forms, one each, and the errors of those that failed."""
    rates, failed = {}, {}
    for form in forms:
        answer = peer.measure(form, steps)
        if "error" in answer:
            failed[form] = answer["error"]
            print(f"{form}: {answer['error']}", file=sys.stderr)
        else:
            rates[form] = _note(form, answer["images_per_second"])
    return rates, failed


def _time_ours(
    ours: dict[str, StepRunner], images: int, steps: int
) -> dict[str, float]:
    """Rates of our step, whose batch has so many images, in each precision."""
    return {
        name: _note(name, images / statistics.median(runner.run(steps)))
        for name, runner in ours.items()
    }


def _note(name: str, rate: float) -> float:
    print(f"{name}: {rate:.1f} images/s", file=sys.stderr)
    time.sleep(_SETTLE_SECONDS)
    return rate


def keep_best(rates: dict[str, float]) -> list[str]:
    """The forms that may still be the best in float32, or the best of all."""
    float32 = [rate for form, rate in rates.items() if form.startswith("float32")]
    most = max(rates.values(), default=0.0), max(float32, default=0.0)
    return [
        form
        for form, rate in rates.items()
        if rate >= _KEEP * most[form.startswith("float32")]
    ]


def choose_best(rates: dict[str, list[float]], forms: list[str]) -> str | None:
    """The form with the highest median, None of none."""
    return max(forms, key=lambda form: statistics.median(rates[form]), default=None)


def compare(
    ours: list[float], peers: list[float] | None
) -> tuple[float | None, float | None, float | None]:
    """Median, smallest and largest of the rounds' ratios; None without a peer."""
    if peers is None:
        return None, None, None
    ratios = [a / b for a, b in zip(ours, peers, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
