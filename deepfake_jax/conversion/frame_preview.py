"""One frame of a conversion, step by step, or with every choice of post-processing.

For picking masks, colors and blends by eye before a whole video is converted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from deepfake_jax.conversion.compose import compose_frame, finish_face
from deepfake_jax.conversion.frame_swapper import (
    FrameSwapper,
    SwappedFace,
    SwappedFrame,
)
from deepfake_jax.conversion.loaded_swapper import load_swapper
from deepfake_jax.conversion.marking import make_marks, write_marked
from deepfake_jax.conversion.placement import PlacedFace, place_faces
from deepfake_jax.conversion.recorded_placement import read_placement
from deepfake_jax.conversion.search import ConvertError
from deepfake_jax.conversion.steady_looks import steady_looks
from deepfake_jax.convert_config import BLENDS, COLORS, MASKS, ConvertConfig
from deepfake_jax.imaging.affine import affine_scale, face_middle, similarity
from deepfake_jax.imaging.align import warp_face
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE
from deepfake_jax.imaging.picture_grid import put_text
from deepfake_jax.media.file_kinds import is_picture
from deepfake_jax.media.media_probe import probe_video
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.sources import Source, SourceError, holds_picture, parse_time
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.output_lock import lock_output
from deepfake_jax.progress import count
from deepfake_jax.types import Face, Frame

_FRAME_NUMBER = re.compile(r"#(?P<hash>\d+)|(?P<f>\d+)f")
_AROUND = 0.5  # seconds to each side that tell who is who and steady the look
_TILE, _GAP, _HEADER = 256, 6, 22
_CELL, _LABEL = 160, 96
_BACKGROUND = 24


@dataclass(frozen=True)
class PreviewResult:
    """What a preview shows.

    Attributes:
        out: the picture.
        frame: number of the frame.
        time: its time stamp, seconds.
        faces: swapped faces in it; the largest is shown.
    """

    out: str
    frame: int
    time: float
    faces: int


def preview_frame(
    source: str | Path,
    run: str | Path,
    out: str | Path,
    config: ConvertConfig | None = None,
    *,
    at: str = "0",
    grid: bool = False,
) -> PreviewResult:
    """Writes one picture of one swapped frame.

    Args:
        source: a video or a picture.
        run: folder of a training run.
        out: the picture to write.
        config: how to swap; with `grid` its mask, color and blend are all others', too.
        at: which frame of a video: seconds, h:mm:ss, or its number as 120f or #120.
        grid: show every mask, color and blend, labelled, in place of the steps.

    Raises:
        ConvertError: no face to swap in that frame, or no such frame.
        SourceError: no such source.
    """
    config, source, out = config or ConvertConfig(), Path(source), Path(out)
    if not source.is_file():
        what = "is no file" if source.exists() else "no such file"
        raise SourceError(f"{source}: {what}; name a video or a picture")
    if not is_picture(out) or out.is_dir():
        raise ConvertError(f"--out {out}: name a picture, such as preview.png")
    if out.resolve() == source.resolve():
        raise ConvertError(f"--out {out} is the source itself; name another picture")
    loaded = load_swapper(run, config)
    swapper = loaded.swapper
    marks = make_marks(
        config,
        source,
        model_hash=loaded.model_hash,
        model_step=loaded.step,
        run=run,
    )
    near, target = _look(source, swapper, config, at)
    frames = list(steady_looks(swapper.swap(near)))
    shown = next(frame for frame in frames if frame.timed.index == target)
    if not shown.faces:
        raise ConvertError(
            f"no face to swap in frame {target} of {source} ({shown.timed.time:.2f} s);"
            " name another --frame, or give --person largest"
        )
    picture = _draw_grid(shown, swapper) if grid else _draw_steps(shown, config)
    with lock_output(out):
        write_marked(out, picture, marks)
    return PreviewResult(str(out), target, shown.timed.time, len(shown.faces))


def _look(
    source: Path, swapper: FrameSwapper, config: ConvertConfig, at: str
) -> tuple[list[tuple[TimedFrame, list[PlacedFace]]], int]:
    """The frames around the one asked for, with their faces, and its number."""
    if holds_picture(source):
        sources = [Source(source, "picture", 1)]
        placement = place_faces(sources, config, swapper.identity)
        timed = picture_frame(read_picture(source))
        return [(timed, placement.find(0, 0))], 0
    moment, number = _find_moment(source, at)
    start, end = max(0.0, moment - _AROUND), moment + _AROUND
    frames = list(read_frames(source, start=start, end=end))
    if number is None:
        # The last one stays until the film's end.
        after = [f.index for f in frames if f.time >= moment - 1e-6]
        number = after[0] if after else frames[-1].index
    if config.faces:
        folder = Path(config.faces)
        placement = read_placement(folder, source, config, swapper.identity)
    else:
        part = replace(config, start=f"{start:.6f}", end=f"{end:.6f}")
        sources = [Source(source, "video", None)]
        placement = place_faces(sources, part, swapper.identity)
    return [(f, placement.find(0, f.index)) for f in frames], number


def _find_moment(source: Path, at: str) -> tuple[float, int | None]:
    """The time of the frame asked for, seconds, and its number if that was given."""
    number, info = _FRAME_NUMBER.fullmatch(at), probe_video(source)
    if number is None:
        moment, what = parse_time(at, option="--frame") or 0.0, "seconds"
        if info.duration is None or moment < info.duration:
            return moment, None
    else:  # only counting tells a frame's time where the rate is not constant
        wanted, what = int(number["hash"] or number["f"]), "the number of a frame"
        for timed in read_frames(source):
            if timed.index == wanted:
                return timed.time, wanted
    long = f"{float(info.duration or 0):.2f} s"
    has = f" and has {count(info.frames, 'frame')}" if info.frames else ""
    raise ConvertError(
        f"--frame {at} is {what}, and {source} is {long} long{has}; give a time "
        "within it, as 1.5 or 0:01.5, or a frame's number, as 100f"
    )


def _draw_steps(shown: SwappedFrame, config: ConvertConfig) -> Frame:
    """Source, aligned crop, swap, matched swap, mask and result of the largest face."""
    face = shown.faces[-1]
    # In RGB, so that what comes of it is RGB too.
    plain = replace(shown, timed=picture_frame(shown.timed.frame))
    after = compose_frame(plain, config)
    assert isinstance(after, np.ndarray)
    matched, mask = finish_face(face, config)
    levels = np.rint(255 * mask).astype(np.uint8)
    tiles = [
        ("source", _zoom(shown.timed.frame, face)),
        ("aligned crop", face.old),
        ("swap", np.rint(face.new).astype(np.uint8)),
        (f"colour: {config.color}", matched),
        (f"mask: {config.mask}", cv2.merge([levels] * 3)),
        (f"result: {config.blend}", _zoom(after, face)),
    ]
    step = _TILE + _GAP
    width = len(tiles) * step - _GAP
    row = np.full((_HEADER + _TILE, width, 3), _BACKGROUND, np.uint8)
    for number, (label, tile) in enumerate(tiles):
        left = number * step
        put_text(row, label, (left + 4, 15))
        size = (_TILE, _TILE)
        enlarged = cv2.resize(tile, size, interpolation=cv2.INTER_CUBIC)
        row[_HEADER:, left : left + _TILE] = enlarged
    both = [_fit(frame, (width - _GAP) // 2) for frame in (shown.timed.frame, after)]
    gap = np.full(
        (len(both[0]), width - 2 * both[0].shape[1], 3), _BACKGROUND, np.uint8
    )
    frames = np.hstack([both[0], gap, both[1]])
    between = np.full((_GAP, width, 3), _BACKGROUND, np.uint8)
    return np.vstack([row, between, frames])


def _draw_grid(shown: SwappedFrame, swapper: FrameSwapper) -> Frame:
    """The largest face with each mask (rows), color and blend (columns)."""
    columns = list(product(BLENDS, COLORS))
    step = _CELL + _GAP
    height = 2 * _HEADER + len(MASKS) * step
    grid = np.full((height, _LABEL + len(columns) * step, 3), _BACKGROUND, np.uint8)
    for number, (blend, color) in enumerate(columns):
        left = _LABEL + number * step
        put_text(grid, blend, (left + 2, 15))
        put_text(grid, color, (left + 2, _HEADER + 13))
    for row, mask in enumerate(MASKS):
        top = 2 * _HEADER + row * step
        put_text(grid, mask, (6, top + _CELL // 2))
        for number, result in enumerate(_choices(shown, swapper, mask, columns)):
            left = _LABEL + number * step
            grid[top : top + _CELL, left : left + _CELL] = result
    return grid


def _choices(
    shown: SwappedFrame,
    swapper: FrameSwapper,
    mask: str,
    columns: list[tuple[str, str]],
) -> Iterator[Frame]:
    placed = shown.faces[-1].placed
    timed = picture_frame(shown.timed.frame)
    made: dict[str, SwappedFrame] = {}
    for blend, color in columns:
        config = replace(swapper.config, mask=mask, color=color, blend=blend)
        if color not in made:
            chosen = swapper.with_config(config)
            (made[color],) = chosen.swap([(timed, [placed])])
        picture = compose_frame(made[color], config)
        assert isinstance(picture, np.ndarray)
        zoomed = _zoom(picture, made[color].faces[0])
        yield cv2.resize(zoomed, (_CELL, _CELL), interpolation=cv2.INTER_AREA)


def _zoom(frame: Frame, face: SwappedFace) -> Face:
    """The upright square of a frame around a face's crop, a sixth wider."""
    matrix = face.placed.frame_to_face
    side = max(8.0, 7 / 6 * COVERAGE * FACE_SIZE / affine_scale(matrix))
    middle = face_middle(matrix, FACE_SIZE)
    view = similarity(_TILE / side, about=middle, to=(_TILE / 2, _TILE / 2))
    return warp_face(frame, view, _TILE)


def _fit(frame: Frame, width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    height = round(frame.shape[0] * width / frame.shape[1])
    flag = cv2.INTER_AREA if width < frame.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(frame, (width, height), interpolation=flag)
