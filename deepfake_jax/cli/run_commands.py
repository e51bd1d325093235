"""The commands that make runs, and that which judges them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from deepfake_jax.cli.command import (
    Command,
    Flat,
    Settings,
    Switch,
    keep_compiled,
    read_early,
)
from deepfake_jax.train_config import (
    ConfigError,
    TrainConfig,
    load_config,
    load_preset,
    override_config,
)

DEFAULT_PRESET = "lite"


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a run on two face sets; the same command again goes on with it.

    Example:
        deepfake-jax train --a faces_a --b faces_b --run run --preset lite --minutes 15

    A is the person in the footage, B the one whose face shall appear. Watch
    RUN/preview.png and RUN/loss.png in any image viewer. Ctrl-C (or SIGTERM) saves and
    stops; it is how one ends a run that looks good. --steps and --minutes count the
    whole run, and either replaces the preset's limit.

    All devices of the machine share each batch. On several machines, start the same
    command on each, with --coordinator, --num-processes and its own --process-id; under
    srun, Open MPI's mpirun or on a TPU pod, without these. RUN must be on a disk that
    all of them see.
    """

    a: Path
    """Face set of the person in the footage."""
    b: Path
    """Face set of the person whose face shall appear."""
    run: Path
    """Folder for checkpoints, metrics.jsonl, preview.png and loss.png."""
    preset: str | None = None
    """Start from a preset: lite128 or lite (for a CPU), mid256 or hd256 (256 px, for a
    GPU), original (the classic) or original-fast (its network, trained by what was
    learned since). Without one, a run goes on with its own settings, and a new run
    takes lite."""
    config: Path | None = None
    """Start from a YAML file instead of a preset."""
    set: Settings = ()
    """Override one setting, as key.sub=value; may be given again. Flags beat it."""
    init: Path | None = None
    """A new run starts with the encoder of this one, which has the same network; or
    an hd512 with that of an hd256 of its width."""
    init_decoders: Switch = False
    """Take over the decoders of --init, too: A's for A, B's for B."""
    devices: int | None = None
    """Use only so many devices of each machine; all by default."""
    coordinator: str | None = None
    """Several machines: HOST:PORT of process 0, which opens that port. Or auto: ask the
    cluster, also where it does not say so by itself, as on Kubernetes."""
    num_processes: int | None = None
    """Several machines: how many processes there are. 1 keeps a process by itself that
    srun or mpirun started with others."""
    process_id: int | None = None
    """Several machines: which of them this is, from 0. Process 0 writes the run."""
    consent: str = ""
    """What you confirm about the people's consent, in your words: kept in RUN with the
    time and your account's name. What the run makes carries a hash of it, no name."""
    options: Annotated[TrainConfig, Flat] = TrainConfig()

    on_interrupt: ClassVar[str] = "the same command goes on from the last checkpoint"

    @classmethod
    def begin(cls, args: Sequence[str]) -> dict[str, Any]:
        """The config that the flags change: of a preset, a file, or the run so far."""
        early = vars(
            read_early(
                args, "--preset", "--config", "--run", "--steps", "--minutes", "--set"
            )
        )
        last = {name: values[-1] for name, values in early.items() if values}
        options = choose_config(
            last.get("run"), preset=last.get("preset"), config=last.get("config")
        )
        if "steps" in last or "minutes" in last:
            options = replace(options, steps=None, minutes=None)
        return {"options": override_config(options, early["set"] or ())}

    def execute(self) -> Any:
        """Trains: a `TrainResult`."""
        keep_compiled()
        from deepfake_jax.training.devices import setup_distributed
        from deepfake_jax.training.loop import train

        setup_distributed(self.coordinator, self.num_processes, self.process_id)
        result = train(
            self.a,
            self.b,
            self.run,
            self.options,
            devices=self.devices,
            init=self.init,
            init_decoders=self.init_decoders,
            consent=self.consent,
        )
        return result if _leads() else None

    def text(self, result: Any) -> str:
        """Where the run stands."""
        return (
            f"step {result.step}, loss A {result.loss_a:.4f} B {result.loss_b:.4f}, "
            f"{result.images_per_second:.0f} img/s; saved {result.checkpoint}"
        )


