"""Draws the guide's pictures into docs/assets, with the package's own functions.

    python docs/drawings.py

The people are those of the samples: the portrait of Eileen Collins (NASA, public
domain), the man of the carphone test sequence and a woman filmed by Wolfgang Langer
(Pexels licence). No network draws a face here: where one is laid into a frame, it is
the portrait's own, so that each step before and after a network can be seen by itself.
The samples and the detector's weights are fetched at first use.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import matplotlib

matplotlib.use("agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, Polygon
from PIL import Image

import deepfake_jax as dj
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.convert_config import COLORS, MASKS
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.imaging.affine import compose_affine, face_corners
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, template_landmarks
from deepfake_jax.imaging.skin_mask import find_skin
from deepfake_jax.media.pictures import read_picture
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.training.augment import apply_transform, draw_transforms, draw_warps
from deepfake_jax.types import Affine, Face, Frame, Landmarks, Mask

ASSETS = Path(__file__).parent / "assets"
CROP = 160  # pixels of a crop in the drawings: as many as it has of a face of 256
INK, ONE, TWO = "#222222", "#c2452d", "#2d6fc2"
Draw = Callable[["Samples"], Any]
DRAWINGS: dict[str, Draw] = {}


def drawing(draw: Draw) -> Draw:
    """Notes a function that draws the picture of its own name."""
    DRAWINGS[draw.__name__] = draw
    return draw


@dataclass(frozen=True)
class Seen:
    """A face in its frame.

    Attributes:
        frame: the picture.
        landmarks: 68, in the frame's pixels.
        matrix: from the frame to the aligned face.
    """

    frame: Frame
    landmarks: Landmarks
    matrix: Affine

    @cached_property
    def face(self) -> Face:
        """The aligned face."""
        return dj.warp_face(self.frame, self.matrix)

    @cached_property
    def to_crop(self) -> Affine:
        """From the frame to the crop that a network sees."""
        return compose_affine(dj.crop_matrix(CROP), self.matrix)

    @cached_property
    def crop(self) -> Face:
        """That crop."""
        return dj.crop_faces(self.face[None], CROP)[0]

    @cached_property
    def in_crop(self) -> Landmarks:
        """The landmarks there."""
        return dj.apply_affine(self.to_crop, self.landmarks)


class Samples:
    """The sample people, searched when they are first asked for."""

    def __init__(self, folder: Path):
        self._folder = folder

    def extract(self, name: str, **options: Any) -> list[FaceRecord]:
        """The record of a sample's face set."""
        out = self._folder / f"{name}{len(options)}"
        if not out.exists():
            config = dj.ExtractConfig(person="main", **options)
            dj.extract_faces(get_sample(name), out, config)
        return list(dj.load_faces(out).records)

    @cached_property
    def portrait(self) -> Seen:
        """Eileen Collins."""
        (record,) = self.extract("astronaut")
        return _see(read_picture(get_sample("astronaut")), record)

    @cached_property
    def woman(self) -> Seen:
        """The woman of the clip, in a frame where no hand is before her face."""
        records = self.extract("crying_woman", every=12)
        record = next(r for r in records if r.frame == 264)
        return _see(_read(get_sample("crying_woman"), record.frame), record)

    @cached_property
    def man(self) -> Seen:
        """The man in the car."""
        record = self.extract("carphone")[20]
        return _see(_read(get_sample("carphone"), record.frame), record)

    @cached_property
    def mask(self) -> Mask:
        """The default mask of a conversion, over the woman's crop."""
        config = dj.ConvertConfig()
        options = dj.MaskOptions(
            names=(config.mask,),
            erode=config.erode,
            feather=config.feather,
            cover=config.cover,
        )
        woman = self.woman
        built = dj.build_mask(
            options, face=woman.crop, landmarks=woman.in_crop, mask_size=CROP
        )
        return built.mask


