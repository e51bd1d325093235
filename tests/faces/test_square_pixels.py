"""Pixels that are not square: found as shown, given back in the frame's own pixels."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from deepfake_jax.extract_config import SearchConfig
from deepfake_jax.faces.footage_search import FootageSearch, SearchedFrame
from deepfake_jax.imaging.affine import apply_affine, resize_affine
from deepfake_jax.media.sources import Source


def write_squeezed(path: Path, picture: np.ndarray, aspect: Fraction) -> Path:
    height, width = picture.shape[:2]
    wide = aspect > 1
    size = (int(width / aspect), height) if wide else (width, int(height * aspect))
    squeezed = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        stream.codec_context.sample_aspect_ratio = aspect
        frame = av.VideoFrame.from_ndarray(squeezed.astype(np.uint8), "rgb24")
        for _ in range(4):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def search(path: Path) -> list[SearchedFrame]:
    return list(FootageSearch(SearchConfig()).search([Source(path, "video", 4)]))


@pytest.mark.usefixtures("detector_weights")
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(16, 15)])
def test_faces_are_found_as_they_are_shown(portrait, tmp_path, aspect):
    plain = write_squeezed(tmp_path / "plain.mp4", portrait, Fraction(1))
    path = write_squeezed(tmp_path / "squeezed.mp4", portrait, aspect)
    factor = float(aspect)
    squeeze = resize_affine(min(1.0, 1 / factor), min(1.0, factor))
    for one, other in zip(search(plain), search(path), strict=True):
        assert len(one.faces) == len(other.faces) == 1
        face, squeezed = one.faces[0], other.faces[0]
        # What is lost by squeezing moves landmarks by a pixel or two of the frame.
        moved = apply_affine(squeeze, face.landmarks)
        np.testing.assert_allclose(squeezed.landmarks, moved, atol=3)
        assert squeezed.width == pytest.approx(face.width, rel=0.05)
        # One face picture comes of both: unsqueezed, in the same place.
        there = apply_affine(face.frame_to_face, face.landmarks)
        here = apply_affine(squeezed.frame_to_face, squeezed.landmarks)
        np.testing.assert_allclose(here, there, atol=5)
        assert squeezed.box[2] / squeezed.width == pytest.approx(
            min(1, 1 / factor), rel=0.01
        )
