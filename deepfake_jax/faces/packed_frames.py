"""Searched frames as bytes and back, exactly, without pickle."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepfake_jax.faces.hands import MOST_HANDS
from deepfake_jax.faces.steady_tracks import TrackedFace
from deepfake_jax.imaging.head_pose import Pose
from deepfake_jax.media.timed_frames import TimedFrame

_FRAME = np.dtype([("index", "<i4"), ("time", "<f8"), ("faces", "<i4")])
_PLAIN = ("track", "width", "score", "confidence", "pose", "filled", "hand_count")


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """A frame that was searched: its number, its time in seconds and its faces."""

    index: int
    time: float
    faces: list[TrackedFace]

    def check_same(self, timed: TimedFrame | None) -> TimedFrame:
        """The frame that was decoded now, if it is the one that was searched.

        Raises:
            RuntimeError: it is not.
        """
        if timed is None or timed.index != self.index:
            raise RuntimeError(
                f"frame {self.index} of a kept search is not in the video; give "
                "--search again"
            )
        return timed


def _face_type(landmarks: int) -> np.dtype:
    return np.dtype(
        [
            ("track", "<i4"),
            ("filled", "?"),
            ("box", "<f8", 4),
            ("width", "<f8"),
            ("score", "<f8"),
            ("confidence", "<f8"),
            ("pose", "<f8", 3),
            ("frame_to_face", "<f8", (2, 3)),
            ("hand_count", "<i4"),
            ("hands", "<i4", (MOST_HANDS, 21, 2)),  # hundredths of a pixel
            ("landmarks", "<i4", (landmarks, 2)),  # hundredths of a pixel
        ]
    )


def pack_frames(kept: Sequence[KeptFrame], first_track: int) -> tuple[int, int, bytes]:
    """Frames as bytes, after the counts of frames and of faces.

    Args:
        kept: the frames, whose landmarks are all as many.
        first_track: the number that is packed as 0.
    """
    faces = [face for frame in kept for face in frame.faces]
    heads = np.array([(f.index, f.time, len(f.faces)) for f in kept], _FRAME)
    count = len(faces[0].landmarks) if faces else 0
    rows = np.zeros(len(faces), _face_type(count))
    for row, face in zip(rows, faces, strict=True):
        pose = face.pose
        row["track"], row["filled"] = face.track - first_track, face.filled
        row["box"], row["width"], row["score"] = face.box, face.width, face.score
        row["confidence"], row["frame_to_face"] = face.confidence, face.frame_to_face
        row["pose"] = pose.yaw, pose.pitch, pose.roll
        row["landmarks"] = np.rint(face.landmarks * 100)
        row["hand_count"] = count_hands = min(len(face.hands), MOST_HANDS)
        row["hands"][:count_hands] = np.rint(face.hands[:count_hands] * 100)
    return len(heads), len(rows), zlib.compress(heads.tobytes() + rows.tobytes(), 1)


def unpack_frames(
    payload: bytes, counts: tuple[int, int], first_track: int
) -> Iterator[KeptFrame]:
    """What `pack_frames` was given; the first track's number may be another."""
    content = zlib.decompress(payload)
    heads = np.frombuffer(content, _FRAME, counts[0])
    size = (len(content) - heads.nbytes) // max(1, counts[1])
    each = (size - _face_type(0).itemsize) // 8
    rows = np.frombuffer(content, _face_type(each), counts[1], heads.nbytes)
    columns = {name: rows[name].tolist() for name in _PLAIN}
    boxes, matrices = rows["box"].copy(), rows["frame_to_face"].copy()
    landmarks, hands = rows["landmarks"] / 100, rows["hands"] / 100
    place = 0
    for index, time, count in heads.tolist():
        faces = [
            TrackedFace(
                track=columns["track"][at] + first_track,
                box=boxes[at],
                width=columns["width"][at],
                score=columns["score"][at],
                confidence=columns["confidence"][at],
                landmarks=landmarks[at],
                frame_to_face=matrices[at],
                pose=Pose(*columns["pose"][at]),
                filled=columns["filled"][at],
                hands=hands[at, : columns["hand_count"][at]],
            )
            for at in range(place, place + count)
        ]
        place += count
        yield KeptFrame(index, time, faces)