def _see(frame: Frame, record: FaceRecord) -> Seen:
    landmarks, matrix = np.array(record.landmarks), np.array(record.frame_to_face)
    return Seen(frame, landmarks, matrix)


def _read(path: Path, index: int) -> Frame:
    return next(t.frame for t in read_frames(path) if t.index == index)


# Figures


def tiles(
    pictures: Sequence[tuple[str, np.ndarray]],
    *,
    columns: int = 0,
    side: float = 1.7,
    notes: Callable[[int, Any], None] | None = None,
) -> Any:
    """Pictures side by side, each with a line above; masks in grey.

    Args:
        pictures: titles and pictures.
        columns: of the grid; all in one row by default.
        side: height of a picture, inches.
        notes: draws upon a picture; is given its number and its axes.
    """
    columns = columns or len(pictures)
    rows = -(-len(pictures) // columns)
    wide = max(p.shape[1] / p.shape[0] for _, p in pictures)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(columns * side * wide, rows * side * 1.2)
    )
    for axis in axes.ravel():
        axis.axis("off")
    for number, (title, picture) in enumerate(pictures):
        axis = axes.ravel()[number]
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if picture.ndim == 2 else {}
        axis.imshow(picture, interpolation="bilinear", **grey)
        axis.set_title(title, fontsize=8, color=INK)
        axis.set(xlim=(0, picture.shape[1] - 1), ylim=(picture.shape[0] - 1, 0))
        if notes:
            notes(number, axis)
    figure.tight_layout(pad=0.3)
    return figure


def dots(axis: Any, landmarks: Landmarks, *, color: str = "#33ff88", size: float = 2):
    """Landmarks upon a picture."""
    axis.scatter(*np.asarray(landmarks).T, s=size, c=color, linewidths=0)


def outline(axis: Any, corners: np.ndarray, *, color: str = "#ffcc33") -> None:
    """A quadrangle upon a picture, corners as `face_corners` gives them."""
    axis.add_patch(Polygon(corners[[0, 1, 3, 2]], fill=False, ec=color, lw=1.2))


def tint(picture: Frame, mask: Mask) -> Frame:
    """A picture, orange where a mask shows it."""
    color = np.array([255, 140, 0], np.float32)
    share = 0.55 * mask[..., None]
    return np.rint(picture * (1 - share) + color * share).astype(np.uint8)


def around(seen: Seen, frame: Frame) -> Frame:
    """A frame, cut to the face's surroundings."""
    corners = face_corners(seen.matrix, FACE_SIZE)
    middle = corners.mean(axis=0)
    half = 0.5 * np.ptp(corners, axis=0).max()
    x0, y0 = np.maximum(np.floor(middle - half), 0).astype(int)
    x1, y1 = np.ceil(middle + half).astype(int)
    return frame[y0:y1, x0:x1]


def save(name: str, figure: Any) -> Path:
    """Writes a figure as WebP, which is a third of PNG's size."""
    path, buffer = ASSETS / f"{name}.webp", io.BytesIO()
    figure.savefig(buffer, bbox_inches="tight", pad_inches=0.05)
    Image.open(buffer).convert("RGB").save(path, quality=82, method=6)
    plt.close(figure)
    return path


# How it works


@drawing
def way(samples: Samples) -> Any:
    """A frame on its way: found, aligned, masked, matched, laid in."""
    woman, portrait, mask = samples.woman, samples.portrait, samples.mask
    matched = dj.transfer_color(woman.crop, portrait.crop, "border", mask=mask)
    result = dj.paste_face(woman.frame, matched, mask, woman.to_crop)
    box = face_corners(woman.matrix, FACE_SIZE)

    def notes(number: int, axis: Any) -> None:
        if number == 0:
            outline(axis, box)
            dots(axis, woman.landmarks)

    height = 300

    def scaled(picture: Frame) -> Frame:
        width = round(picture.shape[1] * height / len(picture))
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)

    figure, axes = plt.subplots(
        1, 5, figsize=(11, 2.1), width_ratios=[16 / 9, 1, 1, 1, 16 / 9]
    )
    pictures = (
        ("1  a frame; the face is found", woman.frame),
        ("2  aligned", scaled(woman.crop)),
        ("3  another face, its colour matched", scaled(matched)),
        ("4  the mask", cv2.resize(mask, (height, height))),
        ("5  laid into the frame", result),
    )
    for number, (axis, (title, picture)) in enumerate(zip(axes, pictures, strict=True)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=7.5, color=INK)
        axis.set(xlim=(0, picture.shape[1] - 1), ylim=(picture.shape[0] - 1, 0))
        axis.axis("off")
        notes(number, axis)
    figure.tight_layout(pad=0.3)
    return figure


