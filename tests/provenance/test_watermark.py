"""The watermark: not seen, read from changed copies, found nowhere else."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av import VideoFrame
from jaxtyping import UInt8
from skimage import data

from deepfake_jax.media.pictures import write_picture
from deepfake_jax.provenance.verify import verify_files
from deepfake_jax.provenance.watermark import Watermarker, read_luma
from deepfake_jax.provenance.watermark_code import (
    SIGNS,
    decode_payload,
    encode_payload,
)
from deepfake_jax.provenance.watermark_reader import (
    SURE,
    WatermarkFound,
    even_out,
    find_watermark,
)

PAYLOAD = 0xDF1A2B3C
Luma = UInt8[np.ndarray, "height width"]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """360 lines of a real picture."""
    return np.ascontiguousarray(data.astronaut()[60:420])


@pytest.fixture(scope="module")
def marked(picture: np.ndarray) -> np.ndarray:
    frame = Watermarker(PAYLOAD).mark(picture)
    assert isinstance(frame, np.ndarray)
    return frame


def look(frame: np.ndarray) -> WatermarkFound:
    luma = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return find_watermark([even_out(luma)])


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    apart = np.mean((one.astype(float) - other) ** 2)
    return float(10 * np.log10(255**2 / apart))


# The code


def test_code_gives_its_bits_back_through_noise(rng: np.random.Generator):
    for payload in (0, 1, 0xFFFFFFFF, *rng.integers(2**32, size=4).tolist()):
        signs = encode_payload(payload)
        assert signs.shape == (SIGNS,) and set(signs.tolist()) == {-1, 1}
        # One sign in seven is wrong.
        noisy = signs + 0.9 * rng.normal(size=SIGNS)
        assert decode_payload(noisy) == payload
    with pytest.raises(ValueError, match="32 bits"):
        encode_payload(2**32)


def test_noise_is_no_payload(rng: np.random.Generator):
    # By chance one in 65,536 has the right checksum.
    assert [decode_payload(rng.normal(size=SIGNS)) for _ in range(20)] == [None] * 20


# What is not seen


def test_mark_is_48_db_below_and_nearly_absent_in_the_dark(
    picture: np.ndarray, marked: np.ndarray
):
    assert psnr(picture, marked) > 48
    assert picture.shape == marked.shape
    dark = np.full((360, 480, 3), 22, np.uint8)
    apart = np.asarray(Watermarker(PAYLOAD).mark(dark)).astype(int) - dark
    assert abs(apart).max() <= 1 and (apart != 0).mean() < 0.2
    grey = np.repeat(picture[..., :1], 3, axis=2)
    kept = np.asarray(Watermarker(PAYLOAD).mark(grey))
    assert (kept[..., :1] == kept).all()


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le", "nv12"])
def test_native_frames_are_marked_in_their_luma_alone(picture: np.ndarray, pixels: str):
    frame = VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixels)
    before = [bytes(plane) for plane in frame.planes]  # type: ignore[arg-type]
    luma = read_luma(frame).copy()
    Watermarker(PAYLOAD).mark(frame)
    after = [bytes(plane) for plane in frame.planes]  # type: ignore[arg-type]
    assert before[0] != after[0] and before[1:] == after[1:]
    assert psnr(luma, read_luma(frame)) > 48
    assert look(read_luma(frame)).payload == f"{PAYLOAD:08x}"


# What it survives


def jpeg(frame: np.ndarray) -> np.ndarray:
    coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1]


def resize(frame: np.ndarray, scale: float) -> np.ndarray:
    flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=flag)


def screenshot(frame: np.ndarray) -> np.ndarray:
    shown = resize(frame, 1.37)
    screen = np.full((700, 1000, 3), 40, np.uint8)
    screen[::23] = 90
    screen[83 : 83 + shown.shape[0], 121 : 121 + shown.shape[1]] = shown
    return screen


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda frame: frame,
    "jpeg 50": jpeg,
    "cut to a half": lambda frame: frame[60:315, 80:440],
    "scaled by 0.4": lambda frame: resize(frame, 0.4),
    "scaled by 0.61": lambda frame: resize(frame, 0.61),
    "scaled by 2.5": lambda frame: resize(frame, 2.5),
    "mirrored": lambda frame: frame[:, ::-1],
    "screenshot": screenshot,
    "mirrored, cut, jpeg 50": lambda frame: jpeg(frame[40:330, 430:20:-1]),
}


@pytest.mark.parametrize("name", COPIES)
def test_mark_is_read_from_a_copy_and_found_in_no_other(
    picture: np.ndarray, marked: np.ndarray, name: str
):
    copy = COPIES[name]
    found = look(np.ascontiguousarray(copy(marked)))
    assert found.found and found.payload == f"{PAYLOAD:08x}"
    assert found.mirrored == ("mirrored" in name)
    if name in ("as it is", "cut to a half", "screenshot"):
        none = look(np.ascontiguousarray(copy(picture)))
        assert not none.found and none.chance > 1e3 * SURE


def test_mark_survives_x264_at_crf_28(clips: Path):
    with av.open(str(clips / "hamilton.mp4")) as container:
        frames = []
        for number, frame in enumerate(container.decode(video=0)):
            if number >= 85:
                frames.append(frame.reformat(format="yuv420p"))
            if len(frames) == 60:
                break
    file, mark = io.BytesIO(), Watermarker(PAYLOAD).mark
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for frame in frames:
            frame.pts = None
            mark(frame)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as container:
        lumas = [read_luma(frame) for frame in container.decode(video=0)]
    coded = [even_out(luma) for luma in lumas[::2]]
    found = find_watermark(coded, thorough=False)
    assert found.found and found.payload == f"{PAYLOAD:08x}"


@pytest.mark.parametrize("clip", ["hamilton", "carphone", "lp_d3"])
def test_real_footage_without_a_mark_shows_none(clips: Path, clip: str):
    with av.open(str(clips / f"{clip}.mp4")) as container:
        frames = itertools.islice(container.decode(video=0), 9)
        lumas = [read_luma(frame) for frame in frames]
    found = find_watermark([even_out(luma) for luma in lumas])
    assert not found.found and found.chance > 0.01


def test_verify_finds_the_mark_where_all_else_is_gone(
    tmp_path: Path, marked: np.ndarray, picture: np.ndarray
):
    write_picture(tmp_path / "marked.jpg", marked)
    write_picture(tmp_path / "plain.jpg", picture)
    result = verify_files([tmp_path / "marked.jpg", tmp_path / "plain.jpg"])
    assert [found.marked for found in result.files] == [True, False]
    assert result.files[0].watermark.payload == f"{PAYLOAD:08x}"
    assert result.files[0].credential.status == "absent" and not result.marked
