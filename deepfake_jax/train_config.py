"""What a training run is made of: frozen, validated dataclasses; YAML in, YAML out.

The field comments are the help texts of the command line. A preset is a YAML file that
holds only what differs from the defaults below, which are the classic program's.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Positive = Annotated[int, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=1)]
_NonNegative = Annotated[float, Field(ge=0)]
Precision = Literal["auto", "float32", "bfloat16"]

MEMORY_LIMIT_MB = 4000.0  # 20,000 faces of 256 pixels, a side


class ConfigError(ValueError):
    """A config, preset or override that cannot be used; the text says what and why."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ModelConfig:
    """The network."""

    name: Literal["original", "lite", "lite128", "mid256", "hd256", "hd512"] = (
        "original"
    )
    """Architecture: the classic of 64 px; `lite`, with half of its operations, and
    `lite128`, for CPUs; `mid256`, `hd256` and `hd512`, for GPUs."""
    width: Annotated[int, Field(ge=8, le=1024, multiple_of=2)] = 128
    """Channels of the first convolution; every other layer scales with it."""
    precision: Precision = "float32"
    """Type of the network's arithmetic; parameters and loss stay float32. `auto` is the
    faster one here, measured once on a CPU, and bfloat16 on a GPU that has it; a run
    keeps what it began with."""
    align_codes: bool = False
    """Swaps move the codes of one person's faces to where the other's lie."""
    expression: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    """Where codes are aligned: how far swaps take expression and pose for how far they
    were found. What a decoder draws lies nearer to the middle than it should."""
    mouth: Annotated[float, Field(ge=0.5, le=5)] = 1.0
    """The same of how far the mouth opens, beside that."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class AugmentConfig:
    """How a training pair is made from a face; sizes in pixels are at 256."""

    rotation: _NonNegative = 10.0
    """Largest random turn, degrees."""
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Largest random change of scale, as a share."""
    shift: _Share = 0.05
    """Largest random move, as a share of the face's side."""
    flip: _Share = 0.4
    """Probability of a mirror image."""
    warp_scale: _NonNegative = 5.0
    """Standard deviation of the random warp that the network must undo, pixels."""
    warp_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the warp evenly fades to none, for sharper faces at the end; 0
    keeps it."""
    expressions: _Share = 0.0
    """Share of the faces whose mouth, lids, brows and gaze are moved to where footage
    does not show them, so that a swap follows what the other person never did; above
    0 landmarks are needed."""
    occluders: _Share = 0.0
    """Share of the faces before which a hand, a bar or a disc is pasted, which the
    network must not draw: it then swaps what stands behind such things, and
    conversions can tell where they are."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class LossConfig:
    """What counts as a wrong picture."""

    pixel: Literal["mae", "mse"] = "mae"
    """Pixel loss: mean absolute or mean squared error."""
    dssim_weight: _NonNegative = 0.0
    """Weight of structural dissimilarity, added to the pixel loss."""
    dssim_step: Annotated[int, Field(ge=1, le=8)] = 1
    """Pixels from one of its windows to the next; 2 takes half the time."""
    dssim_scales: Annotated[int, Field(ge=1, le=4)] = 1
    """Sizes it is the mean of: the whole, half, a quarter, an eighth."""
    laplacian_weight: _NonNegative = 0.0
    """Weight of errors in the two finest bands of a Laplacian pyramid: fine detail."""
    background: _Share = 1.0
    """Weight of what is not the face beside the face; below 1 landmarks are needed."""
    eyes_weight: _NonNegative = 0.0
    """What eyes count in the pixel loss beyond the rest of the face."""
    mouth_weight: _NonNegative = 0.0
    """What the mouth counts in it beyond the rest of the face."""
    mask_weight: _NonNegative = 0.0
    """Weight of the drawn mask's cross entropy, for networks that draw one."""
    mesh_weight: _NonNegative = 0.0
    """Weight of how far a swap's landmarks, as the face mesh finds them, and where its
    eyes look are from the source's, each seen from its person's mean; on a quarter of a
    batch. It teaches what both people share, not their decoders."""
    mesh_start: Annotated[int, Field(ge=0)] = 0
    """Steps before that begins; a blurred swap's landmarks say little."""
    perceptual_weight: _NonNegative = 0.0
    """Weight of how unlike drawn and true faces look to the first layers of a network
    that knows pictures; of eyes and mouths in turns, on half of a batch. It draws teeth
    and stubble, of which errors of pixels make pale bars and shadow."""
    perceptual_start: Annotated[int, Field(ge=0)] = 0
    """Steps before that begins."""
    swap_weight: _NonNegative = 0.0
    """Weight of how far swaps are from a teacher's; for `distill` alone."""
    shape_weight: _NonNegative = 0.0
    """Weight of how far landmarks that one linear map reads from the codes of both
    people are from where they lie: the same pose and expression then has like codes.
    For networks that align codes."""

    @property
    def weighs_parts(self) -> bool:
        """Whether where the face, its eyes and its mouth are makes a difference."""
        parts = self.eyes_weight + self.mouth_weight + self.mask_weight
        return self.background < 1 or parts > 0


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class OptimizerConfig:
    """Adam or Muon and what surrounds it."""

    name: Literal["adam", "muon"] = "adam"
    """`muon` makes kernels' updates orthogonal, so that small directions count as large
    ones do: `lite128` needs little more than half of the steps, each a sixth longer."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    """Step size after warm-up."""
    b1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Decay of the mean of the gradients."""
    b2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the mean of their squares."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the step size rises from zero."""
    clip_norm: _NonNegative = 0.0
    """Largest global norm of the gradients; 0 does not clip."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that swaps use; 0 keeps none."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class TrainConfig:
    """A whole training run."""

    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    match_color: bool = True
    """Shift A's faces to B's mean colour, so that one code can serve both."""
    batch_size: _Positive = 64
    """Faces a step of each side, over all devices together."""
    rare_share: _Share = 0.0
    """Share of the draws that go by how rarely a face's eyes, mouth and pose look so
    among its person's: blinks and open mouths twice as often at 1."""
    steps: _Positive | None = None
    """Stop when the run has had this many steps in all."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop when the run has trained this long in all, earlier sessions included."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Source of all randomness; the same seed gives the same run."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Threads that prepare batches; their number does not change the result."""
    warp_on: Literal["auto", "host", "device"] = "auto"
    """Where pairs are cut out of faces: by OpenCV in the threads, or on the device,
    where all faces then lie. `auto` takes a GPU where they need at most a quarter of
    its memory. The pictures are the same but for single values."""
    memory_limit_mb: Annotated[float, Field(ge=0)] = MEMORY_LIMIT_MB
    """Decoded faces of a side beyond this lie in a temporary file, mapped, MB."""
    steps_per_dispatch: Annotated[int, Field(ge=1, le=1000)] = 1
    """Steps given to the device at once; more helps where a step takes about a
    millisecond. The result is the same; signals and minutes act between dispatches."""
    remat: bool = False
    """Compute activations again in the backward pass instead of keeping them: a third
    more work. For networks or batches that do not fit on a GPU or TPU; on a CPU the
    convolutions' own buffers are larger, and it saves nothing."""
    log_every: _Positive = 10
    """Steps between lines of metrics.jsonl."""
    preview_seconds: Annotated[float, Field(gt=0)] = 20.0
    """Seconds between refreshes of preview.png and loss.png; more where drawing them
    would take over 3 % of the time."""
    checkpoint_every: _Positive = 1000
    """Steps between checkpoints; one is also saved every few minutes and at the end."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Longest time between checkpoints."""
    keep: Annotated[int, Field(ge=2)] = 2
    """Checkpoints kept; older ones are deleted. The best one is kept apart."""
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Share of each side's faces to judge by and not train on, whole stretches of the
    footage; 0 holds none out. Settled when a run begins."""
    judge_every: Annotated[int, Field(ge=0)] = 200
    """Steps between figures of the held-out faces in metrics.jsonl; the best state is
    kept. 0 never judges."""
    judge_share: Annotated[float, Field(gt=0)] = 0.02
    """Share of the time that judging may take; where it would take more, it comes after
    twice as many steps, or four times, and so on."""
    patience: _Positive = 3000
    """Steps without a better score of the held-out faces after which a run has stopped
    improving: their median against that of as many steps before."""
    until: Literal["", "plateau"] = ""
    """Also stop when the run has stopped improving: plateau."""


_ADAPTER = TypeAdapter(TrainConfig)
# What earlier versions had, and their runs' configs still name; see BENCHMARKS.md.
_REMOVED = {
    "": ("exemplars", "half_steps"),
    "loss": ("critic_weight", "critic_start", "critic_learning_rate"),
}


def list_presets() -> dict[str, Path]:
    """The presets that come with the package, by name."""
    packaged = Path(str(resources.files("deepfake_jax"))) / "configs"
    folder = packaged if packaged.is_dir() else packaged.parent.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_preset(name: str) -> TrainConfig:
    """The config of a preset.

    Raises:
        ConfigError: there is no such preset; the text lists those that exist.
    """
    presets = list_presets()
    if name not in presets:
        raise ConfigError(
            f"no preset {name!r}; there are: {', '.join(presets) or 'none'}"
        )
    return load_config(presets[name])


def load_config(path: str | Path) -> TrainConfig:
    """Reads a config from YAML; keys that it does not name keep their defaults.

    Raises:
        ConfigError: no such file, not YAML, an unknown key or a value out of range.
    """
    try:
        tree = parse_yaml(Path(path).read_text(encoding="utf-8"))
    # ValueError: not UTF-8, or a date that does not exist, such as 2024-13-45.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the config {path}: {error}") from error
    return config_from_dict({} if tree is None else tree, where=str(path))


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (*name) are not read; write values out")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text; no references, which few bytes make huge.

    Raises:
        yaml.YAMLError: it is no YAML, or has references.
    """
    loader = _PlainLoader(text)  # as `safe_load` does
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def config_from_dict(tree: Any, *, where: str = "config") -> TrainConfig:
    """Builds a config from nested dicts; raises ConfigError as `load_config`."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where}: expected keys and values, got {tree!r}")
    tree = {key: value for key, value in tree.items() if key not in _REMOVED[""]}
    if isinstance(loss := tree.get("loss"), Mapping):
        tree["loss"] = {k: v for k, v in loss.items() if k not in _REMOVED["loss"]}
    try:
        return _ADAPTER.validate_python(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        # TypeAdapter adds nothing to the path, so it reads like a --set key.
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            lines.append(f"unknown key {key!r}; known: {', '.join(config_keys())}")
        else:
            lines.append(f"{key} = {problem['input']!r}: {problem['msg']}")
    return "; ".join(lines)


def config_keys(config: Any = TrainConfig, prefix: str = "") -> list[str]:
    """Every key of a config class, nested ones with dots."""
    keys = []
    for field in dataclasses.fields(config):
        default = field.default
        if dataclasses.is_dataclass(default):
            keys += config_keys(type(default), f"{prefix}{field.name}.")
        else:
            keys.append(prefix + field.name)
    return keys


def override_config(config: TrainConfig, settings: Sequence[str]) -> TrainConfig:
    """Applies ``key.sub=value`` settings; values are read as YAML.

    Raises:
        ConfigError: a setting without "=", an unknown key or a value out of range.
    """
    tree = config_to_dict(config)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {setting!r}")
        if key not in config_keys():
            raise ConfigError(
                f"--set: unknown key {key!r}; known: {', '.join(config_keys())}"
            )
        *parents, leaf = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        try:
            branch[leaf] = _parse_value(value)
        except (ValueError, RecursionError, yaml.YAMLError) as error:  # as load_config
            raise ConfigError(f"--set {key}: cannot read {value!r}: {error}") from None
    return config_from_dict(tree, where="--set")


def _parse_value(text: str) -> Any:
    value = parse_yaml(text)
    if isinstance(value, str):
        try:  # YAML 1.1 takes 1e-3 for a string
            return float(value)
        except ValueError:
            pass
    return value


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    """The config as nested dicts of plain values."""
    return dataclasses.asdict(config)


def config_to_yaml(config: TrainConfig) -> str:
    """The config as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config_to_dict(config), sort_keys=False)