@drawing
def decoders(samples: Samples) -> Any:
    """One encoder, two decoders: the way in training, and the way of a swap."""
    rng = np.random.default_rng(3)
    pairs = {
        side: dj.random_warp(rng, seen.face, crop_size=96)
        for side, seen in (("A", samples.woman), ("B", samples.portrait))
    }
    figure, axis = plt.subplots(figsize=(9, 4.6))
    axis.set(xlim=(0, 9), ylim=(0, 4.6))
    axis.axis("off")

    def picture(frame: Frame, x: float, y: float, title: str) -> None:
        axis.imshow(frame, extent=(x - 0.55, x + 0.55, y - 0.55, y + 0.55), zorder=3)
        axis.text(x, y - 0.7, title, ha="center", va="top", fontsize=8, color=INK)

    def box(x: float, y: float, text: str, color: str) -> None:
        style = {"boxstyle": "round,pad=0.6", "fc": "white", "ec": color, "lw": 1.6}
        axis.text(x, y, text, ha="center", va="center", fontsize=10, bbox=style)

    def arrow(start: tuple, end: tuple, color: str, style: str = "-") -> None:
        axis.add_patch(
            FancyArrowPatch(
                *(start, end),
                arrowstyle="-|>",
                mutation_scale=12,
                color=color,
                linestyle=style,
                linewidth=1.5,
            )
        )

    for side, y, color in (("A", 3.6, ONE), ("B", 1.2, TWO)):
        warped, target = pairs[side]
        picture(warped, 1.0, y, f"{side}, warped")
        picture(target, 7.9, y, f"{side}, as it was")
        arrow((1.6, y), (2.75, 2.4 + 0.25 * np.sign(y - 2.4)), color)
        arrow((4.1, 2.4 + 0.2 * np.sign(y - 2.4)), (5.1, y), color)
        arrow((6.35, y), (7.3, y), color)
        box(5.7, y, f"decoder {side}", color)
    box(3.4, 2.4, "encoder", INK)
    arrow((4.1, 2.35), (5.3, 1.6), ONE, ":")
    axis.text(4.75, 2.2, "the swap", fontsize=9, color=ONE, ha="left")
    axis.set_aspect("equal")
    axis.set(xlim=(0, 9), ylim=(0, 4.6))
    figure.tight_layout(pad=0.2)
    return figure


@drawing
def alignment(samples: Samples) -> Any:
    """Frame, face of 256 pixels, crop."""
    woman = samples.woman

    def notes(number: int, axis: Any) -> None:
        if number == 0:
            outline(axis, face_corners(woman.matrix, FACE_SIZE))
            dots(axis, woman.landmarks)
        if number == 1:
            dots(axis, template_landmarks(count=68), color="#ffffff", size=3)
            edge = (1 - COVERAGE) / 2 * FACE_SIZE
            low, high = edge - 0.5, FACE_SIZE - edge - 0.5
            outline(
                axis, np.array([[low, low], [high, low], [low, high], [high, high]])
            )

    pictures = (
        ("the frame, 68 landmarks", woman.frame),
        ("the face, and the mean face", woman.face),
        ("the crop", woman.crop),
    )
    return tiles(pictures, notes=notes, side=2.1)


