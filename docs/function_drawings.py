"""What functions on pictures do, for the library's pages: one picture a function."""

from collections.abc import Callable
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
from figures import around, dots, outline, tiles, tint
from sample_people import CROP, Samples

import deepfake_jax as dj
from deepfake_jax.imaging.affine import face_corners
from deepfake_jax.imaging.face_template import FACE_SIZE

Draw = Callable[[Samples], Any]


def pair(*shown: tuple[str, np.ndarray]) -> Any:
    """Some pictures of one function."""
    return tiles(shown, side=1.6)


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


def frame_to_face_matrix(samples: Samples) -> Any:
    """Where the face picture lies in its frame."""
    seen = samples.portrait

    def notes(_: int, axis: Any) -> None:
        outline(axis, face_corners(seen.matrix, FACE_SIZE))
        dots(axis, seen.landmarks)

    return tiles([("landmarks, and the face's square", seen.frame)], notes=notes)


def apply_affine(samples: Samples) -> Any:
    """Landmarks of the frame, on the face."""
    seen = samples.portrait

    def notes(number: int, axis: Any) -> None:
        matrix = seen.matrix if number else np.eye(3)[:2]
        dots(axis, dj.apply_affine(matrix, seen.landmarks))

    return tiles([("in the frame", seen.frame), ("mapped", seen.face)], notes=notes)


def warp_face(samples: Samples) -> Any:
    """A frame and its face."""
    seen = samples.man
    return pair(("frame", seen.frame), ("face", seen.face))


def crop_faces(samples: Samples) -> Any:
    """A face and its crop."""
    return pair(("face, 256 px", samples.man.face), ("crop", samples.man.crop))


def random_transform(samples: Samples) -> Any:
    """A face, three times moved at random."""
    rng, face = np.random.default_rng(4), samples.portrait.face
    moved = [(f"draw {n}", dj.random_transform(rng, face)) for n in (1, 2, 3)]
    return pair(("face", face), *moved)


def random_warp(samples: Samples) -> Any:
    """A training pair."""
    rng, face = np.random.default_rng(5), samples.portrait.face
    warped, target = dj.random_warp(rng, face, crop_size=128)
    return pair(("face", face), ("warped", warped), ("target", target))


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


def skin_mask(samples: Samples) -> Any:
    """Skin of a face."""
    crop = samples.portrait.crop
    mask = dj.skin_mask(crop).mask
    return pair(("face", crop), ("mask", mask), ("over it", tint(crop, mask)))


def occlusion_mask(samples: Samples) -> Any:
    """A bar before the old face is kept."""
    old, new, mask = samples.pair
    redrawn = cv2.GaussianBlur(old, (0, 0), 2)  # as a network would draw it
    old = old.copy()
    cv2.line(old, (30, 150), (110, 105), (40, 40, 40), 14, cv2.LINE_AA)
    shown = dj.occlusion_mask(old, redrawn, mask=mask)
    return pair(
        ("old, a bar before it", old),
        ("mask", shown),
        ("pasted without", dj.alpha_blend(old, new, mask)),
        ("and with it", dj.alpha_blend(old, new, mask * shown)),
    )


def erode_mask(samples: Samples) -> Any:
    """A mask, smaller and larger."""
    mask = dj.hull_mask(samples.woman.in_crop, CROP)
    shares = (0.0, 0.08, -0.08)
    return pair(*((f"share {share:g}", dj.erode_mask(mask, share)) for share in shares))


def feather_mask(samples: Samples) -> Any:
    """A mask, softer."""
    mask = dj.hull_mask(samples.woman.in_crop, CROP)
    shares = (0.0, 0.1, 0.3)
    return pair(
        *((f"share {share:g}", dj.feather_mask(mask, share)) for share in shares)
    )


