"""PNG files of our own making: any reader gives the same pixels back."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from deepfake_jax.imaging import png


@pytest.mark.parametrize("shape", [(256, 256), (1, 1), (3, 7), (2, 1)])
def test_every_pixel_is_kept(rng, shape):
    noise = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    content = png.encode_png(noise)
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        assert opened.mode == "RGB" and (np.asarray(opened) == noise).all()
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert read is not None and (read[..., ::-1] == noise).all()


def test_a_face_is_no_larger_than_opencv_makes_it(portrait):
    face = np.ascontiguousarray(portrait[:256, 128:384])
    packed = cv2.imencode(".png", face[..., ::-1])[1]
    assert len(png.encode_png(face)) < 1.15 * len(packed)


def test_zlib_takes_the_place_of_a_missing_package(face, monkeypatch):
    monkeypatch.setattr(png, "packer", zlib)
    with Image.open(io.BytesIO(png.encode_png(face))) as opened:
        assert (np.asarray(opened) == face).all()