@drawing
def umeyama(samples: Samples) -> Any:
    """Landmarks of two people before and after, on the mean face."""
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.6))
    mean = template_landmarks(count=68)
    people = ((samples.woman, ONE), (samples.portrait, TWO))
    for axis, (seen, color), title in zip(
        axes, people, ("one face", "another"), strict=False
    ):
        axis.scatter(*seen.landmarks.T, s=5, c=color)
        axis.set_title(f"{title}, in its frame", fontsize=8)
    axes[2].scatter(*mean.T, s=22, facecolors="none", edgecolors="#999999")
    for seen, color in people:
        matrix = dj.umeyama(seen.landmarks, mean)
        axes[2].scatter(*dj.apply_affine(matrix, seen.landmarks).T, s=4, c=color)
    axes[2].set_title("both, moved to the mean face (circles)", fontsize=8)
    for axis in axes:
        axis.set_aspect("equal")
        axis.invert_yaxis()
        axis.tick_params(labelsize=6)
    figure.tight_layout(pad=0.4)
    return figure


@drawing
def warps(samples: Samples) -> Any:
    """A face with a warp's grid, and four pairs."""
    rng = np.random.default_rng(1)
    face = samples.portrait.face
    grid = draw_warps(np.random.default_rng(1), 1)[0]
    pairs = [dj.random_warp(rng, face, crop_size=128) for _ in range(3)]

    def notes(number: int, axis: Any) -> None:
        if number == 0:
            for line in (*grid, *np.swapaxes(grid, 0, 1)):
                axis.plot(*line.T, color="#ffcc33", lw=0.8)
            dots(axis, grid.reshape(-1, 2), color="#ffcc33", size=6)

    top = [(f"warped {n}", warped) for n, (warped, _) in enumerate(pairs, 1)]
    bottom = [(f"target {n}", target) for n, (_, target) in enumerate(pairs, 1)]
    moved = apply_transform(face, draw_transforms(rng, 1)[0])
    first = ("face, a grid of 5 x 5 points", face)
    return tiles(
        [first, *top, ("turned, zoomed, shifted", moved), *bottom],
        columns=4,
        notes=notes,
        side=1.9,
    )


@drawing
def masks(samples: Samples) -> Any:
    """Every mask of `convert --mask`, over one face."""
    woman = samples.woman
    drawn = []
    for name, choice in MASKS.items():
        options = dj.MaskOptions(names=(name,), feather=0.0)
        built = dj.build_mask(
            options, face=woman.crop, landmarks=woman.in_crop, mask_size=CROP
        )
        del choice
        drawn.append((name, tint(woman.crop, built.mask)))
    return tiles(drawn, columns=4)


@drawing
def border(samples: Samples) -> Any:
    """What erosion, feather and cover make of one mask."""
    woman = samples.woman
    mask = dj.extended_mask(woman.in_crop, CROP)
    eroded = dj.erode_mask(mask, 0.06)
    return tiles(
        [
            ("extended", mask),
            ("eroded by 0.06", eroded),
            ("and feathered by 0.18", dj.feather_mask(eroded, 0.18)),
            ("and features covered", samples.mask),
            ("over the face", tint(woman.crop, samples.mask)),
        ]
    )


def _lay(samples: Samples) -> tuple[Frame, Frame, Mask]:
    """The woman's crop, the portrait's, and the hull where one replaces the other."""
    return samples.woman.crop, samples.portrait.crop, samples.mask


@drawing
def poisson(samples: Samples) -> Any:
    """A plain paste, mixing by the mask, and two ways to clone."""
    old, new, mask = _lay(samples)
    hard = (mask > 0.5).astype(np.float32)
    return tiles(
        [
            ("cut out", dj.alpha_blend(old, new, hard)),
            ("mixed by the soft mask", dj.alpha_blend(old, new, mask)),
            ("cloned (poisson_blend)", dj.poisson_blend(old, new, hard)),
            ("the same, border averaged", dj.poisson_blend(old, new, hard, smooth=0.4)),
            ("seamless_clone", dj.seamless_clone(old, new, hard)),
        ]
    )


