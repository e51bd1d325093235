"""The commands and their flags; the comments are the help texts.

Free of JAX and OpenCV, so that ``--help`` is instant. ``cli`` parses and calls them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from deepfake_jax.benchmarks.commands import BenchmarkOptions
from deepfake_jax.convert_config import ConvertConfig
from deepfake_jax.extract_config import ExtractConfig
from deepfake_jax.train_config import TrainConfig

Flat = tyro.conf.arg(name="")


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Make face sets: find, follow, align and record the faces of some footage.

    Example:
        deepfake-jax extract interview.mp4 holiday/ --out faces_a

    SOURCE is a video, a picture or a folder of pictures. If it shows one person, OUT is
    their face set. If it shows several, OUT holds a set a person (person_1 is the one
    seen most) and people.png shows who is who; --person N, --person PICTURE,
    --reference and --not-reference choose. The same command goes on where an
    interrupted one stopped. Some hundred faces in varied poses, light and expressions
    train well; look through them with `deepfake-jax faces OUT`.
    """

    sources: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")
    ]
    """Videos, pictures or folders of pictures."""
    out: Path
    """Folder of the face set or sets; made anew."""
    options: Annotated[ExtractConfig, Flat] = ExtractConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Look through a face set: a summary, contact sheets, sorting and dropping.

    Example:
        deepfake-jax faces faces_a --drop "yaw>60 or sharpness<0.15"

    Writes sheet_people.png, sheet_poses.png and sheet_worst.png into FOLDER. A query
    compares file, source, frame, time, person, track, width (of the face in its frame,
    pixels), size, score, alignment, sharpness, occlusion, yaw, pitch, roll (degrees,
    without sign) or filled with a value; join conditions by and, or. Dropped faces are
    only left out of the record, until --delete.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """A face set, or the folder of several people's sets."""
    sort: str = ""
    """Order the record by a key, such as sharpness; "-sharpness" for falling order."""
    drop: str = ""
    """Leave out the faces that meet a query, such as "yaw>60"."""
    keep: str = ""
    """Leave out all faces but those that meet a query, such as "person==2"."""
    restore: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """First bring back the faces that queries left out."""
    delete: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Remove the pictures of faces that are left out."""
    check: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Compare the record with the pictures; exit status 1 if something is wrong."""
    repair: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Rebuild the record from what is there."""
    sheets: bool = True
    """Write contact sheets."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Train:
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
    """Start from a preset: lite (for a CPU), original (the classic) or original-fast
    (its network, trained by what was learned since). Without one, a run goes on with
    its own settings, and a new run takes lite."""
    config: Path | None = None
    """Start from a YAML file instead of a preset."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one setting, as key.sub=value; may be given again."""
    init: Path | None = None
    """A new run starts with the encoder of this one, which has the same network."""
    init_decoders: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
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
    options: Annotated[TrainConfig, Flat] = TrainConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Train a small run to swap as a large one does; the same command goes on with it.

    Example:
        deepfake-jax distill --teacher run --run small --minutes 30

    The student learns the faces and, beside them, what the teacher draws of each as the
    other person. Its network is the preset's, as wide as a tenth of the teacher's
    parameters allow. Its faces are turned and moved less than the preset's, and it
    keeps at most 8 real faces of a side; --set decides otherwise. It holds out the
    faces that the teacher did: compare both by `deepfake-jax evaluate`, or have all of
    it done by `deepfake-jax benchmark distill`. To `convert` it is a run as any other.
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
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Override one setting of `train`, such as model.width=12 or loss.swap_weight=2;
    may be given again."""
    devices: int | None = None
    """Use only so many devices; all by default."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Swap the face in a video, a picture or a folder of pictures.

    Example:
        deepfake-jax convert interview.mp4 --run run --to b --out swapped.mp4

    The person that the run's faces show is swapped, or --person N, as `extract` numbers
    people; --faces FOLDER reuses an extraction of the same video, edits included.
    Frames without the person pass through untouched; sound, subtitles and time stamps
    are the source's. The output's metadata and OUT.json say that it is synthetic.
    `deepfake-jax preview` shows all masks, colors and blends on one frame.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video, a picture or a folder of pictures."""
    run: Path
    """Folder of a training run."""
    out: Path
    """The output: a picture or folder, as the source is; for a video, another video, a
    .gif, or numbered pictures such as frames/%06d.png."""
    preset: Literal["default", "classic"] = "default"
    """Start from the best measured choices, or from those of 2018: `smooth_mask` and
    `adjust_avg_color` frame by frame. The flags below change either."""
    options: Annotated[ConvertConfig, Flat] = ConvertConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Show one swapped frame, step by step or with every choice of post-processing.

    Example:
        deepfake-jax preview interview.mp4 --run run --frame 1:30 --out preview.png

    The picture shows the source, the aligned crop, the swap, its matched color, the
    mask and the result. With --grid it shows every mask (rows) with every blend and
    color (columns), to pick by eye before converting.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video or a picture."""
    run: Path
    """Folder of a training run."""
    out: Path = Path("preview.png")
    """The picture to write; replaced if it exists."""
    frame: str = "0"
    """Which frame of a video: seconds, h:mm:ss, or # and its number, as "#120"."""
    grid: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show every mask, color and blend."""
    preset: Literal["default", "classic"] = "default"
    """Choices to start from; as for convert."""
    options: Annotated[ConvertConfig, Flat] = ConvertConfig()
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
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
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the figures as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Show the whole way on sample footage: extract, train lite, convert.

    Example:
        deepfake-jax demo --out demo --minutes 5

    Writes swapped.mp4, comparison.png, preview.png, loss.png and report.json, and
    prints the folder last. The samples are fetched from your package index.
    """

    out: Path = Path("demo")
    """Folder for the results; an earlier demo there is replaced."""
    minutes: float = 7.0
    """Training time."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the report as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Check this installation: versions, devices, weights, codecs; say what to fix.

    Example:
        deepfake-jax doctor --fetch
    """

    fetch: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fetch the detector weights that are not there yet."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the checks as one line of JSON."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Measure this installation: its speed, quality against time, a peer, or all.

    Example:
        deepfake-jax benchmark step --precision bfloat16 --json

    Figures are medians without compilation, with device, versions and command beside
    them. `all` measures a device's whole table in one go.
    """

    what: Annotated[BenchmarkOptions, Flat]


Command = (
    Extract
    | Faces
    | Train
    | Distill
    | Convert
    | Preview
    | Evaluate
    | Demo
    | Doctor
    | Benchmark
)
