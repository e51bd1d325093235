"""The commands from a run to swapped footage."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import Field

from deepfake_jax.cli.command import Command, Flat, Switch, keep_compiled, read_early
from deepfake_jax.convert_config import ConvertConfig, classic_options
from deepfake_jax.progress import count, list_shares
from deepfake_jax.train_config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Convert(Command):
    """Swap the face in a video, a picture or a folder of pictures.

    Example:
        deepfake-jax convert interview.mp4 --run run --to b --out swapped.mp4

    The person that the run's faces show is swapped, or --person N, as `extract` numbers
    people; --faces FOLDER reuses an extraction of the same video, edits included.
    Frames without the person pass through untouched; sound, subtitles and time stamps
    are the source's. The output's metadata and OUT.json say that it is synthetic.
    `deepfake-jax preview` shows all masks, colors and blends on one frame.

    With --workers, --cluster or --part a video is converted in chunks, by several
    processes or machines, and SOURCE may be a folder of videos or a .txt file that
    names some. The same command goes on where it stopped, and tries again what failed.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video, a picture or a folder of pictures; see also --workers."""
    run: Path
    """Folder of a training run; with --backend onnx, an exported one's file."""
    out: Path
    """The output: a picture or folder, as the source is; for a video, another video, a
    .gif, or numbered pictures such as frames/%06d.png."""
    preset: Literal["default", "classic"] = "default"
    """Start from the best measured choices, or from those of 2018: `smooth_mask` and
    `adjust_avg_color` frame by frame. The flags below change either."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Convert in chunks by so many processes; the result is the same for any number."""
    cluster: str = ""
    """Convert in chunks on a Ray cluster: ray://HOST:PORT, or auto for this machine's.
    All of its machines must see source, run and output."""
    part: str = ""
    """Convert only the I-th of N shares of the chunks: I/N, or slurm for what a Slurm
    array says. When all are done: `deepfake-jax join OUT`."""
    chunk_frames: Annotated[int, Field(ge=32)] = 2000
    """Most frames of a chunk."""
    options: Annotated[ConvertConfig, Flat] = ConvertConfig()

    @classmethod
    def begin(cls, args: Sequence[str]) -> dict[str, Any]:
        """The choices of the preset."""
        return {"options": _choose_looks(args)}

    def verify(self) -> None:
        """Raises ConfigError for two ways at once."""
        if self.part and (self.cluster or self.workers):
            raise ConfigError(
                "--part is one process's share of a job; give it alone, without "
                "--workers and --cluster"
            )

    def execute(self) -> Any:
        """Converts: a `ConvertResult`, or a `JobResult` of several workers."""
        keep_compiled()
        if self.part:
            from deepfake_jax.cluster.convert_films import convert_share

            job = (self.source, self.run, self.out, self.part, self.options)
            return convert_share(*job, most=self.chunk_frames)
        if self.cluster or self.workers:
            from deepfake_jax.cluster.convert_films import convert_films

            return convert_films(
                *(self.source, self.run, self.out, self.options),
                workers=self.workers,
                cluster=self.cluster,
                most=self.chunk_frames,
            )
        from deepfake_jax.conversion.convert import convert_video

        return convert_video(self.source, self.run, self.out, self.options)

    def text(self, result: Any) -> str:
        """How much was swapped how fast, and what took the time."""
        if self.part or self.cluster or self.workers:
            return describe_job(result)
        return (
            f"swapped {result.swapped_frames} of {count(result.frames, 'frame')} at "
            f"{result.frames_per_second:.1f} frames/s: {result.out}\n"
            f"work: {list_shares(result.stages)}; faces {result.face_pixels:.0f} "
            f"pixels wide, the network's {result.network_pixels}"
        )

    def problems(self, result: Any) -> Sequence[str]:
        """What could be read in part only; of several workers also what failed."""
        if self.part or self.cluster or self.workers:
            return [f"error: {each}" for each in result.problems]
        return super().problems(result)


@dataclass(frozen=True, kw_only=True)
class Join(Command):
    """Make the outputs of a conversion of which all shares are done.

    Example:
        deepfake-jax join swapped.mp4

    After `convert ... --part I/N` for each I. Chunks are put together without coding
    anew; sound, subtitles and all else of the source come with them.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The output that was named to `convert`."""

    def execute(self) -> Any:
        """Joins: a `JobResult`."""
        from deepfake_jax.cluster.convert_films import join_films

        return join_films(self.out)

    def text(self, result: Any) -> str:
        """How much there is."""
        return describe_job(result)

    def problems(self, result: Any) -> Sequence[str]:
        """What failed."""
        return [f"error: {each}" for each in result.problems]


def describe_job(result: Any) -> str:
    """What several workers did, in a line."""
    again = f", {count(result.retries, 'step')} begun again" if result.retries else ""
    frames = count(result.frames, "frame")
    return (
        f"{count(result.films, 'video')} done, {result.swapped_frames} of {frames} "
        f"swapped in {result.seconds:.1f} s{again}: {result.out}"
    )


@dataclass(frozen=True, kw_only=True)
class Preview(Command):
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
    """Which frame of a video: seconds, h:mm:ss, or its number with an f, as 120f."""
    grid: Switch = False
    """Show every mask, color and blend."""
    preset: Literal["default", "classic"] = "default"
    """Choices to start from; as for convert."""
    options: Annotated[ConvertConfig, Flat] = ConvertConfig()

    @classmethod
    def begin(cls, args: Sequence[str]) -> dict[str, Any]:
        """The choices of the preset."""
        return {"options": _choose_looks(args)}

    def execute(self) -> Any:
        """Draws the picture: a `PreviewResult`."""
        keep_compiled()
        from deepfake_jax.conversion.frame_preview import preview_frame

        return preview_frame(
            self.source,
            self.run,
            self.out,
            self.options,
            at=self.frame,
            grid=self.grid,
        )

    def text(self, result: Any) -> str:
        """Which frame is shown, and where."""
        return f"frame {result.frame} ({result.time:.2f} s): {result.out}"


def _choose_looks(args: Sequence[str]) -> ConvertConfig:
    presets = read_early(args, "--preset").preset or [""]
    return classic_options() if presets[-1] == "classic" else ConvertConfig()