@drawing
def colors(samples: Samples) -> Any:
    """Every way of `convert --color`, then blended."""
    old, new, mask = _lay(samples)
    shown = [("the face replaced", old)]
    for name in COLORS:
        matched = dj.transfer_color(old, new, name, mask=mask)
        shown.append((name, dj.alpha_blend(old, matched, mask)))
    return tiles(shown)


@drawing
def skin(samples: Samples) -> Any:
    """The three rules for skin, and the mask that becomes of one."""
    crop = samples.portrait.crop
    shown = [("the face", crop)]
    for space in ("rgb", "hsv", "ycrcb"):
        found = find_skin(crop, space=space).astype(np.float32) / 255
        shown.append((f"{space}: pixels that pass", tint(crop, found)))
    shown.append(("skin_mask, ycrcb", tint(crop, dj.skin_mask(crop).mask)))
    return tiles(shown)


@drawing
def time(samples: Samples) -> Any:
    """Where a face lies and what colour it has, frame by frame and steadied."""
    raw = samples.extract("carphone", steady=False)
    steady = samples.extract("carphone")
    frames = {t.index: t.frame for t in read_frames(get_sample("carphone"))}
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.6))

    def middle(records: Sequence[FaceRecord]) -> np.ndarray:
        return np.array(
            [np.linalg.inv(np.array(r.frame_to_face)[:, :2])[0, 0] for r in records]
        )

    axes[0].plot([r.frame for r in raw], middle(raw), color="#bbbbbb", lw=1)
    axes[0].plot([r.frame for r in steady], middle(steady), color=ONE, lw=1.2)
    axes[0].set_title("scale of the man's face, as found and steadied", fontsize=8)
    measured = []
    for record in raw:
        face = dj.warp_face(frames[record.frame], np.array(record.frame_to_face))
        crop = dj.crop_faces(face[None], 64)[0]
        measured.append(dj.measure_color(crop, "avg")[0])
    reach = np.arange(-8, 9)
    weights = np.exp(-0.5 * (reach / 3.5) ** 2)
    padded = np.pad(measured, 8, mode="edge")
    smooth = np.convolve(padded, weights / weights.sum(), mode="valid")
    axes[1].plot([r.frame for r in raw], measured, color="#bbbbbb", lw=1)
    axes[1].plot([r.frame for r in raw], smooth, color=TWO, lw=1.2)
    axes[1].set_title("mean red of his face, and averaged over 3.5 frames", fontsize=8)
    for axis in axes:
        axis.set_xlabel("frame", fontsize=7)
        axis.tick_params(labelsize=6)
    figure.tight_layout(pad=0.4)
    return figure


# The library: one picture a function


def pair(*shown: tuple[str, np.ndarray]) -> Any:
    """Some pictures of one function."""
    return tiles(shown, side=1.6)


@drawing
def make_detector(samples: Samples) -> Any:
    """A box and five landmarks."""
    frame = samples.woman.frame
    (found, *_) = dj.make_detector()(frame)
    x, y, width, height = found.box
    corners = np.array(
        [[x, y], [x + width, y], [x, y + height], [x + width, y + height]]
    )

    def notes(_: int, axis: Any) -> None:
        outline(axis, corners)
        dots(axis, found.landmarks, size=8)

    return tiles([(f"score {found.score:.2f}", frame)], notes=notes, side=2)


@drawing
def frame_to_face_matrix(samples: Samples) -> Any:
    """Where the face picture lies in its frame."""
    seen = samples.portrait

    def notes(_: int, axis: Any) -> None:
        outline(axis, face_corners(seen.matrix, FACE_SIZE))
        dots(axis, seen.landmarks)

    return tiles([("landmarks, and the face's square", seen.frame)], notes=notes)


