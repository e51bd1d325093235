"""Faces back into frames: what changes, what keeps its samples, crossing faces."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from av import VideoFrame
from drawn_glasses import draw_frame, make_faces

from deepfake_jax.conversion.compose import (
    Patch,
    compose_frame,
    finish_face,
    join_frames,
    put_pixels,
)
from deepfake_jax.conversion.frame_swapper import FrameSwapper
from deepfake_jax.conversion.marking import make_marks
from deepfake_jax.conversion.placement import PlacedFace
from deepfake_jax.conversion.saved_faces import FaceLog, FaceLogError
from deepfake_jax.convert_config import COLORS, ConvertConfig
from deepfake_jax.files import ForeignFilesError
from deepfake_jax.imaging.affine import apply_affine
from deepfake_jax.imaging.face_template import crop_matrix, template_landmarks
from deepfake_jax.imaging.glasses import find_glasses
from deepfake_jax.media.pictures import read_picture, write_picture
from deepfake_jax.media.pixel_formats import convert_to_rgb
from deepfake_jax.media.timed_frames import TimedFrame, picture_frame
from deepfake_jax.provenance.verify import verify_files

PLAIN = ConvertConfig(
    mask="rectangle", erode=0.0, feather=0.0, color="none", drawn_mask=False
)


def make_native(seed: int = 0, *, pixels: str = "yuv420p") -> TimedFrame:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 220, (12, 16, 3)).astype(np.uint8)
    frame = np.kron(coarse, np.ones((20, 20, 1), np.uint8))
    native = VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixels)
    return TimedFrame(0, 0.0, 0, 1, native=native)


def place(x: float, y: float, side: float, *, track: int = 0) -> PlacedFace:
    """A face whose whole picture of 256 pixels has `side` pixels in the frame."""
    scale = 256 / side
    return PlacedFace(
        track, np.array([[scale, 0, -scale * x], [0, scale, -scale * y]]), None
    )


def paint(value: int, config: ConvertConfig) -> FrameSwapper:
    return FrameSwapper(lambda faces, _=None: np.full_like(faces, value), 64, config)


def test_nothing_shows_that_the_network_takes_for_no_face():
    def draw(crops: np.ndarray) -> np.ndarray:
        answer = np.full((*crops.shape[:3], 4), 200, np.float32)
        answer[..., 3] = 255
        answer[:, :, 32:, 3] = 0
        return answer

    timed, changed = make_native(), []
    bare = replace(PLAIN, cover=False)
    for config in (replace(bare, drawn_mask=True), bare):
        swapper = FrameSwapper(draw, 64, config)
        (swapped,) = swapper.swap([(timed, [place(100, 60, 120)])])
        result = compose_frame(swapped, config)
        assert isinstance(result, VideoFrame)
        after = convert_to_rgb(result)
        changed.append((after != timed.frame).any(axis=2))
    # The face's middle is at 160.
    assert changed[0][90:150, 130:156].all()
    assert not changed[0][:, 166:].any() and changed[1][90:150, 166:190].all()


@pytest.mark.parametrize("most", [0.0, 0.3, 5.0])
def test_soft_answers_are_sharpened_to_the_frames_detail_and_no_further(most: float):
    config = replace(PLAIN, sharpen=most)
    timed = make_native(pixels="rgb24")

    def soften(crops: np.ndarray, _: object = None) -> np.ndarray:
        return np.stack([cv2.GaussianBlur(crop, (0, 0), 0.7) for crop in crops])

    found = {}
    for name, network in (("soft", soften), ("same", lambda crops, _=None: crops)):
        swapper = FrameSwapper(network, 64, config)
        (swapped,) = swapper.swap([(timed, [place(100, 60, 120)])])
        (face,) = swapped.faces
        found[name] = face.sharpen
        shown, drawn = finish_face(face, config).face, face.new
        assert np.array_equal(shown, drawn) == (name == "same" or not most)
    assert found["same"] == 0
    if most < 1:
        assert found["soft"] == most
    else:
        assert 1 < found["soft"] < most, found


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "rgb24"])
def test_only_pixels_under_the_mask_change(pixels: str):
    timed = make_native(pixels=pixels)
    (swapped,) = paint(200, PLAIN).swap([(timed, [place(100, 60, 120)])])
    result = compose_frame(swapped, PLAIN)
    assert timed.native is not None
    after = convert_to_rgb(result) if isinstance(result, VideoFrame) else result
    changed = (after != timed.frame).any(axis=2)
    rows, columns = np.nonzero(changed)
    # The crop is the central 5/8 of 120 pixels, the mask inset by a fifteenth of it.
    assert 120 + 3 <= columns.min() and columns.max() <= 200
    assert 80 + 3 <= rows.min() and rows.max() <= 160
    inner = after[90:150, 130:190]
    assert np.abs(inner.astype(int) - 200).max() <= 2
    if isinstance(result, VideoFrame):
        luma = [f.reformat(format="gray").to_ndarray() for f in (timed.native, result)]
        assert np.array_equal(luma[0][:80], luma[1][:80])
        assert result.pts == timed.native.pts


@pytest.mark.parametrize("size", [64, 192])
def test_classic_mask_takes_a_network_of_any_size(size: int):
    config = replace(PLAIN, mask="classic")
    swapper = FrameSwapper(lambda faces, _=None: np.full_like(faces, 200), size, config)
    timed = picture_frame(make_native().frame)
    (swapped,) = swapper.swap([(timed, [place(60, 20, 200)])])
    (face,) = swapped.faces
    # What is replaced: the central 5/8 of 200 pixels, at the classic's 160.
    assert face.old.shape == face.new.shape == (160, 160, 3)
    inner = timed.frame[58:182, 98:222].mean(axis=(0, 1))
    assert np.abs(face.old.mean(axis=(0, 1)) - inner).max() < 4
    result = compose_frame(swapped, config)
    assert isinstance(result, np.ndarray)
    assert np.abs(result[105:135, 145:175].astype(int) - 200).max() <= 1


@pytest.mark.parametrize("guard", [True, False])
def test_what_the_run_does_not_draw_before_the_persons_face_stays(guard: bool):
    smooth = np.full((240, 320, 3), 90, np.uint8)
    smooth[:, 160:] = 110
    hand = smooth.copy()
    hand[110:140, 150:180] = 250
    config = replace(PLAIN, guard=guard)
    swapper = FrameSwapper(
        lambda faces: np.full_like(faces, 200),
        64,
        config,
        double=lambda faces: np.stack(
            [np.full_like(faces, 200), np.minimum(faces, 110)]
        ),
    )
    (swapped,) = swapper.swap([(picture_frame(hand), [place(100, 60, 120)])])
    result = compose_frame(swapped, config)
    assert isinstance(result, np.ndarray)
    assert (np.abs(result[115:135, 155:175] - 250.0).max() < 3) == guard
    # Where nothing is before the face, the swap.
    assert np.abs(result[92:97, 130:190] - 200.0).max() < 8


def test_hair_over_the_forehead_stays_where_it_is_and_comes_to_nobody():
    """The frame's own to the left; the drawn one's, on both sides, nowhere."""
    landmarks = template_landmarks(256, count=68)
    frame = np.full((256, 256, 3), (200, 150, 130), np.uint8)
    top = round(float(landmarks[17:27, 1].min())) - 7
    frame[:top, :128] = (60, 45, 40)
    timed, where = picture_frame(frame), PlacedFace(0, np.eye(2, 3), landmarks)

    def draw(crops: np.ndarray, _: object = None) -> np.ndarray:
        drawn = np.full_like(crops, 0) + np.array([220, 160, 160], np.uint8)
        size = crops.shape[1]
        edge = round(float(apply_affine(crop_matrix(size), landmarks)[17:27, 1].min()))
        drawn[:, : edge - 4 * size // 128] = 20
        return drawn

    shown = {}
    for guard in (True, False):
        config = replace(PLAIN, mask="extended", guard=guard, sharpen=0.0)
        (swapped,) = FrameSwapper(draw, 128, config).swap([(timed, [where])])
        result = compose_frame(swapped, config)
        shown[guard] = np.asarray(result).astype(int)
    rows, left, right = slice(top - 3, top - 1), slice(94, 106), slice(150, 162)
    assert np.abs(shown[True][rows, left] - frame[rows, left]).max() < 8
    assert shown[True][rows, right].min() > 100
    assert shown[False][rows, left].max() < 30 and shown[False][rows, right].max() < 30
    middle = shown[True][140:150, 120:136].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [220, 160, 160], atol=2)


@pytest.mark.parametrize("guard", [True, False])
def test_a_hand_that_was_found_stays_before_the_face(guard: bool):
    frame = np.full((256, 256, 3), 110, np.uint8)
    hand = np.zeros((21, 2))
    hand[:, 0] = 128 + np.repeat([0, -8, -4, 0, 4, 8], [1, 4, 4, 4, 4, 4])
    hand[:, 1] = [230, *(np.tile([0, 20, 40, 60], 5) * -1 + 200)]
    landmarks = template_landmarks(256, count=68)
    config = replace(PLAIN, mask="extended", guard=guard, sharpen=0.0)
    shown = []
    for hands in (hand[None], hand[None][:0]):
        where = PlacedFace(0, np.eye(2, 3), landmarks, hands)
        swapper = paint(220, config)
        (swapped,) = swapper.swap([(picture_frame(frame), [where])])
        shown.append(np.asarray(compose_frame(swapped, config)).astype(int))
    held, free = shown
    fingers = (slice(150, 175), slice(124, 133))
    assert (np.abs(held[fingers] - 110).max() < 4) == guard
    assert free[fingers].min() > 215
    # Beside the hand it is the new face, hand or not.
    np.testing.assert_array_equal(held[120:170, 80:100], free[120:170, 80:100])


@pytest.mark.parametrize("guard", [True, False])
def test_glasses_stay_before_the_face(guard: bool):
    faces, landmarks = make_faces()
    for face, points in zip(faces, landmarks, strict=True):
        draw_frame(face, points, color=20, width=0.04, square=True)
    drawn = np.zeros((256, 256), np.uint8)
    draw_frame(drawn, landmarks[0], color=255, width=0.04, square=True)
    lines = drawn > 200
    lines[:, :60] = lines[:, -60:] = False  # temples lie outside of the face
    config = replace(PLAIN, mask="extended", guard=guard, sharpen=0.0)
    where = PlacedFace(0, np.eye(2, 3), landmarks[0])
    shown = []
    for glasses in (find_glasses(faces, landmarks), None):
        swapper = FrameSwapper(
            lambda crops: np.full(crops.shape, 220, np.float32),
            64,
            config,
            glasses=glasses,
        ).with_config(config)
        (swapped,) = swapper.swap([(picture_frame(faces[0]), [where])])
        shown.append(np.asarray(compose_frame(swapped, config)).astype(int))
    kept, covered = (picture[lines].mean() for picture in shown)
    assert covered > 200 and (kept < 120) == guard
    # Between the lines it is the new face, glasses or not.
    cheeks = (slice(150, 175), slice(95, 160))
    assert shown[0][cheeks].min() > 210


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("texture", [0.0, 1.0])
def test_skin_of_a_frame_keeps_its_grain_on_the_drawn_face(guard: bool, texture: float):
    landmarks = template_landmarks(256, count=68)
    grain = np.random.default_rng(0).normal(0, 5, (256, 256, 1))
    skin = np.full((256, 256, 3), (200, 150, 130)) + grain
    timed = picture_frame(np.rint(skin).astype(np.uint8))
    where = PlacedFace(0, np.eye(2, 3), landmarks)
    config = replace(PLAIN, mask="extended", sharpen=0.0, guard=guard, texture=texture)

    def flat(crops: np.ndarray) -> np.ndarray:
        return np.full(crops.shape, 160, np.float32)

    def both(crops: np.ndarray) -> np.ndarray:
        own = np.stack([cv2.GaussianBlur(crop, (0, 0), 3) for crop in crops])
        return np.stack([flat(crops), own.astype(np.float32)])

    swapper = FrameSwapper(flat, 128, config, double=both)
    (swapped,) = swapper.swap([(timed, [where])])
    result = np.asarray(compose_frame(swapped, config)).astype(float)
    x, y = landmarks[[2, 31]].mean(axis=0).round().astype(int)
    cheek = (slice(y - 12, y + 12), slice(x - 12, x + 12))
    found, own = result[cheek][..., 0] - 160, grain[cheek][..., 0]
    assert np.abs(found.mean()) < 1
    if texture:
        assert np.corrcoef(found.ravel(), own.ravel())[0, 1] > 0.8
        assert 0.5 < found.std() / own.std() < 1.1
    else:
        assert np.abs(found).max() <= 1


def test_without_faces_there_is_nothing_to_show():
    (swapped,) = paint(200, PLAIN).swap([(make_native(), [])])
    assert compose_frame(swapped, PLAIN) is swapped.timed.native


def test_the_larger_of_crossing_faces_lies_on_top():
    timed = picture_frame(make_native().frame)
    answers = iter([50, 220])
    config = PLAIN

    def network(faces: np.ndarray, _: object = None, /) -> np.ndarray:
        return np.stack([np.full_like(face, next(answers)) for face in faces])

    swapper = FrameSwapper(network, 64, config)
    small, large = place(60, 60, 80), place(80, 40, 140, track=1)
    (swapped,) = swapper.swap([(timed, [small, large])])
    result = compose_frame(swapped, config)
    assert isinstance(result, np.ndarray)
    # Inside both, and inside the smaller alone.
    assert result[105, 115].tolist() == [220] * 3
    assert result[100, 85].tolist() == [50] * 3


@pytest.mark.parametrize("native", [True, False])
def test_several_faces_change_one_copy(native: bool):
    timed = make_native() if native else picture_frame(make_native().frame)
    before = timed.frame.copy()
    places = [place(20, 20, 100), place(60, 60, 120, track=1)]
    (swapped,) = paint(200, PLAIN).swap([(timed, places)])
    finished = [finish_face(face, PLAIN) for face in swapped.faces]
    both = compose_frame(swapped, PLAIN, finished=finished)
    # The same, each face by itself into a frame of its own.
    one = compose_frame(replace(swapped, faces=swapped.faces[:1]), PLAIN)
    if isinstance(one, VideoFrame):
        single = replace(timed, native=one)
        both = convert_to_rgb(both) if isinstance(both, VideoFrame) else both
    else:
        single = picture_frame(one)
    (second,) = paint(200, PLAIN).swap([(single, places[1:])])
    two = compose_frame(second, PLAIN)
    two = convert_to_rgb(two) if isinstance(two, VideoFrame) else two
    np.testing.assert_array_equal(both, two)
    fresh = replace(timed)  # without the RGB that the frame keeps
    np.testing.assert_array_equal(fresh.frame, before)


def test_put_pixels_leaves_the_frame_that_it_was_given():
    for timed in (make_native(), picture_frame(make_native().frame)):
        before = timed.frame.copy()
        patch = np.zeros((16, 16, 3), np.uint8)
        changed = np.zeros((16, 16), bool)
        same = put_pixels(timed, Patch(patch, 32, 48, changed))
        np.testing.assert_array_equal(same.frame, before)
        changed[4:12, 4:12] = True
        other = put_pixels(timed, Patch(patch, 32, 48, changed))
        # Chroma is blended with that of the pixels around when it is shown.
        assert other.frame[55:57, 39:41].max() <= 2
        np.testing.assert_array_equal(timed.frame, before)
        np.testing.assert_array_equal(other.frame[:48], before[:48])


def test_the_classic_works_at_160_pixels_and_is_not_feathered_again():
    config = ConvertConfig(mask="classic", feather=0.4, color="avg")
    (swapped,) = paint(120, config).swap([(make_native(), [place(40, 20, 200)])])
    face = swapped.faces[0]
    assert face.old.shape == face.new.shape == (160, 160, 3)
    new, mask = finish_face(face, config)
    assert mask is face.mask and mask[80, 80] == 1 and mask[0, 0] == 0
    # The mean of the whole square, without a mask.
    shift = face.old.mean(axis=(0, 1)) - 120
    assert np.abs(new.mean(axis=(0, 1)) - 120 - shift).max() < 0.51


def test_faces_are_saved_for_compositing_elsewhere(tmp_path):
    config = replace(PLAIN, feather=0.1)
    with FaceLog(tmp_path / "faces", overwrite=False):
        pass
    assert not (tmp_path / "faces").exists()
    (swapped,) = paint(77, config).swap([(make_native(), [place(40, 20, 200)])])
    with FaceLog(tmp_path / "faces", overwrite=False) as log:
        log.add(swapped, [finish_face(face, config) for face in swapped.faces])
    names = sorted(path.name for path in (tmp_path / "faces").iterdir())
    assert names == ["000000_000_face.png", "000000_000_mask.png", "faces.jsonl"]
    face = read_picture(tmp_path / "faces" / names[0])
    assert face.shape == (64, 64, 3) and (face == 77).all()
    line = json.loads((tmp_path / "faces" / "faces.jsonl").read_text())
    matrix = np.array(line["face_to_frame"])
    # The crop's middle is the face's, 100 pixels from the edge of its picture.
    middle = matrix[:, :2] @ [31.5, 31.5] + matrix[:, 2]
    np.testing.assert_allclose(middle, [40 + 99.6, 20 + 99.6], atol=0.5)


def test_saved_faces_say_that_they_are_synthetic(tmp_path):
    source = tmp_path / "source.png"
    write_picture(source, np.full((8, 8, 3), 9, np.uint8))
    marks = make_marks(PLAIN, source, model_hash="ab" * 32, model_step=1)
    (swapped,) = paint(77, PLAIN).swap([(make_native(), [place(40, 20, 200)])])
    with FaceLog(tmp_path / "faces", overwrite=False, marks=marks) as log:
        log.add(swapped, [finish_face(face, PLAIN) for face in swapped.faces])
    (found,) = verify_files([tmp_path / "faces" / "000000_000_face.png"]).files
    assert found.credential.status == "valid" and found.credential.synthetic
    assert found.metadata.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert (read_picture(tmp_path / "faces" / "000000_000_face.png") == 77).all()


def test_saved_faces_take_the_place_of_earlier_ones_and_of_nothing_else(tmp_path):
    folder = tmp_path / "faces"
    moments = [replace(make_native(), index=index) for index in range(3)]
    frames = paint(77, PLAIN).swap([(t, [place(40, 20, 200)]) for t in moments])

    def save(count: int, *, overwrite: bool) -> list[str]:
        with FaceLog(folder, overwrite=overwrite) as log:
            for frame in frames[:count]:
                log.add(frame, [finish_face(face, PLAIN) for face in frame.faces])
        return sorted(path.name for path in folder.iterdir())

    assert len(save(3, overwrite=False)) == 7
    with pytest.raises(FaceLogError, match="not empty"):
        save(1, overwrite=False)
    assert len(save(1, overwrite=True)) == 3
    with pytest.raises(RuntimeError), FaceLog(folder, overwrite=True) as log:
        log.add(frames[1], [finish_face(face, PLAIN) for face in frames[1].faces])
        raise RuntimeError
    # What was there when it failed is whole and has its record.
    line = json.loads((folder / "faces.jsonl").read_text())
    assert line["frame"] == 1 and (folder / line["mask"]).is_file()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ForeignFilesError, match=r"notes\.txt"):
        save(2, overwrite=True)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("pixels", ["yuv420p", "gray", "picture"])
def test_a_grey_frame_stays_grey(color: str, pixels: str):
    config = replace(PLAIN, color=color)
    timed = make_native(pixels="gray")
    assert timed.native is not None
    if pixels == "picture":
        timed = picture_frame(timed.frame)
    else:
        timed = replace(timed, native=timed.native.reformat(format=pixels))

    def paint_red(faces: np.ndarray, _: object = None, /) -> np.ndarray:
        return np.full_like(faces, 100) + np.array([90, 10, 0], np.uint8)

    swapper = FrameSwapper(paint_red, 64, config)
    (swapped,) = swapper.swap([(timed, [place(100, 60, 120)])])
    result = compose_frame(swapped, config)
    after = convert_to_rgb(result) if isinstance(result, VideoFrame) else result
    assert (after != timed.frame).any()
    # Reinhard goes through Lab and back, whose rounding may part channels by a level.
    assert np.ptp(after.astype(int), axis=2).max() <= (1 if color == "reinhard" else 0)


def test_join_frames_puts_the_source_to_the_left():
    timed = make_native()
    assert timed.native is not None
    black = np.zeros_like(timed.frame)
    both = join_frames(timed.native, black)
    np.testing.assert_array_equal(both[:, :320], timed.frame)
    assert not both[:, 320:].any()
