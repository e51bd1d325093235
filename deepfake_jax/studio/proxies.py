"""Copies of videos that a browser does not play as they are: H.264 and AAC, small.

Run as a program it makes one: ``python -m deepfake_jax.studio.proxies SOURCE OUT``.
"""

import hashlib
import sys
from fractions import Fraction
from pathlib import Path

from deepfake_jax.json_files import format_json
from deepfake_jax.progress import Progress
from deepfake_jax.studio.projects import Project

_HIGHEST = 720  # pixels
_CRF = 23


def find_proxy(project: Project, source: Path) -> Path:
    """Where the copy of a video is, or will be; another one when the video changes."""
    stat = source.stat()
    facts = f"{source}\0{stat.st_mtime_ns}\0{stat.st_size}".encode("utf-8", "replace")
    name = hashlib.sha256(facts).hexdigest()[:32]
    return project.cache / "played" / f"{name}.mp4"


def make_proxy(source: Path, out: Path) -> int:
    """Writes the copy and says how many frames it has.

    Raises:
        VideoError: the source cannot be read.
    """
    import cv2

    from deepfake_jax.media.frame_writer import OutputSpec
    from deepfake_jax.media.media_probe import probe_video
    from deepfake_jax.media.video_reader import read_frames
    from deepfake_jax.media.video_writer import VideoWriter

    info = probe_video(source)
    height, width = info.square_size
    scale = min(1.0, _HIGHEST / min(height, width))
    size = tuple(max(2, 2 * round(side * scale / 2)) for side in (width, height))
    spec = OutputSpec(
        path=out,
        width=size[0],
        height=size[1],
        time_base=info.time_base,
        frame_rate=Fraction(info.frame_rate),
        crf=_CRF,
        pixel_format="yuv420p",
        sound="encode" if info.has_audio else "none",
        like=info if info.has_audio else None,
        overwrite=True,
    )
    frames = 0
    with (
        VideoWriter(spec) as writer,
        Progress("copy", total=info.frames, unit="frame") as progress,
    ):
        for timed in read_frames(source):
            flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            picture = cv2.resize(timed.frame, size, interpolation=flag)
            writer.write(picture, pts=timed.pts)
            frames += 1
            progress.update_to(frames)
    return frames


def main() -> None:
    """Makes the copy that the command line names; errors go to the log."""
    source, out = map(Path, sys.argv[1:3])
    try:
        print(format_json({"frames": make_proxy(source, out)}))
    except (ValueError, RuntimeError, OSError) as error:
        print(f"deepfake-jax: error: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
