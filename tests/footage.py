"""Face sets and footage that tests make: small, seeded, no files of the repository."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from deepfake_jax.face_sets.face_record import FaceRecord
from deepfake_jax.face_sets.face_set import make_header, write_record
from deepfake_jax.imaging.face_template import template_landmarks
from deepfake_jax.media.frame_writer import OutputSpec
from deepfake_jax.media.pictures import write_picture
from deepfake_jax.media.video_writer import VideoWriter
from deepfake_jax.train_config import TrainConfig, config_from_dict
from deepfake_jax.types import Face, Frame


def make_face(seed: int, tint: tuple[int, int, int] = (200, 150, 120)) -> Face:
    """A smooth cartoon of a face: an oval, eyes and a mouth that move with the seed."""
    rng = np.random.default_rng(seed)
    face = np.full((256, 256, 3), 40, np.uint8)
    dx, dy = rng.integers(-6, 7, 2).tolist()
    cv2.ellipse(face, (128 + dx, 130 + dy), (80, 105), 0, 0, 360, tint, -1)
    for x in (94, 162):
        cv2.circle(face, (x + dx, 80 + dy), 12, (30, 30, 30), -1)
    height = int(rng.integers(4, 20))
    cv2.ellipse(face, (128 + dx, 160 + dy), (34, height), 0, 0, 360, (150, 40, 40), -1)
    return cv2.GaussianBlur(face, (0, 0), 3)


def write_face_set(
    folder: Path,
    count: int,
    *,
    tint: tuple[int, int, int] = (200, 150, 120),
    points: int = 3,
) -> Path:
    """A valid face set of cartoons, with 68 or 5 landmarks near the mean ones or 3."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    marks = np.array([(94.0, 80.0), (162.0, 80.0), (128.0, 118.0)])
    if points != 3:
        marks = template_landmarks(256, count=points)
    records = []
    for index in range(count):
        name = f"000_{index:06d}_0.png"
        write_picture(folder / name, make_face(index, tint))
        records.append(
            FaceRecord(
                file=name,
                source="cartoon",
                frame=index,
                time=index / 25,
                box=(0.0, 0.0, 100.0, 100.0),
                score=1.0,
                landmarks=tuple(
                    map(tuple, marks + (points != 3) * rng.normal(0, 3, marks.shape))
                ),
                frame_to_face=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
                size=256.0,
            )
        )
    write_record(folder, make_header([], "test"), records)
    return folder


def tiny_config(**settings) -> TrainConfig:
    """A run that compiles and trains in seconds."""
    tree = {
        "model": {"width": 8},
        "optimizer": {"learning_rate": 1e-3, "ema_decay": 0.9},
        "batch_size": 2,
        "log_every": 1,
        "checkpoint_every": 10,
        **settings,
    }
    return config_from_dict(tree)


def write_pan(
    path: Path,
    picture: Frame,
    *,
    frames: int = 12,
    width: int = 240,
    height: int = 200,
    start: tuple[int, int] = (100, 20),
    rate: Fraction = Fraction(25),
) -> Path:
    """A video that pans over a picture by two pixels a frame, with its exact sizes."""
    writer = VideoWriter(
        OutputSpec(
            path=path,
            width=width,
            height=height,
            frame_rate=rate,
            time_base=1 / rate,
            crf=5,
        )
    )
    with writer:
        for index in range(frames):
            x, y = start[0] + 2 * index, start[1]
            writer.write(
                np.ascontiguousarray(picture[y : y + height, x : x + width]), pts=index
            )
    return path
