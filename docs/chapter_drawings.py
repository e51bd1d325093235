"""What the chapters of "How it works" show, one function a picture.

No network draws a face here: where one is laid into a frame, it is the portrait's own,
so that each step before and after a network can be seen by itself.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from figures import INK, ONE, TWO, dots, outline, tiles, tint
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch
from sample_people import CROP, Samples

import deepfake_jax as dj
from deepfake_jax.cli.samples import get_sample
from deepfake_jax.convert_config import COLORS, MASKS
from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.imaging.affine import face_corners
from deepfake_jax.imaging.face_template import COVERAGE, FACE_SIZE, template_landmarks
from deepfake_jax.imaging.skin_mask import find_skin
from deepfake_jax.media.video_reader import read_frames
from deepfake_jax.training.augment import apply_transform, draw_transforms, draw_warps
from deepfake_jax.types import Frame


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


def border(samples: Samples) -> Any:
    """What erosion, feather and cover make of one mask."""
    woman = samples.woman
    mask = dj.extended_mask(woman.in_crop, CROP)
    eroded = dj.erode_mask(mask, 0.03)
    return tiles(
        [
            ("extended", mask),
            ("eroded by 0.03", eroded),
            ("and feathered by 0.10", dj.feather_mask(eroded, 0.10)),
            ("and features covered", samples.mask),
            ("over the face", tint(woman.crop, samples.mask)),
        ]
    )


def poisson(samples: Samples) -> Any:
    """A plain paste, mixing by the mask, and two ways to clone."""
    old, new, mask = samples.pair
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


def colors(samples: Samples) -> Any:
    """Every way of `convert --color`, then blended."""
    old, new, mask = samples.pair
    shown = [("the face replaced", old)]
    for name in COLORS:
        matched = dj.transfer_color(old, new, name, mask=mask)
        shown.append((name, dj.alpha_blend(old, matched, mask)))
    return tiles(shown)


def skin(samples: Samples) -> Any:
    """The three rules for skin, and the mask that becomes of one."""
    crop = samples.portrait.crop
    shown = [("the face", crop)]
    for space in ("rgb", "hsv", "ycrcb"):
        found = find_skin(crop, space=space).astype(np.float32) / 255
        shown.append((f"{space}: pixels that pass", tint(crop, found)))
    shown.append(("skin_mask, ycrcb", tint(crop, dj.skin_mask(crop).mask)))
    return tiles(shown)


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


CHAPTERS = (
    way,
    decoders,
    alignment,
    umeyama,
    warps,
    masks,
    border,
    poisson,
    colors,
    skin,
    time,
)