def combine_masks(samples: Samples) -> Any:
    """Two masks joined in each way."""
    hull = dj.feather_mask(dj.hull_mask(samples.woman.in_crop, CROP), 0.2)
    oval = dj.feather_mask(dj.oval_mask(CROP), 0.2)
    joined = [(how, dj.combine_masks([hull, oval], how)) for how in _HOW]
    return pair(("hull", hull), ("oval", oval), *joined)


_HOW: Any = ("product", "union", "minimum")


def smooth_mask(samples: Samples) -> Any:
    """The classic border."""
    old, new, _ = samples.pair
    return pair(("old", old), ("new", new), ("smooth_mask", dj.smooth_mask(old, new)))


def build_mask(samples: Samples) -> Any:
    """A mask by options."""
    woman = samples.woman
    options = dj.MaskOptions(names=("hull", "skin"), feather=0.1)
    built = dj.build_mask(
        options, face=woman.crop, landmarks=woman.in_crop, mask_size=CROP
    )
    return pair(("hull+skin", built.mask), ("over it", tint(woman.crop, built.mask)))


def adjust_avg_color(samples: Samples) -> Any:
    """The mean colour moved."""
    old, new, _ = samples.pair
    return pair(("old", old), ("new", new), ("moved", dj.adjust_avg_color(old, new)))


def transfer_color(samples: Samples) -> Any:
    """Two of the ways."""
    old, new, mask = samples.pair
    moved = [
        (name, dj.transfer_color(old, new, name, mask=mask))
        for name in ("reinhard", "border")
    ]
    return pair(("old", old), ("new", new), *moved)


def _blend(name: str) -> Draw:
    def draw(samples: Samples) -> Any:
        old, new, mask = samples.pair
        mixed = getattr(dj, name)(old, new, mask)
        return pair(("old", old), ("new", new), ("mask", mask), (name, mixed))

    return draw


def paste_face(samples: Samples) -> Any:
    """A face laid into its frame."""
    woman, (_, new, mask) = samples.woman, samples.pair
    pasted = dj.paste_face(woman.frame, new, mask, woman.to_crop)
    return pair(
        ("frame", around(woman, woman.frame)),
        ("face", new),
        ("mask", mask),
        ("pasted", around(woman, pasted)),
    )


def sharpen_face(samples: Samples) -> Any:
    """Fine detail, raised."""
    face = samples.man.face
    amounts = (0.0, 0.5, 2.0)
    return pair(
        *((f"amount {amount:g}", dj.sharpen_face(face, amount)) for amount in amounts)
    )


def thin_edges(samples: Samples) -> Any:
    """An enlarged face, its edges as they are, narrower and too narrow."""
    small = cv2.resize(samples.man.face, (96, 96), interpolation=cv2.INTER_AREA)
    size = (2 * len(small), 2 * len(small))
    large = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    amounts = (0.0, 1.0, 3.0)
    return pair(*((f"amount {a:g}", dj.thin_edges(large, small, a)) for a in amounts))


def dssim(samples: Samples) -> Any:
    """What the loss says of three changes of one face."""
    crop = samples.portrait.crop
    changed = [
        ("the face", crop),
        (
            "brighter by 12",
            np.clip(crop.astype(np.int16) + 12, 0, 255).astype(np.uint8),
        ),
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


FUNCTIONS: dict[str, Draw] = {
    **{
        draw.__name__: draw
        for draw in (
            make_detector,
            frame_to_face_matrix,
            apply_affine,
            warp_face,
            crop_faces,
            random_transform,
            random_warp,
            augment_faces,
            skin_mask,
            occlusion_mask,
            erode_mask,
            feather_mask,
            combine_masks,
            smooth_mask,
            build_mask,
            adjust_avg_color,
            transfer_color,
            paste_face,
            sharpen_face,
            thin_edges,
            dssim,
        )
    },
    **{name: _shape(name) for name in ("oval_mask", "rectangle_mask")},
    **{name: _marked(name) for name in ("hull_mask", "extended_mask")},
    **{
        name: _blend(name)
        for name in ("alpha_blend", "poisson_blend", "seamless_clone")
    },
}