@drawing
def apply_affine(samples: Samples) -> Any:
    """Landmarks of the frame, on the face."""
    seen = samples.portrait

    def notes(number: int, axis: Any) -> None:
        matrix = seen.matrix if number else np.eye(3)[:2]
        dots(axis, dj.apply_affine(matrix, seen.landmarks))

    return tiles([("in the frame", seen.frame), ("mapped", seen.face)], notes=notes)


@drawing
def warp_face(samples: Samples) -> Any:
    """A frame and its face."""
    seen = samples.man
    return pair(("frame", seen.frame), ("face", seen.face))


@drawing
def crop_faces(samples: Samples) -> Any:
    """A face and its crop."""
    return pair(("face, 256 px", samples.man.face), ("crop", samples.man.crop))


@drawing
def random_transform(samples: Samples) -> Any:
    """A face, three times moved at random."""
    rng, face = np.random.default_rng(4), samples.portrait.face
    moved = [(f"draw {n}", dj.random_transform(rng, face)) for n in (1, 2, 3)]
    return pair(("face", face), *moved)


@drawing
def random_warp(samples: Samples) -> Any:
    """A training pair."""
    rng, face = np.random.default_rng(5), samples.portrait.face
    warped, target = dj.random_warp(rng, face, crop_size=128)
    return pair(("face", face), ("warped", warped), ("target", target))


@drawing
def augment_faces(samples: Samples) -> Any:
    """Pairs of several faces at once."""
    faces = np.stack([samples.portrait.face, samples.woman.face])
    warped, target = dj.augment_faces(np.random.default_rng(6), faces, crop_size=128)
    shown = []
    for number in (0, 1):
        shown += [("warped", warped[number]), ("target", target[number])]
    return pair(*shown)


def _shape(name: str) -> Draw:
    def draw(samples: Samples) -> Any:
        mask = getattr(dj, name)(CROP)
        return pair((name, mask), ("over a face", tint(samples.woman.crop, mask)))

    return draw


def _marked(name: str) -> Draw:
    def draw(samples: Samples) -> Any:
        woman = samples.woman
        mask = getattr(dj, name)(woman.in_crop, CROP)
        return pair((name, mask), ("over a face", tint(woman.crop, mask)))

    return draw


DRAWINGS |= {name: _shape(name) for name in ("oval_mask", "rectangle_mask")}
DRAWINGS |= {name: _marked(name) for name in ("hull_mask", "extended_mask")}


@drawing
def skin_mask(samples: Samples) -> Any:
    """Skin of a face."""
    crop = samples.portrait.crop
    mask = dj.skin_mask(crop).mask
    return pair(("face", crop), ("mask", mask), ("over it", tint(crop, mask)))


@drawing
def occlusion_mask(samples: Samples) -> Any:
    """A bar before the old face is kept."""
    old, new, mask = _lay(samples)
    old = old.copy()
    cv2.line(old, (30, 150), (110, 105), (40, 40, 40), 14, cv2.LINE_AA)
    shown = dj.occlusion_mask(old, new, mask=mask)
    return pair(
        ("old, a bar before it", old),
        ("mask", shown),
        ("pasted without", dj.alpha_blend(old, new, mask)),
        ("and with it", dj.alpha_blend(old, new, mask * shown)),
    )


@drawing
def erode_mask(samples: Samples) -> Any:
    """A mask, smaller and larger."""
    mask = dj.hull_mask(samples.woman.in_crop, CROP)
    shares = (0.0, 0.08, -0.08)
    return pair(*((f"share {share:g}", dj.erode_mask(mask, share)) for share in shares))


@drawing
def feather_mask(samples: Samples) -> Any:
    """A mask, softer."""
    mask = dj.hull_mask(samples.woman.in_crop, CROP)
    shares = (0.0, 0.1, 0.3)
    return pair(
        *((f"share {share:g}", dj.feather_mask(mask, share)) for share in shares)
    )