@dataclass(frozen=True, kw_only=True)
class Distill(Command):
    """Train a small run to swap as a large one does; the same command goes on with it.

    Example:
        deepfake-jax distill --teacher run --run small --minutes 30

    The student learns the faces and, beside them, what the teacher draws of each as the
    other person. Its network is the preset's, as wide as a tenth of the teacher's
    parameters allow. Its faces are turned and moved less than the preset's; --set
    decides otherwise. It holds out the faces that the teacher did: compare both by
    `deepfake-jax evaluate`, or have all of it done by `deepfake-jax benchmark distill`.
    To `convert` it is a run as any other.
    """

    teacher: Path
    """Folder of the trained run to learn from; it stays as it is."""
    run: Path
    """Folder of the student; as for train."""
    a: Path | None = None
    """Face set of A; by default the one that the teacher was trained on."""
    b: Path | None = None
    """Face set of B; likewise."""
    preset: str | None = None
    """Start from a preset. Without one, a run goes on with its own settings, and a new
    run takes lite."""
    config: Path | None = None
    """Start from a YAML file instead of a preset; its width is replaced, too."""
    steps: int | None = None
    """Stop when the run has had this many steps in all, whatever the preset says."""
    minutes: float | None = None
    """Stop when the run has trained this long in all, likewise."""
    set: Settings = ()
    """Override one setting of `train`, such as model.width=12 or loss.swap_weight=2;
    may be given again. Flags beat it."""
    devices: int | None = None
    """Use only so many devices; all by default."""

    on_interrupt: ClassVar[str] = "the same command goes on from the last checkpoint"

    def verify(self) -> None:
        """Raises ConfigError for a preset or setting that cannot be used."""
        self.settings()

    def settings(self) -> TrainConfig:
        """The config that the flags describe; raises ConfigError."""
        config = choose_config(self.run, preset=self.preset, config=self.config)
        return self._override(config)

    def execute(self) -> Any:
        """Distills: a `TrainResult`."""
        keep_compiled()
        from deepfake_jax.runs.trained_run import load_run
        from deepfake_jax.training.devices import setup_distributed
        from deepfake_jax.training.distillation import distill, student_config

        setup_distributed()
        config = self.settings()
        goes_on = not (self.preset or self.config) and read_config(self.run)
        if not goes_on:
            named = any(s.partition("=")[0] == "model.width" for s in self.set)
            width = config.model.width if named else None
            config = student_config(load_run(self.teacher), config, width=width)
            # What was asked for and no student can have is said, not passed over.
            config = self._override(config)
        result = distill(
            self.teacher, self.run, config, a=self.a, b=self.b, devices=self.devices
        )
        return result if _leads() else None

    def text(self, result: Any) -> str:
        """Both sizes, and how to compare the two."""
        from deepfake_jax.training.distillation import describe

        return describe(result, self.run, self.teacher)

    def _override(self, config: TrainConfig) -> TrainConfig:
        """A config with what the flags say; `steps` and `minutes` beat ``--set``."""
        limits = [("steps", self.steps), ("minutes", self.minutes)]
        given = [f"{name}={value}" for name, value in limits if value is not None]
        if given:
            config = replace(config, steps=None, minutes=None)
        return override_config(config, [*self.set, *given])


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measure how good a run's swaps are, in both directions.

    Example:
        deepfake-jax evaluate --run run --clip interview.mp4

    Prints how well each person is redrawn (mae, psnr, ssim, cos_to_self) and for each
    direction whose face appears (identity_transfer: 0 is the source, 1 the target;
    cos_to_target, retrieval), whether expression, mouth, gaze and pose follow, and the
    sharpness against real faces; over a clip the seam (Delta E) and flicker (grey
    levels). Judged are the faces that the run held out, else all of the sets: those
    that it was trained on flatter it.
    """

    run: Path
    """Folder of a training run."""
    a: Path | None = None
    """Face set of A; by default the one that the run was trained on."""
    b: Path | None = None
    """Face set of B; likewise."""
    clip: Path | None = None
    """A video to swap, for seam and flicker; its largest face is judged."""
    checkpoint: Literal["last", "best"] = "last"
    """Of the run: the last, or the best by its held-out faces."""
    faces: Literal["held-out", "trained"] = "held-out"
    """Which faces to judge: those of footage that the run never saw, or those that it
    was trained on, which flatter it and are what is converted of the same footage."""

    def execute(self) -> Any:
        """Judges: an `Evaluation`."""
        keep_compiled()
        from deepfake_jax.evaluation.evaluate import evaluate

        return evaluate(
            self.run,
            self.a,
            self.b,
            clip=self.clip,
            checkpoint=self.checkpoint,
            faces=self.faces,
        )

    def text(self, result: Any) -> str:
        """The figures as a few lines."""
        from deepfake_jax.evaluation.evaluate import describe

        return describe(result)


def choose_config(
    run: str | Path | None, *, preset: str | None, config: str | Path | None
) -> TrainConfig:
    """The config of the file or preset named, or of the run, or of the default.

    Raises:
        ConfigError: both are named, there is no such, or it cannot be used.
    """
    if preset and config:
        raise ConfigError("give --preset or --config, not both")
    if config:
        return load_config(config)
    if preset:
        return load_preset(preset)
    return read_config(run) or load_preset(DEFAULT_PRESET)


def read_config(run: str | Path | None) -> TrainConfig | None:
    """The config of a run that was begun, None without one; raises ConfigError."""
    path = Path(run) / "config.yaml" if run else None
    return load_config(path) if path and path.exists() else None


def _leads() -> bool:
    """Whether this process speaks for all that trained with it."""
    import jax

    return jax.process_index() == 0