@drawing
def combine_masks(samples: Samples) -> Any:
    """Two masks joined in each way."""
    hull = dj.feather_mask(dj.hull_mask(samples.woman.in_crop, CROP), 0.2)
    oval = dj.feather_mask(dj.oval_mask(CROP), 0.2)
    joined = [(how, dj.combine_masks([hull, oval], how)) for how in _HOW]
    return pair(("hull", hull), ("oval", oval), *joined)


_HOW: Any = ("product", "union", "minimum")


@drawing
def smooth_mask(samples: Samples) -> Any:
    """The classic border."""
    old, new, _ = _lay(samples)
    return pair(("old", old), ("new", new), ("smooth_mask", dj.smooth_mask(old, new)))


@drawing
def build_mask(samples: Samples) -> Any:
    """A mask by options."""
    woman = samples.woman
    options = dj.MaskOptions(names=("hull", "skin"), feather=0.1)
    built = dj.build_mask(
        options, face=woman.crop, landmarks=woman.in_crop, mask_size=CROP
    )
    return pair(("hull+skin", built.mask), ("over it", tint(woman.crop, built.mask)))


@drawing
def adjust_avg_color(samples: Samples) -> Any:
    """The mean colour moved."""
    old, new, _ = _lay(samples)
    return pair(("old", old), ("new", new), ("moved", dj.adjust_avg_color(old, new)))


@drawing
def transfer_color(samples: Samples) -> Any:
    """Two of the ways."""
    old, new, mask = _lay(samples)
    moved = [
        (name, dj.transfer_color(old, new, name, mask=mask))
        for name in ("reinhard", "border")
    ]
    return pair(("old", old), ("new", new), *moved)


def _blend(name: str) -> Draw:
    def draw(samples: Samples) -> Any:
        old, new, mask = _lay(samples)
        mixed = getattr(dj, name)(old, new, mask)
        return pair(("old", old), ("new", new), ("mask", mask), (name, mixed))

    return draw


DRAWINGS |= {
    name: _blend(name) for name in ("alpha_blend", "poisson_blend", "seamless_clone")
}


@drawing
def paste_face(samples: Samples) -> Any:
    """A face laid into its frame."""
    woman, (_, new, mask) = samples.woman, _lay(samples)
    pasted = dj.paste_face(woman.frame, new, mask, woman.to_crop)
    return pair(
        ("frame", around(woman, woman.frame)),
        ("face", new),
        ("mask", mask),
        ("pasted", around(woman, pasted)),
    )


@drawing
def sharpen_face(samples: Samples) -> Any:
    """Fine detail, raised."""
    face = samples.man.face
    amounts = (0.0, 0.5, 2.0)
    return pair(
        *((f"amount {amount:g}", dj.sharpen_face(face, amount)) for amount in amounts)
    )


@drawing
def dssim(samples: Samples) -> Any:
    """What the loss says of three changes of one face."""
    import jax.numpy as jnp

    crop = samples.portrait.crop
    changed = [
        ("the face", crop),
        ("brighter by 12", cv2.add(crop, (12.0, 12.0, 12.0, 0.0))),
        ("blurred", cv2.GaussianBlur(crop, (0, 0), 2)),
        ("moved by 2 pixels", np.roll(crop, 2, axis=1)),
    ]
    real = jnp.asarray(crop[None], jnp.float32) / 255
    shown = []
    for title, picture in changed:
        other = jnp.asarray(picture[None], jnp.float32) / 255
        figures = f"dssim {dj.dssim(real, other):.3f}, mae {dj.mae(real, other):.3f}"
        shown.append((f"{title}\n{figures}", picture))
    return tiles(shown, side=1.7)


def main() -> None:
    """Draws all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these pictures")
    names = parser.parse_args().names or list(DRAWINGS)
    ASSETS.mkdir(exist_ok=True)
    matplotlib.rcParams["figure.dpi"] = 110
    with tempfile.TemporaryDirectory() as folder:
        samples = Samples(Path(folder))
        for name in names:
            path = save(name, DRAWINGS[name](samples))
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
